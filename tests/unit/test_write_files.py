"""Tests of the Ansible module that writes the files of a configuration, without a host."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Return a function that runs the module with arguments, and returns its result."""
    path = Path(__file__).parents[2] / "plugins" / "modules" / "write_files.py"
    spec = importlib.util.spec_from_file_location("write_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*, fails: bool = False, **arguments: Any) -> dict[str, Any]:
        more = {"_ansible_remote_tmp": str(tmp_path), "_ansible_check_mode": arguments.pop("check", False)}
        with patch_module_args({**arguments, **more}), pytest.raises(SystemExit):
            module.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert result.get("failed", False) is fails, result
        return result

    return call


def test_files_are_written_once_and_kept(run: Run, tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "b" / "one", tmp_path / "other"
    other.write_text("before\n")
    other.chmod(0o600)
    wanted = {str(one): "text é\n", str(other): "after\n"}
    first = run(files=wanted, modes={str(one): "0755"}, backup=True)
    assert (first["changed"], first["written"]) == (True, list(wanted))
    assert Path(first["backups"][str(other)]).read_text() == "before\n"
    assert list(first["backups"]) == [str(other)]
    assert [(each["before_header"], each["before"], each["after"]) for each in first["diff"]] == [
        (str(one), "", "text é\n"),
        (str(other), "before\n", "after\n"),
    ]
    assert (one.read_text(), one.stat().st_mode & 0o777) == ("text é\n", 0o755)
    assert (other.read_text(), other.stat().st_mode & 0o777) == ("after\n", 0o644)
    again = run(files=wanted, modes={str(one): "0755"}, backup=True)
    assert (again["changed"], again["written"], again["backups"], again["diff"]) == (False, [], {}, [])


def test_a_mode_that_drifted_is_corrected(run: Run, tmp_path: Path) -> None:
    path, folder = tmp_path / "f", tmp_path / "folder"
    folder.mkdir(mode=0o777)
    path.write_text("x")
    path.chmod(0o666)
    result = run(files={str(path): "x"}, folders=[{"path": str(folder), "mode": "0750"}])
    assert (result["changed"], result["written"], result["diff"]) == (True, [str(path)], [])
    assert (path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o644, 0o750)
    assert not run(files={str(path): "x"}, folders=[{"path": str(folder), "mode": "0750"}])["changed"]


def test_check_mode_reports_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    kept, new, gone, folder = (tmp_path / name for name in ("kept", "new", "gone", "folder"))
    kept.write_text("before\n")
    gone.symlink_to("nothing")
    result = run(
        files={str(kept): "after\n", str(new): "x\n"}, folders=[{"path": str(folder)}], absent=[str(gone)], check=True
    )
    assert (result["changed"], result["written"]) == (True, [str(kept), str(new)])
    assert [each["before_header"] for each in result["diff"]] == [str(kept), str(new), str(gone)]
    assert kept.read_text() == "before\n"
    assert not new.exists()
    assert not folder.exists()
    assert gone.is_symlink()


def test_files_that_should_not_be_there_are_removed(run: Run, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.symlink_to("nothing")
    assert run(absent=[str(gone)])["changed"]
    assert not gone.is_symlink()
    assert not run(absent=[str(gone)])["changed"]


def test_copies_of_replaced_and_removed_files_are_kept(run: Run, tmp_path: Path) -> None:
    """In a folder of their own, where no program reads them; a link's target remains anyway."""
    one, gone, link = (tmp_path / "etc" / name for name in ("one", "gone", "link"))
    one.parent.mkdir()
    one.write_text("before\n")
    gone.write_text("gone\n")
    link.symlink_to(one)
    wanted = {"files": {str(one): "after\n"}, "absent": [str(gone), str(link)], "copies": str(tmp_path / "copies")}
    run(**wanted, check=True)
    assert not (tmp_path / "copies").exists()
    run(**wanted)
    run(**wanted)
    kept = sorted((tmp_path / "copies").glob("**/*.20*"))
    assert [path.read_text() for path in kept] == ["gone\n", "before\n"]
    assert {path.parent for path in kept} == {tmp_path / "copies" / str(one.parent).lstrip("/")}


def test_a_link_that_another_user_could_have_made_is_not_followed(run: Run, tmp_path: Path) -> None:
    """A compromised application can make one on its volume, to get the owner and mode of any file changed by root."""
    secret, shared, trusted = tmp_path / "secret", tmp_path / "shared", tmp_path / "trusted"
    for folder, mode in ((secret, 0o700), (shared, 0o777), (trusted, 0o755)):
        folder.mkdir()
        folder.chmod(mode)
    (shared / "planted").symlink_to(secret)
    refused = run(folders=[{"path": str(shared / "planted")}], fails=True)
    assert "shared/planted must be a folder, not a link or a file" in refused["msg"]
    assert secret.stat().st_mode & 0o777 == 0o700
    (trusted / "moved").symlink_to(secret)  # as by an administrator, to another disk
    assert run(folders=[{"path": str(trusted / "moved")}])["changed"]
    assert secret.stat().st_mode & 0o777 == 0o755
    assert not run(folders=[{"path": str(trusted / "moved")}])["changed"]


def test_a_link_instead_of_a_file_is_replaced(run: Run, tmp_path: Path) -> None:
    """Also if its target has the same content, which its owner could change later."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("x")
    target.chmod(0o600)
    link.symlink_to(target)
    assert run(files={str(link): "x"})["written"] == [str(link)]
    assert not link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o600
    assert not run(files={str(link): "x"})["changed"]
