"""Programs of a Debian release, unpacked into a folder with their own libraries, on any machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

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
        """Return the command that runs the program at `path` of the release, with the release's own libraries."""
        return [*_loader(self.root), str(self.root / path)]

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
        """Return the versions of nginx and of the OpenSSL that it runs with."""
        return dict(zip(("nginx", "openssl"), _versions(self), strict=True))


@cache
def _loader(root: Path) -> list[str]:
    (loader,) = (path for path in root.glob("**/ld-linux*.so.*") if not path.is_symlink())
    libraries = sorted({str(path.parent) for path in root.glob("**/*-linux-gnu*/*.so*")})
    return [str(loader), "--library-path", ":".join(libraries)]


@cache
def _versions(tree: Tree) -> tuple[str, str]:
    output = subprocess.run([*tree.nginx, "-V"], capture_output=True, text=True, check=True, timeout=60).stderr
    nginx = re.search(r"nginx/([0-9.]+)", output)
    openssl = re.search(r"(?:running with|built with) OpenSSL ([0-9.]+)", output)
    assert nginx, output
    assert openssl, output
    return nginx[1], openssl[1]


def only(release: int) -> pytest.MarkDecorator:
    """Run a test of tests/nginx with one release only: it tests a client, or the application behind nginx."""
    return pytest.mark.parametrize("tree", [release], indirect=True, ids=_name, scope="session")


def with_each(argument: str, values: Mapping[int, Sequence[str]]) -> pytest.MarkDecorator:
    """Run a test of tests/nginx with values of an argument, each with the releases that support it."""
    pairs = [(release, value) for release in values for value in values[release]]
    return pytest.mark.parametrize(("tree", argument), pairs, indirect=["tree"], ids=_name, scope="session")


def _name(value: int | str) -> str:
    return f"Debian {value}" if isinstance(value, int) else value


@cache
def tree(release: int) -> Tree:
    """Return the newest nginx of Debian `release`, from this machine's mirror, cached for a week."""
    return Tree(release=release, root=packages.unpacked(release, _PACKAGES[release], below=CACHE))
