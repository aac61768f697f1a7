"""The pages of projects and of their list, rendered and on a volume."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from support.generated import given, st

from ppmctl import files
from ppmctl.index import pages
from ppmctl.index.layout import ROOT_MARK, Volume
from ppmctl.index.project_folder import Folder, Record, Status, StoredFile


def stored(filename: str, version: str, **changes: Any) -> StoredFile:
    about = {key: changes.pop(key) for key in ("yanked", "has_provenance") if key in changes}
    values: dict[str, object] = {
        "version": version,
        "size": 10,
        "sha256": "ab" * 32,
        "upload_time": "2026-01-02T03:04:05.000006Z",
        "uploaded_by": "ops",
    }
    return StoredFile(filename=filename, record=Record(**(values | changes)), **about)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[dict[str, str | None]] = []
        self.metas: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs))
        if tag == "meta" and "name" in dict(attrs):
            self.metas[str(dict(attrs)["name"])] = dict(attrs)["content"]


def html(content: Folder) -> Links:
    parser = Links()
    parser.feed(pages.render_project(content)[pages.HTML_PAGE].decode())
    return parser


def as_json(content: Folder) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(pages.render_project(content)[pages.JSON_PAGE])
    return page


WHOLE = Folder(
    project="x",
    files=(
        stored("x-1.0-py3-none-any.whl", "1.0", requires_python="<4,>=3.9", core_metadata="cd" * 32),
        stored("x-1.0.tar.gz", "1.0", yanked="it's <broken>"),
        stored("x-1!2.0+cpu.1-py3-none-any.whl", "1!2.0+cpu.1", yanked=""),
    ),
    status=Status(state="deprecated", reason='use "y"'),
)


def test_the_json_of_a_project() -> None:
    assert as_json(WHOLE) == {
        "meta": {"api-version": "1.4", "_last-serial": 0},
        "name": "x",
        "project-status": {"status": "deprecated", "reason": 'use "y"'},
        "versions": ["1.0", "1!2.0+cpu.1"],
        "files": [
            {
                "filename": "x-1.0-py3-none-any.whl",
                "url": "../../packages/x/x-1.0-py3-none-any.whl",
                "hashes": {"sha256": "ab" * 32},
                "size": 10,
                "upload-time": "2026-01-02T03:04:05.000006Z",
                "yanked": False,
                "requires-python": "<4,>=3.9",
                "core-metadata": {"sha256": "cd" * 32},
            },
            {
                "filename": "x-1.0.tar.gz",
                "url": "../../packages/x/x-1.0.tar.gz",
                "hashes": {"sha256": "ab" * 32},
                "size": 10,
                "upload-time": "2026-01-02T03:04:05.000006Z",
                "yanked": "it's <broken>",
            },
            {
                "filename": "x-1!2.0+cpu.1-py3-none-any.whl",
                "url": "../../packages/x/x-1!2.0+cpu.1-py3-none-any.whl",
                "hashes": {"sha256": "ab" * 32},
                "size": 10,
                "upload-time": "2026-01-02T03:04:05.000006Z",
                "yanked": True,
            },
        ],
    }


def test_the_links_and_meta_tags_of_a_project() -> None:
    page = html(WHOLE)
    assert page.metas == {
        "pypi:repository-version": "1.4",
        "pypi:project-status": "deprecated",
        "pypi:project-status-reason": 'use "y"',
    }
    assert page.links == [
        {
            "href": f"../../packages/x/x-1.0-py3-none-any.whl#sha256={'ab' * 32}",
            "data-requires-python": "<4,>=3.9",
            "data-core-metadata": f"sha256={'cd' * 32}",
            "data-dist-info-metadata": f"sha256={'cd' * 32}",
        },
        {"href": f"../../packages/x/x-1.0.tar.gz#sha256={'ab' * 32}", "data-yanked": "it's <broken>"},
        {
            "href": f"../../packages/x/x-1!2.0+cpu.1-py3-none-any.whl#sha256={'ab' * 32}",
            "data-yanked": "",
        },
    ]


def test_a_quarantined_project_lists_no_files() -> None:
    content = Folder(project="x", files=WHOLE.files, status=Status(state="quarantined"))
    assert as_json(content)["files"] == as_json(content)["versions"] == []
    assert html(content).links == []


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_metadata_can_not_inject_html(python: str, reason: str, yanked: str) -> None:
    """For any text in the metadata the page has the same links, with the same values."""
    file = stored("x-1.0.tar.gz", "1.0", requires_python=python, yanked=yanked)
    content = Folder(project="x", files=(file,), status=Status(state="archived", reason=reason))
    page = html(content)
    assert len(page.links) == 1
    assert set(page.links[0]) == {"href", "data-requires-python", "data-yanked"}
    assert as_json(content)["files"][0]["requires-python"] == python


def test_a_long_page_has_a_packed_form_with_the_same_content(volume: Volume) -> None:
    files = tuple(stored(f"x-{number}.0.tar.gz", f"{number}.0") for number in range(20))
    content = Folder(project="x", files=files)
    assert pages.write_project(volume, content)
    for name in (pages.JSON_PAGE, pages.HTML_PAGE):
        page = volume.pages("x") / name
        assert gzip.decompress(page.with_name(name + ".gz").read_bytes()) == page.read_bytes()
    assert pages.render_project(content) == pages.render_project(content), "rendering is pure"


def test_the_list_of_projects() -> None:
    rendered = pages.render_root(["b", "a-c"])
    assert json.loads(rendered[pages.JSON_PAGE]) == {
        "meta": {"api-version": "1.4", "_last-serial": 0},
        "projects": [{"name": "a-c"}, {"name": "b"}],
    }
    assert rendered[pages.HTML_PAGE].decode() == (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "  <head>\n"
        '    <meta charset="utf-8">\n'
        '    <meta name="pypi:repository-version" content="1.4">\n'
        "    <title>Simple index</title>\n"
        "  </head>\n"
        "  <body>\n"
        "    <h1>Simple index</h1>\n"
        '    <a href="a-c/">a-c</a><br>\n'
        '    <a href="b/">b</a><br>\n'
        "  </body>\n"
        "</html>\n"
    )


def test_the_html_of_a_project_byte_for_byte() -> None:
    """A page that differs in one byte is written again at each change."""
    content = Folder(
        project="x",
        files=(
            stored("x-1.0.tar.gz", "1.0", requires_python=">=3.9"),
            stored("x-2.0-py3-none-any.whl", "2.0", core_metadata="cd" * 32, yanked="a & b"),
        ),
        status=Status(state="archived", reason="<old>"),
    )
    core = f'data-core-metadata="sha256={"cd" * 32}" data-dist-info-metadata="sha256={"cd" * 32}"'
    assert pages.html_page(content, content.files).decode() == (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "  <head>\n"
        '    <meta charset="utf-8">\n'
        '    <meta name="pypi:repository-version" content="1.4">\n'
        '    <meta name="pypi:project-status" content="archived">\n'
        '    <meta name="pypi:project-status-reason" content="&lt;old&gt;">\n'
        "    <title>Links for x</title>\n"
        "  </head>\n"
        "  <body>\n"
        "    <h1>Links for x</h1>\n"
        f'    <a href="../../packages/x/x-1.0.tar.gz#sha256={"ab" * 32}" data-requires-python="&gt;=3.9">'
        "x-1.0.tar.gz</a><br>\n"
        f'    <a href="../../packages/x/x-2.0-py3-none-any.whl#sha256={"ab" * 32}" data-yanked="a &amp; b" {core}>'
        "x-2.0-py3-none-any.whl</a><br>\n"
        "  </body>\n"
        "</html>\n"
    )


@pytest.mark.parametrize(("length", "is_packed"), [(1023, False), (1024, True)])
def test_a_page_is_packed_from_a_kilobyte_on(volume: Volume, length: int, is_packed: bool) -> None:
    short = len(pages.render_project(Folder(project="x", status=Status(reason="r")))[pages.JSON_PAGE])
    status = Status(reason="r" * (1 + length - short))
    content = Folder(project="x", status=status)
    assert len(pages.render_project(content)[pages.JSON_PAGE]) == length
    pages.write_project(volume, content)
    assert (volume.pages("x") / (pages.JSON_PAGE + ".gz")).exists() is is_packed
    assert pages.differences(volume.pages("x"), pages.render_project(content)) == []


def test_a_file_with_a_provenance_links_to_it() -> None:
    content = Folder(project="x", files=(stored("x-1.0.tar.gz", "1.0", has_provenance=True),))
    url = "../../packages/x/x-1.0.tar.gz.provenance"
    assert as_json(content)["files"][0]["provenance"] == url
    assert html(content).links[0]["data-provenance"] == url


# on a volume


def test_a_page_that_changes_gets_a_later_serial(volume: Volume) -> None:
    """It is the second of the change, both forms have the same, and a page that is equal except for it stays."""
    serials = []
    for number in range(1, 4):
        files = tuple(stored(f"x-{each}.tar.gz", f"{each}") for each in range(9 + number))
        content = Folder(project="x", files=files)
        assert pages.write_project(volume, content)
        assert not pages.write_project(volume, content)
        page = volume.pages("x") / "index.json"
        packed = page.with_name("index.json.gz")
        serials.append(json.loads(page.read_bytes())["meta"]["_last-serial"])
        assert json.loads(gzip.decompress(packed.read_bytes()))["meta"]["_last-serial"] == serials[-1]
        assert pages.last_serial(volume.pages("x")) == serials[-1] == page.stat().st_mtime
        packed.unlink()
    assert serials == sorted(set(serials))
    assert abs(serials[0] - time.time()) < 60
    assert pages.last_serial(volume.pages("y")) == 0
    (volume.pages("x") / "index.json").write_bytes(b'{"meta":{"api-version":"1.4"},"name":"x"}')
    assert pages.last_serial(volume.pages("x")) == 0


def test_pages_are_written_where_they_differ(volume: Volume) -> None:
    content = Folder(project="x", files=tuple(stored(f"x-{number}.tar.gz", f"{number}") for number in range(9)))
    assert pages.write_project(volume, content)
    assert not pages.write_project(volume, content)
    folder = volume.pages("x")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("index.html", "index.html.gz", "index.json", "index.json.gz"),
    ]
    rendered = pages.render_project(content)
    assert pages.differences(folder, rendered) == []
    (folder / "index.html").write_text("another")
    (folder / "index.json").write_bytes(rendered["index.json"].replace(b"1.4", b"1.3"))
    (folder / "index.json.gz").write_bytes(b"nothing packed")
    assert pages.differences(folder, rendered) == ["index.json", "index.html", "index.json.gz"]
    assert pages.write_project(volume, content)
    assert pages.differences(folder, rendered) == []
    # a page that is short again loses its packed form
    assert pages.write_project(volume, Folder(project="x"))
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "index.json"]
    assert pages.differences(folder, rendered) == ["index.json", "index.html", "index.json.gz", "index.html.gz"]


def test_a_page_with_an_mtime_in_the_future_gets_a_later_one(volume: Volume) -> None:
    """nginx makes the ETag of the mtime in seconds: regardless of the clock a changed page has a later one."""
    pages.write_project(volume, Folder(project="x"))
    path = volume.pages("x") / pages.JSON_PAGE
    os.utime(path, (4_000_000_000, 4_000_000_000))
    pages.write_project(volume, Folder(project="x", status=Status(state="archived")))
    assert path.stat().st_mtime == 4_000_000_001
    other = volume.pages("x") / pages.HTML_PAGE
    assert other.stat().st_mtime == 4_000_000_001


def test_a_project_without_a_folder_has_no_pages(volume: Volume) -> None:
    pages.write_project(volume, Folder(project="x"))
    pages.refresh(volume, "x")
    assert not volume.pages("x").exists()
    volume.project("x").mkdir()
    pages.refresh(volume, "x")
    assert json.loads((volume.pages("x") / pages.JSON_PAGE).read_bytes())["files"] == []


def test_projects_are_the_folders_that_are_not_hidden(volume: Volume) -> None:
    (volume.packages / "x").mkdir()
    (volume.packages / ".hidden").mkdir()
    (volume.packages / "file").touch()
    assert pages.projects(volume) == ["x"]


def test_marks_work_although_their_folder_may_be_deleted(volume: Volume) -> None:
    shutil.rmtree(volume.pending)
    assert pages.marked(volume) == []
    assert not pages.root_is_marked(volume)
    pages.unmark(volume, "x")
    for name in ("x", "a", "x"):
        pages.mark(volume, name)
    assert pages.marked(volume) == ["a", "x"]
    assert not pages.root_is_marked(volume)
    pages.mark(volume, ROOT_MARK)
    assert pages.root_is_marked(volume)
    pages.unmark(volume, "x")
    assert pages.marked(volume) == [ROOT_MARK, "a"]
    shutil.rmtree(volume.root / "index")
    pages.mark(volume, "x")
    assert pages.marked(volume) == ["x"]


def test_a_project_added_while_the_list_is_written_marks_it_again(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is removed before the projects are read; another mark shows until the end that a process writes."""
    pages.mark(volume, ROOT_MARK)
    (volume.packages / "x").mkdir()
    listed = pages.projects

    def read(of: Volume) -> list[str]:
        names = listed(of)
        marked.append(pages.marked(volume))
        pages.mark(volume, ROOT_MARK)
        return names

    marked: list[list[str]] = []
    monkeypatch.setattr(pages, "projects", read)
    pages.write_root(volume)
    assert marked == [[".root-writing"]]
    assert pages.marked(volume) == [ROOT_MARK]
    assert b'"projects":[{"name":"x"}]' in (volume.simple / pages.JSON_PAGE).read_bytes()


