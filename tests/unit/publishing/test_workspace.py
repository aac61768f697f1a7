"""From paths to checked files, and from a file to the form that is sent."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from requests_toolbelt.multipart.decoder import MultipartDecoder
from support import wheels
from twine.utils import DEFAULT_REPOSITORY

from ppmctl.client.http import Answer, Transport
from ppmctl.distributions.distribution import InvalidDistribution
from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import build, upload
from ppmctl.publishing.check import check
from ppmctl.publishing.workspace import Workspace, select, workspace


def collected(tmp_path: Path, *paths: Path) -> list[str]:
    return [file.filename for file in Workspace(folder=tmp_path).collect(paths)]


def test_a_file_is_read_and_hashed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = wheels.write(tmp_path, wheels.wheel("demo", "1.0", description_content_type="text/markdown"))
    file = check(path, is_own=True)
    assert (file.filename, file.project, file.size) == (path.name, "demo", path.stat().st_size)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.warnings == ()
    assert capsys.readouterr() == ("", ""), "twine prints on stdout, which is ours"


RST = "text/x-rst"


def described(metadata_version: str = "2.1", content_type: str = RST, description: str = "", **fields: str) -> bytes:
    """Return metadata; the description is a field with folded lines, as distutils and setuptools wrote it."""
    folded = description.replace("\n", "\n" + 8 * " ")
    content = wheels.metadata(
        "demo", "1.0", metadata_version=metadata_version, description=folded, description_content_type=content_type
    )
    return b"".join((*(f"{name}: {value}\n".encode() for name, value in fields.items()), content.split(b"\n\n")[0]))


def warned(tmp_path: Path, meta: bytes) -> tuple[str, ...]:
    """Return the warnings about a file that was built elsewhere."""
    return check(wheels.write(tmp_path, wheels.wheel("demo", "1.0", meta=meta)), is_own=False).warnings


@pytest.mark.parametrize(
    ("meta", "part"),
    [
        (described(description="Title\n====\n\n.. image::"), r"the description can't be rendered: line \d+"),
        (described(description="x", content_type="text/rst"), r"invalid metadata: .*description-content-type"),
        (described("1.0", description="x", Maintainer="x"), r"invalid metadata: .*maintainer introduced in"),
        (described(description="x", Wrong="x"), r"invalid metadata: .*field 'wrong'"),
    ],
)
def test_what_an_index_accepts_is_refused_in_own_builds_and_warned_of_in_other_files(
    meta: bytes, part: str, tmp_path: Path
) -> None:
    (warning,) = warned(tmp_path, meta)
    assert re.search(part, warning)
    with pytest.raises(InvalidDistribution, match=rf"^demo-1\.0-py3-none-any\.whl: .*{part}") as caught:
        check(tmp_path / "demo-1.0-py3-none-any.whl", is_own=True)
    assert "README" in caught.value.hint


@pytest.mark.parametrize("kind", ["2.0", "License-File"])
def test_metadata_that_an_index_accepts_has_no_warning(kind: str, tmp_path: Path) -> None:
    """Metadata 2.0 was withdrawn; setuptools wrote License-File before it was in the specification."""
    fields = {} if kind == "2.0" else {kind: "LICENSE"}
    assert warned(tmp_path, described("2.0" if kind == "2.0" else "2.1", description="x", **fields)) == ()


@pytest.mark.parametrize(
    "description",
    [
        "Title\n=====\n\n* a::\n\n      code\n\nEnd.",
        "\nTitle\n=====\n\nText.",
        "Title\n|=====\n|\n|Text.".replace("|", "\x7f"),
    ],
)
def test_a_folded_description_is_unfolded_for_the_check_and_for_the_index(description: str, tmp_path: Path) -> None:
    meta = described(description=description)
    if "\x7f" in description:  # the other form in the specification
        meta, description = meta.replace(b" \x7f", b"|"), description.replace("\x7f", "")
    path = wheels.write(tmp_path, wheels.wheel("demo", "1.0", meta=meta))
    assert check(path, is_own=True).warnings == ()
    assert dict(upload.fields(check(path, is_own=False)))["description"] == description


def test_a_description_in_the_body_stays_as_it_is(tmp_path: Path) -> None:
    text = "Title\n        indented\n"
    meta = wheels.metadata("demo", "1.0", description_content_type=RST).replace(b"Made by a test.\n", text.encode())
    file = check(wheels.write(tmp_path, wheels.wheel("demo", "1.0", meta=meta)), is_own=False)
    assert dict(upload.fields(file))["description"] == text


def test_a_missing_description_and_content_type_are_warned_of(tmp_path: Path) -> None:
    assert warned(tmp_path, b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nDescription: UNKNOWN\n") == (
        "no description (`long_description` missing)",
    )
    (warning,) = warned(tmp_path, wheels.metadata("demo", "1.0"))
    assert "`long_description_content_type` missing" in warning


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_a_file_that_is_not_a_distribution_is_refused(content: bytes, tmp_path: Path) -> None:
    path = wheels.write(tmp_path, ("demo-1.0-py3-none-any.whl", content))
    with pytest.raises(InvalidDistribution, match=r"demo-1\.0"):
        check(path, is_own=False)


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


def test_all_bad_files_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a build, which can take long; each file that has secrets too."""
    monkeypatch.setattr(build, "build", lambda *_: pytest.fail("a build can take long"))
    secrets = {f"demo/{number}/.env": b"A=1" for number in range(30)}
    private = wheels.wheel("demo", "1.4", classifier="Private :: x", description_content_type=RST)
    bad = [
        wheels.wheel("demo", "1.0", meta=wheels.metadata("other", "1.0")),
        ("demo-1.1.tar.gz", b"nothing"),
        *(wheels.wheel("demo", version, files=secrets) for version in ("1.2", "1.3")),
        private,
    ]
    paths = [wheels.write(tmp_path, one) for one in (*bad, wheels.wheel("fine", "1.0"))]
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "setup.py").touch()
    host = str(urlsplit(DEFAULT_REPOSITORY).hostname)
    with pytest.raises(PpmError, match=r"^These can't be published:") as caught:
        Workspace(folder=tmp_path, host=host).collect([*paths, tmp_path / "project"])
    for name, _content in bad:
        assert name in caught.value.message
    assert "fine" not in caught.value.message
    assert "demo-1.2-py3-none-any.whl: and 10 more" in caught.value.message
    assert [file.filename for file in Workspace(folder=tmp_path).collect([paths[-2]])] == [private[0]]


