"""An index's entry in a person's netrc file: an edit like those of `edits.py`, whose lines are never shown."""

from __future__ import annotations

import netrc
from pathlib import Path

from ppmctl import edits, netrc_file
from ppmctl.address import Address
from ppmctl.clients import IndexTarget
from ppmctl.clients import netrc as client
from ppmctl.credential import Credential
from ppmctl.edits import Change
from ppmctl.errors import PpmError, UsageError
from ppmctl.written import Entry, Written


def write(path: Path, target: IndexTarget, credential: Credential, written: Written) -> Change:
    """What has to happen that the netrc file has the credential. UsageError where the host's entry is another's."""
    before = edits.content(path)
    text = (before or b"").decode("utf-8", "surrogateescape")
    host, line = target.address.host, client.render(target, credential)
    there = next((entry for entry in netrc_file.entries(text) if entry.host == host), None)
    if there is not None and _has(path, host, credential):
        return Change(path=path, before=before, after=before, notes=("It says so already.",))
    of_ours = next((entry for entry in written.at("netrc", path) if entry.index == target.address.base), None)
    if there is not None and (of_ours is None or of_ours.name != there.login):
        raise UsageError(
            f"{path} has an entry for {host} already, of {there.login!r}; it can have one for a host.",
            hint=f"Take that entry out, or: ppmctl login {target.address.base} --netrc",
        )
    after = netrc_file.with_line(text, host, line).encode("utf-8", "surrogateescape")
    entry = Entry(
        client="netrc",
        file=str(path),
        index=target.address.base,
        name=credential.username,
        scope="user",
        form="",
        folders=next((other.folders for other in written.of_file(path)), edits.missing_folders(path, written.path)),
        created=before is None or any(other.created for other in written.of_file(path)),
    )
    shown = (f"+machine {host} login {credential.username} password ***",)
    return Change(path=path, before=before, after=after, entry=entry, shows=shown, mode=0o600)


def remove(entry: Entry, written: Written) -> Change:
    """What has to happen that the netrc file has nothing of an entry any more."""
    path, host = Path(entry.file), Address(base=entry.index, upload="").host
    before = edits.content(path)
    text = (before or b"").decode("utf-8", "surrogateescape")
    left = netrc_file.without(text, host, entry.name)
    after: bytes | None = left.encode("utf-8", "surrogateescape")
    if before is None or (entry.created and not left.strip() and len(written.of_file(path)) == 1):
        after = None
    notes = () if left != text else (f"There is no entry for {host} of {entry.name!r} any more.",)
    shown = (f"-machine {host} login {entry.name} password ***",) if left != text else ()
    return Change(path=path, before=before, after=after, gone=(entry,), notes=notes, shows=shown, mode=0o600)


def _has(path: Path, host: str, credential: Credential) -> bool:
    try:
        found = netrc.netrc(str(path)).authenticators(host)
    except (OSError, UnicodeError, netrc.NetrcParseError) as exc:
        where = f", line {exc.lineno}" if isinstance(exc, netrc.NetrcParseError) else ""
        raise PpmError(f"{path}{where}: it can't be read. Nothing is changed.") from None  # the error quotes the file
    return found is not None and (found[0], found[2]) == (credential.username, credential.secret.reveal())
