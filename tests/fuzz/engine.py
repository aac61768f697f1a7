"""Fuzz one target with atheris until its time is over: python -m fuzz.engine TARGET SECONDS FOLDER SEED

Inputs that reach new code are stored in FOLDER. An input that breaks the target is stored in the target's corpus, one
for each place in the code, and reported on a line that starts with FINDING; a time-out ends the process.
"""

from __future__ import annotations

import logging
import resource
import sys
import traceback
from pathlib import Path
from types import TracebackType

import atheris

import fuzz

# What is watched for new coverage: the product, and what reads a stranger's bytes for it.
WATCHED = (
    *("ppmctl", "packaging", "werkzeug", "yaml", "pypiserver", "passlib"),
    *("email", "gzip", "html", "json", "tarfile", "tomllib", "urllib", "xmlrpc", "zipfile"),
)
SLOWER = 4  # times, because of what watches it
_TIMEOUT = 60  # seconds until an input counts as endless


class Watch:
    """Runs a target, and stores the inputs that break it."""

    def __init__(self, target: fuzz.Target) -> None:
        self._target = target
        self._known: set[str] = set()
        self._most = _memory()

    def __call__(self, data: bytes) -> None:
        try:
            seconds = self._target.measured(data)
        except (Exception, SystemExit) as exc:
            kind = type(exc).__name__
            self._report(kind, _place(exc), data, "".join(traceback.format_exception(exc)))
            return
        finally:
            grown, self._most = _memory() - self._most, _memory()
        if seconds > fuzz.MAX_SECONDS * SLOWER:
            self._report("slow", str(len(data).bit_length()), data, f"It took {seconds:.1f} s.\n")
        if grown > fuzz.MAX_MEMORY:
            self._report("memory", str(len(data).bit_length()), data, f"It took {grown >> 20} MB.\n")

    def _report(self, kind: str, place: str, data: bytes, text: str) -> None:
        if f"{kind} {place}" in self._known:
            return
        self._known.add(f"{kind} {place}")
        path = fuzz.CORPUS / self._target.name / fuzz.filename(kind, data)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        print(f"{text}FINDING {kind} at {place}: {path.relative_to(fuzz.ROOT)}", file=sys.stderr, flush=True)


def _memory() -> int:
    """Return the most bytes that this process has used so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _place(exc: BaseException) -> str:
    """Return the last lines of the product and of any code that an exception went through: one fault, one place."""
    frames: list[TracebackType] = []
    step = exc.__traceback__
    while step is not None:
        frames.append(step)
        step = step.tb_next
    places = [f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" for frame in frames]
    own = [
        place
        for place, frame in zip(places, frames, strict=True)
        if "/ppmctl/" in frame.tb_frame.f_code.co_filename or "/fuzz/" in frame.tb_frame.f_code.co_filename
    ]
    return own[-1] if isinstance(exc, RecursionError) else " ".join(dict.fromkeys([own[-1], places[-1]]))


def main(name: str, seconds: int, folder: Path, seed: int) -> None:
    logging.disable(logging.CRITICAL)
    for module in [module for module in sys.modules if module.split(".")[0] in WATCHED]:
        del sys.modules[module]  # imported already, so not watched
    with atheris.instrument_imports(include=list(WATCHED)):
        target = fuzz.load(name)
    seeds, saved = folder / "seeds", fuzz.CORPUS / name
    for path in (seeds, saved, folder / "new"):
        path.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (seeds / fuzz.filename("seed", data)).write_bytes(data)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={fuzz.MAX_LENGTH}",
        f"-timeout={_TIMEOUT}",
        "-rss_limit_mb=2048",
        "-report_slow_units=1000000",
        "-print_final_stats=1",
        f"-artifact_prefix={saved}/",
    ]
    mutate = {"custom_mutator": target.mutate} if target.mutate is not None else {}
    atheris.Setup([sys.argv[0], *options, *map(str, (folder / "new", seeds, saved))], Watch(target), **mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
