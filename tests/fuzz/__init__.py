"""Functions that are fuzzed, and the files that once broke one of them.

A target is a function of a module of this package: it takes any bytes, and raises an exception if the product handles
them wrongly: with an exception that its callers do not expect, or with a result that breaks a promise. A target must
also finish within MAX_SECONDS of processor time. `corpus/TARGET/` has every input that ever failed.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).resolve().with_name("corpus")

# module → its targets
MODULES = {
    "archives": ("wheel", "sdist", "metadata", "revision"),
    "forms": ("upload", "request"),
    "heads": ("front",),
    "pages": ("page",),
    "lists": ("requirements", "conda", "pyproject", "pipenv", "lock"),
    "credentials": ("access", "htpasswd", "declared"),
    "edits": ("netrc", "pip", "pypirc", "toml"),
}
TARGETS = {target: module for module, targets in MODULES.items() for target in targets}

MAX_SECONDS = 1.0  # of processor time, for one input; instrumented code may take four times as long
MAX_MEMORY = 96 << 20  # bytes that one input may allocate
MAX_LENGTH = 1 << 15  # bytes of a generated input

Mutator = Callable[[bytes, int, int], bytes]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A function to fuzz. `seeds` are inputs to begin with; `mutate` changes one, by default at random."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    mutate: Mutator | None

    def saved(self) -> list[Path]:
        """Return the files of its corpus."""
        return sorted(path for path in (CORPUS / self.name).glob("*") if path.is_file())

    def measured(self, data: bytes) -> float:
        """Run it, and return the seconds of processor time that it took."""
        started = time.process_time()
        self.run(data)
        return time.process_time() - started


def load(name: str) -> Target:
    """Import the target `name`. Its module has NAME, NAME_seeds, and perhaps NAME_mutate."""
    module = importlib.import_module(f"fuzz.{TARGETS[name]}")
    return Target(
        name=name,
        run=getattr(module, name),
        seeds=getattr(module, f"{name}_seeds"),
        mutate=getattr(module, f"{name}_mutate", None),
    )


def filename(kind: str, data: bytes) -> str:
    """Return the name of a file of the corpus; `kind` is what it broke, such as an exception's name."""
    return f"{kind.lower()}-{hashlib.sha256(data).hexdigest()[:12]}"


@cache
def scratch() -> Path:
    """Return a folder for this process's files."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="ppm-fuzz-", dir=memory if memory.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def text_of(data: bytes) -> str:
    """Return bytes as the text that most of the product would read from them; what is not UTF-8 is replaced."""
    return data.decode("utf-8", "replace")
