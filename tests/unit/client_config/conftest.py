"""A user's home with files of clients."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.client_files import Place, says


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    for name in list(os.environ):
        if name.startswith(
            ("PIP_", "UV_", "TWINE_", "PPMCTL_", "XDG_", "REQUESTS_", "SSL_", "CURL_", "NETRC", "VIRTUAL_ENV")
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return Place(tmp_path, capsys)


@pytest.fixture
def write_twice_and_remove(place: Place) -> Callable[..., None]:
    """Write the index into a client's file twice, remove it, and check the file after each step."""

    def run(client: str, scope: tuple[str, ...], form: str, where: str, content: bytes | None) -> None:
        path = place.home / where
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o640)
        before, paths = place.files, place.everything
        shown = place.write(client, *scope, "--dry-run", form=form)
        assert place.files == before
        printed = place.write(client, *scope, form=form)
        assert "hunter" not in printed + shown
        written = path.read_bytes()
        assert says(client, form, scope, written)
        if content is not None and written != content:
            replaced = [line for line in content.splitlines() if line not in written.splitlines()]
            assert all(b"# (ppmctl %s internal) " % client.encode() + line in written for line in replaced)
            assert path.stat().st_mode & 0o777 == 0o640
            assert content.count(b"\r\n") == 0 or written.count(b"\n") == written.count(b"\r\n")
            assert "+" in shown
            (backup,) = (place.home / ".config" / "ppmctl" / "backups").iterdir()
            assert (backup.read_bytes(), backup.stat().st_mode & 0o777) == (content, 0o600)
            assert str(backup) in printed
        if (place.home / ".config" / "ppmctl").exists():
            assert "hunter" not in place.record
        after = place.files
        assert "unchanged" in place.write(client, *scope, form=form)
        assert place.files == after
        place.run(client, "--remove")
        assert place.files == before
        assert place.everything == paths
        assert "There is nothing to remove" in place.run(client, "--remove")

    return run
