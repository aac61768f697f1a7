"""Look up every pin of locks/ in an advisory database, with pip-audit: print each known vulnerability.

    python scripts/audit.py [--service pypi|osv] [ROOT]

Exits with 1 if a pin has one, and also if any pin was not looked up: not found, left out, or the service does not
answer. Pins of all Pythons and platforms count. A release with a known vulnerability is looked up too, so that a
service that knows nothing is not taken for one that found nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from check_locks import read_pins

# Advisories that don't concern ppm: id → the reason.
IGNORED: dict[str, str] = {}

_VULNERABLE = ("urllib3", "1.24.1")  # PYSEC-2019-132 and others
_SERVICES = {"pypi": "the advisories of the public index", "osv": "the advisories of OSV"}
_TIMEOUT = 1800  # seconds
_SHOWN = 2  # lines of pip-audit's own output

Pin = tuple[str, str]  # a normalised name and a version


@dataclass(frozen=True, kw_only=True)
class Looked:
    """The advisories of each pin that pip-audit looked up, and the reasons for the names that it did not."""

    advisories: Mapping[Pin, tuple[str, ...]]
    skipped: Mapping[str, str]


class Unavailable(Exception):
    """The advisory service can't be asked."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Look up every pin of all locks in an advisory database.")
    parser.add_argument("--service", choices=_SERVICES, default="pypi")
    parser.add_argument("root", nargs="?", type=Path, default=Path())
    options = parser.parse_args(arguments)
    pins = locked(options.root)
    try:
        looked = look_up([*pins, _VULNERABLE], options.service)
    except Unavailable as exc:
        print(f"No lock was audited: {exc}")
        print(f"It needs a network, and {_SERVICES[options.service]} (--service {' or '.join(_SERVICES)}).")
        return 1
    problems = list(judge(pins, looked))
    print(*problems, sep="\n", end="\n" if problems else "")
    files = sorted({lock for locks in pins.values() for lock in locks})
    print(f"{len(pins)} pins of {', '.join(files)}; problems: {len(problems)}.")
    return 1 if problems else 0


def locked(root: Path) -> dict[Pin, tuple[str, ...]]:
    """Return every pin of every lock, each with the locks that have it: locks/*.txt, docker/*/requirements.txt."""
    pins: dict[Pin, tuple[str, ...]] = {}
    for path in (*sorted(root.glob("locks/*.txt")), *sorted(root.glob("docker/*/requirements.txt"))):
        for pin in read_pins(path.read_text(encoding="utf-8")):
            key = pin.name, str(pin.version)
            pins[key] = (*pins.get(key, ()), str(path.relative_to(root)))
    return pins


def judge(pins: Mapping[Pin, Iterable[str]], looked: Looked) -> Iterator[str]:
    """Yield a line for each vulnerability, and for each pin that was not looked up."""
    if not looked.advisories.get(_VULNERABLE):
        why = looked.skipped.get(_VULNERABLE[0], "it has no advisory of it")
        yield f"No lock was audited: the service does not know that {'=='.join(_VULNERABLE)} is vulnerable: {why}"
        return
    for pin, locks in pins.items():
        name = f"{'=='.join(pin)} ({', '.join(locks)})"
        if pin not in looked.advisories:
            yield f"{name}: not looked up: {looked.skipped.get(pin[0], 'pip-audit left it out')}"
            continue
        for advisory in looked.advisories[pin]:
            if advisory.split()[0] not in IGNORED:
                yield f"{name}: {advisory}"


def look_up(pins: Iterable[Pin], service: str) -> Looked:
    """Return what pip-audit finds about the pins. Raise Unavailable if the service can't be asked."""
    advisories: dict[Pin, tuple[str, ...]] = {}
    skipped: dict[str, str] = {}
    for group in groups(pins):
        for found in _audit(group, service):
            name = found["name"]
            if "skip_reason" in found:
                skipped[name] = " ".join(found["skip_reason"].split())
                continue
            advisories[name, found["version"]] = tuple(
                f"{each['id']}, fixed in {', '.join(each['fix_versions']) or 'no release'}" for each in found["vulns"]
            )
    return Looked(advisories=advisories, skipped=skipped)


def groups(pins: Iterable[Pin]) -> list[list[Pin]]:
    """Return the pins in lists that have each name once: pip-audit reads no file with two versions of a package."""
    lists: list[dict[str, Pin]] = []
    for pin in dict.fromkeys(pins):
        free = next((each for each in lists if pin[0] not in each), None)
        if free is None:
            lists.append(free := {})
        free[pin[0]] = pin
    return [list(each.values()) for each in lists]


def _audit(pins: list[Pin], service: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="ppm-audit-") as folder:
        requirements = Path(folder, "requirements.txt")
        # without markers: a pin for another Python or platform counts too
        requirements.write_text("".join(f"{name}=={version}\n" for name, version in pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps"]
        command += ["--disable-pip", "--vulnerability-service", service, "--format", "json"]
        command += ["--progress-spinner", "off", "--cache-dir", str(Path(folder, "cache"))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except subprocess.TimeoutExpired as exc:
            raise Unavailable(f"pip-audit took over {_TIMEOUT // 60} minutes.") from exc
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as exc:
        lines = [line for line in done.stderr.splitlines() if line.strip()][-_SHOWN:]
        raise Unavailable("\n    ".join(["pip-audit printed no result:", *lines])) from exc
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
