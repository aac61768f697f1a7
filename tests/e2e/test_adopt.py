"""Tests of `ppmctl index adopt`: it imports a pypiserver's folder, and names each file that it does not import."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from support import wheels
from support.clients import Installer, Real
from support.evidence import until
from support.servers import Server, ppmctl


def contents(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Return each file's content hash, inode and mtime, to detect any change of a folder."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_ino,
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def left(output: str) -> dict[str, str]:
    """Return the files that `adopt` did not import, with the reasons."""
    lines = [line.removeprefix("left  ") for line in output.splitlines()]
    return {Path(path).name: reason for path, _, reason in (line.partition(": ") for line in lines)}


def test_a_flat_and_nested_folder_is_imported(serve: Callable[..., Server], real: Real, tmp_path: Path) -> None:
    """All files that pypiserver serves from a folder and its subfolders are imported, with their upload times."""
    old = tmp_path / "old"
    for number, path in enumerate(real.all):
        folder = (old, old / "nested", old / "nested" / "deeper")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        copied = Path(shutil.copy(path, folder))
        os.utime(copied, (1_600_000_000 + number, 1_600_000_000 + number))
    wheels.write(old, ("zipped-1.0.zip", wheels.zip_of({"zipped-1.0/PKG-INFO": wheels.metadata("zipped", "1.0")})))
    before = contents(old)
    server = serve("--upstream", "none")
    done = ppmctl("index", "adopt", str(old), "--root", str(server.root))
    assert done.stderr.splitlines()[-1] == f"{len(real.all) + 1} files taken, 0 were here, 0 left."
    assert contents(old) == before, "the old folder is only read"
    for number, path in enumerate(real.all):
        project = path.name.partition("-")[0].lower().replace("_", "-")
        (entry,) = [file for file in server.page(project)["files"] if file["filename"] == path.name]
        assert entry["hashes"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert datetime.fromisoformat(entry["upload-time"]) == datetime.fromtimestamp(1_600_000_000 + number, UTC)
        assert ("core-metadata" in entry) == path.name.endswith(".whl")
        assert server.get(f"/packages/{project}/{path.name}").content == path.read_bytes()
    assert server.filenames("zipped") == {"zipped-1.0.zip"}
    ppmctl("index", "check", "--root", str(server.root))
    again = ppmctl("index", "adopt", str(old), "--root", str(server.root))
    assert again.stderr.splitlines()[-1] == f"0 files taken, {len(real.all) + 1} were here, 0 left."


def test_each_file_that_is_not_imported_is_named_with_the_reason(tmp_path: Path) -> None:
    """Old formats, broken archives and other files: exit 1, a line for each, the other files are imported."""
    old = tmp_path / "old"
    good = wheels.write(old, wheels.wheel("good", "1.0"))
    content = good.read_bytes()
    reasons = {
        "good-1.0-py3.11.egg": "an egg",
        "good-1.0.win32-py2.7.exe": "bdist_wininst",
        "good-1.0.win-amd64.msi": "bdist_msi",
        "good-1.0-1.noarch.rpm": "bdist_rpm",
        "good-1.0.linux-x86_64.tar.gz": "bdist_dumb",
        "good-1.0.macosx-14.0-arm64.zip": "bdist_dumb",
        "good-1.0.tar.bz2": "PEP 527 ended; pack it again: bzcat good-1.0.tar.bz2 | gzip > good-1.0.tar.gz",
        "good-1.0.tgz": "rename it to good-1.0.tar.gz",
        "good-1.0.tar.gz.asc": "signature",
        "good-2.0-py3-none-any.whl": "dist-info",
        "broken-1.0-py3-none-any.whl": "not a readable archive",
        "broken-1.0.tar.gz": "not a readable archive",
        "README.txt": "neither a wheel",
        "noversion.tar.gz": "",
    }
    for name in reasons:
        (old / name).write_bytes(content if name.endswith("-2.0-py3-none-any.whl") else b"whatever this is")
    (old / ".hidden").write_bytes(b"x")
    (old / ".git").mkdir()
    wheels.write(old / ".git", wheels.wheel("ghost", "1.0"))
    root = tmp_path / "root"
    done = ppmctl("index", "adopt", str(old), "--root", str(root), expect=1)
    reported = left(done.stdout)
    assert set(reported) == set(reasons)
    for name, reason in reasons.items():
        assert reason in reported[name], (name, reported[name])
    assert done.stderr.splitlines()[-1] == f"1 files taken, 0 were here, {len(reasons)} left."
    assert sorted(path.name for path in (root / "packages").iterdir()) == ["good"]
    assert not [path for path in (root / "incoming").rglob("*") if path.is_file()]
    ppmctl("index", "check", "--root", str(root))


def test_old_sdists_are_found_by_pip_and_uv(
    serve: Callable[..., Server], installer_of: Callable[..., Installer], tmp_path: Path
) -> None:
    """As from a plain pypiserver: the file names stay, and the project is that of PKG-INFO."""
    old, server = tmp_path / "old", serve("--upstream", "none")
    made = {
        "implied-1.0-2.tar.gz": ("implied", "1.0-2", "1.0.post2"),
        "Candidate-1.0-rc1.tar.gz": ("Candidate", "1.0-rc1", "1.0rc1"),
        "escaped-1.0.tar.gz": ("escaped", "1.0", "1.0"),
        "dotted-1.0.zip": ("dotted", "1.0", "1.0"),
    }
    for filename, (name, version, _normal) in made.items():
        top = filename.removesuffix(".zip").removesuffix(".tar.gz")
        members = {f"{top}/PKG-INFO": wheels.metadata(name, version, metadata_version="1.0"), f"{top}/a\\x2db": b""}
        if filename.endswith(".zip"):
            wheels.write(old, (filename, wheels.zip_of({f"./{path}": text for path, text in members.items()})))
        else:
            wheels.write(old, (filename, wheels.tar_of(members)))
    shutil.copy(old / "implied-1.0-2.tar.gz", server.root / "drop")
    wheels.write(server.root / "drop", ("dropped-1.0.tar.bz2", b"whatever this is"))
    until(lambda: server.get("/packages/implied/implied-1.0-2.tar.gz").status_code == 200, "it is published")
    rejected = server.root / "drop" / "dropped-1.0.tar.bz2.rejected"
    until(rejected.exists, "it is rejected")
    assert "bzcat dropped-1.0.tar.bz2" in rejected.read_text()
    done = ppmctl("index", "adopt", str(old), "--root", str(server.root))
    assert done.stderr.splitlines()[-1] == "3 files taken, 1 were here, 0 left."
    for filename, (name, _version, normal) in made.items():
        assert server.page(name.lower())["versions"] == [normal]
        assert server.get(f"/packages/{filename}").headers["Location"] == f"{name.lower()}/{filename}"
        assert server.get(f"/packages/{name.lower()}/{filename}").content == (old / filename).read_bytes()
    ppmctl("index", "check", "--root", str(server.root))
    for path in (server.root / "packages").glob("*/*.upload"):
        path.unlink()
    ppmctl("index", "rebuild", "--root", str(server.root))
    pip, uv = installer_of("pip", server), installer_of("uv", server)
    download = ("--no-deps", "--no-build-isolation", "--pre", "--index-url", server.simple)
    assert "implied-1.0-2.tar.gz" in pip.run("download", *download, "implied", expect=None).output
    assert "Candidate-1.0-rc1.tar.gz" in pip.run("download", *download, "candidate", expect=None).output
    for filename, (name, _version, _normal) in made.items():
        dry = ("--dry-run", "--no-deps", "--prerelease", "allow", "--index-url", server.simple, name)
        assert filename in uv.run("install", *dry, expect=None).output


def test_conflicting_files_are_not_imported(serve: Callable[..., Server], tmp_path: Path) -> None:
    """One name with two contents, in the old folder or in the index: the first stays, the other is named."""
    server = serve("--upstream", "none")
    one, other = wheels.wheel("x", "1.0"), wheels.wheel("x", "1.0", files={"x.py": b"other"})
    assert server.upload(one).status_code == 200
    wheels.write(tmp_path / "old", other)
    wheels.write(tmp_path / "old", wheels.wheel("y", "1.0"))
    wheels.write(tmp_path / "old" / "nested", wheels.wheel("y", "1.0", files={"y.py": b"other"}))
    wheels.write(tmp_path / "old" / "again", wheels.wheel("y", "1.0"))
    assert server.upload(wheels.wheel("gone", "1.0")).status_code == 200
    ppmctl("package", "remove", "gone", "1.0", "--yes", "--root", str(server.root))
    wheels.write(tmp_path / "old", wheels.wheel("gone", "1.0"))
    done = ppmctl("index", "adopt", str(tmp_path / "old"), "--root", str(server.root), expect=1)
    assert done.stderr.splitlines()[-1] == "1 files taken, 1 were here, 3 left."
    assert done.stdout.count("other content") == 2
    assert "was removed from this index" in done.stdout
    assert server.get("/packages/x/x-1.0-py3-none-any.whl").content == one[1]
    ppmctl("index", "check", "--root", str(server.root))


def test_files_are_copied_unless_hard_links_are_requested(tmp_path: Path) -> None:
    """The old server may overwrite its files: hard links need an option, and print a warning."""
    linked = wheels.write(tmp_path / "old", wheels.wheel("x", "1.0"))
    done = ppmctl("index", "adopt", str(tmp_path / "old"), "--root", str(tmp_path / "copied"))
    assert "shared" not in done.stderr
    copy = tmp_path / "copied" / "packages" / "x" / linked.name
    assert copy.stat().st_ino != linked.stat().st_ino
    assert copy.stat().st_nlink == 1
    done = ppmctl("index", "adopt", "--hard-links", str(tmp_path / "old"), "--root", str(tmp_path / "shared"))
    assert "shared with the old folder" in done.stderr
    link = tmp_path / "shared" / "packages" / "x" / linked.name
    assert link.stat().st_ino == linked.stat().st_ino
    for root in ("copied", "shared"):
        ppmctl("index", "check", "--root", str(tmp_path / root))


def test_a_folder_that_overlaps_the_volume_is_refused(tmp_path: Path) -> None:
    """The volume itself, a folder in it, or a missing folder: one line with what to do instead."""
    root = tmp_path / "root"
    ppmctl("init", "--root", str(root))
    for folder in (root, root / "packages", tmp_path):
        done = ppmctl("index", "adopt", str(folder), "--root", str(root), expect=1)
        assert "must be outside the volume" in done.stderr
    assert "not a folder" in ppmctl("index", "adopt", str(tmp_path / "none"), "--root", str(root), expect=1).stderr
