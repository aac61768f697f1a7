"""Make backups and restore drills whenever one is due, by their last results on the volume, until a signal.

`--check` instead exits with 1 if the last backup or drill failed, for the container's health check.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ppmctl.access.rights import parse_duration
from ppmctl.errors import PpmError
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import BACKUP, DRILL, OperationResult

ROOT = Path("/srv/ppm")
LONGEST_RETRY = timedelta(hours=1)
LONGEST_WAIT = timedelta(minutes=5)  # results also change when somebody types the commands
KEPT = {"daily": "7", "weekly": "5", "monthly": "12"}
SOON = timedelta(seconds=10)

stopped = threading.Event()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How often to make a backup and a drill, and the options of `ppmctl backup create`."""

    every: timedelta
    drill_every: timedelta
    options: tuple[str, ...]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in an environment. Raise PpmError for an invalid one."""
    options = []
    for period, default in KEPT.items():
        name = f"PPM_BACKUP_KEEP_{period.upper()}"
        number = environment.get(name) or default
        if not number.isdecimal():
            raise PpmError(f"{name} is {number!r}: it must be a whole number, or 0 to keep none")
        if int(number):
            options += [f"--keep-{period}", number]
    return Settings(
        every=_interval(environment, "PPM_BACKUP_EVERY", "24h"),
        drill_every=_interval(environment, "PPM_BACKUP_DRILL_EVERY", "7d"),
        options=tuple(options),
    )


def _interval(environment: Mapping[str, str], name: str, longest: str) -> timedelta:
    """Return an interval, by default the longest: health and the alerts report one that is later as a fault."""
    given, most = parse_duration(environment.get(name) or longest), parse_duration(longest)
    if given > most:
        what = f"{name} is {environment[name]!r}: {longest} is used, as later ones would be reported as a fault"
        print(f"ppm-backup: {what}. Set it to {longest} or less.", file=sys.stderr)
    return min(given, most)


def due(results: Mapping[str, OperationResult], settings: Settings) -> dict[str, datetime]:
    """Return when the next backup and the next drill are due; there is no drill before the first good backup."""
    epoch = datetime.fromtimestamp(0, UTC)
    times = {BACKUP: epoch, DRILL: epoch}
    for name, every in ((BACKUP, settings.every), (DRILL, settings.drill_every)):
        if result := results.get(name):
            pause = every if result.succeeded else min(every, LONGEST_RETRY)
            times[name] = datetime.fromisoformat(result.finished) + pause
    backup = results.get(BACKUP)
    if backup is None or not backup.last_success:
        del times[DRILL]
    return times


def run(*arguments: str) -> None:
    """Run `ppmctl backup` to its end; after a signal, let it remove its lock from the repository."""
    process = subprocess.Popen(["ppmctl", "backup", *arguments])
    while process.poll() is None:
        if stopped.wait(0.2):
            process.send_signal(signal.SIGINT)
            process.wait()


def repeat(volume: Volume, settings: Settings) -> None:
    """Run what is due, again and again, until a signal."""
    commands = {BACKUP: ("create", *settings.options), DRILL: ("drill",)}
    while not stopped.is_set():
        if not volume.packages.is_dir():  # it starts before the application, which creates the volume
            stopped.wait(SOON.total_seconds())
            continue
        results = operation_result.read_all(volume)
        times = due(results, settings)
        name = min(times, key=lambda each: times[each])
        wait = times[name] - datetime.now(UTC)
        if wait <= timedelta():
            run(*commands[name])
            if operation_result.read_all(volume) != results:
                continue
            wait = LONGEST_WAIT  # nothing was recorded, as on a full disk
        stopped.wait(min(wait, LONGEST_WAIT).total_seconds())


def failures(volume: Volume) -> list[str]:
    """Return a line for each of backup and drill whose last run failed."""
    results = operation_result.read_all(volume)
    return [
        f"The last {name} failed: {results[name].detail}"
        for name in (BACKUP, DRILL)
        if name in results and not results[name].succeeded
    ]


def main() -> int:
    volume = Volume(root=ROOT)
    if "--check" in sys.argv[1:]:
        problems = failures(volume)
        print("\n".join(problems) or "ok")
        return 1 if problems else 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = read_settings(os.environ)
    except PpmError as exc:
        print(f"ppm-backup: {exc.message}", file=sys.stderr)
        return 2
    repeat(volume, settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
