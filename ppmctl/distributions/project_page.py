"""Read a project's page: its files, its releases, and the release that an installer selects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from packaging.version import InvalidVersion, Version

from ppmctl.distributions.distribution import (
    InvalidDistribution,
    normalise,
    one_line,
    parse_filename,
    parse_version,
)
from ppmctl.errors import PpmError

_OTHER_HASHES = ("sha512", "sha384", "blake2b", "sha3_256", "sha1", "md5")  # the strongest first


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """A file on a page. `url` is absolute, `size` in bytes; None stands for what the page does not have.

    `other_hash`: an algorithm of hashlib and the digest. `yanked`: the reason or "", None if it is not yanked.
    `core_metadata`: the sha256 of the metadata file, "" without a hash, None if there is no such file.
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
        """Return a file of a JSON page (PEP 691); `link` makes its URL absolute."""
        hashes = {algorithm: digest.lower() for algorithm, digest in values["hashes"].items() if digest}
        yanked, time, size = (values.get(key) for key in ("yanked", "upload-time", "size"))
        # some indexes have only the name from before PEP 714
        metadata = values.get("core-metadata", values.get("dist-info-metadata"))
        metadata_hash = metadata.get("sha256") if isinstance(metadata, dict) else None
        return cls(
            filename=str(values["filename"]),
            url=link(values["url"]),
            sha256=hashes.get("sha256"),
            other_hash=next(((name, hashes[name]) for name in _OTHER_HASHES if name in hashes), None),
            size=None if size is None else int(size),
            upload_time=None if time is None else datetime.fromisoformat(time).astimezone(UTC),
            requires_python=_text(values.get("requires-python")),
            yanked=yanked if isinstance(yanked, str) else "" if yanked else None,
            core_metadata=(_text(metadata_hash) or "") if metadata else None,
        )


def _text(value: Any) -> str | None:
    """Return a text of a page; None for a value of another type, as if it were missing."""
    return value if isinstance(value, str) else None


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version with its files, in the page's order."""

    version: Version
    files: tuple[PageFile, ...]

    @property
    def is_yanked(self) -> bool:
        return all(file.yanked is not None for file in self.files)

    @property
    def reason(self) -> str:
        """Return why it was yanked, on one line, or ""."""
        return next((one_line(file.yanked) for file in self.files if file.yanked), "")

    @property
    def size(self) -> int | None:
        """Return the size of all files in bytes, or None if one is unknown."""
        return total(file.size for file in self.files)

    @property
    def uploaded(self) -> datetime | None:
        """Return when its first file was uploaded, or None if that is unknown."""
        return min((file.upload_time for file in self.files if file.upload_time is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class ProjectPage:
    """A project's page. `versions` is empty for an HTML page, which does not list them."""

    name: str
    files: tuple[PageFile, ...]
    versions: tuple[str, ...] = ()
    status: str = "active"
    status_reason: str = ""

    @classmethod
    def from_json(cls, values: Any, link: Callable[[str], str]) -> ProjectPage:
        """Return a JSON page; `link` makes the URL of a file absolute. Raise one of NOT_SUCH_JSON if invalid."""
        status = values.get("project-status", {})
        return cls(
            name=str(values["name"]),
            versions=tuple(map(str, values.get("versions", ()))),
            status=str(status.get("status", "active")),
            status_reason=str(status.get("reason", "")),
            files=tuple(PageFile.from_json(file, link) for file in values["files"]),
        )

    def file(self, filename: str) -> PageFile | None:
        return next((file for file in self.files if file.filename == filename), None)

    @cached_property
    def releases(self) -> tuple[Release, ...]:
        """Return the releases, the newest first. Files without a valid filename are left out."""
        files: dict[Version, list[PageFile]] = {}
        for file in self.files:
            with suppress(InvalidDistribution):
                name = parse_filename(file.filename, project=normalise(self.name))
                files.setdefault(name.version, []).append(file)
        return tuple(Release(version=version, files=tuple(files[version])) for version in sorted(files, reverse=True))

    @property
    def latest(self) -> Release | None:
        """Return the release that an installer selects, or None.

        This is the newest that is neither yanked nor a pre-release, else the newest not yanked, else the newest.
        """
        not_yanked = [release for release in self.releases if not release.is_yanked]
        stable = [release for release in not_yanked if not release.version.is_prerelease]
        return next(iter(stable or not_yanked or self.releases), None)

    def release(self, version: str) -> Release:
        """Return the release `version`. Raise PpmError, which lists the releases, if it does not exist."""
        shown = [str(release.version) for release in self.releases[:10]]
        older = " and older ones" if len(self.releases) > len(shown) else ""
        hint = f"It has {', '.join(shown)}{older}." if shown else self.state
        try:
            wanted = parse_version(version)
        except InvalidVersion as exc:
            raise PpmError(f"{self.name} has no release or file {version!r}.", hint=hint) from exc
        for release in self.releases:
            if release.version == wanted:
                return release
        raise PpmError(f"{self.name} has no release {version!r}.", hint=hint)

    @property
    def state(self) -> str:
        """Return the project's status as a sentence, or "" if it is active."""
        because = f": {one_line(self.status_reason)}" if self.status_reason else ""
        return f"It is {one_line(self.status)}{because}." if self.status != "active" else ""


def total(sizes: Iterable[int | None]) -> int | None:
    """Return the sum of sizes, or None if one is unknown."""
    known = list(sizes)
    return None if None in known else sum(size or 0 for size in known)
