"""A project in a git repository, to release."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.releases import CHANGELOG, PYPROJECT, TAGGED, git


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project with one commit in the folder `plain`, and a copy whose version is a tag in `tagged`."""
    folder = tmp_path_factory.mktemp("template")
    plain, tagged = folder / "plain", folder / "tagged"
    ada = {f"GIT_{role}_{what}": "ada@example.test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1", **ada}
    plain.mkdir()
    (plain / "pyproject.toml").write_text(PYPROJECT)
    (plain / "CHANGELOG.md").write_text(CHANGELOG)
    git(plain, "init", "--quiet", "--initial-branch=main", "--template=", **environ)
    git(plain, "add", ".", **environ)
    git(plain, "commit", "--quiet", "--message=Begin", **environ)
    shutil.copytree(plain, tagged)
    (tagged / "pyproject.toml").write_text(TAGGED)
    git(tagged, "commit", "--quiet", "--all", "--message=x", **environ)
    git(tagged, "tag", "v1.2.0", "HEAD^", **environ)
    return folder


@pytest.fixture
def own_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Configure git for this test alone, without this machine's configuration."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".gitconfig").write_text(
        "[user]\nname = Ada\nemail = ada@example.test\nuseConfigOnly = true\n[maintenance]\nauto = false\n"
        "[core]\nfsync = none\n"
    )


@pytest.fixture
def project(template: Path, tmp_path: Path, own_git: None) -> Path:
    """Copy a project with one commit, whose version is in pyproject.toml."""
    return shutil.copytree(template / "plain", tmp_path / "demo")


@pytest.fixture
def tagged(template: Path, tmp_path: Path, own_git: None) -> Path:
    """Copy a project with two commits, whose version is the tag of the first."""
    return shutil.copytree(template / "tagged", tmp_path / "demo")
