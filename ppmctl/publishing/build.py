"""Build a source tree into an sdist and a wheel. The only module that knows `build`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from ppmctl import events
from ppmctl.client.credential import SECRET_VARIABLES
from ppmctl.errors import PpmError, UsageError
from ppmctl.files import access_hint

TIMEOUT = 2 * 3600  # seconds; compiled packages can take long
_NO_DATE = "1580601600"  # 2020-02-02, the default of hatchling
_TAIL_BYTES = 1 << 16  # that are read of a build's output
_TAIL = 30  # lines of them that a failed build shows

# When pip fails, `build` prints its own traceback after pip's message.
_TRACEBACK = re.compile(
    r"^Traceback \(most recent call last\):\n  File \"[^\"\n]*/build/__main__\.py\".*?(?=^ERROR )",
    re.MULTILINE | re.DOTALL,
)

_MARKS = ("pyproject.toml", "setup.py")


def is_source_tree(path: Path) -> bool:
    """Return True for a project's folder, False for a file; raise UsageError for anything else."""
    try:
        if path.is_file():
            return False
        if not path.exists():
            if any(letter in str(path) for letter in "*?["):  # the shell found no file, and left the pattern
                raise UsageError(
                    f"No file has a name of the form {path}.",
                    hint="Build first: python -m build. Or  ppmctl publish  builds this folder and publishes it.",
                )
            raise UsageError(f"{path} does not exist.", hint="Give a project's folder, or files such as dist/*")
        is_tree = any((path / mark).is_file() for mark in _MARKS)
    except PermissionError as exc:
        raise UsageError(
            f"{path.resolve()} can't be read: {exc.strerror}.", hint=access_hint(path.resolve())
        ) from exc
    if not is_tree:
        raise UsageError(
            f"{path.resolve()} has neither a pyproject.toml nor a setup.py, so there is nothing to build.",
            hint="Give the folder of a project, or files that are built already: ppmctl publish dist/*",
        )
    from ppmctl.publishing import project_version

    if not project_version.is_project(path):
        raise UsageError(
            f"{path.resolve()} is not a project: its pyproject.toml has only settings of tools.",
            hint="Give the folder of a project. If it is to be one, write [project] with a name and a version; or"
            " name its build backend in [build-system].",
        )
    return True


def build(source: Path, into: Path, *, shown: Path | None = None, date: str = "") -> tuple[Path, ...]:
    """Build an sdist, and a wheel from that, into the folder `into`, in environments of their own; return both paths.

    The build gets this process's environment without its secrets, and as SOURCE_DATE_EPOCH `date`, by default a fixed
    one. Messages call the source `shown`. Raise PpmError with the end of the build's output, and with the missing
    program if that is known.
    """
    shown = (shown or source).resolve()
    # A separate process: the backend can't print to our stdout, crash us or leave anything in memory.
    # -P: a folder named `build` in the project is not imported instead of the program.
    command = [sys.executable, "-P", "-m", "build", "--outdir", str(into), str(source.absolute())]
    # The backend and the build requirements are foreign code: they get no secrets of ours.
    inherited = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    # Unbuffered, or an error comes before what led to it; wide, or names are broken in two.
    environ = {"SOURCE_DATE_EPOCH": date or _NO_DATE, **inherited, "PYTHONUNBUFFERED": "1", "COLUMNS": "1000"}
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
            from ppmctl.publishing import build_hints

            text = _end(output)
            missing, hint = build_hints.find(text) or ("", f"To see the whole output: python -m build {shown}")
            without = f" without {missing}" if missing else ""
            raise PpmError(
                f"{shown} can't be built{without}. The end of the build's output:\n{_tail(text)}", hint=hint
            ) from exc
        except subprocess.TimeoutExpired as exc:
            raise PpmError(
                f"The build of {shown} did not finish within {TIMEOUT // 60} minutes:\n{_tail(_end(output))}"
            ) from exc
    return tuple(sorted(into.iterdir()))


def _end(output: IO[bytes]) -> str:
    start = max(0, os.fstat(output.fileno()).st_size - _TAIL_BYTES)
    return os.pread(output.fileno(), _TAIL_BYTES, start).decode("utf-8", "replace")


def _tail(text: str) -> str:
    return "\n".join(f"    {line}" for line in _TRACEBACK.sub("", text).rstrip().splitlines()[-_TAIL:])
