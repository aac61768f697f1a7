"""Unpack Debian packages of any release into a folder: nothing is installed, and root is not needed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from testbed import machine
from testbed.debian import FRESH_SECONDS, SUITES
from testbed.errors import BedError
from testbed.place import ENVIRONMENT

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def unpacked(release: int, packages: Sequence[str], *, below: Path) -> Path:
    """Return the folder, in `below`, with the newest `packages` of Debian `release` from this machine's mirror.

    It is at most a week old if the mirror answers. Raise BedError if it does not exist and can't be made.
    """
    content = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    folder = below / f"debian-{release}-{content}"
    if not folder.exists() or time.time() - folder.stat().st_mtime > FRESH_SECONDS:
        try:
            _make(release, packages, folder)
        except BedError:
            if not folder.exists():
                raise
    return folder


def _make(release: int, packages: Sequence[str], folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".debian-{release}-", dir=folder.parent))
    try:
        for part in ("state/lists/partial", "cache/archives/partial", "root"):
            (work / part).mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text(_sources(release))
        options = {
            "Dir::Etc::SourceList": work / "sources.list",
            "Dir::Etc::SourceParts": os.devnull,
            "Dir::State": work / "state",
            "Dir::State::Status": work / "status",
            "Dir::Cache": work / "cache",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        apt = ["apt-get", "-q", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
        _run([*apt, "update"], work)
        _run([*apt, "download", *packages], work)
        for package in sorted(work.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(work / "root")], work)
        os.utime(work / "root")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(work / "old")
        with contextlib.suppress(OSError):  # another process has made it in the meantime
            (work / "root").rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sources(release: int) -> str:
    mirrors = machine.mirrors()
    suite = SUITES[release]
    signed = f"[signed-by={_KEYRING}]" if Path(_KEYRING).exists() else ""
    lines = [f"deb {signed} {mirrors.main} {name} main\n" for name in (suite, f"{suite}-updates")]
    if mirrors.security:
        lines.append(f"deb {signed} {mirrors.security} {suite}-security main\n")
    return "".join(lines)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            env=ENVIRONMENT,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise BedError(f"{command[0]} could not be run", hint=str(exc)) from exc
    if done.returncode:
        output = f"{done.stdout}{done.stderr}"[-3000:]
        raise BedError(f"Debian's packages can't be fetched: {command[0]} exited {done.returncode}", hint=output)
