"""Run `ppmctl` and log the distribution files that it opens: python tests/support/opened.py LOG index rebuild …"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, str(Path(__file__).resolve()))


def main() -> None:
    log = sys.argv.pop(1)
    sys.path.pop(0)  # this file's folder: the program must not import from it
    from ppmctl.cli.commands import main as ppmctl

    opened = open(log, "w", encoding="utf-8")  # noqa: SIM115 - it ends with the process

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if path.endswith((".whl", ".tar.gz", ".zip")):
                opened.write(f"{path}\n")

    sys.addaudithook(hook)
    ppmctl()


if __name__ == "__main__":
    main()
