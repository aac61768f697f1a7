"""What a restore moves: the old files away, the new ones to their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppmctl.backup import restore
from ppmctl.index.layout import Volume


@pytest.mark.parametrize(("has", "restored", "left"), [("a", "", "a"), ("a", "b", "b"), ("", "b", "b"), ("", "", "")])
def test_the_id_of_an_index_stays_if_the_snapshot_has_none(
    tmp_path: Path, has: str, restored: str, left: str
) -> None:
    """As one of an older release: with a new id, the next backup would be of another index."""
    volume = Volume(root=tmp_path / "root", storage="")
    volume.prepare()
    new = volume.restoring / "new"
    (new / "packages" / "hello").mkdir(parents=True)
    for root, content in ((volume.root, has), (new, restored)):
        if content:
            (root / "index-id").write_text(content)
    for _again in range(2):
        restore._clear(volume)
    for _again in range(2):
        restore._fill(volume)
    assert (volume.packages / "hello").is_dir()
    assert (volume.index_id.read_text() if volume.index_id.exists() else "") == left
