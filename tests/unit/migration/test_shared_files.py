"""The id of an index, by which the backups of all copies of its bucket are those of one index."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppmctl.backup import identity
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.migration import copy_from, copy_to
from ppmctl.storage import configured, keys


def copied(root: Path, address: str) -> str:
    """Copy a bucket to the folder `root`, and return the id of its index there."""
    assert copy_from.copy(Volume(root=root, storage=address)).is_complete
    return Volume(root=root, storage="").index_id.read_text()


def test_each_copy_of_a_bucket_has_the_id_of_the_index_that_was_copied_to_it(volume: Volume, tmp_path: Path) -> None:
    address = f"memory://{tmp_path.name}-restored"
    volume.backup.mkdir()
    index = identity.made(volume).index
    assert copy_to.copy(Volume(root=volume.root, storage=""), address).is_complete
    assert copied(tmp_path / "one", address) == copied(tmp_path / "two", address) == f"{index}\n"


def test_without_one_the_first_copy_brings_it(volume: Volume, tmp_path: Path) -> None:
    """As for a bucket that was empty when its first node used it, and whose copy may have backups already."""
    for name, own in (("new", ""), ("old", "0123abcd\n")):
        address = f"memory://{tmp_path.name}-{name}"
        copy_to.copy(Volume(root=tmp_path / f"{name}-node", storage=""), address)
        first = Volume(root=tmp_path / f"{name}-first", storage="")
        first.prepare()
        if own:
            first.index_id.write_text(own)
        brought = copied(first.root, address)
        assert brought == (own or brought)
        assert brought == copied(tmp_path / f"{name}-second", address) == copied(first.root, address)


def test_what_is_no_id_is_not_copied(volume: Volume, tmp_path: Path) -> None:
    """It becomes a tag of snapshots: those of a restore are no backups, and are removed."""
    address = f"memory://{tmp_path.name}-tagged"
    copy_to.copy(Volume(root=volume.root, storage=""), address)
    configured.opened(address).write(keys.INDEX_ID, b"0123abcd,before-restore\n")
    with pytest.raises(PpmError, match=r"index-id in memory://\S+ is no id"):
        copied(tmp_path / "copy", address)
    assert not (tmp_path / "copy" / "index-id").exists()
