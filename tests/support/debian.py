"""Programs of a release of Debian, whatever this machine runs: unpacked into a folder, with their own libraries."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed import packages

CACHE = Path(__file__).parents[2] / ".cache"

_PROGRAMS = ("nginx", "nginx-common", "openssl", "wrk")
_LIBRARIES = ("libc6", "libcrypt1", "libpcre2-8-0", "zlib1g", "libzstd1", "libgcc-s1", "libluajit-5.1-2")
_PACKAGES = {
    12: (*_PROGRAMS, *_LIBRARIES, "libssl3"),
    13: (*_PROGRAMS, *_LIBRARIES, "libssl3t64"),
}


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
    return Tree(release=release, root=packages.unpacked(release, _PACKAGES[release], below=CACHE))
