"""A list that ppmctl remembers in the user's own folder, as a JSON file for that user's eyes alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ppmctl import files
from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Item = TypeVar("Item", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Record(Generic[Item]):
    """All that is remembered, in the order in which it was written."""

    path: Path
    all: tuple[Item, ...] = ()

    @classmethod
    def read(cls, path: Path, parse: Callable[[Any], Item], *, hint: str) -> Self:
        """Return what the file at `path` has. Raise UsageError where it is not one that ppmctl wrote."""
        try:
            return cls(path=path, all=tuple(parse(values) for values in json.loads(path.read_bytes())[path.stem]))
        except (FileNotFoundError, NotADirectoryError):
            return cls(path=path)
        except OSError as exc:
            raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=files.whose(path)) from exc
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise UsageError(f"{path} is not as ppmctl writes it.", hint=f"Delete it{hint}") from exc

    def changed(self, gone: Collection[Item], new: Item | None = None) -> Self:
        """Return the record without `gone` and with `new`, last, once it is on disk. Raise OSError."""
        kept = [each for each in self.all if each not in gone]
        made = replace(self, all=(*kept, *([new] if new else [])))
        made.save()
        return made

    def save(self) -> None:
        """Have the record on disk as it is here; if it is empty, no file and no empty folder. Raise OSError."""
        values = {self.path.stem: [asdict(item) for item in self.all]}
        if self.all:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write_atomic(self.path, f"{json.dumps(values, indent=2)}\n".encode(), mode=0o600)
            return
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for folder in (self.path.parent, self.path.parents[1]):
                folder.rmdir()
