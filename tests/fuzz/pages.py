"""Pages of a Simple API, which may be another server's than ppm's."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime

from fuzz import text_of
from ppmctl.client.http import Answer
from ppmctl.client.simple_api import is_index, parse_names, parse_page
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.errors import PpmError

URL = "https://index.test/simple/x/"
JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"


def page(data: bytes) -> None:
    """Read a page, which is HTML if it begins with <, as a project's and as a list. Values have their types."""
    content_type = HTML if data.lstrip()[:1] == b"<" else JSON
    for parse in (parse_names, parse_page):
        try:
            parsed = parse(data, content_type=content_type, url=URL)
        except PpmError:
            continue
        if isinstance(parsed, ProjectPage):
            _used(parsed)
        else:
            assert parsed == sorted(set(parsed))
    is_index(Answer(url=URL, status=200, reason="OK", headers={"content-type": content_type}, body=data))


def _used(parsed: ProjectPage) -> None:
    """Use a page as commands do."""
    for text in (parsed.name, parsed.status, parsed.status_reason, *parsed.versions, parsed.state):
        assert isinstance(text, str)
    assert parsed.state.isprintable()
    for file in parsed.files:
        _check_types(file)
        assert parsed.file(file.filename) is not None
    for release in parsed.releases:
        assert release.reason.isprintable()
        assert isinstance(release.size, int | None)
        assert isinstance(release.uploaded, datetime | None)
        assert parsed.release(str(release.version)) is release
    assert (parsed.latest is None) == (not parsed.releases)
    for version in ("1.0", "no version", "1!2.post3"):
        with contextlib.suppress(PpmError):
            parsed.release(version)


def _check_types(file: PageFile) -> None:
    assert isinstance(file.filename, str)
    assert file.url.isprintable()
    assert isinstance(file.size, int | None)
    for text in (file.sha256, file.requires_python, file.yanked, file.core_metadata):
        assert isinstance(text, str | None)
    assert file.other_hash is None or all(isinstance(text, str) for text in file.other_hash)


def page_seeds() -> Iterator[bytes]:
    file = {
        "filename": "x-1.0-py3-none-any.whl",
        "url": "../../packages/x/x-1.0-py3-none-any.whl",
        "hashes": {"sha256": "0" * 64, "md5": "1"},
        "size": 3,
        "upload-time": "2026-01-01T00:00:00.000001Z",
        "yanked": "broken",
        "requires-python": ">=3.9",
        "core-metadata": {"sha256": "0" * 64},
    }
    for values in (
        {},
        {"yanked": True, "core-metadata": True, "requires-python": None},
        {"yanked": False, "dist-info-metadata": {"sha256": 3}, "core-metadata": None, "size": "3"},
        {"size": 1e300, "upload-time": "0001-01-01T00:00:00+14:00", "requires-python": [1]},
        {"filename": 5, "url": "http://[", "hashes": {"sha256": None, "sha512": "A"}},
    ):
        page = {
            "meta": {"api-version": "1.4"},
            "name": "x",
            "files": [file, {**file, **values}],
            "versions": ["1.0"],
            "project-status": {"status": "archived", "reason": "old"},
        }
        yield json.dumps(page).encode()
    yield json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": "x"}, {"name": "Y_z"}]}).encode()
    yield b'{"meta": {"api-version": 2}, "projects": []}'
    link = '<a href="../../packages/x/x-1.0.tar.gz#sha256=00" data-requires-python="&gt;=3" data-yanked="">x</a>'
    for head in ("", '<meta name="pypi:repository-version" content="1.3">', '<base href="https://o.test/">'):
        yield f"<!DOCTYPE html><html><head>{head}</head><body>{link}<a href='x/'>x</a></body></html>".encode()
    yield b'<a href="//[x" data-dist-info-metadata="true">x</a><base href="//["><!--<![CDATA[<?x'
    yield text_of(b"<a href='%ff/%00'>\xff</a>").encode()
