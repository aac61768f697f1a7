"""From paths to checked files, and from a file to the form that is sent."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

import pytest
from requests_toolbelt.multipart.decoder import MultipartDecoder
from support import wheels

from ppmctl.client.http import Answer, Transport
from ppmctl.distributions.distribution import InvalidDistribution
from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import build, upload
from ppmctl.publishing.check import check
from ppmctl.publishing.workspace import Workspace, workspace


def collected(tmp_path: Path, *paths: Path) -> list[str]:
    return [file.filename for file in Workspace(folder=tmp_path).collect(paths)]


def test_a_file_is_read_and_hashed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wheels.write(tmp_path, wheels.wheel("demo", "1.0", description_content_type="text/markdown"))
    file = check(path)
    assert (file.filename, file.project, file.size) == (path.name, "demo", path.stat().st_size)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.warnings == ()
    assert capsys.readouterr() == ("", ""), "twine prints on stdout, which is ours"


def test_a_warning_of_twine_is_returned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = check(wheels.write(tmp_path, wheels.wheel("demo", "1.0")))
    assert len(file.warnings) == 1
    assert "long_description_content_type" in file.warnings[0]
    assert capsys.readouterr() == ("", "")
    assert logging.getLogger("twine").propagate
    assert logging.getLogger("twine").handlers == []


def test_a_description_that_does_not_render_is_refused(tmp_path: Path) -> None:
    meta = wheels.metadata("demo", "1.0", description_content_type="text/x-rst") + b"\n.. image::\n\n====\nx\n=\n"
    path = wheels.write(tmp_path, wheels.wheel("demo", "1.0", meta=meta))
    with pytest.raises(InvalidDistribution, match=r"description can't be rendered: line \d+") as caught:
        check(path)
    assert "README" in caught.value.hint


def test_metadata_that_the_index_rejects_is_refused(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("demo", "1.0", requires_dist="not a (requirement"))
    with pytest.raises(InvalidDistribution, match=r"demo-1\.0.*Requires-Dist is 'not a"):
        check(path)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_a_file_that_is_not_a_distribution_is_refused(content: bytes, tmp_path: Path) -> None:
    path = wheels.write(tmp_path, ("demo-1.0-py3-none-any.whl", content))
    with pytest.raises(InvalidDistribution, match=r"demo-1\.0"):
        check(path)


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    made = wheels.wheel("demo", "1.0")
    paths = [wheels.write(tmp_path / folder, made) for folder in ("a", "b")]
    assert collected(tmp_path, *paths, paths[0]) == [made[0]]


def test_two_different_files_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [
        wheels.write(tmp_path / folder, wheels.wheel("demo", "1.0", summary=folder)) for folder in ("one", "two")
    ]
    with pytest.raises(UsageError, match="different content") as caught:
        collected(tmp_path, *paths)
    assert all(str(path) in caught.value.message for path in paths)


def test_all_paths_are_checked_before_the_first_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "setup.py").touch()
    monkeypatch.setattr(build, "build", lambda *_: pytest.fail("a build can take long"))
    with pytest.raises(UsageError, match="missing does not exist"):
        collected(tmp_path, project, tmp_path / "missing")
    with pytest.raises(UsageError, match=r"neither a pyproject\.toml nor a setup\.py"):
        collected(tmp_path, project, tmp_path)


@pytest.mark.parametrize("keep", [False, True])
def test_built_files_are_removed_unless_they_are_kept(keep: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with workspace() as work:
        built = wheels.write(work.folder / "0", wheels.wheel("demo", "1.0"))
        work.built.append(built)
        work.keep = keep
    assert built.exists() is keep
    assert (f"ppmctl publish {built}\n" in capsys.readouterr().err) is keep
    if keep:
        built.unlink()
        built.parent.rmdir()
        work.folder.rmdir()


def test_a_workspace_is_removed_after_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), workspace() as work:
        raise KeyboardInterrupt
    assert not work.folder.exists()


def test_a_failed_build_shows_the_end_of_its_output_and_gets_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program `build` is replaced by one that prints its environment and fails."""
    (tmp_path / "pyproject.toml").touch()
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nfor n in range(99): print('line', n)\n"
        "print(*os.environ.values())\nprint('went wrong', file=sys.stderr)\nsys.exit(1)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("PPMCTL_TOKEN", "s3cret")
    monkeypatch.setenv("TWINE_PASSWORD", "s3cret")
    monkeypatch.setenv("SOMETHING_ELSE", "is-passed-on")
    with pytest.raises(PpmError, match="can't be built") as caught:
        build.build(tmp_path, tmp_path)
    assert "went wrong" in caught.value.message
    assert "line 98" in caught.value.message
    assert "line 1\n" not in caught.value.message
    assert "is-passed-on" in caught.value.message
    assert "s3cret" not in caught.value.message


