"""The names of projects: a node's copy of them never goes back to what they were before."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ppmctl import files
from ppmctl.storage import configured, keys
from ppmctl.storage.bucket import Bucket, Found
from ppmctl.storage.names import SharedNames, copied

FIRST, SECOND = [name for name in map("p{}".format, range(100)) if keys.shard(name) == keys.shard("p0")][:2]


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return configured.opened(f"memory://{tmp_path.name}")


@pytest.fixture
def elsewhere(bucket: Bucket, tmp_path: Path) -> SharedNames:
    """Return the names at another node."""
    return SharedNames(bucket, tmp_path / "elsewhere")


def test_a_copy_that_is_written_late_does_not_replace_a_newer_one(
    bucket: Bucket, elsewhere: SharedNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = SharedNames(bucket, tmp_path / "here")
    elsewhere.add(FIRST)
    write, readers = files.write_atomic, list[threading.Thread]()

    def late(path: Path, content: bytes) -> None:
        if path == tmp_path / "here" / keys.shard(FIRST) and not readers:
            readers.append(threading.Thread(target=names.read_all))
            elsewhere.add(SECOND)
            readers[0].start()
            readers[0].join(0.2)  # it waits, or it writes now
        write(path, content)

    monkeypatch.setattr(files, "write_atomic", late)
    names.read_all()
    readers[0].join(10)
    assert names.read_all() == copied(tmp_path / "here") == {FIRST, SECOND}


def test_processes_of_a_node_do_not_replace_a_newer_copy_by_an_older_one(
    bucket: Bucket, elsewhere: SharedNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, command = (SharedNames(bucket, tmp_path / "here") for _ in range(2))
    elsewhere.add(FIRST)
    read, is_read = bucket.read, threading.Event()

    def slow(key: str, *, unless: str | None = None) -> Found | None:
        found = read(key, unless=unless)
        if key == keys.names(keys.shard(FIRST)) and not is_read.is_set():
            is_read.set()
            elsewhere.add(SECOND)
            assert server.read_all() == {FIRST, SECOND}
        return found

    monkeypatch.setattr(bucket, "read", slow)
    assert command.has(SECOND), "it is there when the question is answered"
    assert server.read_all() == copied(tmp_path / "here") == {FIRST, SECOND}


def test_a_copy_that_was_deleted_is_made_again(bucket: Bucket, tmp_path: Path) -> None:
    names = SharedNames(bucket, tmp_path / "here")
    names.add(FIRST)
    (tmp_path / "here" / keys.shard(FIRST)).unlink()
    assert names.read_all() == copied(tmp_path / "here") == {FIRST}


def test_a_copy_that_could_not_be_written_is_made_by_the_next_read(
    bucket: Bucket, elsewhere: SharedNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = SharedNames(bucket, tmp_path / "here")
    elsewhere.add(FIRST)

    def fail(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", fail)
        with pytest.raises(OSError, match="No space left"):
            names.read_all()
    assert names.read_all() == copied(tmp_path / "here") == {FIRST}
