"""How to add an extra to this installation."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path


def with_extra(extra: str) -> str:
    """Return the command that adds `extra` to the environment of this ppmctl."""
    folder = Path(__file__).parents[1]
    is_checkout = (folder / "pyproject.toml").is_file() and (folder / "ppmctl").is_dir()
    requirement = f"--editable {shlex.quote(f'{folder}[{extra}]')}" if is_checkout else f"'ppmctl[{extra}]'"
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:  # uv creates environments without pip
        return f"uv pip install --python {python} {requirement}"
    return f"{python} -m pip install {requirement}"
