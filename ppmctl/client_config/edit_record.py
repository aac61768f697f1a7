"""What `ppmctl client-config --write` remembers: what it put into which file, to take it out again. Never a secret.

It is `clients.json` beside the `logins.json` of `ppmctl login`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl import user_dirs
from ppmctl.client.user_record import Record


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was put into `file` for a client and the index `index`, called `name` there.

    `puts` are the lines, each with the line that they were put before; `wanted` is what they were made of. `created`
    if the file was made for it; `backup` has what the file was before.
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
    backup: str | None = None


class EditRecord(Record[Entry]):
    """All that is remembered, in the order in which it was written."""

    def of_file(self, file: Path) -> tuple[Entry, ...]:
        """Return what a file has of ours, for whichever client."""
        return tuple(entry for entry in self.all if entry.file == str(file))


def read(environ: Mapping[str, str], home: Path) -> EditRecord:
    """Return what is remembered. Raise UsageError where the file is not one that ppmctl wrote."""
    path = user_dirs.own(environ, home) / "clients.json"
    return EditRecord.read(path, _entry, hint="; what was written is then yours to take out.")


def _entry(values: Any) -> Entry:
    puts = tuple((int(at), tuple(map(str, texts))) for at, texts in values["puts"])
    entry = Entry(**{**values, "puts": puts})
    texts = (entry.client, entry.file, entry.index, entry.name, entry.scope, entry.form, entry.wanted)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(values)
    return entry
