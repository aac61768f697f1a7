"""The ids of an index and of its volume: which repository a volume may be added to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ppmctl.backup import identity
from ppmctl.backup.snapshot import Series, Snapshot
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume


def repository(*tags: tuple[str, ...]) -> Any:
    """Return a repository with a backup for each of these tags."""
    listed = [Snapshot(id=f"{number}", time=f"{number}", tags=("ppm", *each)) for number, each in enumerate(tags)]
    return SimpleNamespace(shown="/backups", snapshots=lambda: listed)


def test_a_volume_is_only_added_to_backups_that_are_known_to_be_of_its_index(tmp_path: Path) -> None:
    """Those of an older release have no ids. The first attempt may fail after it gave the volume its ids."""
    volume = Volume(root=tmp_path, storage="")
    volume.prepare()
    volume.backup.mkdir()
    for _attempt in range(2):
        for others in [()], [("index-other",)]:
            with pytest.raises(PpmError, match="none with the id of this index"):
                identity.require_own(volume, repository(*others))
        identity.require_own(volume, repository())
        ids = identity.made(volume)
    identity.require_own(volume, repository((), Series(index=ids.index, volume="other").tags))
    volume.repositories.write_text("/backups\n")  # as of an older release, which made them
    identity.require_own(volume, repository(()))
