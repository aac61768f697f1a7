"""A pylock.toml (PEP 751) as values: what it pins, as requirements with hashes, and against another one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from packaging.pylock import Package, PackageSdist, PackageWheel

from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.environment_revision import has_credential, parse_lock
from ppmctl.environments.merge import Difference, differences
from ppmctl.errors import PpmError, UsageError

_TABLE = "ppm"  # of [tool]
_URL = re.compile(r"[A-Za-z][\w.+-]*://[^\s\"']+")


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One package of a lock. `version` is "" of one without (a checkout); `url` is its direct reference, or "".

    `hashes` are sha256 of all its files: one of them is what is installed.
    """

    name: str
    version: str
    marker: str
    url: str
    hashes: tuple[str, ...]

    @property
    def text(self) -> str:
        """It as a requirement."""
        wanted = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return f"{wanted} ; {self.marker}" if self.marker else wanted


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock. `python` and `platform` are what it was asked for, "" where that is not said."""

    pins: tuple[Pin, ...]
    requires_python: str
    python: str = ""
    platform: str = ""

    def lines(self) -> Iterator[str]:
        """It as lines of a requirements.txt, each with its hashes. PpmError where a package has none."""
        for pin in self.pins:
            if not pin.hashes:
                raise PpmError(
                    f"{pin.name} has no hash in the lock (it comes from {one_line(pin.url)}).",
                    hint="pip installs none or all by hashes; uv reads the lock as it is: --with uv",
                )
            yield " ".join([pin.text, *(f"--hash=sha256:{digest}" for digest in pin.hashes)])


def read(text: str, *, where: str) -> Lock:
    """Read a pylock.toml. UsageError where it is none, names files of one machine, or has a credential in a URL."""
    found = parse_lock(text, where=where)
    for url in filter(has_credential, _URL.findall(text)):
        raise UsageError(
            f"{where} has a URL at {urlsplit(url).hostname} with a credential in it, which everybody would see.",
            hint="Lock without credentials in URLs: netrc is the place for them.",
        )
    ours = (found.tool or {}).get(_TABLE, {})
    return Lock(
        pins=tuple(_pin(package, where) for package in found.packages),
        requires_python=str(found.requires_python or ""),
        python=str(ours.get("python", "")),
        platform=str(ours.get("platform", "")),
    )


def with_origin(text: str, *, python: str, platform: str) -> str:
    """A lock that says what it was asked for, for the next one to be asked the same."""
    said = "".join(f'{key} = "{value}"\n' for key, value in (("python", python), ("platform", platform)) if value)
    return f"{text.rstrip()}\n\n[tool.{_TABLE}]\n{said}"


def is_same(before: str, after: str) -> bool:
    """Whether two locks pin the same files for the same Pythons, whatever else they say of them."""
    return read(before, where="The lock") == read(after, where="The new lock")


def moves(before: Lock, after: Lock) -> list[Difference]:
    """Return the packages whose versions are not the same in two locks, by name."""
    return differences(_versions(before), _versions(after))


def _versions(lock: Lock) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for pin in lock.pins:
        found.setdefault(pin.name, set()).add(pin.url or pin.version)
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def _pin(package: Package, where: str) -> Pin:
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    files += [package.sdist] if package.sdist is not None else []
    if package.directory is not None or any(not file.url for file in files):
        raise UsageError(
            f"{where} has {package.name} from a folder of one machine.", hint="Publish it, and lock with the index."
        )
    url, hashes = "", [file.hashes.get("sha256", "") for file in files]
    if package.archive is not None:
        url, hashes = package.archive.url or "", [package.archive.hashes.get("sha256", "")]
    elif package.vcs is not None:
        url, hashes = f"{package.vcs.type}+{package.vcs.url}@{package.vcs.commit_id}", []
    elif package.version is None:
        raise UsageError(f"{where} has {package.name} without a version.")
    return Pin(
        name=package.name,
        version=str(package.version or ""),
        marker=str(package.marker or ""),
        url=url,
        hashes=tuple(sorted({digest for digest in hashes if digest})),
    )
