"""The paths of a user's own files."""

from __future__ import annotations

from pathlib import Path

import pytest
from platformdirs.macos import MacOS

from ppmctl import user_dirs
from ppmctl.client_config import file_locations
from ppmctl.client_config.index_target import Machine

HOME = Path("/home/ann")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({}, "/home/ann/.config"),
        ({"XDG_CONFIG_HOME": ""}, "/home/ann/.config"),
        ({"XDG_CONFIG_HOME": "/x"}, "/x"),
        ({"XDG_CONFIG_HOME": "relative"}, "/home/ann/.config"),
    ],
)
def test_the_configuration_folder(environ: dict[str, str], folder: str) -> None:
    assert user_dirs.config(environ, HOME) == Path(folder)
    assert user_dirs.own(environ, HOME) == Path(folder, "ppmctl")


@pytest.mark.parametrize(
    ("value", "folder"), [("", "/home/ann/.local/state"), ("/x", "/x"), ("x", "/home/ann/.local/state")]
)
def test_the_state_folder(value: str, folder: str) -> None:
    assert user_dirs.state({"XDG_STATE_HOME": value}, HOME) == Path(folder)


@pytest.mark.parametrize(
    ("environ", "path"), [({}, "/home/ann/.netrc"), ({"NETRC": ""}, "/home/ann/.netrc"), ({"NETRC": "/n"}, "/n")]
)
def test_the_netrc_file(environ: dict[str, str], path: str) -> None:
    assert user_dirs.netrc(environ, HOME) == Path(path)


def test_platformdirs_has_another_folder_than_uv_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    """It also differs from ppmctl's own folder since the first release, and reads only this process's environment."""
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert "Application Support" in MacOS(appname="uv").user_config_dir
    machine = Machine(environ={}, home=HOME, cwd=HOME, platform="darwin")
    assert file_locations.path("uv", "user", machine) == HOME / ".config" / "uv" / "uv.toml"
