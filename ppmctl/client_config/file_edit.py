"""Edit users' files: an edit is planned, shown as a diff, backed up and recorded, and can be undone."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.client import user_file
from ppmctl.client_config import lines, pip, poetry, twine, uv
from ppmctl.client_config.edit_record import EditRecord, Entry
from ppmctl.client_config.index_target import IndexTarget, Scope, Snippet
from ppmctl.client_config.lines import Add, Unreadable
from ppmctl.errors import PpmError
from ppmctl.secret import masked

EDITORS = {"pip": pip, "uv": uv, "poetry": poetry, "twine": twine}
UP_TO_DATE = "It is set up already."

_WORD = r"[\w.\"'-]*"
_KINDS = "passw|token|secret|api[-_]?key|private[-_]?key"
_SECRET = re.compile(rf"(?i)^([-+ ]?(?:# \(ppmctl [^)]*\) )?[#;\s]*{_WORD}(?:{_KINDS}){_WORD}\s*[:=]).*")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A planned change of a file: its bytes before and after; None where there is no file.

    `gone`: records to remove. `entry`: record to add. `notes`: for the user. `summary`: shown instead of the diff
    where the file's lines must not be shown. `mode`: the file's mode afterwards; None keeps it.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    entry: Entry | None = None
    gone: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    summary: tuple[str, ...] | None = None
    mode: int | None = None

    @property
    def has_effect(self) -> bool:
        return self.before != self.after

    @property
    def outcome(self) -> str:
        """Return what happens to the file, in a word."""
        return "unchanged" if not self.has_effect else "deleted" if self.after is None else "written"

    def diff(self, shown: str, known: str | None) -> Iterator[str]:
        """Yield a unified diff without secrets; the only user name in its URLs is `known`."""
        old, new = (shown if each is not None else os.devnull for each in (self.before, self.after))
        if self.summary is not None:
            yield from (f"--- {old}", f"+++ {new}", *self.summary)
            return
        for line in difflib.unified_diff(_texts(self.before), _texts(self.after), old, new, lineterm=""):
            yield mask(line, known)


def snippet(client: str, target: IndexTarget, place: str, scope: Scope) -> Snippet:
    """Return what to paste into a client's file, below the file's name."""
    body, _added = EDITORS[client].plan(lines.Body(), target, scope).apply("")
    return Snippet(text=f"# {place}\n{body.plain.strip()}", notes=EDITORS[client].notes(target, scope))


def write(client: str, path: Path, target: IndexTarget, scope: Scope, record: EditRecord) -> Change:
    """Plan to put `target` into a client's file. Raise PpmError."""
    before, ours = user_file.content(path), record.of_file(path)
    wanted = json.dumps(
        [target.name, target.address.upload, target.form, target.username, target.in_keyring, target.ca]
    )
    earlier = [
        entry
        for entry in ours
        if entry.client == client and (entry.index == target.address.base or entry.form == target.form == "single")
    ]
    with _naming(path):
        body = lines.read(before or b"")
        is_same = len(earlier) == 1 and earlier[0].wanted == wanted
        if is_same and (edit := EDITORS[client].plan(body, target, scope)).is_empty:
            return Change(path=path, before=before, after=before, notes=tuple(edit.notes))
        for entry in reversed(earlier):
            body, _notes = _undo(entry, body)
        edit = EDITORS[client].plan(body, target, scope)
        edited, added = edit.apply(lines.marker(client, target.name))
    after, notes = edited.to_bytes(), tuple(edit.notes)
    if edit.is_empty and not earlier:
        return Change(path=path, before=before, after=before, notes=(*notes, UP_TO_DATE))
    if edit.is_empty:
        return Change(path=path, before=before, after=after, gone=tuple(earlier), notes=notes)
    hashed = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    backup = record.path.with_name("backups") / f"{path.name.lstrip('.')}-{hashed}"
    entry = Entry(
        client=client,
        file=str(path),
        index=target.address.base,
        name=target.name,
        scope=scope,
        form=target.form,
        wanted=wanted,
        puts=tuple((each.at, each.texts) for each in added),
        created=before is None or any(other.created for other in ours),
        backup=ours[0].backup if ours else None if before is None else str(backup),
    )
    return Change(path=path, before=before, after=after, entry=entry, gone=tuple(earlier), notes=notes)


def remove(entry: Entry, record: EditRecord) -> Change:
    """Plan to remove an entry from its file. Raise PpmError."""
    path = Path(entry.file)
    before = user_file.content(path)
    if before is None:
        return Change(path=path, before=None, after=None, gone=(entry,), notes=(f"{path} no longer exists.",))
    with _naming(path):
        body, notes = _undo(entry, lines.read(before))
    is_empty = entry.created and len(record.of_file(path)) == 1 and not body.plain.strip() and not body.bom
    return Change(path=path, before=before, after=None if is_empty else body.to_bytes(), gone=(entry,), notes=notes)


def apply(change: Change, record: EditRecord) -> None:
    """Make a change on disk: first the record, then the file. Raise PpmError, and then change nothing."""
    path, entry = change.path, change.entry
    if change.has_effect:
        if path.exists() and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
            raise PpmError(f"{path} is read-only. Nothing is changed.", hint=f"chmod u+w {path}")
        if user_file.content(path) != change.before:
            raise PpmError(f"{path} was changed by another program in the meantime.", hint="Run the command again.")
    try:
        if entry is not None:
            if entry.backup is not None and not record.of_file(path):
                Path(entry.backup).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                files.write_atomic(Path(entry.backup), change.before or b"", mode=0o600, sync=True)
            record.changed(change.gone, entry)
        if change.has_effect:
            user_file.replace(path, change.after, mode=change.mode)
        if entry is None and change.gone:
            _drop_backups(change, record)
            record.changed(change.gone)
            _drop_folders(change, record)
    except (OSError, PpmError) as exc:
        with contextlib.suppress(OSError):
            record.save()
        raise user_file.unwritable(path, exc) if isinstance(exc, OSError) else exc from exc


def mask(line: str, known: str | None) -> str:
    """Return a line of a diff without passwords, control characters and user names in URLs, except for `known`."""
    printable = "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)
    shown = masked(_SECRET.sub(r"\1 ***", printable))
    return shown.replace("//***@", f"//{known}@") if known and f"//{known}@" in printable else shown


def _undo(entry: Entry, body: lines.Body) -> tuple[lines.Body, tuple[str, ...]]:
    added = [Add(at=at, texts=texts) for at, texts in entry.puts]
    return lines.undo(EDITORS[entry.client].File, body, added, lines.marker(entry.client, entry.name))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an Unreadable name the file."""
    try:
        yield
    except Unreadable as exc:
        raise PpmError(f"{path}, {exc.message} Nothing is changed.", hint=exc.hint) from exc


def _texts(content: bytes | None) -> list[str]:
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


def _drop_backups(change: Change, record: EditRecord) -> None:
    """Delete the backup of a file that is the same as before the first edit."""
    with contextlib.suppress(OSError):
        for entry in change.gone:
            if entry.backup is not None and user_file.content(Path(entry.backup)) == change.after:
                Path(entry.backup).unlink(missing_ok=True)
        record.path.with_name("backups").rmdir()


def _drop_folders(change: Change, record: EditRecord) -> None:
    """Delete the configuration folders that are empty because the file was deleted."""
    with contextlib.suppress(OSError):
        for folder in change.path.parents if change.after is None else ():
            if folder.is_relative_to(record.path.parents[1]):
                folder.rmdir()
