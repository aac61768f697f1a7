"""Tests that a request's cost does not depend on the size of the index: they count file operations, not time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from support import opened, tracing, volumes, wheels
from support.evidence import until
from support.servers import JSON, ppmctl
from support.tracing import Operation, Traced, counted

# Projects, of 10 files each. The names of the larger number take more than one getdents(2), which reads 32 KB.
SMALL, LARGE = 10, 1_500
DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


@dataclass(kw_only=True)
class Filled:
    """A volume with its server; `rebuilt` is the output of the pages' rebuild, `read` the files that it opened."""

    projects: int
    traced: Traced
    rebuilt: str
    read: list[str]

    @property
    def root(self) -> Path:
        return self.traced.server.root

    def wait_until_no_marks(self) -> None:
        """Wait until no mark is left, so that the list of projects is written too."""
        until(lambda: not list((self.root / "index" / "pending").iterdir()), "nothing is marked")


def rebuild(root: Path) -> tuple[str, list[str]]:
    """Run `ppmctl index rebuild`; return its output, and the distribution files that it opened."""
    log = root.with_name(root.name + ".opened")
    command = [*opened.COMMAND, str(log), "index", "rebuild", "--root", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout, log.read_text().splitlines()


def filled(root: Path, *, projects: int) -> Filled:
    volumes.fill(root, projects=projects)
    output, read = rebuild(root)
    ppmctl("serve", "--help")  # warm the interpreter's caches
    return Filled(projects=projects, traced=tracing.start(root, "--upstream", "none"), rebuilt=output, read=read)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Filled, Filled]]:
    """Yield two servers, of 100 and of 15,000 files."""
    folder = tmp_path_factory.mktemp("cost")
    made: list[Filled] = []
    try:
        for projects in (SMALL, LARGE):
            made.append(filled(folder / f"of-{projects}", projects=projects))
        yield made[0], made[1]
    finally:
        for one in made:
            with contextlib.suppress(ProcessLookupError):
                one.traced.server.kill()
        shutil.rmtree(folder)


def upload(traced: Traced, name: str, version: str) -> None:
    form = {":action": "file_upload", "protocol_version": "1"}
    sent = {"content": wheels.wheel(name, version, requires_python=">=3.9")}
    answer = traced.session.post(traced.server.url + "/", data=form, files=sent, timeout=120)
    assert answer.status_code == 200, answer.text


def get(traced: Traced, path: str, *, status: int = 200, **headers: str) -> requests.Response:
    answer = traced.session.get(traced.server.url + path, headers=headers, allow_redirects=False, timeout=120)
    assert answer.status_code == status, answer.text
    return answer


PROJECT = volumes.project(3)
FILE = volumes.filename(3, 7)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request, and a path that it touches."""

    name: str
    make: Callable[[Traced], object]
    touches: str


CASES = (
    Case(
        name="upload",
        make=lambda traced: upload(traced, volumes.project(5), "2.0"),
        touches=f"packages/{volumes.project(5)}",
    ),
    Case(
        name="upload-new-project", make=lambda traced: upload(traced, "newcomer", "1.0"), touches="packages/newcomer"
    ),
    Case(
        name="page-json",
        make=lambda traced: get(traced, f"/simple/{PROJECT}/", Accept=JSON, **{"Accept-Encoding": "identity"}),
        touches=f"index/simple/{PROJECT}/index.json",
    ),
    Case(
        name="page-html-packed",
        make=lambda traced: get(traced, f"/simple/{PROJECT}/", **{"Accept-Encoding": "gzip"}),
        touches=f"index/simple/{PROJECT}/index.html.gz",
    ),
    Case(
        name="page-missing",
        make=lambda traced: get(traced, "/simple/nowhere/", status=404),
        touches="packages/nowhere",
    ),
    Case(
        name="download",
        make=lambda traced: get(traced, f"/packages/{PROJECT}/{FILE}"),
        touches=f"packages/{PROJECT}/{FILE}",
    ),
    Case(
        name="metadata",
        make=lambda traced: get(traced, f"/packages/{PROJECT}/{FILE}.metadata"),
        touches=f"packages/{PROJECT}/{FILE}.metadata",
    ),
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_request_costs_as_much_with_100_files_as_with_15000(both: tuple[Filled, Filled], case: Case) -> None:
    """Guards against pypiserver's walk of the whole tree on each request, and against growing lists."""
    seen: list[Counter[str]] = []
    for one in both:
        upload(one.traced, f"warm-{case.name}", "1.0")  # so that the process's first upload is not counted
        one.wait_until_no_marks()
        with one.traced.request(case.touches) as operations:
            case.make(one.traced)
        seen.append(counted(operations))
    print(f"{case.name}: {seen[0].total()} file operations")
    assert seen[0] == seen[1]


READS_ROWS = ("/api/stats", "/api/packages?q=7", "/projects/", "/search?q=7")


