"""The edits of users' files by `ppmctl client-config --write` and `--remove`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from ppmctl import output
from ppmctl.client import credential, index_url, login_store, user_file
from ppmctl.client.credential import Credential
from ppmctl.client_config import edit_record, file_edit, file_locations, netrc_edit
from ppmctl.client_config.edit_record import EditRecord, Entry
from ppmctl.client_config.file_edit import Change
from ppmctl.client_config.index_target import CLIENTS, WRITABLE, IndexTarget, Machine, Scope
from ppmctl.errors import CredentialError, PpmError, UsageError, some


def show(edited: Mapping[str, Any], machine: Machine) -> None:
    """Print what was done to a client's file."""
    name, outcome, backup = machine.shown(Path(edited["file"])), edited["outcome"], edited["backup"]
    if edited["dry_run"]:
        outcome = "would not change" if outcome == "unchanged" else "would be changed"
    ending = f" The file as it was before: {backup}" if backup else ""
    output.say(*edited["diff"], f"{edited['client']}: {name} {outcome}.{ending}", *edited["notes"])


def require_writable(clients: tuple[str, ...]) -> None:
    """Raise UsageError where a client has no file that can be edited, or none is named."""
    others = [client for client in clients if client not in WRITABLE]
    start = f"--write is for {', '.join(WRITABLE)}"
    if others:
        raise UsageError(f"{start}; {others[0]} is only printed.", hint=f"ppmctl client-config {others[0]}")
    if not clients:
        raise UsageError(f"{start}: name one of them.", hint="ppmctl client-config pip --write")


def write(
    targets: Mapping[str, IndexTarget],
    scope: Scope | None,
    machine: Machine,
    credential_file: Path | None,
    *,
    dry_run: bool,
) -> Iterator[dict[str, Any]]:
    """Put what each client needs into its file and yield what was done; `dry_run` changes nothing.

    Raise UsageError or PpmError before the first file is changed if any of them can't be.
    """
    for client, target in targets.items():
        _planned(client, target, scope, machine, credential_file)
    for client, target in targets.items():
        change, record, notes = _planned(client, target, scope, machine, credential_file)
        wins = [
            f"{name} is set, and wins over the file."
            for name in CLIENTS[client].overrides
            if machine.environ.get(name)
        ]
        name = target.username and quote(target.username, safe="")
        yield _applied(client, change, record, machine, dry_run=dry_run, name=name, notes=(*notes, *wins))


def _applied(
    client: str,
    change: Change,
    record: EditRecord,
    machine: Machine,
    *,
    dry_run: bool,
    name: str | None = None,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """Make a change, unless `dry_run`, and return what was done. The diff shows no user name in URLs but `name`."""
    if not dry_run:
        file_edit.apply(change, record)
    has_backup = change.entry is not None and change.has_effect and not dry_run
    shown = machine.shown(change.path)
    return {
        "client": client,
        "file": str(change.path),
        "outcome": change.outcome,
        "dry_run": dry_run,
        "diff": list(change.diff(shown, name)),
        "backup": change.entry.backup if change.entry is not None and has_backup else None,
        "notes": [*(f"{client}: {shown}: {note}" for note in change.notes), *notes],
    }


def _planned(
    client: str, target: IndexTarget, scope: Scope | None, machine: Machine, credential_file: Path | None
) -> tuple[Change, EditRecord, tuple[str, ...]]:
    """Return the change of a client's file, the record that it was planned with, and notes."""
    record, chosen = _record(machine), file_locations.choose_scope(client, target, scope)
    path = user_file.real(file_locations.path(client, chosen, machine))
    if chosen == "project" and not path.exists():
        hint = "Go to a project's folder, or create one."
        raise UsageError(f"There is no {path.name} here, or above.", hint=hint)
    if unread := file_locations.why_unread(client, machine):
        raise UsageError(f"{unread.partition(':')[0]}: {client} would not read the file.", hint=unread)
    if client == "netrc":
        secret = credential_for(target, credential_file)
        change = netrc_edit.write(path, target, secret, record, login_store.read(machine.environ, machine.home))
        return change, record, (f"It is used for every port of {target.address.host}.",)
    change = file_edit.write(client, path, target, chosen, record)
    return change, record, file_edit.EDITORS[client].notes(target, chosen)


def remove(
    clients: tuple[str, ...], index: str | None, scope: Scope | None, machine: Machine, *, dry_run: bool
) -> Iterator[dict[str, Any]]:
    """Remove what was written for these clients, or for all, and yield what was done; `dry_run` changes nothing.

    Entries of other projects and virtual environments stay; a note names their files.
    """
    base = None if index is None else index_url.resolve(index, environ=os.environ, home=machine.home).base
    elsewhere = []
    for entry in reversed(_record(machine).all):
        if (
            (clients and entry.client not in clients)
            or (base is not None and entry.index != base)
            or (scope is not None and entry.scope != scope)
        ):
            continue
        if not _is_here(entry, machine):
            elsewhere += [entry.file] if Path(entry.file).exists() else []
            continue
        record = _record(machine)
        yield _applied(entry.client, _removal(entry, record), record, machine, dry_run=dry_run)
    if elsewhere:
        output.say(
            f"Not changed, because they belong to another project or virtual environment: {some(elsewhere)}."
            " Go to that project's folder, or activate that environment, and run this again."
        )


def written_files(index: str, machine: Machine) -> dict[str, Path]:
    """Return the file of each client in which the lines for the index at `index` are now, in this place."""
    record = _record(machine)
    return {
        entry.client: Path(entry.file)
        for entry in record.all
        if entry.index == index and _is_here(entry, machine) and _is_in_place(entry, record)
    }


def _is_here(entry: Entry, machine: Machine) -> bool:
    """Return whether the entry's file is the one that the client reads in this folder and environment."""
    if entry.scope == "user":
        return True
    try:
        path = file_locations.path(entry.client, cast("Scope", entry.scope), machine)
        return user_file.real(path) == Path(entry.file)
    except PpmError:  # no virtual environment is active
        return False


def _is_in_place(entry: Entry, record: EditRecord) -> bool:
    try:
        return _removal(entry, record).has_effect
    except PpmError:  # somebody made the file unreadable since
        return Path(entry.file).exists()


def _removal(entry: Entry, record: EditRecord) -> Change:
    return netrc_edit.remove(entry, record) if entry.client == "netrc" else file_edit.remove(entry, record)


def _record(machine: Machine) -> EditRecord:
    return edit_record.read(machine.environ, machine.home)


def credential_for(target: IndexTarget, credential_file: Path | None) -> Credential:
    """Return the credential for a netrc. Raise CredentialError where there is none."""
    stored = credential.find(target.address, file=credential_file, environ=os.environ, home=Path.home())
    if stored is None:
        raise CredentialError(
            f"There is no credential for {target.address.base} to write into a netrc line.",
            hint=f"{target.netrc_login}  writes it. {credential.PLACES}",
        )
    return stored
