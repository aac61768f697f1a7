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

    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if path.endswith((".whl", ".tar.gz", ".zip")):
                os.write(opened, f"{path}\n".encode())

    sys.addaudithook(hook)
    ppmctl()


if __name__ == "__main__":
    main()