@pytest.mark.parametrize("path", READS_ROWS)
def test_numbers_lists_and_searches_read_no_project(both: tuple[Filled, Filled], path: str) -> None:
    """They come from the search index. Of its file more is read if there are more rows; nothing else is."""
    seen: list[Counter[str]] = []
    for one in both:
        upload(one.traced, "counted", "1.0")
        until(lambda one=one: _projects(one) == len(os.listdir(one.root / "packages")), "the search index is whole")
        one.wait_until_no_marks()
        one.traced.settle()
        start = one.traced.now()
        get(one.traced, path)
        one.traced.settle()
        operations = one.traced.operations(start=start)
        writers = {each.thread for each in operations if "locks/search" in each.paths}
        readers = {each.thread for each in operations if "index/search.sqlite3" in each.paths} - writers
        its = [each for each in operations if each.thread in readers]
        assert its
        assert [str(each) for each in its if each.touches("packages", "index/simple")] == []
        seen.append(counted(its, leave=lambda each: each.call == "pread64"))
    print(f"{path}: {seen[0].total()} file operations")
    assert seen[0] == seen[1]


def _projects(one: Filled) -> int:
    return len(get(one.traced, "/api/stats").json()["by_project"])


def test_a_new_project_lists_the_folder_of_projects_once(both: tuple[Filled, Filled]) -> None:
    """Another thread writes the list of projects from one pass of `getdents`, without reading projects' folders."""
    seen: list[Counter[str]] = []
    for one in both:
        one.traced.settle()
        start = one.traced.now()
        upload(one.traced, "another", "1.0")
        one.traced.wait_for(("unlink",), "index/pending/.root-writing", start=start)
        one.traced.wait_for(("close",), "locks/root", start=start)
        operations = one.traced.operations(start=start)
        writer = {operation.thread for operation in operations if "index/simple/index.json" in operation.paths}
        assert len(writer) == 1
        its = [operation for operation in operations if operation.thread in writer]
        assert any(is_listing(operation) for operation in its)
        assert [str(operation) for operation in its if "another" in str(operation)] == []
        # compressed forms are written from 1 KB, which the small index's list does not reach
        seen.append(counted(its, leave=lambda call: is_listing(call) or ".gz" in str(call)))
    print(f"the list of projects: {seen[0].total()} file operations, and the reading of one folder")
    assert seen[0] == seen[1]


def is_listing(operation: Operation) -> bool:
    return operation.call == "getdents64" and operation.paths == ("packages",)


def test_many_new_projects_share_a_list_of_projects(both: tuple[Filled, Filled]) -> None:
    """The list is written at most once a second, for any number of new projects."""
    small = both[0].traced
    small.settle()
    start = small.now()

    def written() -> list[float]:
        operations = small.operations(start=start)
        return [
            one.time for one in operations if one.call.startswith("rename") and "index/simple/index.json" in one.paths
        ]

    uploads = 0
    while len(written()) < 4:
        upload(small, f"crowd-{uploads}", "1.0")
        uploads += 1
        assert uploads < 5000
    moments = written()
    assert uploads > len(moments)
    # the test's and the server's clocks differ
    assert min(after - before for before, after in pairwise(moments)) > 0.98
    last = f"crowd-{uploads - 1}"
    until(lambda: f'"{last}"' in get(small, "/simple/", Accept=JSON).text, "the last new project is listed")


def _is_of_a_watcher(operation: Operation) -> bool:
    """Return whether a watcher thread made the operation, which may or may not have started yet."""
    return any(name in path for path in operation.paths for name in ("drop", "credentials"))


def test_start_up_does_not_walk_the_packages(both: tuple[Filled, Filled]) -> None:
    """A server starts as fast with many files: it only reads the marks, and there are none.

    A thread beside it compares the search index with all projects.
    """
    seen = []
    for one in both:
        one.wait_until_no_marks()
        one.traced.server.kill()
        one.traced = tracing.start(one.root, "--upstream", "none")
        operations = one.traced.operations()
        beside = tracing.of_search(operations)
        operations = [each for each in operations if each.thread not in beside]
        assert [
            str(operation)
            for operation in operations
            if operation.call == "getdents64" and "packages" in operation.paths[0]
        ] == []
        seen.append(counted(operations, leave=_is_of_a_watcher))
    print(f"start-up: {seen[0].total()} file operations")
    assert seen[0] == seen[1]
    documented = re.search(r"^\| start-up \| about (\d+)", DOCUMENT.read_text(), re.MULTILINE)
    assert documented is not None
    assert seen[0].total() == pytest.approx(int(documented[1]), rel=0.1)  # a few depend on which thread is first


def test_a_rebuild_reads_no_file_that_has_a_record(both: tuple[Filled, Filled]) -> None:
    """The pages of 15,000 files were made without opening one of them; a file without a record is read."""
    small, large = both
    assert large.rebuilt.startswith(f"{LARGE} projects, {LARGE} with new pages, 0 files recorded.")
    assert large.read == []
    listed = {page["filename"] for page in large.traced.server.page(volumes.project(LARGE - 1))["files"]}
    assert listed == {volumes.filename(LARGE - 1, minor) for minor in range(volumes.FILES_EACH)}

    upload(small.traced, "recordless", "1.0")
    folder = small.root / "packages" / "recordless"
    (folder / "recordless-1.0-py3-none-any.whl.upload").unlink()
    printed, read = rebuild(small.root)
    assert "1 file recorded" in printed
    assert set(read) == {str(folder / "recordless-1.0-py3-none-any.whl")}
