"""What `ppmctl client-config --write` and `--remove` do to people's files."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ppmctl import output
from ppmctl.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from ppmctl.clients import Here, IndexTarget, Scope
    from ppmctl.credential import Credential
    from ppmctl.edits import Change
    from ppmctl.written import Written


def demand_writable(clients_meant: tuple[str, ...]) -> None:
    """UsageError where one of the clients has no file that is edited, or none is said."""
    from ppmctl.clients import places

    others = [client for client in clients_meant if client not in places.WRITABLE]
    if others or not clients_meant:
        raise UsageError(
            f"--write is for {', '.join(places.WRITABLE)}"
            + (f"; {others[0]} is printed." if others else ": say which."),
            hint=f"ppmctl client-config {(others or ['pip'])[0]}" + ("" if others else " --write"),
        )


def demand_change(client: str, target: IndexTarget, scope: Scope | None, here: Here) -> None:
    """UsageError or PpmError where `write` would refuse what the client's file is, or says; nothing is written."""
    from ppmctl import edits, written

    where, path = _meant(client, target, scope, here)
    if client != "netrc":
        edits.write(client, path, target, where, written.read(os.environ, here.home))


def _meant(client: str, target: IndexTarget, scope: Scope | None, here: Here) -> tuple[Scope, Path]:
    from ppmctl import edits
    from ppmctl.clients import places

    where = places.meant(client, target, scope)
    path = edits.real(places.path(client, where, here))
    if where == "project" and not path.exists():
        raise UsageError(f"There is no {path.name} here, or above.", hint="Go to a project's folder, or begin one.")
    if unread := places.unread(client, here):
        raise UsageError(unread.partition(":")[0] + f": {client} would not read what is written.", hint=unread)
    return where, path


def write(
    client: str, target: IndexTarget, scope: Scope | None, here: Here, credential_file: Path | None, dry_run: bool
) -> None:
    """Put what a client needs into its file; with `dry_run` show that alone."""
    from ppmctl import edits, netrc_entry, written
    from ppmctl.clients import places

    where, path = _meant(client, target, scope, here)
    known = written.read(os.environ, here.home)
    if client == "netrc":
        change = netrc_entry.write(path, target, credential_for(target, credential_file), known)
        said: tuple[str, ...] = (f"It is used for every port of {target.address.host}.",)
    else:
        change = edits.write(client, path, target, where, known)
        module = importlib.import_module(f"ppmctl.clients.{client}")
        said = module.says(target, where) if client == "uv" else module.says(target)
    _apply(change, known, here, dry_run, f"{client}: {here.shown(path)}", target.username)
    wins = [variable for variable in places.OVERRULE.get(client, ()) if here.environ.get(variable)]
    for line in (*said, *(f"{variable} is set, and wins over the file." for variable in wins)):
        output.say(line)


def remove(clients_meant: tuple[str, ...], index: str | None, scope: Scope | None, here: Here, dry_run: bool) -> None:
    """Take what was put there for these clients, or for all, out again."""
    from ppmctl import address, edits, netrc_entry, written

    known = written.read(os.environ, here.home)
    cwd = here.cwd.resolve()
    projects = (cwd, *cwd.parents)
    base = None if index is None else address.resolve(index, environ=os.environ, home=here.home).base
    found = [
        entry
        for entry in reversed(known.all)
        if (not clients_meant or entry.client in clients_meant)
        and (base is None or entry.index == base)
        and (scope is None or entry.scope == scope)
        and (entry.scope != "project" or Path(entry.file).parent in projects)
    ]
    if not found:
        output.say(
            "Nothing of what ppmctl wrote is there" + (f" for {', '.join(clients_meant)}." if clients_meant else ".")
        )
    for entry in found:
        known = written.read(os.environ, here.home)
        change = (netrc_entry if entry.client == "netrc" else edits).remove(entry, known)
        _apply(change, known, here, dry_run, f"{entry.client}: {here.shown(change.path)}", None)


def credential_for(target: IndexTarget, credential_file: Path | None) -> Credential:
    """The credential for a netrc. CredentialError where there is none."""
    from ppmctl import credential

    found = credential.find(target.address, file=credential_file, environ=os.environ, home=Path.home())
    if found is None:
        raise CredentialError(
            f"There is no credential for {target.address.base} here to make a line for .netrc of.",
            hint=f"ppmctl login {target.address.base} --netrc  writes it. {credential.PLACES}",
        )
    return found


def _apply(change: Change, known: Written, here: Here, dry_run: bool, what: str, username: str | None) -> None:
    from ppmctl import edits

    name = None if username is None else quote(username, safe="")
    for line in change.diff(here.shown(change.path), name):
        output.say(line)
    for note in change.notes:
        output.say(f"{what}: {note}")
    if dry_run:
        output.say(f"{what}: {'would be changed' if change.is_one else 'would stay as it is'}.")
        return
    edits.make(change, known)
    backup = change.entry.backup if change.entry is not None and change.is_one else None
    done = "unchanged" if not change.is_one else "deleted" if change.after is None else "written"
    output.say(f"{what} {done}." + (f" As it was before: {backup}" if backup else ""))
