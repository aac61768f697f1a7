"""Atomic writes and locks, and the folders of files under way."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index import staging
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    files.write_atomic(path, b"one", mode=0o600)
    before = path.stat().st_ino
    files.write_atomic(path, b"two", mode=0o640, sync=True)
    assert path.read_bytes() == b"two"
    assert oct(path.stat().st_mode & 0o777) == "0o640"
    assert path.stat().st_ino != before, "written beside it and renamed, never over it"
    assert [child.name for child in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("name", ["x" * 255, "漢" * 85, "é" * 127, os.fsdecode(b"\xff" * 255), "ab"])
def test_the_longest_names_can_be_written_beside(tmp_path: Path, name: str) -> None:
    """A file's name has 255 bytes, not characters."""
    files.write_atomic(tmp_path / name, b"one")
    files.write_atomic(tmp_path / name, b"two")
    assert (tmp_path / name).read_bytes() == b"two"
    beside = files.with_ending(name, ".rejected")
    assert beside.endswith(".rejected")
    assert beside.startswith(name[:50])
    (tmp_path / beside).touch()
    assert len(os.fsencode(beside)) == min(255, len(os.fsencode(name + ".rejected"))) - (
        len(os.fsencode(name + ".rejected")) > 255 and (255 - 9) % len(os.fsencode(name[0]))
    )


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")

    def fail(*_arguments: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        files.write_atomic(path, b"two")
    assert path.read_bytes() == b"one"
    assert [child.name for child in tmp_path.iterdir()] == ["f"]


def test_create_makes_a_file_once(tmp_path: Path) -> None:
    assert files.create(tmp_path / "f", b"one")
    assert not files.create(tmp_path / "f", b"two")
    assert (tmp_path / "f").read_bytes() == b"one"
    assert oct((tmp_path / "f").stat().st_mode & 0o777) == "0o600"


def test_a_lock_is_held_against_other_processes_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import sys; from ppmctl import files; from pathlib import Path\n"
                "held = files.try_lock(Path(sys.argv[1])); print(held is not None, flush=True); sys.stdin.read()"
            ),
            path,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert files.try_lock(path) is None
        holder.kill()
    held = files.try_lock(path)
    assert held is not None
    os.close(held)


def test_a_copy_has_the_content_and_a_mode_of_its_own(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "a").chmod(0o600)
    files.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    assert oct((tmp_path / "b").stat().st_mode & 0o777) == "0o644"
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino


def test_a_received_file_has_the_digests_of_what_was_written(store: Store) -> None:
    chunks = [os.urandom(size) for size in (1, 100_000, 0, 7)]
    whole = b"".join(chunks)
    with store.area.new_file() as received:
        for chunk in chunks:
            received.write(chunk)
        received.finish()
        assert received.size == len(whole)
        assert received.path.read_bytes() == whole
        assert received.sha256 == hashlib.sha256(whole).hexdigest()
        assert received.digest("md5") == hashlib.md5(whole, usedforsecurity=False).hexdigest()
        assert received.digest("blake2_256") == hashlib.blake2b(whole, digest_size=32).hexdigest()
        path = received.path
    assert not path.exists()


@pytest.mark.parametrize("hard_link", [False, True])
def test_a_file_is_taken_from_elsewhere(store: Store, tmp_path: Path, *, hard_link: bool) -> None:
    (tmp_path / "x").write_bytes(b"content")
    with store.area.take(tmp_path / "x", hard_link=hard_link) as received:
        assert received.sha256 == hashlib.sha256(b"content").hexdigest()
        assert (received.path.stat().st_ino == (tmp_path / "x").stat().st_ino) is hard_link
    assert (tmp_path / "x").read_bytes() == b"content"


def test_a_process_gives_its_folder_up_at_the_end(store: Store, volume: Volume) -> None:
    store.area.new_path().write_bytes(b"under way")
    assert len(list(volume.incoming.iterdir())) == 1
    assert staging.sweep(volume) == 0
    store.area.close()
    assert list(volume.incoming.iterdir()) == []


def test_a_sweep_waits_for_a_folder_that_is_being_made(volume: Volume) -> None:
    """Between making and locking its folder a process must not lose it to another one's start-up."""
    sweeper = threading.Thread(target=staging.sweep, args=(volume,))
    newborn = volume.incoming / "1-newborn"
    with files.lock(volume.incoming_lock):
        newborn.mkdir()
        sweeper.start()
        sweeper.join(timeout=0.2)
        held = files.try_lock(newborn / ".lock")
        assert held is not None
    sweeper.join()
    assert newborn.exists()
    os.close(held)
    assert staging.sweep(volume) == 1
    assert not newborn.exists()


def test_a_volume_on_a_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(PpmError, match="can't be used") as refusal:
        Volume(root=tmp_path / "f").prepare()
    assert "a folder that this process (uid " in refusal.value.message


def test_a_file_system_without_hard_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(PpmError, match="hard link") as refusal:
        Volume(root=tmp_path / "root").prepare()
    assert "one volume" in refusal.value.hint
    assert [path.name for path in (tmp_path / "root" / "incoming").iterdir()] == []


def test_a_folder_in_which_a_web_server_was_first_is_a_new_volume(tmp_path: Path) -> None:
    """nginx may start before the application, and makes its own folder there."""
    volume = Volume(root=tmp_path)
    volume.bodies.mkdir(mode=0o700)
    volume.prepare()
    assert volume.packages.is_dir()
    assert volume.bodies.stat().st_mode & 0o777 == 0o700


def test_a_line_that_does_not_fit_is_not_there(tmp_path: Path) -> None:
    """Half of it would spoil the next one: docs/security.md. Here a limit of the process stands for a full disk."""
    path = tmp_path / "lines"
    files.append(path, b"first\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="No space left"):
            files.append(path, b"second\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    files.append(path, b"third\n")
    assert path.read_bytes() == b"first\nthird\n"
