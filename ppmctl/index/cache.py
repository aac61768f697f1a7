"""Read a volume that is a cache of a bucket: what other nodes changed, and files that are not on the disk.

Without a bucket the volume has everything, and nothing here costs a request or a file.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from ppmctl import files
from ppmctl.distributions import inspection
from ppmctl.index import pages, project_folder
from ppmctl.index.freshness import ROOT, Freshness
from ppmctl.index.layout import Volume
from ppmctl.index.mirror import Mirror
from ppmctl.storage.bucket import Unavailable

UNKNOWN = "The index can't reach its storage now, and does not have this on its disk; ask again in a few seconds"

_FILL_EVERY = 1.0  # seconds


class Cache:
    """What a volume has of a bucket; everything if there is no bucket (`mirror` is None)."""

    def __init__(self, volume: Volume, mirror: Mirror | None) -> None:
        self._volume = volume
        self.mirror = mirror
        self._written: frozenset[str] | None = None  # the names in the list of projects, once it was written
        self.freshness = Freshness(volume, self._pull) if mirror is not None else None

    def compare(self, project: str) -> bool:
        """Return whether the disk has what the bucket has of a project, or had less than a second ago.

        With `freshness.ROOT` it is the list of projects.
        """
        return self.freshness is None or self.freshness.compare(project)

    def require(self, project: str) -> None:
        """Compare a project. Raise Unavailable if that fails, and the disk does not have its pages."""
        if not self.compare(project) and not self._has_pages(project):
            raise Unavailable(UNKNOWN)

    def is_marked(self, project: str) -> bool:
        """Return whether nginx sends pages and files of a project from the disk now."""
        return self.freshness is not None and os.path.lexists(self._volume.current_mark(project))

    def fetch(self, project: str, name: str) -> Path:
        """Return the path of a project's file or side file, from the bucket if needed.

        Without a bucket it need not exist. Raise FileNotFoundError if the bucket does not have it, Unavailable.
        """
        path = project_folder.locate(self._volume, project, name)
        if self.mirror is None or path.exists():
            return path
        return self.mirror.fetch(project, name)

    def fetch_served(self, project: str, name: str) -> Path:
        """Return the path of a file that clients may read. Raise FileNotFoundError for a quarantined one too."""
        path = self._volume.file(project, name)
        if self.mirror is not None and not path.exists():
            if project_folder.read_status(self._volume, project).is_quarantined:
                raise FileNotFoundError(path)
            self.mirror.fetch(project, name)
        return path

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Send a file to the bucket within. Raise Unavailable if it is away, and what `uploading` raises."""
        freshness = self.freshness
        if freshness and freshness.is_away and not freshness.compare(ROOT, must_ask=True) and freshness.is_away:
            raise Unavailable("The index can't reach its storage now: nothing was stored, try again in a few seconds")
        with inspection.uploading():
            yield

    def fill(self) -> None:
        """Read the names of all projects, until the list of projects has them: that of an empty volume has none."""
        pause = threading.Event()
        while not self._volume.listed.exists():
            self.compare(ROOT)
            pause.wait(_FILL_EVERY)

    def _has_pages(self, project: str) -> bool:
        if project == ROOT:
            return self._volume.listed.exists()
        return (self._volume.pages(project) / pages.JSON_PAGE).exists()

    def _pull(self, project: str) -> None:
        if self.mirror is None:
            return
        if project != ROOT:
            self.mirror.pull(project)
            return
        names = self.mirror.names()
        if names != self._written or pages.root_is_marked(self._volume):
            pages.write_root(self._volume)
            self._written = names
        if not self._volume.listed.exists():
            files.write_atomic(self._volume.listed, b"")
