"""Print how many mutants of each module the unit tests killed, after `mutmut run`.

    python scripts/mutation_rates.py

A mutant is a module with one small change (an inverted condition, an omitted argument). It is killed if a test fails
or hangs with it. Exit with 1 if a module's rate is below its floor, and with 2 if a mutant was not tried.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

# Minimum percentage of mutants that the unit tests kill, per module.
FLOORS = {
    "access.rights": 87,
    "distributions.archive": 84,
    "index.transaction": 86,
    "distributions.distribution": 80,
    "access.htpasswd": 75,
    "index.pages": 81,
    "index.store": 81,
}
MUTANTS = Path("mutants/ppmctl")
KILLED = ("killed", "timeout")


def main() -> int:
    statuses = {name(path): read(path) for path in sorted(MUTANTS.rglob("*.meta"))}
    print(f"{'module':26} {'mutants':>8} {'killed':>8} {'survived':>9} {'untested':>9} {'rate':>7}")
    low = False
    for module, counts in [*statuses.items(), ("all", sum(statuses.values(), Counter()))]:
        killed, total = sum(counts[status] for status in KILLED), counts.total()
        untested, waiting = counts["no tests"], counts["not checked"]
        rate = 100 * killed / max(total, 1)
        below = rate < FLOORS.get(module, 0)
        low = low or below
        print(
            f"{module:26} {total:8} {killed:8} {total - killed - untested - waiting:9} {untested:9} {rate:6.1f}%"
            f"{f'  below {FLOORS[module]} %' if below else ''}"
        )
    if not statuses or any(counts["not checked"] for counts in statuses.values()):
        print("Not all mutants were tried: run `make mutation`.")
        return 2
    return int(low)


def name(path: Path) -> str:
    """Return the dotted name of the module below ppmctl whose results are at `path`."""
    return ".".join(path.relative_to(MUTANTS).parts).removesuffix(".py.meta")


def read(path: Path) -> Counter[str]:
    """Return how many mutants of a module have each status."""
    codes: dict[str, int | None] = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return Counter(status_by_exit_code[code] for code in codes.values())


if __name__ == "__main__":
    sys.exit(main())
