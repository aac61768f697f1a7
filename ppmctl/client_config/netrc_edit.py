"""An index's entry in a person's netrc file: an edit like those of `file_edit.py`, whose lines are never shown."""

from __future__ import annotations

from pathlib import Path

from ppmctl.client import netrc_file, user_file
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address
from ppmctl.client.login_store import Logins
from ppmctl.client_config.edit_record import EditRecord, Entry
from ppmctl.client_config.file_edit import Change
from ppmctl.client_config.index_target import IndexTarget


def write(path: Path, target: IndexTarget, credential: Credential, record: EditRecord, known: Logins) -> Change:
    """Return what has to happen that the netrc file has the credential.

    Raise UsageError where the host's entry is another's.
    """
    before, host = user_file.content(path), target.address.host
    after = netrc_file.with_entry(path, host, credential)
    there = netrc_file.entry_of(netrc_file.read(path), host)
    if there and (there.login, there.password) == (credential.username, credential.secret.reveal()):
        return Change(path=path, before=before, after=before, notes=("It says so already.",))
    earlier = record.of_file(path)
    gone = tuple(each for each in earlier if each.index == target.address.base)
    netrc_file.require_free(path, target.address, known, by=[each.name for each in gone])
    entry = Entry(
        client="netrc",
        file=str(path),
        index=target.address.base,
        name=credential.username,
        created=before is None or any(each.created for each in earlier),
    )
    shown = (f"+machine {host} login {credential.username} password ***",)
    return Change(path=path, before=before, after=after, entry=entry, gone=gone, shows=shown, mode=netrc_file.MODE)


def remove(entry: Entry, record: EditRecord) -> Change:
    """Return what has to happen that the netrc file has nothing of an entry any more."""
    path, host = Path(entry.file), Address(base=entry.index, upload="").host
    before, is_last = user_file.content(path), len(record.of_file(path)) == 1
    after = netrc_file.without_entry(path, host, entry.name, is_ours=before is None or (entry.created and is_last))
    is_there = after != before
    notes = () if is_there else (f"There is no entry for {host} of {entry.name!r} any more.",)
    shown = (f"-machine {host} login {entry.name} password ***",) if is_there else ()
    return Change(
        path=path, before=before, after=after, gone=(entry,), notes=notes, shows=shown, mode=netrc_file.MODE
    )
