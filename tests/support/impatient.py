"""Run `ppmctl` with short time limits for slow clients: python tests/support/impatient.py serve …

Only constants are changed. A request has to arrive within ARRIVES seconds, a refused client is dropped after LEAVES,
and a thread waits STALLS for the next byte of an upload.
"""

from __future__ import annotations

import sys
from pathlib import Path

COMMAND = (sys.executable, str(Path(__file__).resolve()))
ARRIVES, LEAVES, STALLS = 2.0, 2.0, 3.0


def main() -> None:
    sys.path.pop(0)  # this file's folder: the program must not import from it
    from ppmctl.cli.commands import main as ppmctl

    if "serve" in sys.argv:
        import os

        os.environ.setdefault("HOME", "/")  # pypiserver reads it when it is imported
        from ppmctl.server import app, waiting

        waiting.ARRIVES_WITHIN, waiting.LEAVES_WITHIN, app._STALLED_AFTER = ARRIVES, LEAVES, STALLS
    ppmctl()


if __name__ == "__main__":
    main()
