"""Store a list in the user's configuration folder, as a JSON file that only that user can read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ppmctl import files, regular_file
from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Item = TypeVar("Item", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Record(Generic[Item]):
    """A stored list, in the order in which it was written."""

    path: Path
    all: tuple[Item, ...] = ()

    @classmethod
    def read(cls, path: Path, parse: Callable[[Any], Item], *, hint: str) -> Self:
        """Return the list in the file at `path`. Raise UsageError if ppmctl did not write that file."""
        try:
            return cls(
                path=path, all=tuple(parse(values) for values in json.loads(regular_file.read(path))[path.stem])
            )
        except (FileNotFoundError, NotADirectoryError):
            return cls(path=path)
        except OSError as exc:
            raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=files.access_hint(path)) from exc
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise UsageError(f"{path} is not a file that ppmctl wrote.", hint=f"Delete it{hint}") from exc

    def changed(self, gone: Collection[Item], new: Item | None = None) -> Self:
        """Remove `gone`, append `new`, save the record, and return it. Raise OSError."""
        rest = (each for each in self.all if each not in gone)
        record = replace(self, all=(*rest, *([new] if new else [])))
        record.save()
        return record

    def save(self) -> None:
        """Write the record; if it is empty, delete its file and its empty folders. Raise OSError."""
        values = {self.path.stem: [asdict(item) for item in self.all]}
        if self.all:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write_atomic(self.path, f"{json.dumps(values, indent=2)}\n".encode(), mode=0o600)
            return
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in (self.path.parent, self.path.parents[1]):
                folder.rmdir()
