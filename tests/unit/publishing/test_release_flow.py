"""Releases around their upload: what is changed, put back, committed and tagged, with a real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import project_version, release_flow, release_state
from ppmctl.publishing.release_flow import Release
from ppmctl.publishing.release_state import Wanted

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
        "[user]\nname = Ada\nemail = ada@example.test\nuseConfigOnly = true\n[maintenance]\nauto = false\n"
        "[core]\nfsync = none\n"
    )


def git(folder: Path, *arguments: str, **environ: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    options: dict[str, Any] = {"env": environ} if environ else {}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, **options).stdout.strip()


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one commit, for each test to copy."""
    made = tmp_path_factory.mktemp("begun")
    (made / "pyproject.toml").write_text(PYPROJECT)
    (made / "CHANGELOG.md").write_text(CHANGELOG)
    ada = {f"GIT_{role}_{what}": "ada@example.test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    clean = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "GIT_CONFIG_NOSYSTEM": "1"}
    git(made, "init", "--quiet", "--initial-branch=main", "--template=", **clean)
    git(made, "add", ".", **clean)
    git(made, "commit", "--quiet", "--message=Begin", **clean, **ada)
    return made


@pytest.fixture
def project(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "demo")


def plan(
    project: Path, bump: str | None = "minor", *, published: str = "", changelog: bool = True, tag: bool = True
) -> Release:
    wanted = Wanted(bump=bump, changelog=changelog, tag=tag)
    found = project_version.read(project.resolve())
    return release_flow.plan(found, wanted, Version(published) if published else None, DAY)


def test_a_release_from_the_version_to_the_tag(project: Path) -> None:
    release = plan(project, published="1.2.0")
    assert (release.state.name, str(release.state.old), str(release.state.new)) == ("demo", "1.2.0", "1.3.0")
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
    assert not release.folder.folder.exists()


def test_what_failed_before_the_first_byte_is_put_back(project: Path) -> None:
    release = plan(project)
    release.apply()
    release.undo()
    assert (project / "pyproject.toml").read_text() == PYPROJECT
    assert git(project, "status", "--porcelain") == ""
    assert not release.folder.folder.exists()


def test_another_run_goes_on_instead_of_raising_twice(project: Path) -> None:
    plan(project).apply()
    again = plan(project)
    assert (again.is_resumed, str(again.state.new)) == (True, "1.3.0")
    again.apply()
    again.finish()
    assert git(project, "describe") == "v1.3.0"
    with pytest.raises(PpmError, match=r"Nothing was committed since 1\.3\.0 was released"):
        plan(project, published="1.3.0")


@pytest.mark.parametrize(
    ("now", "more", "on"), [("1.3.0rc1", "1.3.0rc2", "1.3.0"), ("1.3.0.dev4", "1.3.0.dev5", "1.3.0")]
)
def test_a_pre_release_that_nothing_was_committed_after_is_not_counted_up(
    project: Path, now: str, more: str, on: str
) -> None:
    """The same command twice is one release. The release itself is the next step, of the same content."""
    first = plan(project, now, changelog=False)
    first.apply()
    first.keep([])
    first.finish()
    with pytest.raises(PpmError, match=f"Nothing was committed since {now} was released") as refused_for:
        plan(project, "pre", published=now, changelog=False)
    assert f"--bump {more}" in (refused_for.value.hint or "")
    assert str(plan(project, more, published=now, changelog=False).state.new) == more
    assert str(plan(project, "minor", published=now, changelog=False).state.new) == on
    git(project, "commit", "--quiet", "--allow-empty", "--message=Mend")
    assert str(plan(project, "pre", published=now, changelog=False).state.new) == more


def test_another_command_does_not_go_on(project: Path) -> None:
    plan(project).apply()
    with pytest.raises(PpmError, match=r"A release of demo 1\.3\.0 has begun") as refused:
        plan(project, "major")
    assert "ppmctl publish --bump minor --changelog --tag" in refused.value.hint
    assert "git restore pyproject.toml CHANGELOG.md" in refused.value.hint
    git(project, "restore", "pyproject.toml", "CHANGELOG.md")
    assert str(plan(project, "major").state.new) == "2.0.0"


def test_a_tag_needs_a_repository(project: Path, tmp_path: Path) -> None:
    (project / ".git").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="no git repository"):
        plan(project)
    release = plan(project, tag=False)
    release.apply()
    assert plan(project, tag=False).is_resumed
    assert release.finish() == ""
    assert "1.3.0" in (project / "pyproject.toml").read_text()
    assert str(plan(project, "minor", tag=False, changelog=False).state.new) == "1.4.0"


# refused, with nothing changed


