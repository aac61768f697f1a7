"""Read locks, pylock.toml (PEP 751), and write what they pin as the lines of a requirements.txt."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ppmctl.distributions.shareable import load_lock
from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from packaging.pylock import Package, PackageSdist, PackageWheel

_ONE_AT_A_TIME = threading.Lock()
_MAX_SIZE = 4 << 20  # bytes of a new lock
_MAX_PACKAGES = 5_000  # in a new lock
_TABLE = "ppm"  # of [tool]
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A package in a lock. `version` is "" for a checkout, `url` the direct reference, or "".

    `hashes` are the sha256 of all its files; one of these files is installed.
    """

    name: str
    version: str
    marker: str
    url: str
    hashes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The package as a requirement."""
        return self._marked(f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}")

    @property
    def constraint(self) -> str:
        """The package as a constraint, which has no URL; "" if the lock has no version of it."""
        return self._marked(f"{self.name}=={self.version}") if self.version else ""

    def _marked(self, wanted: str) -> str:
        return f"{wanted} ; {self.marker}" if self.marker else wanted


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock. `python` and `platform` are what it was made for, "" if the file does not have them."""

    pins: tuple[Pin, ...]
    requires_python: str
    python: str = ""
    platform: str = ""

    @property
    def versions(self) -> dict[str, tuple[str, ...]]:
        """The versions of each package by name; of a direct reference its URL."""
        by_name: dict[str, set[str]] = {}
        for pin in self.pins:
            by_name.setdefault(pin.name, set()).add(pin.url or pin.version)
        return {name: tuple(sorted(versions)) for name, versions in by_name.items()}

    @property
    def without_hash(self) -> tuple[Pin, ...]:
        """The packages that have no hash, such as checkouts."""
        return tuple(pin for pin in self.pins if not pin.hashes)

    def lines(self) -> tuple[str, ...]:
        """Return the lines of a requirements.txt: with all hashes, or without any if a package has none.

        pip checks hashes for all packages or for none.
        """
        if bare := self.without_hash:
            names = ", ".join(pin.name for pin in bare)
            return (f"# without hashes, which pip needs for all: {names}", *(pin.text for pin in self.pins))
        return tuple(" ".join([pin.text, *(f"--hash=sha256:{each}" for each in pin.hashes)]) for pin in self.pins)


def read(text: str, *, where: str = "The lock") -> Lock:
    """Read a pylock.toml; other threads wait. Raise UsageError if it is invalid or can't be shared."""
    with _ONE_AT_A_TIME:  # a lock of strangers can take seconds, and 60 times its size
        return _read(text, where)


@lru_cache(maxsize=2)  # a revision is checked, then its forms are made of the same lock
def _read(text: str, where: str) -> Lock:
    parsed, values = load_lock(text, where=where)
    ours = (parsed.tool or {}).get(_TABLE, {})
    return Lock(
        pins=tuple(_pin(*pair, where) for pair in zip(parsed.packages, values["packages"], strict=True)),
        requires_python=str(parsed.requires_python or ""),
        python=str(ours.get("python", "")),
        platform=str(ours.get("platform", "")),
    )


def require_size(text: str) -> None:
    """Raise UsageError if a lock is too large to be published; older releases published larger ones."""
    if len(text.encode(errors="surrogatepass")) > _MAX_SIZE:
        raise UsageError(f"The lock is over {_MAX_SIZE >> 20} MB.")
    if len(read(text).pins) > _MAX_PACKAGES:
        raise UsageError(f"The lock has over {_MAX_PACKAGES} packages.")


def with_origin(text: str, *, python: str, platform: str) -> str:
    """Return the lock with a table of what it was made for; the next lock is made for the same."""
    lines = "".join(f'{key} = "{value}"\n' for key, value in (("python", python), ("platform", platform)) if value)
    return f"{text.rstrip()}\n\n[tool.{_TABLE}]\n{lines}"


def is_same(before: str, after: str) -> bool:
    """Return whether two locks pin the same files for the same Pythons; other values may differ."""
    return read(before) == read(after, where="The new lock")


def _pin(package: Package, values: dict[str, str], where: str) -> Pin:
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    files += [package.sdist] if package.sdist is not None else []
    url, hashes = "", [file.hashes.get("sha256", "") for file in files]
    if package.archive is not None:
        url, hashes = package.archive.url or "", [package.archive.hashes.get("sha256", "")]
    elif package.vcs is not None:
        url, hashes = f"{package.vcs.type}+{package.vcs.url}@{package.vcs.commit_id}", []
    elif package.version is None:
        raise UsageError(f"{where} has {package.name} without a version.")
    # as it is written: another release of packaging may format a parsed marker differently
    marker = values.get("marker", "")
    return Pin(
        name=package.name,
        version=str(package.version or ""),
        marker=marker if marker.isprintable() else str(package.marker),
        url=url,
        hashes=tuple(sorted({digest for digest in hashes if _SHA256.fullmatch(digest)})),
    )
