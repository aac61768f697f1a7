"""What `ppmctl client-config --write` remembers: what it put into which file, to take it out again. Never a secret.

It is `clients.json` beside the `logins.json` of `ppmctl login`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppmctl import user_dirs, user_record


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was put into `file` for a client and the index `index`, called `name` there.

    `puts` are the lines, each with the line that they were put before; `wanted` is what they were made of. `created`
    if the file was made for it, `folders` are those that were made for the file, the outermost first.
    """

    client: str
    file: str
    index: str
    name: str
    scope: str = "user"
    form: str = ""
    wanted: str = ""
    puts: tuple[tuple[int, tuple[str, ...]], ...] = ()
    created: bool = False
    folders: tuple[str, ...] = ()
    backup: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.client, self.file, self.index


@dataclass(frozen=True, kw_only=True)
class EditRecord:
    """All that is remembered, in the order in which it was written."""

    path: Path
    all: tuple[Entry, ...] = ()

    @property
    def backups(self) -> Path:
        """The folder for what the files were before."""
        return self.path.parent / "backups"

    def of_file(self, file: Path) -> tuple[Entry, ...]:
        """Return what a file has of ours, for whichever client."""
        return tuple(entry for entry in self.all if entry.file == str(file))

    def entry(self, client: str, path: Path, index: str, name: str, *, is_new: bool, **more: Any) -> Entry:
        """Return the entry for an edit of a file; what was made for the file is known to its earlier entries."""
        ours = self.of_file(path)
        missing = {str(folder) for each in (path, self.path) for folder in each.parents if not folder.exists()}
        folders = ours[0].folders if ours else tuple(sorted(missing))
        created = is_new or any(other.created for other in ours)
        return Entry(client=client, file=str(path), index=index, name=name, created=created, folders=folders, **more)

    def changed(self, entry: Entry | None, gone: tuple[Entry, ...]) -> EditRecord:
        """Return the record with `entry`, last, and without `gone`, once it is on disk. Raise OSError."""
        left = {each.key for each in self.all} - {each.key for each in (*gone, *([entry] if entry else []))}
        kept = tuple(each for each in self.all if each.key in left)
        made = replace(self, all=(*kept, *([entry] if entry else [])))
        made.save()
        return made

    def save(self) -> None:
        """Have the record on disk as it is here. Raise OSError."""
        with contextlib.suppress(OSError):
            self.backups.rmdir()
        user_record.write(self.path, "written", self.all)


def read(environ: Mapping[str, str], home: Path) -> EditRecord:
    """Return what is remembered. Raise UsageError where the file is not one that ppmctl wrote."""
    path = user_dirs.own(environ, home) / "clients.json"
    hint = "; what was written is then yours to take out."
    return EditRecord(path=path, all=user_record.read(path, "written", _entry, hint=hint))


def _entry(values: Any) -> Entry:
    puts = tuple((int(at), tuple(map(str, texts))) for at, texts in values["puts"])
    entry = Entry(**{**values, "puts": puts, "folders": tuple(map(str, values["folders"]))})
    if not all(isinstance(text, str) for text in (*entry.key, entry.name, entry.scope, entry.form, entry.wanted)):
        raise TypeError(values)
    return entry
