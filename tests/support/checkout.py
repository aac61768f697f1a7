"""Copies of this checkout, equal to a fresh clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy(target: Path) -> Path:
    """Copy only committed files, and files not ignored by git, to `target`, which is returned."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file() or (ROOT / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


def add_environment(checkout: Path) -> None:
    """Give a copy of this checkout the .venv that these tests run in, as `make .venv/.dev` would.

    Files are hard links, except those that contain this checkout's path: scripts, and the editable package's link.
    """
    environment = checkout / ".venv"
    shutil.copytree(sys.prefix, environment, symlinks=True, copy_function=_link)
    package = next(environment.glob("lib/python3*/site-packages"))
    names = [*environment.glob("bin/*"), *package.glob("*.pth"), *package.glob("ppmctl-*.dist-info/*")]
    for path in [environment / "pyvenv.cfg", *names]:
        if path.is_file() and not path.is_symlink() and os.fsencode(ROOT) in (content := path.read_bytes()):
            mode = path.stat().st_mode
            path.unlink()  # the other hard links keep their content
            path.write_bytes(content.replace(os.fsencode(ROOT), os.fsencode(checkout)))
            path.chmod(mode)
    for stamp in (".server", ".hosts", ".dev", ".fuzz"):
        (environment / stamp).unlink(missing_ok=True)
        (environment / stamp).touch()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copy2(source, target)
