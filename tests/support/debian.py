"""Programs of a release of Debian, whatever this machine runs: unpacked into a folder, with their own libraries."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from testbed import machine
from testbed.debian import FRESH_SECONDS, SUITES

CACHE = Path(__file__).parents[2] / ".cache"

_PROGRAMS = ("nginx", "nginx-common", "openssl", "wrk")
_LIBRARIES = ("libc6", "libcrypt1", "libpcre2-8-0", "zlib1g", "libzstd1", "libgcc-s1", "libluajit-5.1-2")
_PACKAGES = {
    12: (*_PROGRAMS, *_LIBRARIES, "libssl3"),
    13: (*_PROGRAMS, *_LIBRARIES, "libssl3t64"),
}
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A release's nginx, openssl and wrk in the folder `root`."""

    release: int
    root: Path

    def command(self, path: str) -> list[str]:
        """The command that runs the program at `path` of the release, with the release's own libraries."""
        (loader,) = (found for found in self.root.glob("**/ld-linux*.so.*") if not found.is_symlink())
        libraries = sorted({str(found.parent) for found in self.root.glob("**/*-linux-gnu*/*.so*")})
        return [str(loader), "--library-path", ":".join(libraries), str(self.root / path)]

    @property
    def nginx(self) -> list[str]:
        return self.command("usr/sbin/nginx")

    @property
    def openssl(self) -> list[str]:
        return self.command("usr/bin/openssl")

    @property
    def wrk(self) -> list[str]:
        return self.command("usr/bin/wrk")

    @property
    def mime_types(self) -> Path:
        return self.root / "etc" / "nginx" / "mime.types"

    def versions(self) -> dict[str, str]:
        """The versions of nginx and of the OpenSSL that it runs with."""
        said = subprocess.run([*self.nginx, "-V"], capture_output=True, text=True, check=True, timeout=60).stderr
        found = re.search(r"nginx/([0-9.]+)", said), re.search(r"(?:running with|built with) OpenSSL ([0-9.]+)", said)
        assert all(found), said
        nginx, openssl = (match[1] for match in found if match)
        return {"nginx": nginx, "openssl": openssl}


def tree(release: int) -> Tree:
    """The newest nginx of Debian `release`, from this machine's mirror; a week old at most, where that answers."""
    content = hashlib.sha256(" ".join(_PACKAGES[release]).encode()).hexdigest()[:8]
    folder = CACHE / f"debian-{release}-{content}"
    if not folder.exists() or time.time() - folder.stat().st_mtime > FRESH_SECONDS:
        try:
            _make(release, folder)
        except subprocess.SubprocessError:
            if not folder.exists():
                raise
    return Tree(release=release, root=folder)


def _make(release: int, folder: Path) -> None:
    CACHE.mkdir(exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".debian-{release}-", dir=CACHE))
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
        _run([*apt, "download", *_PACKAGES[release]], work)
        for package in sorted(work.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(work / "root")], work)
        os.utime(work / "root")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(work / "old")
        with contextlib.suppress(OSError):  # somebody else has made it by now
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
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        print(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        done.check_returncode()
