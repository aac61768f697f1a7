"""Real files of a pinned list, and what pip and uv find among them, in an index and in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from ppmctl.client import pip_config
from ppmctl.distributions.distribution import parse_filename
from ppmctl.server.pypiserver_backend import PUBLIC_INDEX
from support import wheels
from support.clients import BIN, CACHE, Machine
from support.servers import Server, ppmctl, run_ppmctl

LIST = Path(__file__).parents[1] / "corpus" / "files.txt"
# What the public index has no file of: an epoch, a local version, and a name that is not normalised.
MADE = (
    wheels.wheel("Made.With-epoch", "1!2.0", requires_python=">=3.8"),
    wheels.wheel("made-with-epoch", "3.0"),
    wheels.wheel("made_with_local", "1.0"),
    wheels.wheel("made_with_local", "1.0+local.1"),
)


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of the list; `sha256` is pinned."""

    project: str
    filename: str
    sha256: str
    is_yanked: bool

    @property
    def is_pure(self) -> bool:
        """Return whether it is a wheel for every platform, and for Python 3."""
        return self.filename.endswith(("-py3-none-any.whl", "-py2.py3-none-any.whl"))


def listed() -> list[File]:
    """Return the files of tests/corpus/files.txt."""
    rows = [line.split() for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    return [
        File(
            project=path.partition("/")[0],
            filename=path.partition("/")[2],
            sha256=sha256,
            is_yanked=rest == ["yanked"],
        )
        for sha256, path, *rest in rows
    ]


def fetch(files: list[File], folder: Path) -> None:
    """Put the files into `folder`, from pip's configured index or below `.cache/`. Fail where it can't be reached."""
    folder.mkdir(parents=True)
    stored = CACHE / "corpus"
    stored.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        for file, path in zip(files, pool.map(lambda file: _fetched(file, stored), files), strict=True):
            shutil.copy(path, folder / file.filename)


def _fetched(file: File, stored: Path) -> Path:
    path = stored / file.filename
    if path.exists() and _sha256(path) == file.sha256:
        return path
    path.unlink(missing_ok=True)
    indexes, said = [*pip_config.indexes(os.environ, Path.home()), PUBLIC_INDEX], ""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PPMCTL_")}
    for index in indexes:
        asked = ("package", "download", file.project, file.filename, "--index", index, "--dest", str(stored))
        done = run_ppmctl(asked, env=environ)
        said = done.stderr
        if done.returncode == 0:
            assert _sha256(path) == file.sha256, f"{file.filename} is another file than the pinned one"
            return path
    raise AssertionError(f"{file.filename}: the configured package index can't be reached, or lacks it: {said}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def adopt(files: list[File], folder: Path, root: Path) -> None:
    """Make an index of the files in `folder`, and yank those that are yanked."""
    ppmctl("init", "--root", str(root))
    ppmctl("index", "adopt", str(folder), "--root", str(root))
    for file in files:
        if file.is_yanked:
            ppmctl("package", "yank", file.project, file.filename, "--root", str(root))
    ppmctl("index", "check", "--root", str(root))


def page_differences(server: Server, files: list[File], folder: Path) -> list[str]:
    """Return what the pages say of the files that the files do not: names, sizes, hashes, metadata, yanks."""
    by_project: dict[str, list[File]] = defaultdict(list)
    for file in files:
        by_project[file.project].append(file)
    found = []
    for project, expected in by_project.items():
        shown = {each["filename"]: each for each in server.page(project)["files"]}
        if shown.keys() != {file.filename for file in expected}:
            found.append(f"{project}: the page lists {sorted(shown)}")
        for file in expected:
            each, path = shown.get(file.filename, {}), folder / file.filename
            metadata = _metadata(path)
            values = {
                "size": path.stat().st_size,
                "hashes": {"sha256": file.sha256},
                "core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()} if metadata else None,
                "requires-python": _requires_python(metadata) if metadata else each.get("requires-python"),
            }
            found += [
                f"{file.filename}: {key} is {each.get(key)!r}, not {value!r}"
                for key, value in values.items()
                if (each.get(key) or None) != value
            ]
            if bool(each.get("yanked", False) is not False) != file.is_yanked:
                found.append(f"{file.filename}: yanked is {each.get('yanked')!r}")
            if metadata and server.get(f"/packages/{project}/{file.filename}.metadata").content != metadata:
                found.append(f"{file.filename}: its metadata differs")
            if server.get(f"/packages/{project}/{file.filename}").content != path.read_bytes():
                found.append(f"{file.filename}: its content differs")
    return found


def _metadata(path: Path) -> bytes | None:
    """Return the METADATA of a wheel."""
    if path.suffix != ".whl":
        return None
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        (name,) = [name for name in names if name.count("/") == 1]  # setuptools has others below _vendor
        return archive.read(name)


def _requires_python(metadata: bytes) -> str | None:
    value = BytesHeaderParser().parsebytes(metadata)["Requires-Python"]
    return None if value is None else str(value)


def pip_versions(machine: Machine, projects: list[str], *source: str) -> dict[str, object]:
    """Return what `pip index versions` finds of each project."""
    command = (BIN / "python", "-m", "pip", "--no-input", "index", "versions", "--json", "--pre", *source)

    def find(project: str) -> object:
        done = machine.run(*command, project, expect=None)
        start = done.output.find("{")
        return json.loads(done.output[start:])["versions"] if done.code == 0 else "none"

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(projects, pool.map(find, projects), strict=True))


def pip_resolution(machine: Machine, projects: list[str], *source: str) -> dict[str, tuple[str, str]]:
    """Return the version and file that pip installs of each project, from wheels alone and without dependencies."""
    report = machine.home / "report.json"
    options = ("--dry-run", "--no-deps", "--ignore-installed", "--only-binary", ":all:", "--report", report, *source)
    machine.run(BIN / "python", "-m", "pip", "--no-input", "install", *options, *projects)
    installed = json.loads(report.read_text())["install"]
    return {
        each["metadata"]["name"]: (each["metadata"]["version"], each["download_info"]["url"].rpartition("/")[2])
        for each in installed
    }


def uv_resolution(machine: Machine, projects: list[str], *source: str) -> list[str]:
    """Return the pins that uv resolves the projects to, from wheels only and without dependencies."""
    wanted = machine.home / "wanted.in"
    wanted.write_text("".join(f"{project}\n" for project in projects))
    options = ("--no-deps", "--only-binary", ":all:", "--no-header", "--no-annotate", "--quiet", *source)
    return machine.run(BIN / "uv", "pip", "compile", wanted, *options).output.splitlines()


def compare(
    files: list[File], folder: Path, serve: Callable[..., Server], new_machine: Callable[[Server], Machine]
) -> None:
    """Fetch the files, make an index of them, and compare its pages, metadata and resolution with the folder."""
    fetched, kept, root = folder / "fetched", folder / "kept", folder / "root"
    fetch(files, fetched)
    for filename, content in MADE:
        wheels.write(fetched, (filename, content))
    made = [
        File(
            project=parse_filename(filename).project,
            filename=filename,
            sha256=hashlib.sha256(content).hexdigest(),
            is_yanked=False,
        )
        for filename, content in MADE
    ]
    files = [*files, *made]
    adopt(files, fetched, root)
    server = serve("--upstream", "none", root=root)
    assert page_differences(server, files, fetched) == []
    kept.mkdir()  # a folder can't yank
    for file in files:
        if not file.is_yanked:
            os.link(fetched / file.filename, kept / file.filename)
    user = new_machine(server)
    index, local = ("--index-url", server.simple), ("--no-index", "--find-links", str(kept))
    projects = sorted({file.project for file in files})
    pure = sorted({file.project for file in files if file.is_pure and not file.is_yanked})
    versions = pip_versions(user, projects, *index)
    assert versions == pip_versions(user, projects, *local)
    assert [project for project in pure if versions[project] == "none"] == []
    resolved, pins = pip_resolution(user, pure, *index), uv_resolution(user, pure, *index)
    assert resolved == pip_resolution(user, pure, *local)
    assert pins == uv_resolution(user, pure, *local)
    assert len(resolved) == len(pins) == len(pure)
