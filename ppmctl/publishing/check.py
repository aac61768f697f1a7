"""Is a file fit to be published? What an index would refuse and what `twine check` finds, before a byte is sent."""

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

from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import Dist, InvalidDistribution
from ppmctl.errors import PpmError

_NEVER_FLUSHED = 1 << 30


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A distribution on this machine that passed its check. `size` is in bytes; `warnings` are for people."""

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
    """Read the file at `path`; InvalidDistribution says why it is not one to publish."""
    try:
        dist = distribution.inspect(path, path.name)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, io.SEEK_END)
    except OSError as exc:
        raise InvalidDistribution(f"{path} can't be read: {exc.strerror}.") from exc
    return LocalFile(path=path, dist=dist, sha256=sha256, size=size, warnings=_twine_check(path))


def require_leave(file: LocalFile, host: str) -> None:
    """PpmError where `file` is private by its classifiers, and `host` is the public index's: it must not leave.

    The classifier `Private :: Do Not Upload` is there for that, and says nothing of an index of one's own.
    """
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
    """What `twine check` warns of; InvalidDistribution for what it does not let pass."""
    from twine.commands import check as command
    from twine.exceptions import TwineException

    with _records_of("twine") as records, contextlib.redirect_stdout(io.StringIO()):
        try:
            has_failed = command.check([str(path)])
        except TwineException as exc:
            raise InvalidDistribution(f"{path.name}: {distribution.one_line(exc)}.") from exc
    errors = [record for record in records if record.levelno >= logging.ERROR]
    if has_failed:
        # its first line is a sentence about another index, what is wrong follows
        what = "; ".join(" ".join(record.getMessage().splitlines()[1:]) for record in errors)
        raise InvalidDistribution(
            f"{path.name}: its description can't be rendered: {distribution.one_line(what)}.",
            hint="Mend the README, or say in the metadata what it is: text/markdown, text/x-rst, text/plain.",
        )
    return tuple(
        f"{path.name}: {distribution.one_line(record.getMessage())}."
        for record in records
        if record.levelno == logging.WARNING
    )


@contextlib.contextmanager
def _records_of(name: str) -> Iterator[list[logging.LogRecord]]:
    """What is logged under `name` during the block, instead of being printed."""
    handler = BufferingHandler(_NEVER_FLUSHED)
    logger = logging.getLogger(name)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
