"""Read and compare lock files: pylock.toml (PEP 751)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.pylock import Package, PackageSdist, PackageWheel

from ppmctl.distributions.distribution import one_line
from ppmctl.distributions.shareable import parse_lock
from ppmctl.environments.merge import Difference, differences
from ppmctl.errors import PpmError, UsageError
from ppmctl.secret import masked

_TABLE = "ppm"  # of [tool]


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
        wanted = f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"
        return f"{wanted} ; {self.marker}" if self.marker else wanted


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock. `python` and `platform` are what it was made for, "" if the file does not have them."""

    pins: tuple[Pin, ...]
    requires_python: str
    python: str = ""
    platform: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a requirements.txt with hashes. Raise PpmError for a package without a hash."""
        for pin in self.pins:
            if not pin.hashes:
                raise PpmError(
                    f"{pin.name} has no hash in the lock (it comes from {one_line(masked(pin.url))}).",
                    hint="pip needs hashes for all packages or for none; uv does not: --with uv",
                )
            yield " ".join([pin.text, *(f"--hash=sha256:{digest}" for digest in pin.hashes)])


def read(text: str, *, where: str) -> Lock:
    """Read a pylock.toml. Raise UsageError if it is invalid or can't be shared."""
    parsed = parse_lock(text, where=where)
    ours = (parsed.tool or {}).get(_TABLE, {})
    return Lock(
        pins=tuple(_pin(package, where) for package in parsed.packages),
        requires_python=str(parsed.requires_python or ""),
        python=str(ours.get("python", "")),
        platform=str(ours.get("platform", "")),
    )


def with_origin(text: str, *, python: str, platform: str) -> str:
    """Return the lock with a table of what it was made for; the next lock is made for the same."""
    lines = "".join(f'{key} = "{value}"\n' for key, value in (("python", python), ("platform", platform)) if value)
    return f"{text.rstrip()}\n\n[tool.{_TABLE}]\n{lines}"


def is_same(before: str, after: str) -> bool:
    """Return whether two locks pin the same files for the same Pythons; other values may differ."""
    return read(before, where="The lock") == read(after, where="The new lock")


def moves(before: Lock, after: Lock) -> list[Difference]:
    """Return the packages whose versions differ between two locks, by name."""
    return differences(_versions(before), _versions(after))


def _versions(lock: Lock) -> dict[str, tuple[str, ...]]:
    by_name: dict[str, set[str]] = {}
    for pin in lock.pins:
        by_name.setdefault(pin.name, set()).add(pin.url or pin.version)
    return {name: tuple(sorted(versions)) for name, versions in by_name.items()}


def _pin(package: Package, where: str) -> Pin:
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    files += [package.sdist] if package.sdist is not None else []
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
