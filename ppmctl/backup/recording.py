"""Record how a backup or a drill ended, whatever ends it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ppmctl.access import operation_log
from ppmctl.access.account import Actor
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import OperationResult


@dataclass(kw_only=True)
class Report:
    """What a block did so far: one line, and figures for health and metrics."""

    detail: str = ""
    figures: dict[str, int | float | str] = field(default_factory=dict)


@contextlib.contextmanager
def recorded(volume: Volume, actor: Actor, name: str) -> Iterator[Report]:
    """Record the operation `name` at the end of the block: as failed, with the reason, if it raises."""
    began, report = time.monotonic(), Report()

    def record(detail: str, *, succeeded: bool) -> None:
        seconds = round(time.monotonic() - began, 2)
        result = OperationResult(
            name=name, succeeded=succeeded, detail=detail, seconds=seconds, figures=dict(report.figures)
        )
        operation_log.record(volume, actor, result)

    try:
        yield report
    except BaseException as exc:
        with contextlib.suppress(OSError):  # the disk is full, perhaps: the error that is raised says so
            record(_reason(exc), succeeded=False)
        raise
    record(report.detail, succeeded=True)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, PpmError):
        return exc.message
    if isinstance(exc, OSError):
        return f"{exc.strerror or exc}{f' ({exc.filename})' if exc.filename else ''}"
    return "It was interrupted." if isinstance(exc, KeyboardInterrupt) else f"A bug: {type(exc).__name__}: {exc}"
