"""Whether a server could listen at a path, before it tries."""

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
    made = Path(tempfile.mkdtemp(prefix="ppm-"))  # a short path: a socket's address has 107 bytes
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


def test_a_free_path_can_be_had(folder: Path) -> None:
    check(folder / "s")


def test_what_a_dead_server_left_is_no_hindrance(folder: Path) -> None:
    """After a kill -9 the socket's file is still there; the server's own unlinks it."""
    bound(folder / "s").close()
    check(folder / "s")


def test_a_living_server_keeps_its_socket(folder: Path) -> None:
    """gunicorn would take it, and lose it again when the other one ends and tidies up."""
    with bound(folder / "s") as server:
        server.listen()
        assert "another server listens there" in refused(folder / "s")


def test_what_is_no_socket_is_left_alone(folder: Path) -> None:
    (folder / "s").write_text("precious")
    assert "exists and is not a socket" in refused(folder / "s")
    assert (folder / "s").read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    assert f"{folder / 'none'} must be a folder" in refused(folder / "none" / "s")


def test_somebody_else_s_socket_can_t_be_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that is everybody's, as /run/ppm in the images, one can't remove what another user left."""
    bound(folder / "s").close()
    folder.chmod(0o1777)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert f"uid {folder.stat().st_uid}" in refused(folder / "s")
