"""Run `ppmctl` with a clock that is ahead: python tests/support/shifted.py FILE token prune …

FILE has the seconds by which it is ahead, and may change at any time.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def main() -> None:
    ahead = Path(sys.argv.pop(1))
    sys.path.pop(0)  # this file's folder: the program must not import from it

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return super().now(tz) + datetime.timedelta(seconds=float(ahead.read_text() or 0))

    vars(datetime)["datetime"] = Clock  # before ppmctl is imported
    from ppmctl.cli.commands import main as ppmctl

    ppmctl()


if __name__ == "__main__":
    main()