def _fail_to_build(project: Path, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    """Make a project whose build ends with a `message`, an expression of Python."""
    (project / "pyproject.toml").touch()
    program = project / "python"
    program.write_text(f"#!{sys.executable}\nimport os, sys\nsys.exit({message})\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize(("given", "expected"), [("", "1580601600"), ("4711", "4711")])
def test_a_build_gets_source_date_epoch_unless_it_is_set(
    given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_to_build(tmp_path, monkeypatch, "'date ' + os.environ['SOURCE_DATE_EPOCH']")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if given:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(PpmError, match=f"date {expected}"):
        build.build(tmp_path, tmp_path)


def test_a_failed_build_names_a_missing_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_to_build(tmp_path, monkeypatch, "\"error: command 'gcc' failed: No such file\"")
    monkeypatch.delenv("PPMCTL_ADD_PACKAGES", raising=False)
    with pytest.raises(PpmError, match=f"{tmp_path} can't be built without a C compiler") as caught:
        build.build(tmp_path, tmp_path)
    assert "apt install gcc" in caught.value.hint


def test_a_folder_that_can_t_be_read_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can read every folder, so the test raises the error itself."""

    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(UsageError, match=f"{tmp_path} can't be read: Permission denied"):
        collected(tmp_path, tmp_path)


def test_the_traceback_of_build_itself_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of pip comes before a traceback that is longer than the shown output."""
    (tmp_path / "pyproject.toml").touch()
    own = 'Traceback (most recent call last):\n  File "/x/site-packages/build/__main__.py", line 1\n' + "    x\n" * 99
    printed = f"pip says why\n{own}Error: 1\n\nERROR Command exited\n"
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\nsys.exit({printed!r} + 'wide ' + os.environ['COLUMNS'])\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(PpmError) as caught:
        build.build(tmp_path, tmp_path)
    assert "pip says why\n    ERROR Command exited\n    wide 1000" in caught.value.message


def test_a_clean_build_uses_a_copy_that_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "build").mkdir(parents=True)
    (project / "setup.py").touch()
    built = wheels.write(tmp_path / "built", wheels.wheel("demo", "1.0"))
    seen: list[Path] = []

    def stand_in(source: Path, into: Path, *, shown: Path, **_: object) -> tuple[Path, ...]:
        assert [path.name for path in source.iterdir()] == ["setup.py"]
        assert shown == project
        seen.append(source)
        return (built,)

    monkeypatch.setattr(build, "build", stand_in)
    work = Workspace(folder=tmp_path / "work", clean=True)
    work.folder.mkdir()
    assert [file.path for file in work.collect([project])] == [built]
    assert not seen[0].exists()
    assert (project / "build").exists()


def test_files_are_built_in_the_folder_of_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPMCTL_BUILDS", str(tmp_path))
    with workspace() as work:
        assert work.folder.parent == tmp_path
    monkeypatch.setenv("PPMCTL_BUILDS", str(tmp_path / "missing"))
    with pytest.raises(PpmError, match=r"No such file or directory: .*/missing") as caught, workspace():
        pass
    assert "PPMCTL_BUILDS" in caught.value.hint


def test_the_form_fields_follow_the_legacy_upload_protocol(tmp_path: Path) -> None:
    meta = (
        b"Metadata-Version: 2.4\nName: de-mo\nVersion: 1.0\nKeywords: a,b\nProject-URL: Home, https://x.test/?a,b\n"
        b"Project-URL: Docs, https://d.test\nClassifier: A :: B\nClassifier: C :: D\nRequires-Python: >=3.9\n"
        b"License-File: LICENSE\nDescription-Content-Type: text/markdown\n\nLong \xc3\xa4 text\n"
    )
    file = check(wheels.write(tmp_path, wheels.wheel("de-mo", "1.0", meta=meta)))
    fields = upload.fields(file)
    for field in [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.4"),
        ("name", "de-mo"),
        ("version", "1.0"),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("keywords", "a, b"),
        ("project_urls", "Home, https://x.test/?a,b"),
        ("project_urls", "Docs, https://d.test"),
        ("classifiers", "A :: B"),
        ("classifiers", "C :: D"),
        ("requires_python", ">=3.9"),
        ("license_file", "LICENSE"),
        ("sha256_digest", file.sha256),
    ]:
        assert field in fields
    assert "Long ä text" in dict(fields)["description"]
    assert all(isinstance(value, str) for _, value in fields)


def test_the_form_and_the_file_are_sent(tmp_path: Path) -> None:
    class Kept(Transport):
        def request(self, method: str, url: str, **options: object) -> Answer:
            assert (method, url) == ("POST", "https://index.test/legacy/")
            body = options["data"]
            self.decoded = MultipartDecoder(body.read(), options["headers"]["Content-Type"])  # type: ignore[attr-defined, index]  # what requests gets
            return Answer(url=url, status=200, reason="OK", headers={}, body=b"")

    members = {"demo-1.0/PKG-INFO": wheels.metadata("demo", "1.0"), "demo-1.0/demo.py": b""}
    path = wheels.write(tmp_path, ("demo-1.0.tar.gz", wheels.tar_of(members)))
    transport = Kept(None, "")
    assert upload.send(check(path), "https://index.test/legacy/", transport).status == 200
    parts = {part.headers[b"Content-Disposition"]: part.content for part in transport.decoded.parts}
    assert parts[b'form-data; name="content"; filename="demo-1.0.tar.gz"'] == path.read_bytes()
    assert parts[b'form-data; name=":action"'] == b"file_upload"