def test_temporary_files_of_a_dead_writer_of_the_list_are_removed(volume: Volume) -> None:
    left = files.temporary_name(volume.simple / pages.JSON_PAGE)
    left.touch()
    pages.write_root(volume)
    assert left.exists(), "another process may be writing"
    pages.mark(volume, ".root-writing")
    pages.write_root(volume)
    assert not left.exists()
    assert pages.marked(volume) == []


@pytest.mark.parametrize("raised", [FileNotFoundError, FileExistsError])
def test_pages_that_are_deleted_meanwhile_are_written_again(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, raised: type[OSError]
) -> None:
    """It retries for ten seconds while index/ is deleted again and again; other errors are raised at once."""
    clock = iter(range(100))
    monkeypatch.setattr(pages.time, "monotonic", lambda: next(clock))
    replacement, failures = files.replacement, [raised] * 10

    def fail(*arguments: Any, **options: Any) -> object:
        if failures:
            raise failures.pop()
        return replacement(*arguments, **options)

    monkeypatch.setattr(files, "replacement", fail)
    assert pages.write_project(volume, Folder(project="x"))
    clock = iter(range(100))
    failures[:] = [raised] * 11
    with pytest.raises(raised):
        pages.write_project(volume, Folder(project="y"))
    assert failures == []
    failures[:] = [PermissionError]
    with pytest.raises(PermissionError):
        pages.write_root(volume)


def test_only_one_process_writes_the_list_at_a_time(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two concurrent writers the one that reads last writes last."""
    held: list[bool] = []
    listed: Callable[[Volume], list[str]] = pages.projects

    def read(of: Volume) -> list[str]:
        held.append(files.try_lock(of.root_lock) is None)
        return listed(of)

    monkeypatch.setattr(pages, "projects", read)
    pages.write_root(volume)
    assert held == [True]
