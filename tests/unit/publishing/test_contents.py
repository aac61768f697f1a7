"""Packed files are refused, warned of or allowed, and compared with git; two builds of the same content are equal."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import wheels

from ppmctl.distributions.distribution import InvalidDistribution, parse_filename
from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import contents, existing_dist, same_content
from ppmctl.publishing.contents import Findings, Member
from ppmctl.publishing.git import Tracking, tracking

WHEEL, SDIST = parse_filename("demo-1.0-py3-none-any.whl"), parse_filename("demo-1.0.tar.gz")
TOKEN = b"TOKEN = 'ppm_" + b"aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD2fG4hJ6kL8nP0r" + b"'\n"


def wheel(*names: str, size: int = 1, tracking: Tracking | None = None, allowed: tuple[str, ...] = ()) -> Findings:
    info = ("demo-1.0.dist-info/METADATA", "demo-1.0.dist-info/RECORD")
    packed = [Member(name=name, size=size, head=b"x") for name in (*names, *info)]
    return contents.examine(WHEEL, packed, tracking=tracking, allowed=allowed)


def sdist(*names: str, size: int = 1, tracking: Tracking | None = None, allowed: tuple[str, ...] = ()) -> Findings:
    packed = [Member(name=f"demo-1.0/{name}", size=size, head=b"x") for name in (*names, "PKG-INFO")]
    return contents.examine(SDIST, packed, tracking=tracking, allowed=allowed)


def git(*tracks: str, others: tuple[str, ...] = ()) -> Tracking:
    return Tracking(tracked=frozenset(tracks), others=frozenset(others))


def test_a_secret_is_refused_by_its_name_and_by_its_content(tmp_path: Path) -> None:
    made = wheels.wheel("demo", "1.0", files={"demo/.env": b"A=1", "demo/x.py": b"#\n" + TOKEN, "demo/y.py": b"x"})
    findings = contents.examine(WHEEL, contents.members(wheels.write(tmp_path, made)))
    assert findings.refused == ("demo/.env: a file for secrets", "demo/x.py: a token of a ppm index, line 2")
    error = contents.refusal([(WHEEL.filename, what) for what in findings.refused], backend="hatchling.build")
    assert "    demo-1.0-py3-none-any.whl: demo/x.py: a token of a ppm index, line 2" in error.message
    assert "--allow-packed demo/.env" in error.hint
    assert "[tool.hatch.build]" in error.hint
    assert "aB3dE5" not in error.message + error.hint


def test_caches_are_refused_in_own_builds_and_warned_of_in_other_files() -> None:
    packed = [Member(name=name, size=1, head=b"\0") for name in ("demo/a.py", "demo/__pycache__/a.pyc")]
    refused = contents.examine(WHEEL, packed)
    assert refused == Findings(refused=("demo/__pycache__/a.pyc: __pycache__ is not part of a project",))
    named = contents.examine(WHEEL, packed, is_own=False)
    assert named == Findings(warnings=("it has caches in it: demo/__pycache__/a.pyc",))


def test_only_allowed_members_pass(tmp_path: Path) -> None:
    files = {"demo-1.0/PKG-INFO": b"", "demo-1.0/tests/a.py": TOKEN, "demo-1.0/b.py": TOKEN}
    path = wheels.write(tmp_path, ("demo-1.0.tar.gz", wheels.tar_of(files)))
    for glob in ("tests/*.py", "demo-1.0/tests/*"):
        findings = contents.examine(SDIST, contents.members(path), allowed=[glob])
        assert findings.refused == ("demo-1.0/b.py: a token of a ppm index, line 1",)


def test_binary_and_empty_files_have_no_secrets(tmp_path: Path) -> None:
    made = wheels.wheel("demo", "1.0", files={"demo/x.so": b"\0" + TOKEN, "demo/.env": b""})
    assert contents.examine(WHEEL, contents.members(wheels.write(tmp_path, made))).refused == ()


def test_only_the_beginning_of_a_member_is_read(tmp_path: Path) -> None:
    made = wheels.wheel("demo", "1.0", files={"demo/x.txt": b"x" * contents.READ + TOKEN})
    path = wheels.write(tmp_path, made)
    assert max(len(member.head) for member in contents.members(path)) == contents.READ


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, ("demo-1.0.tar.gz", b"not one"))
    with pytest.raises(InvalidDistribution, match="not a readable archive"):
        list(contents.members(path))


@pytest.mark.parametrize("root", ["", "src/", "packages/demo/src/"])
def test_a_packed_file_that_git_does_not_track_is_warned_of(root: str) -> None:
    tracked = git(f"{root}demo/__init__.py", others=(f"{root}demo/notes.txt", "elsewhere/made.py"))
    findings = wheel("demo/__init__.py", "demo/notes.txt", "demo/made.py", tracking=tracked)
    assert findings.refused == ()
    assert findings.warnings == ("it has files in it that git does not track: demo/notes.txt",)
    assert wheel("demo/__init__.py", "demo/notes.txt", tracking=tracked, allowed=("demo/*",)).warnings == ()


def test_generated_files_are_not_warned_of() -> None:
    made = ("demo/_version.py", "demo/fast.c", "demo/fast.so", "demo/x_pb2.py")
    assert wheel("demo/__init__.py", *made, tracking=git("demo/__init__.py", others=made)) == Findings()
    assert (
        sdist("x.py", "setup.cfg", "demo.egg-info/PKG-INFO", tracking=git("x.py", others=("setup.cfg",)))
        == Findings()
    )


def test_an_untracked_file_in_an_sdist_is_warned_of() -> None:
    findings = sdist("demo.py", "dump.sql", tracking=git("demo.py", others=("dump.sql",)))
    assert findings.warnings == ("it has files in it that git does not track: demo-1.0/dump.sql",)


def test_a_big_file_that_git_does_not_track_is_refused() -> None:
    big = contents.BIG + 1
    tracked = git("demo/__init__.py", others=("demo/data.bin", "demo/lib.so"))
    findings = wheel("demo/__init__.py", "demo/data.bin", "demo/lib.so", size=big, tracking=tracked)
    assert findings.refused == ("demo/data.bin: 10 MB that git does not track",)
    assert wheel("demo/data.bin", size=big, tracking=git("demo/data.bin")) == Findings()
    assert wheel("demo/data.bin", size=big, tracking=tracked, allowed=("*.bin",)) == Findings()


def test_without_git_a_huge_file_is_warned_of() -> None:
    assert "demo/data.bin in it, 100 MB" in wheel("demo/data.bin", size=contents.HUGE + 1).warnings[0]


def test_tracked_modules_that_a_wheel_lacks_are_warned_of() -> None:
    tracked = git(
        "src/demo/__init__.py",
        "src/demo/sub/a.py",
        "src/demo/py.typed",
        "src/demo/tests/x.py",
        "setup.py",
        "tools/x.py",
    )
    findings = wheel("demo/__init__.py", tracking=tracked)
    missing = "src/demo/py.typed, src/demo/sub/a.py"
    assert findings.warnings == (f"it lacks modules that git tracks: {missing}",)
    assert wheel("demo/__init__.py", "demo/sub/a.py", "demo/py.typed", tracking=tracked) == Findings()


def test_tracking_lists_tracked_and_other_files(tmp_path: Path) -> None:
    assert tracking(tmp_path) is None
    project = tmp_path / "project"
    for name in ("demo.py", "ignored.log", "new.py", ".venv/x", "dist/y"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    (tmp_path / ".gitignore").write_text("*.log\n")
    for command in (["init", "-q"], ["add", "project/demo.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=60)
    assert tracking(project) == git("demo.py", others=("dist/y", "ignored.log", "new.py"))
    assert tracking(project / ".venv") is None


def test_builds_of_the_same_content_are_equal_and_others_are_not(tmp_path: Path) -> None:
    def tar(name: str, *, time: float, mode: int = 0o644, content: bytes = b"x", member: str = "d/a") -> Path:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo(member)
            info.size, info.mtime, info.mode, info.uname = len(content), time, mode, name
            archive.addfile(info, io.BytesIO(content))
        path = tmp_path / f"{name}.tar.gz"
        path.write_bytes(gzip.compress(buffer.getvalue(), mtime=time))
        return path

    def packed(name: str, *, year: int, content: bytes = b"x") -> Path:
        path = tmp_path / f"{name}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a", (year, 1, 1, 0, 0, 0)), content)
        return path

    first = tar("first", time=1)
    assert same_content.same_content(first, tar("again", time=2))
    for other in ({"mode": 0o755}, {"content": b"y"}, {"member": "d/b"}):
        assert not same_content.same_content(first, tar("other", time=1, **other))
    assert same_content.same_content(packed("one", year=2000), packed("two", year=2001))
    assert not same_content.same_content(packed("one", year=2000), packed("two", year=2000, content=b"y"))


def project(folder: Path, version: str = '\nversion = "1.1"') -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(f'[project]\nname = "De.mo"{version}\n')
    (folder / "de_mo.py").write_text("x = 1\n")
    return folder


def built(folder: Path, version: str = "1.1", *, name: str = "de_mo", content: bytes = b"x = 1\n") -> list[str]:
    top = f"{name}-{version}"
    files = {f"{top}/PKG-INFO": b"", f"{top}/{name}.py": content}
    made = [(f"{top}.tar.gz", wheels.tar_of(files)), wheels.wheel(name, version, files={f"{name}.py": content})]
    return sorted(wheels.write(folder / "dist", one).name for one in made)


def test_files_of_the_current_version_are_found_in_dist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = project(tmp_path / "p")
    for other in (["1.0"], ["1.2"]):
        built(here, *other)
    built(here, name="other")
    (here / "dist" / ".gitignore").write_text("*")
    names = built(here)
    assert [path.name for path in existing_dist.find(here)] == names
    assert ", ".join(names) in capsys.readouterr().err


def test_dist_without_files_of_the_current_version_is_refused(tmp_path: Path) -> None:
    here = project(tmp_path / "p")
    with pytest.raises(UsageError, match=r"nothing in .*dist"):
        existing_dist.find(here)
    built(here, "1.0")
    with pytest.raises(UsageError, match=r"no files of the current version 1\.1; it has 1\.0"):
        existing_dist.find(here)


def test_files_that_were_built_before_a_change_are_refused(tmp_path: Path) -> None:
    here = project(tmp_path / "p")
    built(here, content=b"x = 0\n")
    with pytest.raises(PpmError, match=r"built before the project was changed: de_mo\.py") as caught:
        existing_dist.find(here)
    assert "ppmctl publish dist/*" in caught.value.hint


def test_a_dynamic_version_is_taken_from_the_filenames(tmp_path: Path) -> None:
    here = project(tmp_path / "p", version='\ndynamic = ["version"]')
    names = built(here, "2.0")
    assert [path.name for path in existing_dist.find(here)] == names
    built(here, "2.1")
    with pytest.raises(UsageError, match=r"has 2\.0, 2\.1: which to publish\?"):
        existing_dist.find(here)
