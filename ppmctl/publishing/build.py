"""A source tree → an sdist, and the wheel that is built from it. The only module that knows `build`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ppmctl import events
from ppmctl.client.credential import SECRET_VARIABLES
from ppmctl.errors import PpmError, UsageError
from ppmctl.files import whose
from ppmctl.publishing import build_hints, git

TIMEOUT = 2 * 3600  # seconds; compiled packages take their time
_NO_DATE = "1580601600"  # 2020-02-02: what hatchling takes as well
_TAIL = 30  # lines of its output that a failed build shows

# `build` shows its own when pip fails, after what pip said.
_TRACEBACK = re.compile(
    r"^Traceback \(most recent call last\):\n  File \"[^\"\n]*/build/__main__\.py\".*?(?=^ERROR )",
    re.MULTILINE | re.DOTALL,
)

_MARKS = ("pyproject.toml", "setup.py")


def is_source_tree(path: Path) -> bool:
    """Return whether `path` is the folder of a project that can be built; UsageError where it is no file either."""
    try:
        if path.is_file():
            return False
        if not path.exists():
            raise UsageError(f"There is nothing at {path}.", hint="Give a project's folder, or files such as dist/*")
        is_tree = any((path / mark).is_file() for mark in _MARKS)
    except PermissionError as exc:
        raise UsageError(f"{path.resolve()} can't be read: {exc.strerror}.", hint=whose(path.resolve())) from exc
    if not is_tree:
        raise UsageError(
            f"{path.resolve()} has neither a pyproject.toml nor a setup.py, so there is nothing to build.",
            hint="Give the folder of a project, or files that are built already: ppmctl publish dist/*",
        )
    return True


def source_date(project: Path) -> str:
    """Return the time that a build writes into its files, in seconds since the epoch, so that all write the same.

    That of the last commit in the folder `project`; one that is always the same where there is none.
    """
    return git.ask(project, "log", "-1", "--format=%ct", "--", ".") or _NO_DATE


def build(source: Path, into: Path, *, shown: Path | None = None) -> tuple[Path, ...]:
    """Build the tree at `source` in environments of its own: the wheel is built from the sdist, as installers do.

    The two files in `into` are the result. The build gets this process's environment, without what is secret in it,
    and SOURCE_DATE_EPOCH. Messages call the tree `shown`. PpmError with the end of the build's output where it fails,
    which names what it lacked if it was a compiler or the like.
    """
    shown = (shown or source).resolve()
    # As a program of its own: what a backend prints, breaks or leaves in memory stays there.
    # -P: a folder named build beside the project is not taken for the program.
    command = [sys.executable, "-P", "-m", "build", "--outdir", str(into), str(source.absolute())]
    # The backend is the project's code and that of its build requirements: they get no secrets of ours.
    inherited = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    # unbuffered, or what went wrong stands before what led to it; wide, or names are broken in two
    environ = {"SOURCE_DATE_EPOCH": source_date(source), **inherited, "PYTHONUNBUFFERED": "1", "COLUMNS": "1000"}
    with events.progress(f"Building {shown.name}"), tempfile.TemporaryFile() as output:
        try:
            subprocess.run(
                command,
                check=True,
                timeout=TIMEOUT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        except subprocess.CalledProcessError as exc:
            printed = _end(output.fileno())
            lack, hint = build_hints.find(printed) or ("", f"The same by hand: python -m build {shown}")
            why = f"can't be built without {lack}" if lack else "can't be built"
            raise PpmError(f"{shown} {why}. The end of the build's output:\n{_tail(printed)}", hint=hint) from exc
        except subprocess.TimeoutExpired as exc:
            raise PpmError(
                f"The build of {shown} was not done after {TIMEOUT // 60} minutes:\n{_tail(_end(output.fileno()))}"
            ) from exc
    return tuple(sorted(into.iterdir()))


def _end(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, 1 << 16, max(0, size - (1 << 16))).decode("utf-8", "replace")


def _tail(printed: str) -> str:
    return "\n".join(f"    {line}" for line in _TRACEBACK.sub("", printed).rstrip().splitlines()[-_TAIL:])
