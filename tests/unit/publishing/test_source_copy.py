"""Copies to build from: what is in them, what is not, and which git repository. The project itself stays as it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ppmctl.errors import PpmError
from ppmctl.publishing import git as git_repository
from ppmctl.publishing import source_copy

IDENTITY = {
    **{
        f"GIT_{who}_{what}": f"{who.lower()}@example.test"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
    "GIT_AUTHOR_DATE": "@1700000000 +0000",
    "GIT_COMMITTER_DATE": "@1700000000 +0000",
    "GIT_CONFIG_NOSYSTEM": "1",
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SOURCE_DATE_EPOCH", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def git(folder: Path, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        env={**os.environ, **IDENTITY, **environ},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def commit(folder: Path, *names: str) -> None:
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--force", *names)
    git(folder, "commit", "--quiet", "--message=x")


def names(folder: Path) -> set[str]:
    """Return the files and links of a tree, without git's own."""
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}
    return {name for name in paths if not name.startswith(".git/")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "demo"
    write(made, "pyproject.toml", "src/demo/__init__.py", "src/demo/build/__init__.py", "src/demo/dist/data")
    return made


@pytest.fixture
def into(tmp_path: Path) -> Path:
    made = tmp_path / "into"
    made.mkdir()
    return made


def test_leftovers_of_builds_and_tools_are_not_copied(project: Path, into: Path) -> None:
    whole = names(project)
    write(project, "build/lib/old.py", "dist/demo-0.9.tar.gz", "src/demo.egg-info/SOURCES.txt", ".tox/x", ".eggs/x")
    write(project, "src/demo/__pycache__/demo.pyc", ".venv/pyvenv.cfg", ".venv/lib/x.py", ".cache/CACHEDIR.TAG")
    copied = source_copy.copy(project, into)
    assert (copied, names(copied)) == (into / "demo", whole)


def test_a_package_named_build_and_files_that_git_tracks_are_copied(project: Path, into: Path) -> None:
    write(project, "build/tracked.py", "dist/x", "own.egg-info/PKG-INFO", "other.egg-info/PKG-INFO")
    commit(project, "pyproject.toml", "src", "build/tracked.py", "own.egg-info")
    copied = names(source_copy.copy(project, into))
    assert copied >= {"build/tracked.py", "own.egg-info/PKG-INFO", "src/demo/build/__init__.py", "src/demo/dist/data"}
    assert not copied & {"dist/x", "other.egg-info/PKG-INFO"}


def test_files_keep_their_times_modes_and_links(project: Path, into: Path) -> None:
    """Build backends write times into files: other times would make a conflict of the same source."""
    script = project / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    os.utime(script, (1e9, 1e9))
    (project / "inside").symlink_to("script")
    (project / "outside").symlink_to("/nonexistent")
    copied = source_copy.copy(project, into)
    assert (copied / "script").stat().st_mtime == 1e9
    assert (copied / "script").stat().st_mode & 0o777 == 0o755
    assert {name: str((copied / name).readlink()) for name in ("inside", "outside")} == {
        "inside": "script",
        "outside": "/nonexistent",
    }


def test_the_copy_of_a_read_only_folder_is_writable(project: Path, into: Path) -> None:
    (project / "src").chmod(0o555)
    project.chmod(0o555)
    try:
        copied = source_copy.copy(project, into)
        assert (copied.stat().st_mode & 0o777, (copied / "src").stat().st_mode & 0o777) == (0o755, 0o755)
    finally:
        project.chmod(0o755)


def test_a_named_pipe_is_not_copied(project: Path, into: Path) -> None:
    os.mkfifo(project / "pipe")
    assert not (source_copy.copy(project, into) / "pipe").exists()


def test_files_that_can_t_be_read_are_named(project: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can read every file, so the test raises the error itself."""

    def refuse(source: str, target: str, **_: object) -> None:
        raise PermissionError(13, "Permission denied", source)

    monkeypatch.setattr("shutil.copystat", lambda *_, **__: None)
    monkeypatch.setattr("shutil.copy2", refuse)
    monkeypatch.setattr(source_copy.shutil.copytree, "__defaults__", (False, None, refuse, False, False))
    with pytest.raises(
        PpmError, match=r"demo can't be copied to be built: .*__init__\.py, .* and 1 more: .*Permission denied"
    ):
        source_copy.copy(project, into)


def test_a_full_disk_is_reported(project: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", str(into))

    monkeypatch.setattr("shutil.copytree", fail)
    with pytest.raises(PpmError, match="No space left on device"):
        source_copy.copy(project, into)


def test_the_repository_is_copied(project: Path, into: Path) -> None:
    commit(project, ".")
    git(project, "tag", "v7")
    copied = source_copy.copy(project, into)
    assert git(copied, "describe", "--tags", "--dirty") == "v7"
    assert git_repository.commit_time(copied) == "1700000000"
    assert git(project, "status", "--porcelain") == ""


def test_the_time_is_that_of_the_last_commit(project: Path) -> None:
    """Uncommitted changes make no difference; without a commit there is none."""
    assert git_repository.commit_time(project) == ""
    commit(project, ".")
    write(project, "new.py")
    assert git_repository.commit_time(project) == "1700000000"


def test_a_project_below_the_top_is_copied_with_the_whole_repository(tmp_path: Path, into: Path) -> None:
    """Its version may come from the repository; its date is that of the last commit in its own folder."""
    top = tmp_path / "top"
    write(top, "one/pyproject.toml", "two/pyproject.toml", "two/build/x", "two/.venv/pyvenv.cfg")
    commit(top, "one")
    later = {"GIT_AUTHOR_DATE": "@1800000000 +0000", "GIT_COMMITTER_DATE": "@1800000000 +0000"}
    git(top, "add", "two/pyproject.toml")
    git(top, "commit", "--quiet", "--message=x", **later)
    copied = source_copy.copy(top / "one", into)
    assert copied == into / "top" / "one"
    assert git_repository.commit_time(copied) == "1700000000"
    assert git(copied, "rev-list", "--count", "HEAD") == "2"


def test_a_home_folder_under_git_is_not_copied(tmp_path: Path, into: Path) -> None:
    home = tmp_path / "home"
    write(home, ".profile", "demo/pyproject.toml")
    commit(home, ".profile")
    assert source_copy.copy(home / "demo", into) == into / "demo"


def worktree(project: Path, tmp_path: Path) -> Path:
    commit(project, ".")
    git(project, "tag", "v7")
    git(project, "worktree", "add", "--quiet", "--detach", str(tmp_path / "side"))
    return tmp_path / "side"


def test_a_worktree_is_copied_with_its_repository(project: Path, into: Path, tmp_path: Path) -> None:
    """The copy shares the repository with the original, so nothing is written there."""
    side = worktree(project, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (project / ".git").rglob("*")}
    copied = source_copy.copy(side, into)
    assert git(copied, "describe", "--tags", "--dirty") == "v7"
    assert git_repository.commit_time(copied) == "1700000000"
    assert {path: path.stat().st_mtime_ns for path in (project / ".git").rglob("*")} == before


def test_a_worktree_without_its_repository_is_warned_of(
    project: Path, into: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    side = worktree(project, tmp_path)
    project.rename(tmp_path / "moved")
    copied = source_copy.copy(side, into)
    assert names(copied) == names(side) - {".git"}
    printed = capsys.readouterr().err
    assert f"{project}/.git/worktrees/side" in printed
    assert f"-v {project}/.git:{project}/.git:ro" in printed


def test_a_submodule_without_its_repository_is_warned_of(
    project: Path, into: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".git").write_text("gitdir: ../.git/modules/demo\n")
    source_copy.copy(project, into)
    assert "name this folder in it" in capsys.readouterr().err


def test_a_submodule_is_copied_with_its_repository(project: Path, into: Path, tmp_path: Path) -> None:
    commit(project, ".")
    git(project, "tag", "v7")
    write(tmp_path / "top", "x")
    commit(tmp_path / "top", "x")
    git(tmp_path / "top", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(project), "part")
    part = tmp_path / "top" / "part"
    assert (part / ".git").is_file()
    copied = source_copy.copy(part, into)
    assert git(copied, "describe", "--tags", "--dirty") == "v7"
    assert git(copied, "rev-parse", "--show-toplevel") == str(copied)


def test_a_project_is_copied_without_git_installed(
    project: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(project, ".")
    write(project, "build/lib/old.py")
    monkeypatch.setenv("PATH", str(into))
    copied = source_copy.copy(project, into)
    assert "build/lib/old.py" not in names(copied)
    with pytest.raises(PpmError, match="git can't be run") as caught:
        git_repository.commit_time(copied)
    assert "apt-get install git" in caught.value.hint
