"""Remember what `ppmctl client-config --write` put into which file, so that it can be removed again.

The record is `clients.json`, in the folder of the `logins.json` of `ppmctl login`. It never has a secret.
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
    """What was put into `file` for a client and the index `index`, which the client calls `name`.

    `wanted`: the settings that the lines were made of. `puts`: the lines, each group with the number of the line it
    was put before. `created`: whether the file was made for it. `backup`: the copy of the file as it was before.
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
    """All entries, oldest first."""

    def of_file(self, file: Path) -> tuple[Entry, ...]:
        """Return the entries of a file, for all clients."""
        return tuple(entry for entry in self.all if entry.file == str(file))


def read(environ: Mapping[str, str], home: Path) -> EditRecord:
    """Return the record. Raise UsageError where ppmctl did not write the file."""
    path = user_dirs.own(environ, home) / "clients.json"
    return EditRecord.read(path, _entry, hint="; then remove by hand what ppmctl wrote into other files.")


def _entry(values: Any) -> Entry:
    puts = tuple((int(at), tuple(map(str, texts))) for at, texts in values["puts"])
    entry = Entry(**{**values, "puts": puts})
    texts = (entry.client, entry.file, entry.index, entry.name, entry.scope, entry.form, entry.wanted)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(values)
    return entry
