"""Run `ppmctl` with uploads that the server reads itself: python bench/without_child.py serve …"""

from __future__ import annotations

import sys
from pathlib import Path

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def main() -> None:
    sys.path.pop(0)  # this file's folder: the program must not import from it
    from ppmctl.cli.commands import main as ppmctl
    from ppmctl.distributions import distribution, inspection

    def inspect(path: Path, filename: str, *, old: bool = False, wait: float | None = None) -> distribution.Dist:
        return distribution.inspect(path, filename, old=old)

    vars(inspection)["inspect"] = inspect
    ppmctl()


if __name__ == "__main__":
    main()
