"""What `ppmctl client-config --write` remembers: what it put into which file, to take it out again. Never a secret.

It is `clients.json` beside the `logins.json` of `ppmctl login`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ppmctl import files, logins
from ppmctl.errors import UsageError


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
    scope: str
    form: str
    wanted: str = ""
    puts: tuple[tuple[int, tuple[str, ...]], ...] = ()
    created: bool = False
    folders: tuple[str, ...] = ()
    backup: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.client, self.file, self.index


@dataclass(frozen=True, kw_only=True)
class Written:
    """All that is remembered, in the order in which it was written."""

    path: Path
    all: tuple[Entry, ...] = field(default=())

    @property
    def backups(self) -> Path:
        """The folder for what the files were before."""
        return self.path.parent / "backups"

    def at(self, client: str, file: Path) -> tuple[Entry, ...]:
        """What a client's file has of ours."""
        return tuple(entry for entry in self.all if (entry.client, entry.file) == (client, str(file)))

    def of_file(self, file: Path) -> tuple[Entry, ...]:
        """What a file has of ours, for whichever client."""
        return tuple(entry for entry in self.all if entry.file == str(file))

    def put(self, entry: Entry, *, but: tuple[Entry, ...] = ()) -> Written:
        """With `entry` on disk, last, and without others. OSError."""
        gone = {entry.key, *(other.key for other in but)}
        return self._write([*(other for other in self.all if other.key not in gone), entry])

    def restore(self) -> None:
        """Have it on disk as it is here. OSError."""
        self._write(list(self.all))

    def drop(self, entry: Entry) -> Written:
        """Without `entry` on disk; the last one goes with its file and its folder. OSError."""
        return self._write([other for other in self.all if other.key != entry.key])

    def _write(self, entries: list[Entry]) -> Written:
        if entries:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps({"written": [asdict(entry) for entry in entries]}, indent=2)
            files.write_atomic(self.path, f"{text}\n".encode(), mode=0o600)
        else:
            self.path.unlink(missing_ok=True)
            for folder in (self.backups, self.path.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        return replace(self, all=tuple(entries))


def read(environ: Mapping[str, str], home: Path) -> Written:
    """What is remembered. UsageError where the file is not one that ppmctl wrote."""
    path = logins.read(environ, home).path.with_name("clients.json")
    try:
        written = json.loads(path.read_bytes())
        return Written(path=path, all=tuple(_entry(values) for values in written["written"]))
    except (FileNotFoundError, NotADirectoryError):
        return Written(path=path)
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=files.whose(path)) from exc
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UsageError(
            f"{path} is not as ppmctl writes it.", hint="Delete it; what was written is then yours to take out."
        ) from exc


def _entry(values: Any) -> Entry:
    puts = tuple((int(at), tuple(map(str, texts))) for at, texts in values["puts"])
    entry = Entry(**{**values, "puts": puts, "folders": tuple(map(str, values["folders"]))})
    if not all(isinstance(text, str) for text in (*entry.key, entry.name, entry.scope, entry.form, entry.wanted)):
        raise TypeError(values)
    return entry
