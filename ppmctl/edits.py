"""Edits to a person's files: read, planned, shown as a diff, kept as a backup, written whole, and taken out again."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.clients import IndexTarget, Scope, editing, lines
from ppmctl.clients.lines import Add, Unreadable
from ppmctl.errors import PpmError
from ppmctl.written import Entry, Written

_LARGEST = 1 << 20  # bytes
_NEW = {".pypirc": 0o600}  # people put passwords into it


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one edit does to a file: its bytes before and after; None where there is no file.

    `gone` is what is to be remembered no more, `entry` what is instead. `notes` are for who reads. `shows` stands for
    the diff of a file whose lines are not shown; `mode` is the one it is to have, or its own, or that of new ones.
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

    def diff(self, shown: str, known: str | None) -> Iterator[str]:
        """A unified diff, without secrets: of the names in URLs it shows no other than `known`."""
        old, new = (shown if each is not None else os.devnull for each in (self.before, self.after))
        if self.shows is not None:
            yield from (f"--- {old}", f"+++ {new}", *self.shows)
            return
        for line in difflib.unified_diff(_texts(self.before), _texts(self.after), old, new, lineterm=""):
            yield editing.masked(line, known)


def real(path: Path) -> Path:
    """The file that a path leads to, through its links: that is the one to edit. PpmError where they lead nowhere."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as exc:
        raise PpmError(f"{path} can't be followed: its links go round in a circle.") from exc


def write(client: str, path: Path, target: IndexTarget, scope: Scope, written: Written) -> Change:
    """What has to happen that a client's file says what `target` is; nothing, where it says so. PpmError."""
    before = content(path)
    wanted = json.dumps(_wanted(target))
    earlier = [
        entry
        for entry in written.at(client, path)
        if entry.index == target.address.base or entry.form == target.form == "single"
    ]
    with _about(path):
        body = lines.read(before or b"")
        same = len(earlier) == 1 and earlier[0].wanted == wanted
        if same and not (plan := editing.plan(client, body, target, scope)).edits:
            return Change(path=path, before=before, after=before, notes=plan.notes)
        for entry in reversed(earlier):
            body, _left = editing.undo(client, body, _puts(entry), lines.marker(client, entry.name))
        plan = editing.plan(client, body, target, scope)
        after, puts = lines.edited(body, plan.edits, lines.marker(client, target.name))
    notes = plan.notes
    if not plan.edits:
        if not earlier:
            return Change(path=path, before=before, after=before, notes=(*notes, "It says so already."))
        return Change(path=path, before=before, after=after.written(), gone=tuple(earlier), notes=notes)
    ours = written.of_file(path)
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
        folders=next((other.folders for other in ours), missing_folders(path, written.path)),
        backup=next((other.backup for other in ours), None if before is None else str(_backup(path, written))),
    )
    return Change(path=path, before=before, after=after.written(), entry=entry, gone=tuple(earlier), notes=notes)


def remove(entry: Entry, written: Written) -> Change:
    """What has to happen that a file has nothing of an entry any more. PpmError."""
    path = Path(entry.file)
    before = content(path)
    if before is None:
        return Change(path=path, before=None, after=None, gone=(entry,), notes=(f"{path} is not there any more.",))
    with _about(path):
        body, left = editing.undo(
            entry.client, lines.read(before), _puts(entry), lines.marker(entry.client, entry.name)
        )
    after: bytes | None = body.written()
    if entry.created and len(written.of_file(path)) == 1 and not body.plain.strip() and not body.bom:
        after = None
    return Change(path=path, before=before, after=after, gone=(entry,), notes=left)


def make(change: Change, written: Written) -> Written:
    """Have it on disk: first what is remembered, then the file. PpmError, with nothing changed, where it can't."""
    path, entry = change.path, change.entry
    if change.is_one:
        _demand_writable(path)
        if content(path) != change.before:
            raise PpmError(f"{path} has just been changed by somebody else.", hint="Type it again.")
    remembered = written
    try:
        if entry is not None:
            if entry.backup is not None and not written.of_file(path):
                _keep(Path(entry.backup), change.before or b"")
            remembered = written.put(entry, but=change.gone)
        if change.is_one:
            _replace(path, change.after, change.mode)
        if entry is None:
            is_last = {each.key for each in written.of_file(path)} <= {each.key for each in change.gone}
            if is_last:
                _drop_backups(change)
            for each in change.gone:
                remembered = remembered.drop(each)
            if is_last:
                _drop_folders(change)
    except OSError as exc:
        with contextlib.suppress(OSError):
            written.restore()
        failed = Path(exc.filename or path)
        failed = path if failed.parent == path.parent else failed  # and not the name that it has for a moment
        raise PpmError(f"{failed} can't be written: {exc.strerror}.", hint=files.whose(path.parent)) from exc
    return remembered


def content(path: Path) -> bytes | None:
    """The bytes of a file; None where there is none. PpmError where it can't be read, or is none to edit."""
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise PpmError(f"{path} is no file, so it is not edited.")
            if found.st_size > _LARGEST:
                raise PpmError(f"{path} has {found.st_size} bytes, so it is no configuration.")
            return path.read_bytes()
    except OSError as exc:
        raise PpmError(f"{path} can't be read: {exc.strerror}. Nothing is changed.", hint=files.whose(path)) from exc
    return None


def _wanted(target: IndexTarget) -> dict[str, object]:
    return {
        "name": target.name,
        "upload": target.address.upload,
        "form": target.form,
        "username": target.username,
        "keyring": target.in_keyring,
        "ca": target.ca,
    }


def _puts(entry: Entry) -> Sequence[Add]:
    return [Add(at=at, texts=texts) for at, texts in entry.puts]


@contextlib.contextmanager
def _about(path: Path) -> Iterator[None]:
    try:
        yield
    except Unreadable as exc:
        raise PpmError(f"{path}, {exc.message} Nothing is changed.", hint=exc.hint) from exc


def _texts(content: bytes | None) -> list[str]:
    return [] if content is None else content.decode("utf-8", "replace").splitlines()


def missing_folders(*paths: Path) -> tuple[str, ...]:
    """The folders of these files that are not there, the outermost first."""
    return tuple(sorted({str(folder) for path in paths for folder in path.parents if not folder.exists()}))


def _backup(path: Path, written: Written) -> Path:
    return written.backups / f"{path.name.lstrip('.')}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _keep(backup: Path, content: bytes) -> None:
    backup.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write_atomic(backup, content, mode=0o600, sync=True)


def _demand_writable(path: Path) -> None:
    if path.exists() and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
        raise PpmError(f"{path} is read-only. Nothing is changed.", hint=f"chmod u+w {path}")


def _replace(path: Path, content: bytes | None, mode: int | None) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = path.stat()
    except FileNotFoundError:
        files.write_atomic(path, content, mode=mode or _NEW.get(path.name, 0o644), sync=True)
        return
    with files.replacement(path, content, mode=mode or stat.S_IMODE(found.st_mode), sync=True) as temporary:
        if found.st_uid != os.geteuid():  # root's edit does not make it root's
            os.chown(temporary, found.st_uid, found.st_gid)
        temporary.replace(path)


def _drop_backups(change: Change) -> None:
    """A file that is again as it was needs no backup."""
    for entry in change.gone:
        if entry.backup is not None and content(Path(entry.backup)) == change.after:
            Path(entry.backup).unlink(missing_ok=True)


def _drop_folders(change: Change) -> None:
    """Take away the folders that were made, as far as nobody else has put something into them."""
    for entry in change.gone:
        for folder in reversed(entry.folders):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
