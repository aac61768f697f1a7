"""A project's page as values: its files, the releases that they make, and the one that an installer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from packaging.version import InvalidVersion, Version

from ppmctl.distributions.distribution import InvalidDistribution, one_line, parse_filename
from ppmctl.errors import PpmError

_OTHER_HASHES = ("sha512", "sha384", "blake2b", "sha3_256", "sha1", "md5")  # the strongest first


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """A file as a page lists it. `url` is absolute, `size` in bytes; None is what the page does not say.

    `other_hash` is an algorithm of hashlib's and the digest, for a page that has no sha256.
    `yanked` is the reason, "" if there is none, and None if the file is not yanked; `core_metadata` is the
    sha256 of the metadata, "" if they are there without one, and None if they are not there.
    """

    filename: str
    url: str
    sha256: str | None = None
    other_hash: tuple[str, str] | None = None
    size: int | None = None
    upload_time: datetime | None = None
    requires_python: str | None = None
    yanked: str | None = None
    core_metadata: str | None = None

    @classmethod
    def from_json(cls, values: Any, link: Callable[[str], str]) -> PageFile:
        """A file as a page in JSON has it (PEP 691), its URL made absolute by `link`."""
        hashes = {algorithm: digest.lower() for algorithm, digest in values["hashes"].items() if digest}
        yanked, time, size = (values.get(key) for key in ("yanked", "upload-time", "size"))
        # the older name is from before PEP 714; some indexes know no other
        metadata = values.get("core-metadata", values.get("dist-info-metadata"))
        return cls(
            filename=str(values["filename"]),
            url=link(values["url"]),
            sha256=hashes.get("sha256"),
            other_hash=next(((name, hashes[name]) for name in _OTHER_HASHES if name in hashes), None),
            size=None if size is None else int(size),
            upload_time=None if time is None else datetime.fromisoformat(time).astimezone(UTC),
            requires_python=values.get("requires-python"),
            yanked=yanked if isinstance(yanked, str) else "" if yanked else None,
            core_metadata=None if not metadata else metadata.get("sha256", "") if isinstance(metadata, dict) else "",
        )


@dataclass(frozen=True, kw_only=True)
class Release:
    """The files of a version, in the page's order."""

    version: Version
    files: tuple[PageFile, ...]

    @property
    def is_yanked(self) -> bool:
        return all(file.yanked is not None for file in self.files)

    @property
    def reason(self) -> str:
        """Why it was yanked, in one line; ""."""
        return next((one_line(file.yanked) for file in self.files if file.yanked), "")

    @property
    def size(self) -> int | None:
        """Bytes; None where the index does not say all."""
        return total(file.size for file in self.files)

    @property
    def uploaded(self) -> datetime | None:
        """When its first file came; None where the index does not say."""
        return min((file.upload_time for file in self.files if file.upload_time is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class ProjectPage:
    """A project's page. `versions` is empty where the page is HTML, which does not list them."""

    name: str
    files: tuple[PageFile, ...]
    versions: tuple[str, ...] = ()
    status: str = "active"
    status_reason: str = ""

    @classmethod
    def from_json(cls, values: Any, link: Callable[[str], str]) -> ProjectPage:
        """A page in JSON as values; `link` makes the URL of a file absolute. An error of NOT_SUCH_JSON otherwise."""
        status = values.get("project-status", {})
        return cls(
            name=str(values["name"]),
            versions=tuple(values.get("versions", ())),
            status=str(status.get("status", "active")),
            status_reason=str(status.get("reason", "")),
            files=tuple(PageFile.from_json(file, link) for file in values["files"]),
        )

    def file(self, filename: str) -> PageFile | None:
        return next((file for file in self.files if file.filename == filename), None)

    @cached_property
    def releases(self) -> tuple[Release, ...]:
        """The files by version, the newest first; files whose names have no version are left out."""
        found: dict[Version, list[PageFile]] = {}
        for file in self.files:
            try:
                found.setdefault(parse_filename(file.filename).version, []).append(file)
            except InvalidDistribution:
                continue
        return tuple(Release(version=version, files=tuple(found[version])) for version in sorted(found, reverse=True))

    @property
    def latest(self) -> Release | None:
        """The release that an installer takes; None where there is no release.

        The newest that is neither yanked nor a pre-release; else the newest that is not yanked; else the newest.
        """
        return max(
            self.releases,
            key=lambda release: (
                not release.is_yanked and not release.version.is_prerelease,
                not release.is_yanked,
                release.version,
            ),
            default=None,
        )

    def release(self, version: str) -> Release:
        """The release `version`; PpmError names those that there are."""
        shown = [str(release.version) for release in self.releases[:10]]
        older = " and older ones" if len(self.releases) > len(shown) else ""
        known = f"It has {', '.join(shown)}{older}." if shown else self.state
        try:
            wanted = Version(version)
        except InvalidVersion as exc:
            raise PpmError(f"{self.name} has no release or file {version!r}.", hint=known) from exc
        for release in self.releases:
            if release.version == wanted:
                return release
        raise PpmError(f"{self.name} has no release {version!r}.", hint=known)

    @property
    def state(self) -> str:
        """The project's status in a sentence; "" where it is active."""
        because = f": {one_line(self.status_reason)}" if self.status_reason else ""
        return f"It is {one_line(self.status)}{because}." if self.status != "active" else ""


def total(sizes: Iterable[int | None]) -> int | None:
    """The sum of sizes; None where one is not known."""
    known = list(sizes)
    return None if None in known else sum(size or 0 for size in known)
