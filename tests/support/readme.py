"""The commands of the README's sections, and a shell that runs them as a user who pastes them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str = "README.md") -> dict[str, list[str]]:
    """Return the blocks of commands of each section, in order; those before the first heading belong to ""."""
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    first, *rest = _SECTION.split(text)
    return {title: _BLOCK.findall(part) for title, part in [("", first), *zip(rest[::2], rest[1::2], strict=True)]}


def paste(block: str, folder: Path, environ: Mapping[str, str], *, timeout: float = 1500) -> str:
    """Run a block in `folder`, and return its output; fail at the first command that fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{block}\nexited {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-4000:]}"
    return done.stdout
