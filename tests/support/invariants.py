"""The invariants of docs/volume.md for files and pages, by their numbers, checked without the product's code.

`Observer.check` checks those that always hold, whatever was killed; tests call the others when they hold. Those for
credentials are in `credential_invariants`.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from support.volume_view import Project, View, html

Check = TypeVar("Check", bound=Callable[..., None])

# number → the name of the function that checks it
NUMBERS: dict[str, str] = {}
# class → its checks of what always holds
ALWAYS: dict[str, list[Callable[..., None]]] = {}


def invariant(*numbers: str, always: bool = True) -> Callable[[Check], Check]:
    """Register a check of the invariants with these numbers."""

    def register(check: Check) -> Check:
        for number in numbers:
            assert number not in NUMBERS, number
            NUMBERS[number] = check.__name__
        if always:
            ALWAYS.setdefault(check.__qualname__.partition(".")[0], []).append(check)
        return check

    return register


class Observer:
    """Looks at a volume after each step, and remembers what may not change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._published: dict[tuple[str, str], tuple[bytes, ...]] = {}
        self._removed: set[tuple[str, str]] = set()
        self._projects: set[str] = set()
        self._pages: dict[Path, tuple[bytes, int]] = {}

    def check(self) -> View:
        """Check what always holds, and return what was looked at."""
        view = View(root=self.root)
        for check in ALWAYS[type(self).__name__]:
            check(self, view)
        return view

    @invariant("V1")
    def files_have_their_records(self, view: View) -> None:
        for project in view.projects.values():
            for filename in set(project.files) - project.removed:
                record, content = project.record(filename), project.files[filename].read_bytes()
                assert (record["size"], record["sha256"]) == (len(content), _sha256(content)), filename

    @invariant("V2")
    def wheels_have_their_metadata(self, view: View) -> None:
        for project in view.projects.values():
            for filename in set(project.files) - project.removed:
                written = project.beside.get(f"{filename}.metadata")
                expected = project.record(filename)["core-metadata"]
                assert (None if written is None else _sha256(written)) == expected, filename
                if filename.endswith(".whl"):
                    with zipfile.ZipFile(project.files[filename]) as archive:
                        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
                        assert archive.read(name) == written, filename

    @invariant("V3", "V4", "V5")
    def files_never_change_or_come_back(self, view: View) -> None:
        for project in view.projects.values():
            self._removed |= {(project.name, filename) for filename in project.removed}
            for filename in set(project.files) - project.removed:
                fixed = (".upload", ".attestations", ".provenance")
                beside = (project.beside.get(filename + suffix, b"") for suffix in fixed)
                content = (project.files[filename].read_bytes(), *beside)
                known = self._published.setdefault((project.name, filename), content)
                assert content == known, f"{filename} has changed"
        for name, filename in self._published:
            now = view.projects.get(name)
            assert now is not None, f"{name} is gone"
            assert filename in now.files or filename in now.removed, f"{filename} is gone without a tombstone"
        for name, filename in self._removed:
            assert name in view.projects, f"{name} is gone"
            assert filename in view.projects[name].removed, f"the tombstone of {filename} is gone"

    @invariant("V6")
    def projects_stay(self, view: View) -> None:
        self._projects |= {project.name for project in view.projects.values() if project.files or project.removed}
        assert self._projects <= set(view.projects)
        for project in view.projects.values():
            assert project.name in self._projects or project.is_marked, f"{project.name} never had a file"

    @invariant("V7")
    def leftovers_are_marked(self, view: View) -> None:
        for project in view.projects.values():
            if project.is_marked:
                continue
            for name in project.beside:
                owner = re.sub(r"\.(metadata|upload|attestations|provenance|yanked)$", "", name)
                assert name == ".status" or name.endswith(".removed") or owner in project.files, name
            assert not project.removed & set(project.files), "a removed file is still there"
        for page in (view.root / "index/simple").glob("*/.*"):
            assert page.parent.name in view.marks, page
        for page in (view.root / "index/simple").glob(".*"):
            assert {".root", ".root-writing"} & view.marks, page

    @invariant("V8")
    def pages_show_their_folder(self, view: View) -> None:
        for project in view.projects.values():
            if not project.is_marked:
                _check_pages(project, view.pages(project.name))

    @invariant("V9")
    def pages_are_whole(self, view: View) -> None:
        folder = view.root / "index/simple"
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                if ".json" in path.name:
                    json.loads(content)
                else:
                    assert html(content).is_whole, path

    @invariant("V10")
    def listed_files_exist(self, view: View) -> None:
        for project in view.projects.values():
            pages = view.pages(project.name)
            for filename in _in_json(pages) | _in_html(pages):
                assert filename in project.files, f"{project.name}'s page lists {filename}, which is not there"

    @invariant("V11")
    def the_list_has_all_projects(self, view: View) -> None:
        pages = view.pages("")
        if not {".root", ".root-writing"} & view.marks:
            listed = [each["name"] for each in json.loads(pages["index.json"])["projects"]]
            assert listed == list(html(pages["index.html"]).links) == sorted(view.projects)

    @invariant("V12")
    def quarantined_files_are_not_offered(self, view: View) -> None:
        for project in view.projects.values():
            if project.status["state"] == "quarantined" and not project.is_marked:
                pages = view.pages(project.name)
                assert _in_json(pages) | _in_html(pages) == set()

    @invariant("V13")
    def pages_that_change_get_a_later_second(self, view: View) -> None:
        folder = view.root / "index/simple"
        now = {
            path: (path.read_bytes(), int(path.stat().st_mtime))
            for path in (folder.rglob("index.*") if folder.is_dir() else ())
        }
        for path, (content, second) in now.items():
            before = self._pages.get(path)
            assert before is None or before[0] == content or before[1] < second, f"{path} has the same ETag"
        self._pages = now

    @invariant("V14")
    def environments_show_their_revisions(self, view: View) -> None:
        for project in view.projects.values():
            if project.name.startswith("ppm-env-") and not project.is_marked:
                _check_environment(project, view.root / "index/env" / project.name.removeprefix("ppm-env-"))

    @invariant("V15", always=False)
    def a_start_leaves_nothing_of_the_dead(self, *, alive: int) -> None:
        """Check a volume after a start; `alive` is the number of processes that may have a folder in `incoming/`."""
        view = View(root=self.root)
        assert view.marks == set()
        assert len(list((self.root / "incoming").iterdir())) <= alive

    @invariant("V16", always=False)
    def a_rebuild_makes_the_same(self, before: dict[str, bytes]) -> None:
        """Check that `index/` has the content that it had, after it was deleted and made again."""
        now = View(root=self.root).content(without=("locks", "incoming", "credentials"))
        now, before = map(_without_serials, (now, before))
        for content in (now, before):
            content.pop("index/layout", None)  # the next start writes it, after it has looked at all projects
        assert now == before
        self._pages = {}  # the times of deleted pages do not matter any more

    @invariant("V17", always=False)
    def a_refused_change_changes_nothing(self, before: dict[str, bytes]) -> None:
        now = View(root=self.root).content()
        assert {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)} <= {"audit.jsonl"}

    @invariant("V27", always=False)
    def the_search_index_has_all_projects(self) -> None:
        """Check the search index after it was updated."""
        view = View(root=self.root)
        with contextlib.closing(sqlite3.connect(self.root / "index/search.sqlite3")) as connection:
            rows = {name: rest for name, *rest in connection.execute("SELECT name, files, status FROM projects")}
            number = connection.execute("SELECT count(*) FROM texts").fetchone()
        assert (rows.keys(), number) == (view.projects.keys(), (len(rows),))
        for name, project in view.projects.items():
            assert name in view.marks or rows[name] == [len(project.listed), project.status["state"]], name