def test_what_lies_beside_distributions_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dist/*` names signatures, attestations and folders too; an unpacked sdist is not built."""
    made = wheels.write(tmp_path, wheels.wheel("demo", "1.0"))
    suffixes = (".asc", ".sigstore.json", ".publish.attestation")
    skipped = [tmp_path / f"{made.name}{suffix}" for suffix in suffixes]
    for path in skipped:
        path.touch()
    for name in ("old", "demo-1.0"):
        (tmp_path / name).mkdir()
    for name in ("PKG-INFO", "setup.py"):
        (tmp_path / "demo-1.0" / name).touch()
    selection = select([made, *skipped, tmp_path / "old", tmp_path / "demo-1.0"])
    assert (selection.trees, selection.files) == ([], [made])
    assert selection.skipped == [*skipped, tmp_path / "old", tmp_path / "demo-1.0"]
    assert collected(tmp_path, made, *skipped) == [made.name]
    assert f"Skipped, as no wheel or sdist: {skipped[0].name}" in capsys.readouterr().err
    assert select([tmp_path / "demo-1.0"]).trees == [tmp_path / "demo-1.0"]
    with pytest.raises(UsageError, match=r"no wheel or sdist to publish among .*\.asc"):
        select(skipped)


def test_all_paths_are_checked_before_the_first_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "setup.py").touch()
    monkeypatch.setattr(build, "build", lambda *_: pytest.fail("a build can take long"))
    with pytest.raises(UsageError, match=r"missing does not exist(.|\n)*neither a pyproject\.toml nor a setup\.py"):
        collected(tmp_path, project, tmp_path / "missing", tmp_path)


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


@pytest.mark.parametrize(("given", "expected"), [("", "1580601600"), ("", "1700000000"), ("4711", "4711")])
def test_a_build_gets_source_date_epoch_unless_it_is_set(
    given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_to_build(tmp_path, monkeypatch, "'date ' + os.environ['SOURCE_DATE_EPOCH']")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    if given:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    with pytest.raises(PpmError, match=f"date {expected}"):
        build.build(tmp_path, tmp_path, date="1700000000" if expected.startswith("17") else "")


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


def test_a_git_that_fails_is_reported_once_and_the_build_goes_on(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = wheels.write(tmp_path / "built", wheels.wheel("demo", "1.0", files={"demo/x.py": b""}))
    dates: list[str] = []

    def stand_in(_source: Path, _into: Path, *, date: str, **_: object) -> tuple[Path, ...]:
        dates.append(date)
        return (built,)

    monkeypatch.setattr(build, "build", stand_in)
    assert collected(tmp_path, project) == [built.name]
    assert "Warning" not in capsys.readouterr().err
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert collected(tmp_path / "built", project) == [built.name]
    printed = capsys.readouterr().err
    assert printed.count("Warning: packed files are not compared with what git tracks. git ") == 1
    assert f"dubious ownership in repository at '{project}'" in printed
    assert f"call: git config --global --add safe.directory {project}\n" in printed
    assert dates == [dates[0], ""]
    assert dates[0].isdecimal()


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
    file = check(wheels.write(tmp_path, wheels.wheel("de-mo", "1.0", meta=meta)), is_own=True)
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
    assert upload.send(check(path, is_own=True), "https://index.test/legacy/", transport).status == 200
    parts = {part.headers[b"Content-Disposition"]: part.content for part in transport.decoded.parts}
    assert parts[b'form-data; name="content"; filename="demo-1.0.tar.gz"'] == path.read_bytes()
    assert parts[b'form-data; name=":action"'] == b"file_upload"
