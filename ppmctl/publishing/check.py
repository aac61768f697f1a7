"""Check a file before it is sent: what an index would refuse, and what `twine check` finds."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from urllib.parse import urlsplit

from ppmctl import regular_file
from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.distribution import Dist, InvalidDistribution
from ppmctl.errors import PpmError

_NEVER_FLUSHED = 1 << 30


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A distribution on this machine that passed the check. `size` is in bytes; `warnings` are for the user."""

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


def check(path: Path) -> LocalFile:
    """Read and check the file at `path`; raise InvalidDistribution if it can't be published."""
    try:
        regular_file.require(path)
        dist = inspection.inspect(path, path.name)
        dist.require_valid()
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, io.SEEK_END)
    except OSError as exc:
        raise InvalidDistribution(f"{path} can't be read: {exc.strerror}.") from exc
    return LocalFile(path=path, dist=dist, sha256=sha256, size=size, warnings=_twine_check(path))


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


def _twine_check(path: Path) -> tuple[str, ...]:
    """Return the warnings of `twine check`; raise InvalidDistribution for its errors."""
    from twine.commands import check as command
    from twine.exceptions import TwineException

    with _records_of("twine") as records, contextlib.redirect_stdout(io.StringIO()):
        try:
            has_failed = command.check([str(path)])
        except TwineException as exc:
            raise InvalidDistribution(f"{path.name}: {distribution.one_line(exc)}.") from exc
    if has_failed:
        # The first line is about the public index; the reason follows.
        errors = (record.getMessage() for record in records if record.levelno >= logging.ERROR)
        reason = "; ".join(" ".join(error.splitlines()[1:]) for error in errors)
        raise InvalidDistribution(
            f"{path.name}: its description can't be rendered: {distribution.one_line(reason)}.",
            hint="Repair the README, or name its format in the metadata: text/markdown, text/x-rst or text/plain.",
        )
    return tuple(
        f"{path.name}: {distribution.one_line(record.getMessage())}."
        for record in records
        if record.levelno == logging.WARNING
    )


@contextlib.contextmanager
def _records_of(name: str) -> Iterator[list[logging.LogRecord]]:
    """Yield the list of records that the logger `name` gets; none of them is printed."""
    handler = BufferingHandler(_NEVER_FLUSHED)
    logger = logging.getLogger(name)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
