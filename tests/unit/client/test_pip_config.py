"""Which indexes pip is configured to ask."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppmctl.client import pip_config


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def _no_files_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    files = pip_config._files
    monkeypatch.setattr(
        pip_config, "_files", lambda *where: [path for path in files(*where) if not path.is_relative_to("/etc")]
    )


def test_no_configuration_names_no_index(tmp_path: Path) -> None:
    assert pip_config.indexes({}, tmp_path) == []


def test_files_and_variables(tmp_path: Path) -> None:
    """A variable wins over the virtual environment's file, that over the user's; [install] over [global]."""
    user = write(tmp_path / ".config/pip/pip.conf", "[global]\nindex-url = https://a.test/simple\n")
    assert pip_config.indexes({}, tmp_path) == ["https://a.test/simple/"]
    user.write_text(
        "[global]\nindex-url = https://a.test/simple/\nextra-index-url =\n  https://b.test/simple\n"
        "  https://a.test/simple\n[install]\nindex-url = https://c.test/simple\n"
    )
    assert pip_config.indexes({}, tmp_path) == [f"https://{host}.test/simple/" for host in "cba"]
    venv = write(tmp_path / "venv/pip.conf", "[global]\nindex-url = https://d.test/simple\n").parent
    known = pip_config.indexes({"VIRTUAL_ENV": str(venv)}, tmp_path)
    assert known == [f"https://{host}.test/simple/" for host in "dba"]
    known = pip_config.indexes({"PIP_EXTRA_INDEX_URL": "https://e.test/x"}, tmp_path)
    assert known == ["https://c.test/simple/", "https://e.test/x/"]
    known = pip_config.indexes({"PIP_INDEX_URL": "https://f.test/", "PIP_CONFIG_FILE": os.devnull}, tmp_path)
    assert known == ["https://f.test/"]


def test_credentials_and_folders_are_left_out(tmp_path: Path) -> None:
    variables = {"PIP_INDEX_URL": "https://ann:secret@a.test:8443/simple", "PIP_EXTRA_INDEX_URL": "file:///srv /x"}
    assert pip_config.indexes(variables, tmp_path) == ["https://a.test:8443/simple/"]


def test_a_damaged_file_is_skipped(tmp_path: Path) -> None:
    write(tmp_path / ".config/pip/pip.conf", "index-url = https://a.test/simple\n")
    write(tmp_path / ".pip/pip.conf", "[global]\nindex-url = https://b.test/simple\n")
    assert pip_config.indexes({}, tmp_path) == ["https://b.test/simple/"]