def refused(project: Path, bump: str | None = "minor", **options: Any) -> tuple[str, str]:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and ".git" not in path.parts}
    with pytest.raises(PpmError) as raised:
        plan(project, bump, **options)
    assert {path: path.read_bytes() for path in before} == before
    return raised.value.message, raised.value.hint


def test_a_tree_that_is_not_as_committed(project: Path) -> None:
    for name in ("dist/demo.whl", "build/lib/x.py", "demo.egg-info/PKG-INFO", "a/__pycache__/x.pyc"):
        (project / name).parent.mkdir(parents=True)
        (project / name).touch()
    assert plan(project).state.edits, "what builds leave is no change"
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


def test_a_version_that_is_not_above_what_is_published(project: Path) -> None:
    message, hint = refused(project, published="1.3.0")
    assert message == "demo 1.3.0 is not above 1.3.0, which is in the index."
    assert "--bump 1.3.1" in hint
    assert "1.2.1 is not above 2.0" in refused(project, "1.2.1", published="2.0")[0]
    assert "1.2.0 is not above 1.2.0" in refused(project, None, published="1.2.0")[0]
    assert "1.1 is below 1.2.0" in refused(project, "1.1")[0]


def test_an_empty_changelog(project: Path) -> None:
    (project / "CHANGELOG.md").write_text(CHANGELOG.replace("- New.\n", ""))
    git(project, "commit", "--quiet", "--all", "--message=x")
    assert refused(project)[0] == "CHANGELOG.md says nothing under Unreleased."
    assert plan(project, changelog=False).state.tag == "v1.3.0"


def test_a_tag_that_is_taken(project: Path) -> None:
    git(project, "tag", "v1.3.0")
    message, hint = refused(project)
    assert message.startswith("The tag v1.3.0 is there already, at commit ")
    assert "git tag -d v1.3.0" in hint
    assert plan(project, tag=False).state.tag == ""


def test_a_detached_head(project: Path) -> None:
    git(project, "checkout", "--quiet", "--detach")
    message, hint = refused(project)
    assert "HEAD is detached" in message
    assert "git switch" in hint
    assert plan(project, None, changelog=False).state.tag == "v1.2.0", "a tag needs no branch"


def test_a_git_that_does_not_know_who_commits(project: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / ".gitconfig").write_text("[user]\nuseConfigOnly = true\n")
    message, hint = refused(project)
    assert message.startswith("git does not know who commits: ")
    assert "git config --global user.name" in hint


