"""What a volume holds, a few words and numbers a project: for searches and statistics."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from packaging.version import Version

from ppmctl import dists, folder
from ppmctl.dists import normalise, one_line
from ppmctl.errors import PpmError
from ppmctl.folder import Folder, StoredFile
from ppmctl.store import Store
from ppmctl.volume import METADATA, Volume

_SETTLED = 2_000_000_000  # nanoseconds: two changes within one tick of a file system's clock have the same time


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A project in a few words and numbers. `version` and `summary` are its latest release's, "" if there is none.

    `size` is in bytes, None if somebody else's index does not say all of them; `uploads` are the files by month
    ("2026-11"), `publishers` by who published them.
    """

    name: str
    version: str = ""
    summary: str = ""
    versions: int = 0
    files: int = 0
    size: int | None = 0
    uploaded: str = ""
    uploads: Mapping[str, int] = field(default_factory=dict)
    publishers: Mapping[str, int] = field(default_factory=dict)


class Catalogue:
    """The holdings of a volume; a project is read again when its folder has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, tuple[int, Holding]] = {}

    def holdings(self) -> list[Holding]:
        """All projects, by name; one without files that can be had is among them."""
        found = (self._holding(name) for name in self._store.projects())
        return [holding for holding in found if holding is not None]

    def filenames(self) -> list[str]:
        """The names of all files that are here, also of projects that hide theirs."""
        found = (folder.read(self._store.volume, name) for name in self._store.projects())
        return [file.filename for content in found if content is not None for file in content.files]

    def search(self, text: str) -> list[Holding]:
        """The projects whose name or summary has every word of `text`."""
        return search(text, self.holdings())

    def _holding(self, name: str) -> Holding | None:
        try:
            changed = os.stat(self._store.volume.project(name)).st_mtime_ns
            kept = self._kept.get(name)
            if kept is not None and kept[0] == changed:
                return kept[1]
            holding = _holding_of(self._store.volume, self._store.read(name))
        except (PpmError, OSError):  # removed meanwhile, or damaged: `index check` is who says that
            return None
        if time.time_ns() - changed > _SETTLED:
            self._kept[name] = (changed, holding)
        return holding


def search(text: str, holdings: Iterable[Holding]) -> list[Holding]:
    """Those that have every word of `text`: first in the name, then in the summary alone; each by name."""
    words = text.casefold().split()

    def is_in(words: Iterable[str], text: str) -> bool:
        return all(word in text or (normalise(word) or word) in text for word in words)

    found = [
        (not is_in(words, holding.name), holding.name, holding)
        for holding in holdings
        if is_in(words, f"{holding.name} {holding.summary.casefold()}")
    ]
    return [holding for *_order, holding in sorted(found, key=lambda item: item[:2])]


def latest(versions: Mapping[str, bool]) -> str | None:
    """The version that an installer takes, of those that are `versions` → whether it is yanked; None of none.

    The newest that is neither yanked nor a pre-release; if there is none such, not yanked; else the newest.
    """
    return max(
        versions,
        key=lambda version: (
            not versions[version] and not Version(version).is_prerelease,
            not versions[version],
            Version(version),
        ),
        default=None,
    )


def _holding_of(volume: Volume, content: Folder) -> Holding:
    listed = () if content.status.state == "quarantined" else content.files
    yanked: dict[str, bool] = {}
    for file in listed:
        version = file.record.version
        yanked[version] = yanked.get(version, True) and file.yanked is not None
    version = latest(yanked) or ""
    return Holding(
        name=content.project,
        version=version,
        summary=_summary(volume, content.project, [file for file in listed if file.record.version == version]),
        versions=len(yanked),
        files=len(listed),
        size=sum(file.record.size for file in listed),
        uploaded=max((file.record.upload_time for file in listed), default=""),
        uploads=Counter(file.record.upload_time[:7] for file in listed),
        publishers=Counter(file.record.uploaded_by for file in listed),
    )


def _summary(volume: Volume, project: str, release: list[StoredFile]) -> str:
    for file in release:
        if file.record.summary is not None:
            return one_line(file.record.summary)
    for file in release:  # published before records had it
        if file.record.core_metadata is not None:
            try:
                metadata = volume.side_file(project, file.filename, METADATA).read_bytes()
            except OSError:
                continue
            return one_line(dists.summary(metadata))[: folder.MAX_SUMMARY]
    return ""