def _check_pages(project: Project, pages: dict[str, bytes]) -> None:
    shown = json.loads(pages["index.json"])
    page = html(pages["index.html"])
    assert {file["filename"] for file in shown["files"]} == set(page.links) == set(project.listed), project.name
    assert set(shown["versions"]) == {project.record(filename)["version"] for filename in project.listed}
    status = project.status
    assert shown["project-status"]["status"] == page.meta["pypi:project-status"] == status["state"]
    assert shown["project-status"].get("reason", "") == status["reason"]
    for file in shown["files"]:
        _check_file(project, file, page.links[file["filename"]])
    for name, content in pages.items():
        if name.endswith(".gz"):
            assert gzip.decompress(content) == pages[name.removesuffix(".gz")], name


def _check_file(project: Project, file: dict[str, Any], link: dict[str, str]) -> None:
    filename = file["filename"]
    record, yanked = project.record(filename), project.yanked(filename)
    expected = {
        "filename": filename,
        "url": f"../../packages/{project.name}/{filename}",
        "hashes": {"sha256": record["sha256"]},
        "size": record["size"],
        "upload-time": record["upload-time"],
        "yanked": False if yanked is None else yanked or True,
    }
    if record["requires-python"]:
        expected["requires-python"] = record["requires-python"]
    if record["core-metadata"]:
        expected["core-metadata"] = {"sha256": record["core-metadata"]}
    if f"{filename}.provenance" in project.beside:
        expected["provenance"] = f"{expected['url']}.provenance"
    assert file == expected
    assert link["href"] == f"{expected['url']}#sha256={record['sha256']}"
    assert link.get("data-yanked") == yanked
    assert link.get("data-provenance") == expected.get("provenance")
    assert link.get("data-requires-python") == record["requires-python"]
    assert link.get("data-core-metadata", "=").partition("=")[2] == (record["core-metadata"] or "")


def _check_environment(project: Project, folder: Path) -> None:
    revisions = {int(filename.split("-")[1]): filename for filename in project.listed}
    served = {path.name: path for path in (folder.iterdir() if folder.is_dir() else ())}
    assert {name for name in served if name.isdecimal()} == {str(number) for number in revisions}
    for number, filename in revisions.items():
        with zipfile.ZipFile(io.BytesIO(project.files[filename].read_bytes())) as archive:
            forms = {name.partition("/ppm-env/")[2]: archive.read(name) for name in archive.namelist()}
        forms.pop("")
        assert {path.name: path.read_bytes() for path in served[str(number)].iterdir()} == forms
    current = [number for number, filename in revisions.items() if project.yanked(filename) is None]
    latest = folder / "latest"
    assert (str(latest.readlink()) if latest.is_symlink() else None) == (str(max(current)) if current else None)
    if "log.json" in served:
        assert json.loads(served["log.json"].read_bytes())["latest"] == (max(current) if current else None)


def _in_json(pages: dict[str, bytes]) -> set[str]:
    return {file["filename"] for file in json.loads(pages["index.json"])["files"]} if "index.json" in pages else set()


def _in_html(pages: dict[str, bytes]) -> set[str]:
    return set(html(pages["index.html"]).links) if "index.html" in pages else set()


def _without_serials(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files, pages unpacked and without the time of their last change."""
    unpacked = {path: gzip.decompress(text) if path.endswith(".gz") else text for path, text in files.items()}
    return {path: re.sub(rb'"_last-serial":[0-9]+', b"", text, count=1) for path, text in unpacked.items()}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
