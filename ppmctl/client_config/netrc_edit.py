"""Edit an index's entry in the user's netrc file; its lines are never shown."""

from __future__ import annotations

from pathlib import Path

from ppmctl.client import netrc_file, user_file
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address
from ppmctl.client.login_store import Logins
from ppmctl.client_config.edit_record import EditRecord, Entry
from ppmctl.client_config.file_edit import UP_TO_DATE, Change
from ppmctl.client_config.index_target import IndexTarget


def write(path: Path, target: IndexTarget, credential: Credential, record: EditRecord, known: Logins) -> Change:
    """Plan to put the credential into the netrc file. Raise UsageError where the host's entry is someone else's."""
    before, host = user_file.content(path), target.address.host
    after = netrc_file.with_entry(path, host, credential)
    present = netrc_file.entry_of(netrc_file.read(path), host)
    if present and (present.login, present.password) == (credential.username, credential.secret.reveal()):
        return Change(path=path, before=before, after=before, notes=(UP_TO_DATE,))
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
    summary = (f"+machine {host} login {credential.username} password ***",)
    return Change(
        path=path, before=before, after=after, entry=entry, gone=gone, summary=summary, mode=netrc_file.MODE
    )


def remove(entry: Entry, record: EditRecord) -> Change:
    """Plan to remove an entry from the netrc file."""
    path, host = Path(entry.file), Address(base=entry.index, upload="").host
    before, is_last = user_file.content(path), len(record.of_file(path)) == 1
    after = netrc_file.without_entry(path, host, entry.name, is_ours=before is None or (entry.created and is_last))
    is_present = after != before
    notes = () if is_present else (f"There is no entry for {host} of {entry.name!r} any more.",)
    summary = (f"-machine {host} login {entry.name} password ***",) if is_present else ()
    return Change(
        path=path, before=before, after=after, gone=(entry,), notes=notes, summary=summary, mode=netrc_file.MODE
    )
