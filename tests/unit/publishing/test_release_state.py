"""Releases that break off, with a real git: what is undone, and what the next run resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.releases import CHANGELOG, PYPROJECT, git, plan, refused

from ppmctl.errors import PpmError
from ppmctl.publishing import release_state

# before anything is in the index


def test_undo_restores_the_project(project: Path) -> None:
    release = plan(project)
    release.apply()
    release.undo()
    assert (project / "pyproject.toml").read_text() == PYPROJECT
    assert git(project, "status", "--porcelain") == ""
    assert not release.folder.folder.exists()


def test_the_next_run_resumes_the_release_and_does_not_raise_twice(project: Path) -> None:
    plan(project).apply()
    again = plan(project)
    assert (again.is_resumed, str(again.changes.new)) == (True, "1.3.0")
    again.apply()
    again.finish()
    assert git(project, "describe") == "v1.3.0"
    with pytest.raises(PpmError, match=r"Nothing was committed since 1\.3\.0 was released"):
        plan(project, published="1.3.0")


def test_other_options_do_not_resume_the_release(project: Path) -> None:
    plan(project).apply()
    message, hint = refused(project, "major")
    assert message.startswith("A release of demo 1.3.0 has begun")
    assert "ppmctl publish --bump minor --changelog --tag" in hint
    assert "git restore pyproject.toml CHANGELOG.md" in hint
    git(project, "restore", "pyproject.toml", "CHANGELOG.md")
    assert str(plan(project, "major").changes.new) == "2.0.0"


def test_a_version_from_tags_is_tagged_before_the_build(tagged: Path) -> None:
    release = plan(tagged)
    assert release.summary()[-1] == "Before the build: commit 'Release 1.3.0' and tag v1.3.0"
    release.apply()
    assert git(tagged, "describe", "--dirty") == "v1.3.0"
    again = plan(tagged)
    assert (again.is_resumed, str(again.changes.new)) == (True, "1.3.0")
    again.apply()
    again.finish()
    assert git(tagged, "describe", "--dirty") == "v1.3.0"
    assert not again.folder.folder.exists()


def test_undo_deletes_the_tag_and_its_commit(tagged: Path) -> None:
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


def test_a_file_that_can_t_be_written_leaves_everything_unchanged(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root can write every file, so the test raises the error itself."""
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


def test_a_file_that_changes_after_the_plan_is_not_replaced(project: Path) -> None:
    release = plan(project)
    (project / "CHANGELOG.md").write_text("mine")
    with pytest.raises(PpmError, match=r"CHANGELOG\.md was changed in the meantime"):
        release.apply()
    assert (project / "CHANGELOG.md").read_text() == "mine"
    assert (project / "pyproject.toml").read_text() == PYPROJECT


def test_a_file_that_changed_after_the_release_began_is_named(project: Path) -> None:
    plan(project).apply()
    with (project / "CHANGELOG.md").open("a") as file:
        file.write("- Later.\n")
    message, hint = refused(project)
    assert message == "CHANGELOG.md: changed after the release of demo 1.3.0 had begun."
    assert "git restore pyproject.toml CHANGELOG.md" in hint
    (project / "CHANGELOG.md").write_text(CHANGELOG)
    (project / "new.py").touch()
    assert "not committed: new.py" in refused(project)[0]


def test_a_state_file_that_can_t_be_read_is_named(project: Path) -> None:
    release = plan(project)
    release.apply()
    (release.folder.folder / "release.json").write_text('{"format": 1}')
    assert "release.json" in refused(project)[0]


# after the upload


def test_a_release_with_files_in_the_index_is_not_undone(project: Path, tmp_path: Path) -> None:
    """A run was killed during its upload; then the user restored the files."""
    first = plan(project, published="1.2.0")
    first.apply()
    (tmp_path / "demo.whl").write_bytes(b"built")
    first.store_built([tmp_path / "demo.whl"])
    git(project, "restore", ".")
    again = plan(project, published="1.3.0")
    assert [path.read_bytes() for path in again.built] == [b"built"]
    again.apply()
    again.undo()
    assert "1.3.0" in (project / "pyproject.toml").read_text()
    again.store_built(again.built)
    assert [path.read_bytes() for path in plan(project, published="1.3.0").built] == [b"built"]
    again.built[0].write_bytes(b"half")
    assert plan(project, published="1.3.0").built == ()
    assert "To cancel it" not in refused(project, "major", published="1.3.0")[1]
    again.finish()
    assert git(project, "describe", "--dirty") == "v1.3.0"


def test_a_commit_that_a_hook_refused_is_made_by_the_next_run(project: Path) -> None:
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho tests fail >&2\nprintf '\\n' >> CHANGELOG.md\nexit 1\n")
    hook.chmod(0o755)
    release = plan(project)
    release.apply()
    with pytest.raises(PpmError, match=r"its commit or tag could not be made: .*\n +tests fail") as failed:
        release.finish()
    assert "run the same command again" in failed.value.hint
    hook.unlink()
    again = plan(project, published="1.3.0")
    assert again.is_resumed
    again.apply()
    again.finish()
    assert git(project, "describe", "--dirty") == "v1.3.0"


def test_a_release_that_the_user_committed_is_only_tagged(project: Path) -> None:
    plan(project).apply()
    git(project, "commit", "--quiet", "--all", "--message=Ours")
    again = plan(project)
    again.apply()
    again.finish()
    assert git(project, "log", "-1", "--format=%s") == "Ours"
    assert git(project, "describe") == "v1.3.0"


def test_a_release_that_the_user_finished_is_not_resumed(project: Path) -> None:
    plan(project).apply()
    git(project, "commit", "--quiet", "--all", "--message=Ours")
    (project / "CHANGELOG.md").write_text("## [Unreleased]\n\n- Newer.\n")
    git(project, "commit", "--quiet", "--all", "--message=More")
    assert str(plan(project, published="1.3.0").changes.new) == "1.4.0"
