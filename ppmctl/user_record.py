"""A list that ppmctl remembers in the user's own folder, as a JSON file for that user's eyes alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ppmctl import files
from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Item = TypeVar("Item")


def read(path: Path, key: str, parse: Callable[[Any], Item], *, hint: str) -> tuple[Item, ...]:
    """Return what the file at `path` has under `key`. Raise UsageError where it is not one that ppmctl wrote."""
    try:
        return tuple(parse(values) for values in json.loads(path.read_bytes())[key])
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=files.whose(path)) from exc
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UsageError(f"{path} is not as ppmctl writes it.", hint=f"Delete it{hint}") from exc


def write(path: Path, key: str, items: Iterable[DataclassInstance]) -> None:
    """Have these items on disk; without any, no file and no empty folder. Raise OSError."""
    values = [asdict(item) for item in items]
    if values:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_atomic(path, f"{json.dumps({key: values}, indent=2)}\n".encode(), mode=0o600)
        return
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
