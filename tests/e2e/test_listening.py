"""Tests of the check whether a server can listen at a path."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ppmctl.errors import PpmError
from ppmctl.server import bind_check
from ppmctl.server.settings import server_settings


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="ppm-"))  # a short path: a socket's address is limited to 107 bytes
    yield made
    shutil.rmtree(made)


def check(path: Path) -> None:
    bind_check.check(server_settings(path.parent / "root", flags={"host": f"unix:{path}"}, environ={}))


def refused(path: Path) -> str:
    with pytest.raises(PpmError) as refusal:
        check(path)
    assert f"Can't listen at {path}: " in refusal.value.message
    return refusal.value.message


def bound(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


def test_a_free_path_is_accepted(folder: Path) -> None:
    check(folder / "s")


def test_the_socket_of_a_dead_server_is_accepted(folder: Path) -> None:
    """After a kill -9 the socket's file still exists; the new server unlinks it."""
    bound(folder / "s").close()
    check(folder / "s")


def test_the_socket_of_a_running_server_is_refused(folder: Path) -> None:
    """gunicorn would replace it, and lose it when the other server ends and unlinks it."""
    with bound(folder / "s") as server:
        server.listen()
        assert "another server listens there" in refused(folder / "s")


def test_a_file_that_is_not_a_socket_is_refused(folder: Path) -> None:
    (folder / "s").write_text("precious")
    assert "exists and is not a socket" in refused(folder / "s")
    assert (folder / "s").read_text() == "precious"


def test_a_missing_folder_is_named(folder: Path) -> None:
    assert f"{folder / 'none'} must be a folder" in refused(folder / "none" / "s")


def test_the_socket_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with the sticky bit, as /run/ppm in the images, a user can't remove another user's file."""
    bound(folder / "s").close()
    folder.chmod(0o1777)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert f"uid {folder.stat().st_uid}" in refused(folder / "s")
