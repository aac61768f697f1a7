"""Releases around their upload: what is changed, put back, committed and tagged, with a real git."""

from __future__ import annotations

import os
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from ppmctl import raising
from ppmctl.errors import PpmError, UsageError
from ppmctl.raising import Raise

DAY = date(2026, 11, 21)
PYPROJECT = '[project]\nname = "demo"\nversion = "1.2.0"  # raised by a release\n'
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n- New.\n\n## [1.2.0] - 2026-01-31\n\n- Old.\n"


@pytest.fixture(autouse=True)
def _own_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of this machine's; commits that always come out the same."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(
        "[user]\nname = Ada\nemail = ada@example.test\nuseConfigOnly = true\n"
    )


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "demo"
    made.mkdir()
    (made / "pyproject.toml").write_text(PYPROJECT)
    (made / "CHANGELOG.md").write_text(CHANGELOG)
    git(made, "init", "--quiet", "--initial-branch=main")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "--message=Begin")
    return made


def plan(project: Path, bump: str | None = "minor", *, published: str = "", **options: Any) -> Raise:
    options = {"changelog": True, "tag": True, "day": DAY} | options
    return raising.plan(project, bump=bump, published=Version(published) if published else None, **options)


def test_a_release_from_the_version_to_the_tag(project: Path) -> None:
    release = plan(project, published="1.2.0")
    assert (release.name, str(release.old), str(release.new)) == ("demo", "1.2.0", "1.3.0")
    assert git(project, "status", "--porcelain") == "", "a plan changes nothing"
    release.apply()
    assert (project / "pyproject.toml").read_text() == PYPROJECT.replace("1.2.0", "1.3.0")
    assert "## [Unreleased]\n\n## [1.3.0] - 2026-11-21\n\n- New.\n" in (project / "CHANGELOG.md").read_text()
    assert git(project, "tag") == ""
    release.keep([])
    assert release.finish() == "", "there is no remote to push to"
    assert git(project, "log", "-1", "--format=%s", "--name-only").split() == [
        *("Release", "1.3.0"),
        *("CHANGELOG.md", "pyproject.toml"),
    ]
    assert git(project, "describe") == "v1.3.0"
    assert git(project, "status", "--porcelain") == ""
    assert not release.notebook.folder.exists()


def test_what_failed_before_the_first_byte_is_put_back(project: Path) -> None:
    release = plan(project)
    release.apply()
    release.undo()
    assert (project / "pyproject.toml").read_text() == PYPROJECT
    assert git(project, "status", "--porcelain") == ""
    assert not release.notebook.folder.exists()


def test_another_run_goes_on_instead_of_raising_twice(project: Path) -> None:
    plan(project).apply()
    again = plan(project)
    assert (again.is_resumed, str(again.new)) == (True, "1.3.0")
    again.apply()
    again.finish()
    assert git(project, "describe") == "v1.3.0"
    with pytest.raises(PpmError, match=r"Nothing was committed since 1\.3\.0 was released"):
        plan(project, published="1.3.0")


def test_another_command_does_not_go_on(project: Path) -> None:
    plan(project).apply()
    with pytest.raises(PpmError, match=r"A release of demo 1\.3\.0 has begun") as refused:
        plan(project, "major")
    assert "ppmctl publish --bump minor --changelog --tag" in refused.value.hint
    assert "git restore pyproject.toml CHANGELOG.md" in refused.value.hint
    git(project, "restore", "pyproject.toml", "CHANGELOG.md")
    assert str(plan(project, "major").new) == "2.0.0"


def test_a_tag_needs_a_repository(project: Path, tmp_path: Path) -> None:
    (project / ".git").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no git repository"):
        plan(project)
    release = plan(project, tag=False)
    release.apply()
    assert plan(project, tag=False).is_resumed
    assert release.finish() == ""
    assert "1.3.0" in (project / "pyproject.toml").read_text()
    assert str(plan(project, "minor", tag=False, changelog=False).new) == "1.4.0"
