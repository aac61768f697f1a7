"""The core metadata of a release, for a page: of one of its wheels, or else of its sdist."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.metadata import RawMetadata

from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.project_page import PageFile
from ppmctl.errors import InvalidDistribution
from ppmctl.index import project_details
from ppmctl.index.store import Store
from ppmctl.web.recent import Recent

_MAX_SDIST = 32 << 20  # bytes; a larger one takes seconds to read
_REMEMBERED = 4 << 20  # bytes of metadata


class ReleaseMetadata:
    """The metadata of releases. That of sdists is in their archives alone; what was read last is remembered."""

    def __init__(self, store: Store) -> None:
        self._volume = store.volume
        self._sdists = Recent[bytes](_REMEMBERED)

    def of(self, project: str, files: Sequence[PageFile]) -> RawMetadata:
        """Return the metadata of a release of a project with these files; {} if none has readable metadata."""
        texts = (project_details.metadata(self._volume, file) for file in files)
        text = next((text for text in texts if text is not None), None)
        if text is None:
            sdist = next((file for file in files if not file.filename.endswith(".whl")), None)
            text = b"" if sdist is None else self._of_sdist(project, sdist)
        return distribution.core_metadata(text)

    def _of_sdist(self, project: str, file: PageFile) -> bytes:
        key = file.sha256 or file.filename
        text = self._sdists.get(key)
        if text is None:
            text = self._read(project, file)
            self._sdists.put(key, text, len(text) + 100)
        return text

    def _read(self, project: str, file: PageFile) -> bytes:
        if (file.size or 0) > _MAX_SDIST:
            return b""
        try:
            path = self._volume.file(project, file.filename)
            return inspection.inspect(path, file.filename, old=True).metadata
        except (InvalidDistribution, OSError):
            return b""
