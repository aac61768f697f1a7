"""Releases, with a real git: what is changed, committed and tagged, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.releases import CHANGELOG, PYPROJECT, git, plan, refused

from ppmctl.errors import PpmError, UsageError


def test_a_release_changes_version_and_changelog_then_commits_and_tags(project: Path) -> None:
    release = plan(project, published="1.2.0")
    assert (release.changes.name, str(release.changes.old), str(release.changes.new)) == ("demo", "1.2.0", "1.3.0")
    assert git(project, "status", "--porcelain") == "", "a plan changes nothing"
    release.apply()
    assert (project / "pyproject.toml").read_text() == PYPROJECT.replace("1.2.0", "1.3.0")
    assert "## [Unreleased]\n\n## [1.3.0] - 2026-11-21\n\n- New.\n" in (project / "CHANGELOG.md").read_text()
    assert git(project, "tag") == ""
    release.store_built([])
    assert release.finish() == "", "there is no remote to push to"
    assert git(project, "log", "-1", "--format=%s", "--name-only").split() == [
        *("Release", "1.3.0"),
        *("CHANGELOG.md", "pyproject.toml"),
    ]
    assert git(project, "describe") == "v1.3.0"
    assert git(project, "status", "--porcelain") == ""
    assert not release.folder.folder.exists()


@pytest.mark.parametrize(
    ("now", "more", "on"), [("1.3.0rc1", "1.3.0rc2", "1.3.0"), ("1.3.0.dev4", "1.3.0.dev5", "1.3.0")]
)
def test_a_pre_release_is_not_raised_again_without_a_new_commit(project: Path, now: str, more: str, on: str) -> None:
    """The same command twice makes one release. The final release of the same content is allowed."""
    first = plan(project, now, changelog=False)
    first.apply()
    first.store_built([])
    first.finish()
    with pytest.raises(PpmError, match=f"Nothing was committed since {now} was released") as refusal:
        plan(project, "pre", published=now, changelog=False)
    assert f"--bump {more}" in (refusal.value.hint or "")
    assert str(plan(project, more, published=now, changelog=False).changes.new) == more
    assert str(plan(project, "minor", published=now, changelog=False).changes.new) == on
    git(project, "commit", "--quiet", "--allow-empty", "--message=Repair")
    assert str(plan(project, "pre", published=now, changelog=False).changes.new) == more


def test_a_tag_needs_a_repository(project: Path, tmp_path: Path) -> None:
    (project / ".git").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not in a git repository"):
        plan(project)
    release = plan(project, tag=False)
    release.apply()
    assert plan(project, tag=False).is_resumed
    assert release.finish() == ""
    assert "1.3.0" in (project / "pyproject.toml").read_text()
    assert str(plan(project, "minor", tag=False, changelog=False).changes.new) == "1.4.0"


# refused, with nothing changed


def test_uncommitted_changes_are_refused(project: Path) -> None:
    for name in ("dist/demo.whl", "build/lib/x.py", "demo.egg-info/PKG-INFO", "a/__pycache__/x.pyc"):
        (project / name).parent.mkdir(parents=True)
        (project / name).touch()
    assert plan(project).changes.edits, "what builds leave is no change"
    (project / "CHANGELOG.md").write_text(CHANGELOG + "more\n")
    message, hint = refused(project)
    assert message == f"{project} has changes that are not committed: CHANGELOG.md."
    assert "git stash --include-untracked" in hint
    for name in ("a b.py", "c.py", "é.py", "z.py"):
        (project / name).touch()
    git(project, "add", "c.py")
    assert "not committed: CHANGELOG.md, a b.py, c.py and 2 more." in refused(project)[0]
    (project / ".gitignore").write_text("*.py\n")
    assert "CHANGELOG.md, c.py" in refused(project)[0].replace(".gitignore, ", "")


def test_a_version_that_is_not_above_the_published_one_is_refused(project: Path) -> None:
    message, hint = refused(project, published="1.3.0")
    assert message == "demo 1.3.0 is not above 1.3.0, which is in the index."
    assert "--bump 1.3.1" in hint
    assert "1.2.1 is not above 2.0" in refused(project, "1.2.1", published="2.0")[0]
    assert "1.2.0 is not above 1.2.0" in refused(project, None, published="1.2.0")[0]
    assert "1.1 is below 1.2.0" in refused(project, "1.1")[0]


def test_an_empty_changelog_is_refused(project: Path) -> None:
    (project / "CHANGELOG.md").write_text(CHANGELOG.replace("- New.\n", ""))
    git(project, "commit", "--quiet", "--all", "--message=x")
    assert refused(project)[0] == "The section Unreleased of CHANGELOG.md is empty."
    assert plan(project, changelog=False).changes.tag == "v1.3.0"


def test_a_tag_that_exists_is_refused(project: Path) -> None:
    git(project, "tag", "v1.3.0")
    message, hint = refused(project)
    assert message.startswith("The tag v1.3.0 already exists, at commit ")
    assert "git tag -d v1.3.0" in hint
    assert plan(project, tag=False).changes.tag == ""


def test_a_detached_head_is_refused(project: Path) -> None:
    git(project, "checkout", "--quiet", "--detach")
    message, hint = refused(project)
    assert "HEAD is detached" in message
    assert "git switch" in hint
    assert plan(project, None, changelog=False).changes.tag == "v1.2.0", "a tag needs no branch"


def test_a_git_without_a_user_name_is_refused(project: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / ".gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    message, hint = refused(project)
    assert message.startswith("git does not know who commits: ")
    assert "git config --global user.name" in hint


def test_a_repository_of_another_user_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "safe.directory" in refused(project)[0]


def test_a_machine_without_git_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(project) == ("git can't be run: No such file or directory.", "Install git: apt-get install git")


def test_a_changelog_that_git_ignores_is_refused(project: Path) -> None:
    git(project, "rm", "--quiet", "--cached", "CHANGELOG.md")
    (project / ".gitignore").write_text("CHANGELOG.md\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    message, hint = refused(project)
    assert message == "git does not track CHANGELOG.md, which the release changes."
    assert "git add --force CHANGELOG.md" in hint


def test_a_repository_without_commits_is_refused(project: Path) -> None:
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")
    assert "not committed: CHANGELOG.md, pyproject.toml." in refused(project)[0]


def test_a_shallow_clone_without_tags_is_refused(tagged: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tagged}", str(clone))
    message, hint = refused(clone)
    assert "shallow clone without tags" in message
    assert "git fetch --unshallow --tags" in hint
    (clone / "pyproject.toml").write_text(PYPROJECT)
    git(clone, "commit", "--quiet", "--all", "--message=x")
    assert refused(clone)[0] == message
    assert plan(clone, tag=False).changes.edits
    git(clone, "fetch", "--quiet", "--unshallow", "--tags")
    assert plan(clone).changes.tag == "v1.3.0"


def test_a_version_from_tags_can_t_be_raised_without_a_tag(tagged: Path) -> None:
    message, hint = refused(tagged, tag=False)
    assert "setuptools-scm" in message
    assert "ppmctl publish --bump minor --changelog --tag" in hint
    assert "--bump patch" in refused(tagged, None)[1]
    git(tagged, "tag", "v1.3.0")
    assert "Nothing was committed since 1.3.0 was released" in refused(tagged)[0]
    assert plan(tagged, "1.3.0", changelog=False).changes.tag == "", "it exists already"


# what is changed


def test_a_tag_has_the_form_of_the_newest_tag(project: Path) -> None:
    for tag, expected in {"1.0": "1.3.0", "nightly": "1.3.0", "demo-v1.1": "demo-v1.3.0", "v1.2": "v1.3.0"}.items():
        (project / "x").write_text(tag)
        git(project, "add", "x")
        git(project, "-c", f"user.name={tag}", "commit", "--quiet", f"--date=@{1700000000}", "--message=x")
        git(project, "tag", "--annotate", f"--message={tag}", tag)
        newest = git(project, "for-each-ref", "--sort=-creatordate", "--format=%(refname:strip=2)", "--count=1")
        if newest == tag:  # tags of one second are in the order of their names
            assert plan(project, changelog=False).changes.tag == expected, tag


def test_without_bump_the_current_version_is_released(project: Path) -> None:
    (project / "CHANGELOG.md").write_text("## Unreleased\n\n- First.\n")
    git(project, "commit", "--quiet", "--all", "--message=x")
    release = plan(project, None)
    assert [edit.path.name for edit in release.changes.edits] == ["CHANGELOG.md"]
    assert release.summary() == (
        "demo 1.2.0",
        "Files that will change: CHANGELOG.md",
        "After the upload: commit 'Release 1.2.0' and tag v1.2.0",
    )


def test_the_project_s_uv_lock_is_raised_and_other_files_with_the_version_are_named(project: Path) -> None:
    lock = 'version = 1\n\n[[package]]\nname = "demo"\nversion = "1.2.0"\nsource = { editable = "." }\n'
    (project / "uv.lock").write_text(lock)
    (project / "demo.py").write_text('__version__ = "1.2.0"\n')
    (project / "other.py").write_text('NEEDS = "1.2.0"\n__version__ = "1.2.0.1"\n')
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    release = plan(project)
    assert release.warnings == (
        "These files still have version 1.2.0, and the release does not change them: demo.py",
    )
    release.apply()
    assert (project / "uv.lock").read_text() == lock.replace("1.2.0", "1.3.0")
    release.finish()
    assert git(project, "status", "--porcelain") == ""


def test_one_of_several_projects_in_a_repository_is_released_alone(project: Path) -> None:
    part = project / "libs" / "part"
    part.mkdir(parents=True)
    (part / "pyproject.toml").write_text(PYPROJECT.replace("demo", "part"))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    git(project, "tag", "part-v1.2.0")
    (project / "CHANGELOG.md").write_text("of another project, and not committed")
    release = plan(part, changelog=False)
    assert (release.changes.message, release.changes.tag) == ("Release part 1.3.0", "part-v1.3.0")
    release.apply()
    assert plan(part, changelog=False).is_resumed
    release.finish()
    assert git(project, "show", "--name-only", "--format=").split() == ["libs/part/pyproject.toml"]


def test_a_changelog_keeps_its_mode_and_stays_a_symbolic_link(project: Path) -> None:
    (project / "CHANGELOG.md").rename(project / "changes.md")
    (project / "changes.md").chmod(0o755)
    (project / "part").mkdir()
    (project / "pyproject.toml").rename(project / "part" / "pyproject.toml")
    (project / "part" / "CHANGELOG.md").symlink_to("../changes.md")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    with (project / "changes.md").open("a") as file:
        file.write("more\n")
    assert refused(project / "part")[0] == f"{project / 'changes.md'} has changes that are not committed."
    git(project, "restore", "changes.md")
    release = plan(project / "part")
    assert release.summary()[1] == "Files that will change: pyproject.toml, ../changes.md"
    release.apply()
    release.finish()
    assert (project / "part" / "CHANGELOG.md").is_symlink()
    assert (project / "changes.md").stat().st_mode & 0o777 == 0o755
    assert git(project, "status", "--porcelain") == ""


def test_the_push_command_is_returned_and_not_run(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(project, "remote", "add", "upstream", str(tmp_path / "remote.git"))
    release = plan(project)
    release.apply()
    assert release.finish() == "git push upstream main v1.3.0"
    assert git(tmp_path / "remote.git", "for-each-ref") == ""
    assert plan(project, "1.4.0rc1", changelog=False, tag=False).changes.tag == ""
