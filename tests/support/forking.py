"""Run `ppmctl` with forks that take a second: python tests/support/forking.py serve …

This widens the window between a fork and the first line of the new process. Nothing of ppmctl is replaced.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def main() -> None:
    sys.path.pop(0)  # this file's folder: the program must not import from it
    from ppmctl.cli.commands import main as ppmctl

    os.register_at_fork(after_in_child=lambda: time.sleep(1))
    ppmctl()


if __name__ == "__main__":
    main()
