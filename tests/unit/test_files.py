"""Atomic writes and locks, and the folders of files that are being received."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ppmctl import files, regular_file
from ppmctl.errors import PpmError
from ppmctl.index import staging
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store


def test_write_atomic_replaces_the_whole_file_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "f"
    files.write_atomic(path, b"one", mode=0o600)
    before = path.stat().st_ino
    files.write_atomic(path, b"two", mode=0o640, sync=True)
    assert path.read_bytes() == b"two"
    assert oct(path.stat().st_mode & 0o777) == "0o640"
    assert path.stat().st_ino != before, "written to a new file that is renamed, never in place"
    assert [child.name for child in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("name", ["x" * 255, "漢" * 85, "é" * 127, os.fsdecode(b"\xff" * 255), "ab"])
def test_files_with_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    """The limit of 255 is in bytes, not in characters."""
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


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")

    def fail(*_arguments: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        files.write_atomic(path, b"two")
    assert path.read_bytes() == b"one"
    assert [child.name for child in tmp_path.iterdir()] == ["f"]


def test_create_creates_a_file_once(tmp_path: Path) -> None:
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


def test_a_file_that_a_user_names_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to("a")
    reader, writer = os.pipe()
    os.write(writer, b"piped")
    os.close(writer)
    assert regular_file.read(tmp_path / "a") == regular_file.read(tmp_path / "link", most=7) == b"content"
    assert regular_file.read(Path(f"/dev/fd/{reader}")) == b"piped", "a shell's <(command)"
    assert regular_file.read(Path(os.devnull)) == b""
    os.close(reader)
    with pytest.raises(OSError, match="it has over 6 bytes"):
        regular_file.read(tmp_path / "a", most=6)
    with pytest.raises(FileNotFoundError):
        regular_file.read(tmp_path / "b")


@pytest.mark.parametrize("kind", ["a FIFO", "a device", "a link to a device", "a socket", "a folder"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    """A FIFO would wait for a writer for ever, and /dev/zero has no end."""
    path = tmp_path / "x"
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a link to a device":
        path.symlink_to("/dev/zero")
    elif kind == "a socket":
        os.mknod(path, stat.S_IFSOCK)
    elif kind == "a folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    for read in (regular_file.read, regular_file.require):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory|No such device"):
            read(path)


def test_a_file_below_a_folder_is_opened_without_following_links(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "file").write_bytes(b"content")
    (top / "b").symlink_to("a")
    (top / "a" / "link").symlink_to("file")
    (tmp_path / "named").symlink_to(top)
    with regular_file.open_below(tmp_path / "named", tmp_path / "named" / "a" / "file") as file:
        files.link_from(file, tmp_path / "linked")
        assert file.read() == b"content"
    assert (tmp_path / "linked").stat().st_ino == (top / "a" / "file").stat().st_ino
    for path in ("b/file", "a/link", "a"):
        with pytest.raises(regular_file.NotRegularFile):
            regular_file.open_below(top, top / path)


def test_a_copy_has_the_same_content_and_its_own_mode(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "a").chmod(0o600)
    files.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    assert oct((tmp_path / "b").stat().st_mode & 0o777) == "0o644"
    assert (tmp_path / "a").stat().st_ino != (tmp_path / "b").stat().st_ino


def test_a_received_file_has_the_digests_of_its_content(store: Store) -> None:
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
def test_an_existing_file_is_copied_or_linked_into_incoming(store: Store, tmp_path: Path, *, hard_link: bool) -> None:
    (tmp_path / "x").write_bytes(b"content")
    with store.area.take(tmp_path / "x", hard_link=hard_link) as received:
        assert received.sha256 == hashlib.sha256(b"content").hexdigest()
        assert (received.path.stat().st_ino == (tmp_path / "x").stat().st_ino) is hard_link
    assert (tmp_path / "x").read_bytes() == b"content"


def test_close_removes_the_folder_of_the_process(store: Store, volume: Volume) -> None:
    store.area.new_path().write_bytes(b"half a file")
    assert len(list(volume.incoming.iterdir())) == 1
    assert staging.sweep(volume) == 0
    store.area.close()
    assert list(volume.incoming.iterdir()) == []


def test_a_sweep_waits_for_a_folder_that_is_being_created(volume: Volume) -> None:
    """A process must not lose its folder to the start-up of another one before it has locked it."""
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


def test_a_folder_with_only_the_web_server_s_files_becomes_a_volume(tmp_path: Path) -> None:
    """nginx may start before the application, and creates its own folder in the volume."""
    volume = Volume(root=tmp_path)
    volume.bodies.mkdir(mode=0o700)
    volume.prepare()
    assert volume.packages.is_dir()
    assert volume.bodies.stat().st_mode & 0o777 == 0o700


def test_a_line_that_does_not_fit_on_the_disk_is_not_written(tmp_path: Path) -> None:
    """Half of it would damage the next one: docs/security.md. A limit of the process simulates a full disk."""
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


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "x"), "There is no space left on the disk."),
        (OSError(errno.ENOSPC, "x", "/srv/ppm/f"), "There is no space left on the disk of /srv/ppm/f."),
        (OSError(errno.EDQUOT, "x", b"/srv/f"), "The user's quota is used up on the disk of /srv/f."),
        (OSError(errno.EROFS, "x", "/srv/f"), "The file system of /srv/f is mounted read-only."),
        (OSError(errno.EACCES, "x", "/srv/f"), ""),
        (ValueError("x"), ""),
    ],
)
def test_errors_of_a_disk_are_named(error: Exception, message: str) -> None:
    """Also where they caused another exception, and where SQLite met them."""
    caused = RuntimeError("y")
    caused.__cause__ = error
    assert files.disk_error(error) == files.disk_error(caused) == message


def test_a_full_or_read_only_disk_that_sqlite_meets_is_named(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "full.sqlite3")
    database.execute("CREATE TABLE t (x)")
    database.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert files.disk_error(full.value) == "There is no space left on the disk."
    database.close()
    read_only = sqlite3.connect(f"file:{tmp_path}/full.sqlite3?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError) as refused:
        read_only.execute("INSERT INTO t VALUES (1)")
    assert files.disk_error(refused.value) == "A database of the volume, or its file system, is read-only."
    read_only.close()
