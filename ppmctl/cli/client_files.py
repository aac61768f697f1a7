"""What `ppmctl client-config --write` and `--remove` do to people's files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ppmctl import output
from ppmctl.client import credential, index_url, login_store, user_file
from ppmctl.client.credential import Credential
from ppmctl.client_config import edit_record, file_edit, file_locations, netrc_edit
from ppmctl.client_config.edit_record import EditRecord
from ppmctl.client_config.file_edit import Change
from ppmctl.client_config.index_target import Here, IndexTarget, Scope
from ppmctl.errors import CredentialError, UsageError


def show(edited: Mapping[str, Any], here: Here) -> None:
    """Print for a person what was done to a client's file."""
    what, backup = f"{edited['client']}: {here.shown(Path(edited['file']))}", edited["backup"]
    for line in edited["diff"]:
        output.say(line)
    if not edited["dry_run"]:
        output.say(f"{what} {edited['outcome']}." + (f" As it was before: {backup}" if backup else ""))
    elif edited["outcome"] == "unchanged":
        output.say(f"{what}: would stay as it is.")
    else:
        output.say(f"{what}: would be changed.")
    for line in edited["notes"]:
        output.say(line)


def demand_writable(clients_meant: tuple[str, ...]) -> None:
    """Raise UsageError where one of the clients has no file that is edited, or none is named."""
    others = [client for client in clients_meant if client not in file_locations.WRITABLE]
    if others or not clients_meant:
        raise UsageError(
            f"--write is for {', '.join(file_locations.WRITABLE)}"
            + (f"; {others[0]} is printed." if others else ": say which."),
            hint=f"ppmctl client-config {(others or ['pip'])[0]}" + ("" if others else " --write"),
        )


def write(
    targets: Mapping[str, IndexTarget],
    scope: Scope | None,
    here: Here,
    credential_file: Path | None,
    *,
    is_tried: bool,
) -> Iterator[dict[str, Any]]:
    """Put what each client needs into its file; with `is_tried` only look what would be done.

    Raise UsageError or PpmError before the first file is changed where one of them can't be.
    """
    for client, target in targets.items():
        _planned(client, target, scope, here, credential_file, _record(here))
    for client, target in targets.items():
        record = _record(here)
        change, notes = _planned(client, target, scope, here, credential_file, record)
        wins = [
            f"{variable} is set, and wins over the file."
            for variable in file_locations.OVERRULE.get(client, ())
            if here.environ.get(variable)
        ]
        name = target.username and quote(target.username, safe="")
        yield _made(client, change, record, here, is_tried=is_tried, name=name, notes=(*notes, *wins))


def _made(
    client: str,
    change: Change,
    record: EditRecord,
    here: Here,
    *,
    is_tried: bool,
    name: str | None = None,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """Make a change, unless `is_tried`; return what was done. The diff shows no other name in URLs than `name`."""
    if not is_tried:
        file_edit.make(change, record)
    backup = change.entry.backup if change.entry is not None and change.is_one and not is_tried else None
    shown = here.shown(change.path)
    return {
        "client": client,
        "file": str(change.path),
        "outcome": change.done,
        "dry_run": is_tried,
        "diff": list(change.diff(shown, name)),
        "backup": backup,
        "notes": [*(f"{client}: {shown}: {note}" for note in change.notes), *notes],
    }


def _planned(
    client: str,
    target: IndexTarget,
    scope: Scope | None,
    here: Here,
    credential_file: Path | None,
    record: EditRecord,
) -> tuple[Change, tuple[str, ...]]:
    """Return what is to be done to a client's file, and what to know beside it."""
    where = file_locations.meant(client, target, scope)
    path = user_file.real(file_locations.path(client, where, here))
    if where == "project" and not path.exists():
        raise UsageError(f"There is no {path.name} here, or above.", hint="Go to a project's folder, or begin one.")
    if unread := file_locations.unread(client, here):
        raise UsageError(unread.partition(":")[0] + f": {client} would not read what is written.", hint=unread)
    if client == "netrc":
        found = credential_for(target, credential_file)
        change = netrc_edit.write(path, target, found, record, login_store.read(here.environ, here.home))
        return change, (f"It is used for every port of {target.address.host}.",)
    return file_edit.write(client, path, target, where, record), file_edit.CLIENTS[client].says(target, where)


def remove(
    clients_meant: tuple[str, ...], index: str | None, scope: Scope | None, here: Here, *, is_tried: bool
) -> Iterator[dict[str, Any]]:
    """Take what was put there for these clients, or for all, out again; with `is_tried` only look what would be."""
    cwd = here.cwd.resolve()
    base = None if index is None else index_url.resolve(index, environ=os.environ, home=here.home).base
    for entry in reversed(_record(here).all):
        if (
            (clients_meant and entry.client not in clients_meant)
            or (base is not None and entry.index != base)
            or (scope is not None and entry.scope != scope)
            or (entry.scope == "project" and Path(entry.file).parent not in (cwd, *cwd.parents))
        ):
            continue
        record = _record(here)
        change = (netrc_edit if entry.client == "netrc" else file_edit).remove(entry, record)
        yield _made(entry.client, change, record, here, is_tried=is_tried)


def _record(here: Here) -> EditRecord:
    return edit_record.read(here.environ, here.home)


def credential_for(target: IndexTarget, credential_file: Path | None) -> Credential:
    """Return the credential for a netrc. Raise CredentialError where there is none."""
    found = credential.find(target.address, file=credential_file, environ=os.environ, home=Path.home())
    if found is None:
        raise CredentialError(
            f"There is no credential for {target.address.base} here to make a line for .netrc of.",
            hint=f"ppmctl login {target.address.base} --netrc  writes it. {credential.PLACES}",
        )
    return found
