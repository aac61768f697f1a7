"""A git that fails is never taken for a project without git; "no" is not a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.releases import git

from ppmctl.errors import PpmError
from ppmctl.publishing import git as repositories

READS: list[Callable[[Path], object]] = [
    repositories.tracking,
    repositories.commit_time,
    repositories.find_repository,
]


def owned_by_another_user(_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch on git's own aid for tests: as in a container that the folder is mounted into."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")


def without_its_repository(project: Path, _monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".git").rename(project.parent / "moved")
    (project / ".git").write_text("gitdir: ../nowhere/.git/worktrees/demo\n")


def not_installed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))


@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (owned_by_another_user, "git config --global --add safe.directory {project}"),
        (without_its_repository, "not a git repository"),
        (not_installed, "git can't be run"),
    ],
)
def test_a_git_that_fails_is_reported(
    read: Callable[[Path], object],
    fault: Callable[[Path, pytest.MonkeyPatch], None],
    message: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault(project, monkeypatch)
    with pytest.raises(PpmError) as caught:
        read(project)
    assert message.format(project=project) in caught.value.message


def test_a_damaged_repository_is_reported(project: Path) -> None:
    (project / ".git" / "index").write_bytes(b"x")
    with pytest.raises(PpmError, match="git ls-files failed"):
        repositories.tracking(project)
    (project / ".git" / "index").unlink()
    (commit,) = (path for path in (project / ".git" / "objects").rglob(f"{git(project, 'rev-parse', 'HEAD')[2:]}"))
    commit.chmod(0o600)
    commit.write_bytes(b"x")
    found = repositories.find_repository(project)
    assert found is not None
    for read in (found.last_commit, found.last_tag):
        with pytest.raises(PpmError, match=r"git (log|tag) failed"):
            read()


def test_a_repository_without_commits_or_tags_is_no_failure(tmp_path: Path, project: Path, own_git: None) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    found = repositories.find_repository(empty)
    assert found is not None
    assert (found.head, found.last_tag(), found.tags(), found.remote()) == ("", "", [], "")
    assert repositories.commit_time(empty) == ""
    assert repositories.tracking(empty) is None
    git(project, "tag", "nightly")
    found = repositories.find_repository(project)
    assert found is not None
    assert found.last_tag() == ""
    git(project, "tag", "demo/1.0")
    assert found.last_tag() == "demo/1.0"
    git(project, "checkout", "--quiet", "--detach")
    assert found.branch == ""
