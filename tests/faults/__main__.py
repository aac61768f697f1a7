"""Plant each fault in a copy of the checkout, and check that its test finds it: python -m tests.faults [WORD…]

With words, only the faults that have one of them in their name, file or test. Exit with 1 if a test fails without a
fault, or passes with one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import Fault, read
from tests.support import checkout


def main(words: list[str]) -> int:
    faults = [fault for fault in read() if not words or any(word in f"{fault}" for word in words)]
    with tempfile.TemporaryDirectory(prefix="ppm-faults-") as folder:
        copy = checkout.copy(Path(folder) / "ppm")
        for shared in (".venv", ".cache"):  # .cache has the Debian programs for tests of nginx
            (checkout.ROOT / shared).mkdir(exist_ok=True)
            (copy / shared).symlink_to(checkout.ROOT / shared)
        sound = run(copy, sorted({fault.test for fault in faults}))
        if sound.returncode != 0:
            print(f"Without a fault not all tests pass:\n{sound.stdout}{sound.stderr}")
            return 1
        left = [fault.name for fault in faults if not is_found(copy, fault)]
    print(f"{len(faults) - len(left)} of {len(faults)} faults were found.")
    return 1 if left else 0


def is_found(copy: Path, fault: Fault) -> bool:
    """Plant a fault, run its test, and remove the fault."""
    path = copy / fault.file
    text = path.read_text(encoding="utf-8")
    started = time.monotonic()
    try:
        path.write_text(fault.planted_in(text), encoding="utf-8")
        done = run(copy, [fault.test])
    finally:
        path.write_text(text, encoding="utf-8")
    last = next(iter(done.stdout.splitlines()[-1:]), "")
    # exit code 1 without "failed" is a broken set-up, such as a product that can't be imported
    has_failed = done.returncode == 1 and " failed" in last
    print(f"{'found' if has_failed else 'LEFT '}  {time.monotonic() - started:4.0f} s  {fault.name}", flush=True)
    if not has_failed:
        print(f"       {fault.test}: {last or done.stderr}")
    return has_failed


def run(copy: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the copy on the copy's product, not on an installed one."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", *tests]
    environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, timeout=1800)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
