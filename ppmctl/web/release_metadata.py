"""What the pages show of a release's core metadata: of one of its wheels, or else of its sdist."""

from __future__ import annotations

from collections.abc import Sequence

from ppmctl.distributions import distribution
from ppmctl.distributions.project_page import PageFile
from ppmctl.errors import PpmError
from ppmctl.index import project_details
from ppmctl.index.store import Store
from ppmctl.web import package_facts
from ppmctl.web.package_facts import Facts
from ppmctl.web.recent import Recent

_REMEMBERED = 4 << 20  # bytes of metadata
_PATIENCE = 1.0  # seconds that a page waits until an sdist can be read


class ReleaseMetadata:
    """The metadata of releases. What was read last is remembered: a stranger's megabyte takes seconds to parse."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._recent = Recent[Facts](_REMEMBERED)

    def of(self, files: Sequence[PageFile]) -> Facts:
        """Return the facts of a release with these files; empty ones if none has readable metadata."""
        if not files:
            return package_facts.of({})
        key = " ".join(file.sha256 or file.filename for file in files)
        facts = self._recent.get(key)
        if facts is None:
            try:
                text = project_details.release_metadata(self._store, files, wait=_PATIENCE)
            except PpmError:  # the bucket can't be asked now, or too many files are read
                return package_facts.of({})
            size = len(key) + len(text) + 1000
            facts = self._recent.put(key, package_facts.of(distribution.core_metadata(text)), size)
        return facts
