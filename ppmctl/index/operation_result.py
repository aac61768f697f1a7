"""The last result of each recurring operation on an index: backup, restore drill, renewal of the certificate.

A file `operations/NAME.json` for each, written whole by the operation and read by health, metrics and web pages.
`operations/backups-expected.json` has the time since when the settings of the server say that backups are made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ppmctl import files
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume

BACKUP, DRILL, CERTIFICATE = NAMES = ("backup", "drill", "certificate")
_EXPECTED = "backups-expected"


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """How an operation ended; `finished` and `last_success` are UTC in ISO 8601, `last_success` "" if there was none.

    `detail` is one line: what was done, or the reason of the failure. `figures` are numbers and names for reports.
    """

    name: str
    succeeded: bool
    detail: str = ""
    seconds: float = 0.0
    finished: str = ""
    last_success: str = ""
    figures: Mapping[str, int | float | str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def write(volume: Volume, result: OperationResult) -> OperationResult:
    """Store `result` as that of now, with the time of the last success, and return it. Raise OSError."""
    earlier = read(volume, result.name)
    now = project_folder.now()
    success = now if result.succeeded else earlier.last_success if earlier else ""
    result = replace(result, finished=now, last_success=success)
    path = volume.operation(result.name)
    path.parent.mkdir(mode=0o750, exist_ok=True)
    files.write_atomic(path, json.dumps(result.to_json()).encode() + b"\n", mode=0o640, sync=True)
    return result


def note_expected(volume: Volume, *, is_expected: bool) -> None:
    """Store since when backups are expected, if that is not known; forget it if they are not. Raise OSError."""
    path = volume.operation(_EXPECTED)
    if not is_expected:
        path.unlink(missing_ok=True)
    elif not path.exists():
        path.parent.mkdir(mode=0o750, exist_ok=True)
        files.create(path, json.dumps(project_folder.now()).encode() + b"\n", mode=0o640)


def expected_since(volume: Volume) -> str:
    """Return since when backups are expected, "" if they are not, or if the file can't be read."""
    try:
        return str(json.loads(volume.operation(_EXPECTED).read_bytes()))
    except (OSError, ValueError):
        return ""


def read(volume: Volume, name: str) -> OperationResult | None:
    """Return the last result of an operation, or None if it never ran or its file can't be read as one."""
    try:
        document = json.loads(volume.operation(name).read_bytes())
        return OperationResult(**document)
    except (OSError, ValueError, TypeError):
        return None


def read_all(volume: Volume) -> dict[str, OperationResult]:
    """Return the last result of each operation that ran, by its name."""
    return {name: result for name in NAMES if (result := read(volume, name))}
