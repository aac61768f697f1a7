"""Several nodes of one index: each a volume and a store of its own, on one bucket in memory."""

from __future__ import annotations

from pathlib import Path

from ppmctl.index.layout import Volume
from ppmctl.index.store import Store


def new_node(root: Path, address: str) -> Store:
    """Return the store of a node with an empty volume at `root`."""
    volume = Volume(root=root, storage=address)
    volume.prepare()
    return Store(volume)
