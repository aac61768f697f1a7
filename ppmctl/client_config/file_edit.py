"""Edits to a person's files: planned, shown as a diff, kept as a backup, remembered, and taken out again."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.client import user_file
from ppmctl.client_config import lines, pip, poetry, twine, uv
from ppmctl.client_config.edit_record import EditRecord, Entry
from ppmctl.client_config.index_target import IndexTarget, Scope, Snippet
from ppmctl.client_config.lines import Add, Unreadable
from ppmctl.errors import PpmError

CLIENTS = {"pip": pip, "uv": uv, "poetry": poetry, "twine": twine}
_WORD = r"[\w.\"'-]*"
_KINDS = "passw|token|secret|api[-_]?key|private[-_]?key"
_SECRET = re.compile(rf"(?i)^([-+ ]?(?:# \(ppmctl [^)]*\) )?[#;\s]*{_WORD}(?:{_KINDS}){_WORD}\s*[:=]).*")
_USERINFO = re.compile(r"//[^/@\s]*@")


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one edit does to a file: its bytes before and after; None where there is no file.

    `gone`: records to remove. `entry`: record to add. `notes` are for the reader. `shows` stands for the diff of a
    file whose lines are not shown; `mode` is the one it is to have, or its own, or that of new ones.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    entry: Entry | None = None
    gone: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    shows: tuple[str, ...] | None = None
    mode: int | None = None

    @property
    def is_one(self) -> bool:
        return self.before != self.after

    @property
    def done(self) -> str:
        """What is done to the file, in a word."""
        return "unchanged" if not self.is_one else "deleted" if self.after is None else "written"

    def diff(self, shown: str, known: str | None) -> Iterator[str]:
        """Yield a unified diff, without secrets: of the names in URLs it shows no other than `known`."""
        old, new = (shown if each is not None else os.devnull for each in (self.before, self.after))
        if self.shows is not None:
            yield from (f"--- {old}", f"+++ {new}", *self.shows)
            return
        for line in difflib.unified_diff(_texts(self.before), _texts(self.after), old, new, lineterm=""):
            yield masked(line, known)


def printed(client: str, target: IndexTarget, place: str, where: Scope) -> Snippet:
    """Return what to paste into a client's file: what is put into an empty one, below the name of the file."""
    made, _puts = CLIENTS[client].plan(lines.Body(), target, where).made("")
    return Snippet(text=f"# {place}\n{made.plain.strip()}", says=CLIENTS[client].says(target, where))


def write(client: str, path: Path, target: IndexTarget, scope: Scope, record: EditRecord) -> Change:
    """Return what has to happen that a client's file says what `target` is. Raise PpmError."""
    before = user_file.content(path)
    wanted = json.dumps(
        [target.name, target.address.upload, target.form, target.username, target.in_keyring, target.ca]
    )
    earlier = [
        entry
        for entry in record.of_file(path)
        if entry.client == client and (entry.index == target.address.base or entry.form == target.form == "single")
    ]
    with _about(path):
        body = lines.read(before or b"")
        is_same = len(earlier) == 1 and earlier[0].wanted == wanted
        if is_same and (edit := CLIENTS[client].plan(body, target, scope)).is_empty:
            return Change(path=path, before=before, after=before, notes=tuple(edit.notes))
        for entry in reversed(earlier):
            body, _left = _undone(entry, body)
        edit = CLIENTS[client].plan(body, target, scope)
        made, puts = edit.made(lines.marker(client, target.name))
    after, gone, notes = made.written(), tuple(earlier), tuple(edit.notes)
    if edit.is_empty:
        if not earlier:
            return Change(path=path, before=before, after=before, notes=(*notes, "It says so already."))
        return Change(path=path, before=before, after=after, gone=gone, notes=notes)
    backup = (
        record.path.with_name("backups")
        / f"{path.name.lstrip('.')}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    )
    ours = record.of_file(path)
    entry = Entry(
        client=client,
        file=str(path),
        index=target.address.base,
        name=target.name,
        scope=scope,
        form=target.form,
        wanted=wanted,
        puts=tuple((put.at, put.texts) for put in puts),
        created=before is None or any(other.created for other in ours),
        backup=ours[0].backup if ours else None if before is None else str(backup),
    )
    return Change(path=path, before=before, after=after, entry=entry, gone=gone, notes=notes)


def remove(entry: Entry, record: EditRecord) -> Change:
    """Return what has to happen that a file has nothing of an entry any more. Raise PpmError."""
    path = Path(entry.file)
    before = user_file.content(path)
    if before is None:
        return Change(path=path, before=None, after=None, gone=(entry,), notes=(f"{path} is not there any more.",))
    with _about(path):
        body, left = _undone(entry, lines.read(before))
    after: bytes | None = body.written()
    if entry.created and len(record.of_file(path)) == 1 and not body.plain.strip() and not body.bom:
        after = None
    return Change(path=path, before=before, after=after, gone=(entry,), notes=left)


def make(change: Change, record: EditRecord) -> None:
    """Make a change on disk: first what is remembered, then the file. Raise PpmError; then nothing is changed."""
    path, entry = change.path, change.entry
    if change.is_one:
        if path.exists() and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
            raise PpmError(f"{path} is read-only. Nothing is changed.", hint=f"chmod u+w {path}")
        if user_file.content(path) != change.before:
            raise PpmError(f"{path} has just been changed by somebody else.", hint="Type it again.")
    try:
        if entry is not None:
            if entry.backup is not None and not record.of_file(path):
                Path(entry.backup).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                files.write_atomic(Path(entry.backup), change.before or b"", mode=0o600, sync=True)
            record.changed(change.gone, entry)
        if change.is_one:
            user_file.replace(path, change.after, mode=change.mode)
        if entry is None and change.gone:
            _drop_backups(change, record)
            record.changed(change.gone)
            _drop_folders(change, record)
    except (OSError, PpmError) as exc:
        with contextlib.suppress(OSError):
            record.save()
        raise user_file.unwritable(path, exc) if isinstance(exc, OSError) else exc from exc


def masked(line: str, known: str | None) -> str:
    """Return a line of a diff as it may be shown.

    It has no password, of a URL's user no more than the name that is known, and nothing that a terminal obeys.
    """
    line = _SECRET.sub(
        r"\1 ***", "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)
    )
    return _USERINFO.sub(lambda found: found[0] if known and found[0] == f"//{known}@" else "//***@", line)


def _undone(entry: Entry, body: lines.Body) -> tuple[lines.Body, tuple[str, ...]]:
    puts: Sequence[Add] = [Add(at=at, texts=texts) for at, texts in entry.puts]
    return lines.undone(CLIENTS[entry.client].File, body, puts, lines.marker(entry.client, entry.name))


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except Unreadable as exc:
        raise PpmError(f"{path}, {exc.message} Nothing is changed.", hint=exc.hint) from exc


def _texts(content: bytes | None) -> list[str]:
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


def _drop_backups(change: Change, record: EditRecord) -> None:
    """Delete the backup of a file that is again as it was."""
    with contextlib.suppress(OSError):
        for entry in change.gone:
            if entry.backup is not None and user_file.content(Path(entry.backup)) == change.after:
                Path(entry.backup).unlink(missing_ok=True)
        record.path.with_name("backups").rmdir()


def _drop_folders(change: Change, record: EditRecord) -> None:
    """Delete the folders of configuration that are empty without a file that was deleted."""
    with contextlib.suppress(OSError):
        for folder in change.path.parents if change.after is None else ():
            if folder.is_relative_to(record.path.parents[1]):
                folder.rmdir()
