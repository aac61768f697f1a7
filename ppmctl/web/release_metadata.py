"""What the pages show of a release's core metadata: of one of its wheels, or else of its sdist."""

from __future__ import annotations

from collections.abc import Sequence

from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.project_page import PageFile
from ppmctl.errors import InvalidDistribution
from ppmctl.index import project_details
from ppmctl.index.store import Store
from ppmctl.web import package_facts
from ppmctl.web.package_facts import Facts
from ppmctl.web.recent import Recent

_MAX_SDIST = 32 << 20  # bytes; a larger one takes seconds to read
_REMEMBERED = 4 << 20  # bytes of metadata


class ReleaseMetadata:
    """The metadata of releases. What was read last is remembered: a stranger's megabyte takes seconds to parse."""

    def __init__(self, store: Store) -> None:
        self._volume = store.volume
        self._recent = Recent[Facts](_REMEMBERED)

    def of(self, project: str, files: Sequence[PageFile]) -> Facts:
        """Return the facts of a release of a project with these files; empty ones if none has readable metadata."""
        with_metadata = (file for file in files if file.core_metadata is not None)
        sdists = (file for file in files if not file.filename.endswith(".whl"))
        source = next(with_metadata, None) or next(sdists, None)
        if source is None:
            return package_facts.of({})
        key = source.sha256 or source.filename
        facts = self._recent.get(key)
        if facts is None:
            text = self._read(project, source)
            facts = self._recent.put(key, package_facts.of(distribution.core_metadata(text)), len(text) + 1000)
        return facts

    def _read(self, project: str, file: PageFile) -> bytes:
        if file.core_metadata is not None:
            return project_details.metadata(self._volume, file) or b""
        if (file.size or 0) > _MAX_SDIST:
            return b""
        try:
            return inspection.inspect(self._volume.file(project, file.filename), file.filename, old=True).metadata
        except (InvalidDistribution, OSError):
            return b""