def test_a_repository_of_somebody_else(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "safe.directory" in refused(project)[0]


def test_a_machine_without_git(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused(project) == ("git can't be run: No such file or directory.", "Install git: apt-get install git")


def test_a_file_that_git_ignores(project: Path) -> None:
    git(project, "rm", "--quiet", "--cached", "CHANGELOG.md")
    (project / ".gitignore").write_text("CHANGELOG.md\n")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    message, hint = refused(project)
    assert message == "git does not track CHANGELOG.md, which the release changes."
    assert "git add --force CHANGELOG.md" in hint


def test_a_project_without_commits(project: Path) -> None:
    shutil.rmtree(project / ".git")
    git(project, "init", "--quiet")
    assert "not committed: CHANGELOG.md, pyproject.toml." in refused(project)[0]


def test_a_clone_that_lacks_the_tags(tagged: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{tagged}", str(clone))
    message, hint = refused(clone)
    assert "shallow clone without tags" in message
    assert "git fetch --unshallow --tags" in hint
    (clone / "pyproject.toml").write_text(PYPROJECT)
    git(clone, "commit", "--quiet", "--all", "--message=x")
    assert refused(clone)[0] == message
    assert plan(clone, tag=False).state.edits
    git(clone, "fetch", "--quiet", "--unshallow", "--tags")
    assert plan(clone).state.tag == "v1.3.0"


# what is changed


def test_a_tag_is_written_as_those_before(project: Path) -> None:
    for tag, expected in {"1.0": "1.3.0", "nightly": "1.3.0", "demo-v1.1": "demo-v1.3.0", "v1.2": "v1.3.0"}.items():
        (project / "x").write_text(tag)
        git(project, "add", "x")
        git(project, "-c", f"user.name={tag}", "commit", "--quiet", f"--date=@{1700000000}", "--message=x")
        git(project, "tag", "--annotate", f"--message={tag}", tag)
        newest = git(project, "for-each-ref", "--sort=-creatordate", "--format=%(refname:strip=2)", "--count=1")
        if newest == tag:  # tags of one second are in the order of their names
            assert plan(project, changelog=False).state.tag == expected, tag


def test_a_version_and_a_changelog_as_they_stand(project: Path) -> None:
    (project / "CHANGELOG.md").write_text("## Unreleased\n\n- First.\n")
    git(project, "commit", "--quiet", "--all", "--message=x")
    release = plan(project, None)
    assert [edit.path.name for edit in release.state.edits] == ["CHANGELOG.md"]
    assert release.summary() == (
        "demo 1.2.0",
        "Changed: CHANGELOG.md",
        "After the upload: commit 'Release 1.2.0' and tag v1.2.0",
    )


def test_the_project_s_own_lock_is_raised_and_what_else_names_the_version_is_told(project: Path) -> None:
    lock = 'version = 1\n\n[[package]]\nname = "demo"\nversion = "1.2.0"\nsource = { editable = "." }\n'
    (project / "uv.lock").write_text(lock)
    (project / "demo.py").write_text('__version__ = "1.2.0"\n')
    (project / "other.py").write_text('NEEDS = "1.2.0"\n__version__ = "1.2.0.1"\n')
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    release = plan(project)
    assert release.warnings == ("Still 1.2.0, and not changed by this: demo.py",)
    release.apply()
    assert (project / "uv.lock").read_text() == lock.replace("1.2.0", "1.3.0")
    release.finish()
    assert git(project, "status", "--porcelain") == ""


def test_one_of_several_projects_of_a_repository(project: Path) -> None:
    part = project / "libs" / "part"
    part.mkdir(parents=True)
    (part / "pyproject.toml").write_text(PYPROJECT.replace("demo", "part"))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=x")
    git(project, "tag", "part-v1.2.0")
    (project / "CHANGELOG.md").write_text("of another project, and not committed")
    release = plan(part, changelog=False)
    assert (release.state.message, release.state.tag) == ("Release part 1.3.0", "part-v1.3.0")
    release.apply()
    assert plan(part, changelog=False).is_resumed
    release.finish()
    assert git(project, "show", "--name-only", "--format=").split() == ["libs/part/pyproject.toml"]


def test_a_mode_and_a_link_stay(project: Path) -> None:
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
    assert release.summary()[1] == "Changed: pyproject.toml, ../changes.md"
    release.apply()
    release.finish()
    assert (project / "part" / "CHANGELOG.md").is_symlink()
    assert (project / "changes.md").stat().st_mode & 0o777 == 0o755
    assert git(project, "status", "--porcelain") == ""


def test_the_command_that_pushes_is_told_and_not_run(project: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(project, "remote", "add", "upstream", str(tmp_path / "remote.git"))
    release = plan(project)
    release.apply()
    assert release.finish() == "git push upstream main v1.3.0"
    assert git(tmp_path / "remote.git", "for-each-ref") == ""
    assert plan(project, "1.4.0rc1", changelog=False, tag=False).state.tag == ""


# the version is git's tags'


@pytest.fixture
def tagged(project: Path) -> Path:
    (project / "pyproject.toml").write_text(
        '[project]\nname = "demo"\ndynamic = ["version"]\n[tool.setuptools_scm]\n'
        '[build-system]\nrequires = ["setuptools", "setuptools-scm"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    git(project, "commit", "--quiet", "--all", "--message=x")
    git(project, "tag", "v1.2.0", "HEAD^")
    return project


def test_a_version_that_is_a_tag_is_tagged_before_the_build(tagged: Path) -> None:
    release = plan(tagged)
    assert release.summary()[-1] == "Before the build: commit 'Release 1.3.0' and tag v1.3.0"
    release.apply()
    assert git(tagged, "describe", "--dirty") == "v1.3.0"
    again = plan(tagged)
    assert (again.is_resumed, str(again.state.new)) == (True, "1.3.0")
    again.apply()
    again.finish()
    assert git(tagged, "describe", "--dirty") == "v1.3.0"
    assert not again.folder.folder.exists()


def test_a_tag_and_its_commit_are_taken_back(tagged: Path) -> None:
    head = git(tagged, "rev-parse", "HEAD")
    plan(tagged).apply()
    plan(tagged).undo()
    assert git(tagged, "rev-parse", "HEAD") == head
    assert git(tagged, "tag") == "v1.2.0"
    assert git(tagged, "status", "--porcelain") == ""
    only = plan(tagged, changelog=False)
    only.apply()
    assert plan(tagged, changelog=False).is_resumed
    only.undo()
    assert git(tagged, "tag") == "v1.2.0"


def test_a_version_that_is_a_tag_can_t_be_raised_without_one(tagged: Path) -> None:
    message, hint = refused(tagged, tag=False)
    assert "setuptools-scm" in message
    assert "ppmctl publish --bump minor --changelog --tag" in hint
    assert "--bump patch" in refused(tagged, None)[1]
    git(tagged, "tag", "v1.3.0")
    assert "Nothing was committed since 1.3.0 was released" in refused(tagged)[0]
    assert plan(tagged, "1.3.0", changelog=False).state.tag == "", "it is there already"


# after a break


def test_what_is_in_the_index_is_not_taken_back(project: Path, tmp_path: Path) -> None:
    """A run was killed in the middle of its upload; then somebody put the files back."""
    first = plan(project, published="1.2.0")
    first.apply()
    (tmp_path / "demo.whl").write_bytes(b"built")
    first.keep([tmp_path / "demo.whl"])
    git(project, "restore", ".")
    again = plan(project, published="1.3.0")
    assert [path.read_bytes() for path in again.built] == [b"built"]
    again.apply()
    again.undo()
    assert "1.3.0" in (project / "pyproject.toml").read_text()
    again.keep(again.built)
    assert [path.read_bytes() for path in plan(project, published="1.3.0").built] == [b"built"]
    again.built[0].write_bytes(b"half")
    assert plan(project, published="1.3.0").built == ()
    assert "To give it up" not in refused(project, "major", published="1.3.0")[1]
    again.finish()
    assert git(project, "describe", "--dirty") == "v1.3.0"


def test_a_hook_that_fails_is_told_and_gone_on_with(project: Path) -> None:
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho tests fail >&2\nprintf '\\n' >> CHANGELOG.md\nexit 1\n")
    hook.chmod(0o755)
    release = plan(project)
    release.apply()
    with pytest.raises(PpmError, match=r"demo 1\.3\.0 is published, but not committed .*\n +tests fail") as failed:
        release.finish()
    assert "run the same again" in failed.value.hint
    hook.unlink()
    again = plan(project, published="1.3.0")
    assert again.is_resumed
    again.apply()
    again.finish()
    assert git(project, "describe", "--dirty") == "v1.3.0"


def test_what_was_committed_by_hand_is_only_tagged(project: Path) -> None:
    plan(project).apply()
    git(project, "commit", "--quiet", "--all", "--message=Ours")
    again = plan(project)
    again.apply()
    again.finish()
    assert git(project, "log", "-1", "--format=%s") == "Ours"
    assert git(project, "describe") == "v1.3.0"


def test_a_release_that_was_ended_by_hand_is_forgotten(project: Path) -> None:
    plan(project).apply()
    git(project, "commit", "--quiet", "--all", "--message=Ours")
    (project / "CHANGELOG.md").write_text("## [Unreleased]\n\n- Newer.\n")
    git(project, "commit", "--quiet", "--all", "--message=More")
    assert str(plan(project, published="1.3.0").state.new) == "1.4.0"


def test_a_file_that_was_changed_since_is_named(project: Path) -> None:
    plan(project).apply()
    with (project / "CHANGELOG.md").open("a") as file:
        file.write("- Later.\n")
    message, hint = refused(project)
    assert message == "CHANGELOG.md: changed since the release of demo 1.3.0 has begun."
    assert "git restore pyproject.toml CHANGELOG.md" in hint
    (project / "CHANGELOG.md").write_text(CHANGELOG)
    (project / "new.py").touch()
    assert "not committed: new.py" in refused(project)[0]


def test_what_can_t_be_written_leaves_everything_as_it_was(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every file can be written, so the refusal is put in."""
    release = plan(project)
    real = release_state.write_atomic

    def refuse(path: Path, content: bytes, **options: Any) -> None:
        if path.name == "CHANGELOG.md":
            raise PermissionError(13, "Permission denied", str(path))
        real(path, content, **options)

    monkeypatch.setattr(release_state, "write_atomic", refuse)
    with pytest.raises(PpmError, match=r"CHANGELOG\.md can't be written: Permission denied\. Nothing was changed"):
        release.apply()
    assert git(project, "status", "--porcelain") == ""


def test_a_file_that_changes_between_plan_and_deed_is_not_replaced(project: Path) -> None:
    release = plan(project)
    (project / "CHANGELOG.md").write_text("mine")
    with pytest.raises(PpmError, match=r"CHANGELOG\.md was changed meanwhile"):
        release.apply()
    assert (project / "CHANGELOG.md").read_text() == "mine"
    assert (project / "pyproject.toml").read_text() == PYPROJECT


def test_a_note_that_can_t_be_read_is_named(project: Path) -> None:
    release = plan(project)
    release.apply()
    (release.folder.folder / "release.json").write_text('{"format": 1}')
    assert "release.json" in refused(project)[0]
