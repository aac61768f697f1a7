"""Fuzz: PYTHONPATH=tests python -m fuzz [--seconds N] [TARGET…]

Without a target, all of them share the time. Prints a line for each: executions, and how much more code was reached.
Exits with 1 if an input broke something; tests/README.md describes what to do then.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import fuzz

CACHE = fuzz.ROOT / ".cache" / "fuzz"
# Orders of changes, which hypothesis makes up: the machine's name → its test
MACHINES = {
    "store": "tests/unit/index/test_store_machine.py",
    "nodes": "tests/unit/index/test_nodes_machine.py",
    "users": "tests/unit/access/test_credentials_machine.py",
}
# libFuzzer's own lines: progress, dictionary, statistics
_NOISE = re.compile(r"^(?:#\d|#{3}|\"|INFO:|stat::|Done \d|\tNEW_FUNC).*\n", re.MULTILINE)
_START = 120.0  # seconds that a target may take to start and to end


@dataclass(kw_only=True)
class Result:
    """What fuzzing a target has shown. `reached` is the number of places in the code, `more` those that were new."""

    name: str
    seconds: float
    executions: int = 0
    reached: int = 0
    more: int = 0
    findings: list[str] = field(default_factory=list)
    output: str = ""

    def __str__(self) -> str:
        rate = f"{self.executions:>10,} executions" if self.executions else f"{'':>10} random orders"
        found = f"{len(self.findings)} findings"
        return f"{self.name:14}{self.seconds:6.0f} s {rate}  {self.reached:>6,} places, {self.more:>4,} new  {found}"


def run(name: str, seconds: int, folder: Path, *, seed: int = 0) -> Result:
    """Fuzz a target in its own process. What reaches new code is stored in `folder`.

    The same `seed` makes the same changes in the same order; 0 makes others each time.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ppm-fuzz-") as temporary:
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.engine", name, str(seconds), str(folder), str(seed)],
            cwd=fuzz.ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(fuzz.ROOT / "tests"),
                "PYTHONHASHSEED": str(seed) if seed else "random",
                "TMPDIR": temporary,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds * 2 + _START,
        )
    output = done.stdout.decode("utf-8", "replace")
    places = [int(number) for number in re.findall(r"^#\d+\s+\w+\s+cov: (\d+)", output, re.MULTILINE)]
    executed = re.search(r"^stat::number_of_executed_units:\s*(\d+)", output, re.MULTILINE)
    findings = re.findall(r"^FINDING (.*)", output, re.MULTILINE)
    findings += re.findall(r"Test unit written to (\S+)", output)
    if done.returncode != 0 and not findings:
        findings.append(f"it ended with {done.returncode}")
    return Result(
        name=name,
        seconds=time.monotonic() - started,
        executions=int(executed[1]) if executed else 0,
        reached=max(places, default=0),
        more=max(places, default=0) - min(places, default=0),
        findings=findings,
        output=_NOISE.sub("", output),
    )


def run_machine(name: str, seconds: int) -> Result:
    """Make changes in random orders until the time is over, with other random numbers each time."""
    started = time.monotonic()
    result = Result(name=name, seconds=0)
    while time.monotonic() - started < seconds and not result.findings:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", MACHINES[name]]
        environ = {**os.environ, "PPM_HYPOTHESIS": "long"}
        done = subprocess.run(command, cwd=fuzz.ROOT, env=environ, capture_output=True, text=True)
        if done.returncode != 0:
            result.findings, result.output = [MACHINES[name]], done.stdout + done.stderr
    result.seconds = time.monotonic() - started
    return result


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Look for inputs that break something.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join((*fuzz.TARGETS, *MACHINES)))
    parser.add_argument("--seconds", type=int, default=1800, help="for all targets together")
    options = parser.parse_args(arguments)
    names = options.targets or [*fuzz.TARGETS, *MACHINES]
    if unknown := set(names) - {*fuzz.TARGETS, *MACHINES}:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    each = max(1, options.seconds // len(names))
    broken = False
    for name in names:
        result = run_machine(name, each) if name in MACHINES else run(name, each, CACHE / name)
        print(result, flush=True)
        if result.findings:
            broken = True
            print(result.output[-20_000:], *result.findings, sep="\n", flush=True)
    if broken:
        print(
            "Each input is now in tests/fuzz/corpus/. Fix what it broke, and commit it under a name that tells what"
        )
        print("it is: .venv/bin/pytest tests/unit/test_fuzz_corpus.py")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
