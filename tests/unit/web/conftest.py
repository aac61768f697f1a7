"""A browser at an index, without sockets."""

from __future__ import annotations

import pytest
from support.pages import Visitor

from ppmctl.access import credential_files
from ppmctl.index.store import Store


@pytest.fixture
def visitor(store: Store, few_parts: None) -> Visitor:
    """Return a browser at an index without projects; only credentials may read."""
    credential_files.ensure_htpasswd(store.volume)
    return Visitor(store)
