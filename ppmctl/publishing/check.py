"""Check a file before it is sent: what an index refuses, and in a build of this machine what `twine check` finds."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ppmctl import regular_file
from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.distribution import Dist, InvalidDistribution
from ppmctl.errors import PpmError
from ppmctl.publishing import metadata_check


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A distribution on this machine that passed the check. `size` is in bytes; `warnings` are phrases."""

    path: Path
    dist: Dist
    sha256: str
    size: int
    warnings: tuple[str, ...] = ()

    @property
    def filename(self) -> str:
        return self.dist.name.filename

    @property
    def project(self) -> str:
        return self.dist.name.project


def check(path: Path, *, is_own: bool) -> LocalFile:
    """Read and check the file at `path`; raise InvalidDistribution if it can't be published.

    A file that was not built here (`is_own`) is held to what an index accepts; everything else is a warning.
    """
    try:
        regular_file.require(path)
        dist = inspection.inspect(path, path.name)
        dist.require_valid()
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, io.SEEK_END)
    except OSError as exc:
        raise InvalidDistribution(f"{path} can't be read: {exc.strerror}.") from exc
    errors = metadata_check.errors(dist.metadata)
    if is_own and errors:
        raise InvalidDistribution(
            f"{path.name}: {'; '.join(errors)}.",
            hint="Repair the project's metadata. For a description that can't be rendered: repair the README, or name"
            " its format: text/markdown, text/x-rst or text/plain.",
        )
    warnings = (*errors, *dist.notes, *metadata_check.warnings(dist.metadata))
    return LocalFile(path=path, dist=dist, sha256=sha256, size=size, warnings=warnings)


def require_uploadable(file: LocalFile, host: str) -> None:
    """Raise PpmError if `host` is the public index and `file` has a classifier like `Private :: Do Not Upload`."""
    classifiers = distribution.core_metadata(file.dist.metadata).get("classifiers", [])
    private = next((name for name in classifiers if name.startswith("Private ::")), None)
    if private is None:
        return
    from twine.utils import DEFAULT_REPOSITORY

    public = ".".join((urlsplit(DEFAULT_REPOSITORY).hostname or "").split(".")[-2:])
    if f".{host}".endswith(f".{public}"):
        raise PpmError(
            f"{file.filename} has the classifier {private!r}, and {host} is the public index.",
            hint="Nothing was uploaded. Name your own index with --index.",
        )
