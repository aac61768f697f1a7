"""Pages are a pure function of a project's folder."""

from __future__ import annotations

import gzip
import json
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from ppmctl import index
from ppmctl.folder import Folder, Record, Status, StoredFile


def stored(filename: str, version: str, **changes: object) -> StoredFile:
    yanked = changes.pop("yanked", None)
    values: dict[str, object] = {
        "version": version,
        "size": 10,
        "sha256": "ab" * 32,
        "upload_time": "2026-01-02T03:04:05.000006Z",
        "uploaded_by": "ops",
    }
    return StoredFile(filename=filename, record=Record(**(values | changes)), yanked=yanked)  # type: ignore[arg-type]


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
    parser.feed(index.render_project(content)[index.HTML_PAGE].decode())
    return parser


def as_json(content: Folder) -> dict[str, object]:
    page: dict[str, object] = json.loads(index.render_project(content)[index.JSON_PAGE])
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


def test_json() -> None:
    assert as_json(WHOLE) == {
        "meta": {"api-version": "1.4"},
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
                "url": "../../packages/x/x-1%212.0%2Bcpu.1-py3-none-any.whl",
                "hashes": {"sha256": "ab" * 32},
                "size": 10,
                "upload-time": "2026-01-02T03:04:05.000006Z",
                "yanked": True,
            },
        ],
    }


def test_html() -> None:
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
            "href": f"../../packages/x/x-1%212.0%2Bcpu.1-py3-none-any.whl#sha256={'ab' * 32}",
            "data-yanked": "",
        },
    ]


def test_a_quarantined_project_lists_nothing() -> None:
    content = Folder(project="x", files=WHOLE.files, status=Status(state="quarantined"))
    assert as_json(content)["files"] == as_json(content)["versions"] == []
    assert html(content).links == []


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_text_breaks_out_of_its_place(python: str, reason: str, yanked: str) -> None:
    """Whatever an uploader wrote into its metadata, the page holds the same links with the same values."""
    file = stored("x-1.0.tar.gz", "1.0", requires_python=python, yanked=yanked)
    content = Folder(project="x", files=(file,), status=Status(state="archived", reason=reason))
    page = html(content)
    assert len(page.links) == 1
    assert set(page.links[0]) == {"href", "data-requires-python", "data-yanked"}
    assert as_json(content)["files"][0]["requires-python"] == python  # type: ignore[index]


def test_a_long_page_has_a_packed_form_with_the_same_content() -> None:
    files = tuple(stored(f"x-{number}.0.tar.gz", f"{number}.0") for number in range(20))
    pages = index.render_project(Folder(project="x", files=files))
    for name in (index.JSON_PAGE, index.HTML_PAGE):
        assert gzip.decompress(pages[name + ".gz"]) == pages[name]
    assert pages == index.render_project(Folder(project="x", files=files)), "rendering is pure"


def test_a_short_page_has_none() -> None:
    assert set(index.render_project(Folder(project="x"))) == {index.JSON_PAGE, index.HTML_PAGE}


def test_the_list_of_projects() -> None:
    pages = index.render_root(["b", "a-c"])
    assert json.loads(pages[index.JSON_PAGE]) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "a-c"}, {"name": "b"}],
    }
    assert '<a href="a-c/">a-c</a>' in pages[index.HTML_PAGE].decode()
