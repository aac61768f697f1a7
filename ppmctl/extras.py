"""The extras of this installation: what to type to add one."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path


def with_extra(extra: str) -> str:
    """The command that adds `extra` to the environment that this ppmctl runs in."""
    here = Path(__file__).parents[1]
    is_checkout = (here / "pyproject.toml").is_file() and (here / "ppmctl").is_dir()
    what = f"--editable {shlex.quote(f'{here}[{extra}]')}" if is_checkout else f"'ppmctl[{extra}]'"
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:  # uv makes environments without it
        return f"uv pip install --python {python} {what}"
    return f"{python} -m pip install {what}"
