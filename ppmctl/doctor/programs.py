"""Find and run the programs that a user has, such as pip and uv."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppmctl import regular_file
from ppmctl.client.credential import SECRET_VARIABLES
from ppmctl.doctor.finding import Context
from ppmctl.secret import masked


@dataclass(frozen=True, kw_only=True)
class Result:
    """The exit code of a program, None if it took too long, and what it printed to stdout and stderr."""

    code: int | None
    output: str

    @property
    def last_line(self) -> str:
        """Return the last line of the output, printable and without credentials; else the exit code."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        text = masked(lines[-1]) if lines else f"exit code {self.code}"
        return "".join(character for character in text if character.isprintable())[:300].rstrip(".")


def on_path(names: Sequence[str], environ: Mapping[str, str], *, without: Path | None = None) -> list[Path]:
    """Return the programs with one of these names on PATH: one of each folder but `without`, and each file once."""
    programs: dict[Path, Path] = {}
    for folder in environ.get("PATH", "").split(os.pathsep):
        for name in names:
            path = Path(folder or ".", name)
            if path.parent != without and regular_file.is_present(path) and os.access(path, os.X_OK):
                programs.setdefault(path.resolve(), path)
                break
    return list(programs.values())


def run(command: Sequence[str], context: Context, *, timeout: float = 30.0, stdin: str = "", **env: str) -> Result:
    """Run a program in the user's folder, with the user's environment and `env`, but without the secrets in it."""
    timeout = context.within(timeout)
    environ = {name: value for name, value in context.environ.items() if name not in SECRET_VARIABLES}
    try:
        done = subprocess.run(
            list(command),
            cwd=context.cwd,
            env={**environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1", **env},
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Result(code=None, output=f"it did not end within {timeout:.0f} seconds")
    except OSError as exc:
        return Result(code=-1, output=exc.strerror or str(exc))
    return Result(code=done.returncode, output=done.stdout)
