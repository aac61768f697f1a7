"""Tests of pages and files against the standards: PEP 503, 592, 629, 658, 691, 700, 714, 792, and RFC 9110."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import socket
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote, urljoin

import pypi_simple
import pytest
import requests
from pypi_simple import PyPISimple
from support import wheels
from support.evidence import until
from support.servers import JSON, Server, ppmctl

from ppmctl.index.layout import Volume
from ppmctl.index.store import Store

V1_HTML = "application/vnd.pypi.simple.v1+html"
WHEEL = wheels.wheel("Web.Page_s", "1.0", requires_python=">=3.9, <4", summary="A wheel")
YANKED = wheels.wheel("Web.Page_s", "2.0", tag="cp311-cp311-manylinux_2_17_x86_64")
SDIST = wheels.sdist("Web.Page_s", "2.0+local.1", requires_python=">=3.9,!=3.9.1")
FIRST = wheels.wheel("Web.Page_s", "10!1.0a1")


@pytest.fixture(scope="module")
def filled(index: Server) -> Server:
    """Return the shared index with a project that has every kind of file, a status and yanks."""
    for made in (FIRST, SDIST, YANKED, WHEEL):
        answer = index.upload(made, fields={"attestations": "[]"})
        assert answer.status_code == 200, answer.text
    root = ("--root", str(index.root))
    ppmctl("package", "yank", "web.page-s", "2.0", "--reason", '<b> & "quotes"', *root)
    ppmctl("package", "yank", "web.page-s", FIRST[0], *root)
    ppmctl("package", "status", "web.page-s", "deprecated", "--reason", "use <another> & better", *root)
    return index


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def metadata_of(made: tuple[str, bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(made[1])) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name)


class Anchors(HTMLParser):
    """The links of a page, in order, as (text, attributes), and its meta tags by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[str, dict[str, str | None]]] = []
        self.metas: dict[str, str | None] = {}
        self._open: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), "an attribute twice"
        if tag == "a":
            self._open = values
        if tag == "meta" and values.get("name"):
            self.metas[str(values["name"])] = values["content"]

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.links.append((data, self._open))
            self._open = None


# content of a page


def test_a_json_page_has_exactly_the_standard_keys(filled: Server) -> None:
    """PEP 691, 700, 714, 792: every key with its type and value, and no other key."""
    page = filled.page("web-page-s")
    times = [file.pop("upload-time") for file in page["files"]]
    for time in times:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time), time

    def entry(made: tuple[str, bytes], **more: Any) -> dict[str, Any]:
        values = {
            "filename": made[0],
            "url": f"../../packages/web-page-s/{made[0]}",
            "hashes": {"sha256": sha256(made[1])},
            "size": len(made[1]),
        }
        return values | {name.replace("_", "-"): value for name, value in more.items()}

    def core(made: tuple[str, bytes]) -> dict[str, str]:
        return {"sha256": sha256(metadata_of(made))}

    assert page == {
        "meta": {"api-version": "1.4", "_last-serial": ANY},
        "name": "web-page-s",
        "project-status": {"status": "deprecated", "reason": "use <another> & better"},
        "versions": ["1.0", "2.0", "2.0+local.1", "10!1.0a1"],
        "files": [
            entry(WHEEL, yanked=False, requires_python=">=3.9, <4", core_metadata=core(WHEEL)),
            entry(YANKED, yanked='<b> & "quotes"', core_metadata=core(YANKED)),
            entry(SDIST, yanked=False, requires_python=">=3.9,!=3.9.1"),
            entry(FIRST, yanked=True, core_metadata=core(FIRST)),
        ],
    }


def test_an_html_page_has_exactly_the_standard_attributes(filled: Server) -> None:
    """PEP 503, 592, 629, 658, 714, 792 in HTML: escaped attributes, both names of core metadata, and no others."""
    answer = filled.get("/simple/web-page-s/", headers={"Accept": V1_HTML})
    assert answer.text.startswith("<!DOCTYPE html>\n")
    page = Anchors(answer.text)
    assert page.metas == {
        "pypi:repository-version": "1.4",
        "pypi:project-status": "deprecated",
        "pypi:project-status-reason": "use <another> & better",
    }

    def link(made: tuple[str, bytes], **more: str | None) -> tuple[str, dict[str, str | None]]:
        attributes = {"href": f"../../packages/web-page-s/{made[0]}#sha256={sha256(made[1])}"}
        if made[0].endswith(".whl"):
            digest = f"sha256={sha256(metadata_of(made))}"
            attributes |= {"data-core-metadata": digest, "data-dist-info-metadata": digest}
        return made[0], attributes | {f"data-{name.replace('_', '-')}": value for name, value in more.items()}

    assert page.links == [
        link(WHEEL, requires_python=">=3.9, <4"),
        link(YANKED, yanked='<b> & "quotes"'),
        link(SDIST, requires_python=">=3.9,!=3.9.1"),
        link(FIRST, yanked=""),
    ]
    assert 'data-requires-python="&gt;=3.9, &lt;4"' in answer.text, "PEP 503: < and > are written as entities"


def test_metadata_is_served_byte_for_byte(filled: Server) -> None:
    """PEP 658: pip fails if it differs from the wheel's; sdists have none."""
    for made in (WHEEL, YANKED, FIRST):
        answer = filled.get(f"/packages/web-page-s/{quote(made[0])}.metadata")
        assert answer.status_code == 200
        assert answer.content == metadata_of(made)
    assert filled.get(f"/packages/web-page-s/{quote(SDIST[0])}.metadata").status_code == 404


def test_the_root_lists_each_project_once(filled: Server) -> None:
    """PEP 503 and 691; a new project may be missing from the list for up to 2 s."""
    filled.upload(wheels.wheel("Also.Listed", "1.0"))

    def listed() -> dict[str, Any]:
        listing: dict[str, Any] = filled.get("/simple/", headers={"Accept": JSON}).json()
        return listing

    until(lambda: {"name": "also-listed"} in listed()["projects"], "the list has the new project", seconds=5)
    assert listed() == {
        "meta": {"api-version": "1.4", "_last-serial": ANY},
        "projects": [{"name": "also-listed"}, {"name": "web-page-s"}],
    }
    page = Anchors(filled.get("/simple/", headers={"Accept": V1_HTML}).text)
    assert page.links == [("also-listed", {"href": "also-listed/"}), ("web-page-s", {"href": "web-page-s/"})]
    assert page.metas == {"pypi:repository-version": "1.4"}


@pytest.mark.parametrize("accept", [pypi_simple.ACCEPT_JSON_ONLY, pypi_simple.ACCEPT_HTML_ONLY])
def test_pypi_simple_reads_the_pages(filled: Server, accept: str, tmp_path: Path) -> None:
    """A client library parses everything without a warning (warnings are errors here)."""
    with PyPISimple(filled.simple, auth=filled.auth, accept=accept) as client:
        assert "web-page-s" in client.get_index_page(timeout=60).projects
        page = client.get_project_page("Web.Page_S", timeout=60)
        assert page.repository_version == "1.4"
        assert (page.status, page.status_reason) == ("deprecated", "use <another> & better")
        assert [package.version for package in page.packages] == ["1.0", "2.0", "2.0+local.1", "10!1.0a1"]
        assert [package.package_type for package in page.packages] == ["wheel", "wheel", "sdist", "wheel"]
        assert [package.is_yanked for package in page.packages] == [False, True, False, True]
        wheel, yanked, sdist, _first = page.packages
        assert wheel.requires_python == ">=3.9, <4"
        assert yanked.yanked_reason == '<b> & "quotes"'
        assert wheel.digests == {"sha256": sha256(WHEEL[1])}
        assert wheel.metadata_digests == {"sha256": sha256(metadata_of(WHEEL))}
        assert not sdist.has_metadata
        if accept == pypi_simple.ACCEPT_JSON_ONLY:
            assert page.versions == ["1.0", "2.0", "2.0+local.1", "10!1.0a1"]
            assert wheel.size == len(WHEEL[1])
            assert wheel.upload_time is not None
        for made, package in zip((WHEEL, YANKED, SDIST, FIRST), page.packages, strict=True):
            client.download_package(package, tmp_path / made[0], verify=True, timeout=60)
            assert (tmp_path / made[0]).read_bytes() == made[1]
            if package.has_metadata:
                metadata = client.get_package_metadata_bytes(package, verify=True, timeout=60)
                assert metadata == metadata_of(made)


def _without_serial(page: bytes) -> bytes:
    return re.sub(rb'"_last-serial":[0-9]+', b"", page, count=1)


def test_a_quarantined_project_lists_no_files(filled: Server) -> None:
    """PEP 792: nothing can be installed; after the status is reverted, all files are listed again."""
    filled.upload(wheels.wheel("isolated", "1.0"))
    before = filled.get("/simple/isolated/", headers={"Accept": JSON}).content
    ppmctl("package", "status", "isolated", "quarantined", "--root", str(filled.root))
    page = filled.page("isolated")
    assert (page["files"], page["versions"]) == ([], [])
    assert page["project-status"] == {"status": "quarantined"}
    assert Anchors(filled.get("/simple/isolated/", headers={"Accept": V1_HTML}).text).links == []
    ppmctl("package", "status", "isolated", "active", "--root", str(filled.root))
    after = filled.get("/simple/isolated/", headers={"Accept": JSON}).content
    assert _without_serial(after) == _without_serial(before)


def test_a_rewritten_page_is_identical(filled: Server) -> None:
    """A page depends only on its folder: upload times are recorded, never read from a file's mtime."""
    page = filled.root / "index" / "simple" / "web-page-s"

    def pages() -> dict[str, bytes]:
        contents = {path.name: path.read_bytes() for path in page.iterdir()}
        unpacked = {name: gzip.decompress(each) if name.endswith(".gz") else each for name, each in contents.items()}
        return {name: _without_serial(each) for name, each in unpacked.items()}

    before = pages()
    for path in (filled.root / "packages" / "web-page-s").iterdir():
        path.touch()
    for path in page.iterdir():
        path.unlink()
    ppmctl("index", "rebuild", "--root", str(filled.root))
    assert pages() == before


# content negotiation


@pytest.mark.parametrize("path", ["/simple/", "/simple/web-page-s/"])
def test_the_page_has_the_requested_content_type(filled: Server, path: str) -> None:
    """PEP 691: the answer has a requested type, in any order, and 406 if none is known."""
    asked = {
        JSON: JSON,
        "application/vnd.pypi.simple.latest+json": JSON,
        V1_HTML: V1_HTML,
        "text/html": "text/html; charset=utf-8",
        "*/*": "text/html; charset=utf-8",
        f"text/html;q=0.1, {JSON};q=0.9": JSON,
    }
    for accept, expected in asked.items():
        answer = filled.get(path, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, expected), accept
        assert {"Accept", "Accept-Encoding"} <= set(answer.headers["Vary"].split(", "))
        assert answer.text.startswith("{" if "json" in expected else "<!DOCTYPE html>")
    for accept in ("image/png", "application/vnd.pypi.simple.v2+json", f"{JSON};q=0", "text/plain, text/html;q=0"):
        refused = filled.get(path, headers={"Accept": accept})
        assert refused.status_code == 406, accept
        assert refused.text.count("\n") == 1
        assert JSON in refused.text


def test_names_are_redirected_to_the_normalised_form(filled: Server) -> None:
    """PEP 503: one redirect to the page, without a host name from the client."""
    for name in ("Web.Page_s", "web.page-s", "WEB--PAGE__S", "web-page-s", "Web.Page_s/"):
        answer = filled.get(f"/simple/{name}", headers={"Host": "evil.example"})
        assert answer.status_code == 301
        assert answer.headers["Location"] == ("../web-page-s/" if name.endswith("/") else "web-page-s/")
    assert filled.get("/simple").headers["Location"] == "simple/"
    for name in ("-web", "web-", "w%20b", "w%C3%A9b", "a" * 500):
        assert filled.get(f"/simple/{name}/").status_code == 404, name


def test_links_of_a_flat_pypiserver_still_work(filled: Server) -> None:
    """Lock files contain URLs of the old server, whose folder was flat."""
    moved = filled.get(f"/packages/{quote(SDIST[0])}")
    assert (moved.status_code, moved.headers["Location"]) == (301, f"web-page-s/{SDIST[0]}")
    assert filled.get(f"/packages/{moved.headers['Location']}").content == SDIST[1]
    assert filled.get("/packages/web_page_s-9.9.tar.gz").status_code == 404


# caches


def test_a_page_is_revalidated_each_time_and_sent_if_changed(filled: Server) -> None:
    """no-cache and an ETag: a max-age would hide a new release, and without a 304 every install loads a page."""
    for accept in (JSON, V1_HTML):
        for path in ("/simple/", "/simple/web-page-s/"):
            first = filled.get(path, headers={"Accept": accept})
            assert first.headers["Cache-Control"] == "no-cache"
            for condition in (
                {"If-None-Match": first.headers["ETag"]},
                {"If-None-Match": f'"other", {first.headers["ETag"]}'},
                {"If-None-Match": f"W/{first.headers['ETag']}"},
                {"If-None-Match": "*"},
                {"If-Modified-Since": first.headers["Last-Modified"]},
            ):
                again = filled.get(path, headers={"Accept": accept, **condition})
                assert (again.status_code, again.content) == (304, b""), condition
                assert again.headers["ETag"] == first.headers["ETag"]
                assert again.headers["Cache-Control"] == "no-cache"
                assert "Accept" in again.headers["Vary"]
            for condition in (
                {"If-None-Match": '"other"'},
                {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
                {"If-None-Match": '"other"', "If-Modified-Since": first.headers["Last-Modified"]},
            ):
                assert filled.get(path, headers={"Accept": accept, **condition}).content == first.content, condition


def test_changes_of_equal_length_in_one_second_have_different_validators(filled: Server) -> None:
    """nginx makes the ETag from whole seconds and the size; Last-Modified is no more precise."""
    filled.upload(wheels.wheel("twin", "1.0"))
    filled.upload(wheels.wheel("twin", "1.1"))
    store = Store(Volume(root=filled.root))
    seen = []
    for yanked, wanted in [("1.0", "1.1"), ("1.1", "1.0")] * 4:
        store.unyank("twin", wanted)
        store.yank("twin", yanked)
        answer = filled.get("/simple/twin/", headers={"Accept": JSON})
        seen.append((answer.headers["ETag"], answer.headers["Last-Modified"], answer.headers["Content-Length"]))
    assert len({etag for etag, _modified, _length in seen}) == len(seen)
    assert len({modified for _etag, modified, _length in seen}) == len(seen)
    assert len({length for _etag, _modified, length in seen}) == 1, "the test is about pages of one length"


def test_files_may_be_cached_without_limit(filled: Server, serve: Callable[..., Server]) -> None:
    """A published file never changes; a shared cache may store it only with public reads."""
    public = serve("--read-access", "public", "--upstream", "none")
    public.upload(WHEEL)
    for server, shared in ((filled, "private"), (public, "public")):
        for suffix in ("", ".metadata"):
            options = {} if shared == "private" else {"auth": None}
            answer = server.get(f"/packages/web-page-s/{WHEEL[0]}{suffix}", **options)
            assert answer.status_code == 200
            assert set(answer.headers["Cache-Control"].split(", ")) == {"max-age=31536000", "immutable", shared}
            again = server.get(
                f"/packages/web-page-s/{WHEEL[0]}{suffix}", headers={"If-None-Match": answer.headers["ETag"]}
            )
            assert again.status_code == 304
    page = public.get("/simple/web-page-s/", auth=None)
    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-cache")
    assert public.get("/packages/", auth=None).status_code == 200
    assert public.upload(YANKED, auth=None).status_code == 401


def test_long_pages_are_sent_compressed(filled: Server) -> None:
    """gzip for clients that accept it, with the same content and a separate validator."""
    for accept in (JSON, V1_HTML):
        path = "/simple/web-page-s/"
        plain = filled.get(path, headers={"Accept": accept, "Accept-Encoding": "identity"})
        assert "Content-Encoding" not in plain.headers
        for encodings in ("gzip", "br, gzip;q=0.5", "*"):
            packed = filled.get(path, headers={"Accept": accept, "Accept-Encoding": encodings}, stream=True)
            assert packed.headers["Content-Encoding"] == "gzip", encodings
            raw = packed.raw.read(decode_content=False)
            assert len(raw) == int(packed.headers["Content-Length"]) < len(plain.content)
            assert gzip.decompress(raw) == plain.content
            assert packed.headers["ETag"] != plain.headers["ETag"]
            assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
        for encodings in ("gzip;q=0", "br"):
            refused = filled.get(path, headers={"Accept": accept, "Accept-Encoding": encodings})
            assert "Content-Encoding" not in refused.headers, encodings
            assert refused.content == plain.content


# HEAD and ranges


def test_head_has_the_headers_of_get_without_content(filled: Server) -> None:
    """uv and other clients use HEAD; a missing length or a body makes them hang or fail."""
    paths = ("/simple/", "/simple/web-page-s/", f"/packages/web-page-s/{WHEEL[0]}", "/simple/nothing/", "/simple/X/")
    for path in paths:
        got = filled.get(path)
        head = requests.head(filled.url + path, auth=filled.auth, timeout=60, allow_redirects=False)
        assert head.status_code == got.status_code
        assert head.content == b""
        for header in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control", "Location"):
            assert head.headers.get(header) == got.headers.get(header), (path, header)


def test_ranges_of_a_file(filled: Server) -> None:
    """Interrupted downloads continue, and uv reads only the end of a wheel (RFC 9110, section 14)."""
    url, content = f"/packages/web-page-s/{WHEEL[0]}", WHEEL[1]
    size = len(content)
    whole = filled.get(url)
    assert whole.headers["Accept-Ranges"] == "bytes"
    parts = {"bytes=0-9": (0, 10), f"bytes={size - 5}-": (size - 5, size), "bytes=-7": (size - 7, size)}
    parts[f"bytes=10-{size + 100}"] = (10, size)
    for asked, (start, stop) in parts.items():
        part = filled.get(url, headers={"Range": asked})
        assert part.status_code == 206, asked
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert part.content == content[start:stop]
        assert part.headers["Content-Length"] == str(stop - start)
    beyond = filled.get(url, headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416
    assert beyond.headers["Content-Range"] == f"bytes */{size}"
    for asked in ("lines=1-2", "bytes=0-1,5-6"):
        assert filled.get(url, headers={"Range": asked}).content == content, asked
    for asked in ("bytes=5-2", "bytes=x-"):
        assert filled.get(url, headers={"Range": asked}).status_code == 416, asked
    page = filled.get("/simple/web-page-s/")
    assert "Accept-Ranges" not in page.headers
    assert filled.get("/simple/web-page-s/", headers={"Range": "bytes=0-9"}).content == page.content
    for validator in ("ETag", "Last-Modified"):
        same = filled.get(url, headers={"Range": "bytes=0-9", "If-Range": whole.headers[validator]})
        assert (same.status_code, same.content) == (206, content[:10])
    for other in ('"other"', "Mon, 01 Jan 2001 00:00:00 GMT", f"W/{whole.headers['ETag']}"):
        changed = filled.get(url, headers={"Range": "bytes=0-9", "If-Range": other})
        assert (changed.status_code, changed.content) == (200, content), other


# access


def every_kind_of_path() -> list[str]:
    file = f"/packages/web-page-s/{WHEEL[0]}"
    return [
        *("/", "/simple", "/simple/", "/simple/web-page-s/", "/simple/Web.Page_s", "/simple/nothing/", "/simple/a/b"),
        *(file, f"{file}.metadata", f"{file}.upload", "/packages/", "/packages/nothing/x-1.0.tar.gz", "/packages/x"),
        *("/nothing", "/a/b/c", "/web-page-s/json", "/legacy/", "/upload", "/RPC2", "/health", "/favicon.ico"),
        *("/simple/../credentials/htpasswd", "//", "/env/x/"),
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_missing_credential_is_401_before_any_other_error(filled: Server, method: str) -> None:
    """401 before 404, 405, 406 and any redirect: without a credential a client can't learn what exists."""
    for path in every_kind_of_path():
        for auth in (None, ("admin", "wrong"), ("nobody", filled.secret)):
            answer = requests.request(
                method,
                filled.url + path,
                auth=auth,
                headers={"Accept": "image/png"},
                timeout=60,
                allow_redirects=False,
            )
            assert answer.status_code == 401, (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert "Location" not in answer.headers
            assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    "authorization", ["Basic", "Basic !!!", "Basic YWJj", "Bearer x", "Digest a=b", "basic Og=="]
)
def test_an_invalid_authorization_header_is_a_401(filled: Server, authorization: str) -> None:
    """Any header value is refused like a wrong credential."""
    answer = requests.get(filled.simple, headers={"Authorization": authorization}, timeout=60)
    assert answer.status_code == 401


METHODS = {
    "/simple/": "GET, HEAD",
    "/simple/web-page-s/": "GET, HEAD",
    f"/packages/web-page-s/{WHEEL[0]}": "GET, HEAD",
    "/packages/": "GET, HEAD",
    "/web-page-s/json": "GET, HEAD",
    "/": "GET, HEAD, POST",
}


@pytest.mark.parametrize("path", METHODS)
def test_other_methods_are_refused(filled: Server, path: str) -> None:
    """405 with the allowed methods, never a 500, never a change."""
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", *(["POST"] if path != "/" else [])):
        answer = requests.request(method, filled.url + path, auth=filled.auth, timeout=60, data=b"x" * 100)
        assert answer.status_code == 405, (method, path)
        assert answer.text.count("\n") == 1
        allowed = {name.strip() for name in answer.headers["Allow"].split(",")} | {"HEAD"}  # pypiserver implies HEAD
        assert allowed == set(METHODS[path].split(", "))


def raw(server: Server, target: str, *, auth: bool = True) -> bytes:
    """Return the answer to a request for the literal `target`."""
    headers = ["Host: 127.0.0.1", "Connection: close"]
    if auth:
        prepared = requests.Request("GET", server.url, auth=server.auth).prepare()
        headers.append(f"Authorization: {prepared.headers['Authorization']}")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\n{chr(13) + chr(10)}".replace("\r\n\r\n", "\r\n").encode())
        connection.sendall(("\r\n".join(headers) + "\r\n\r\n").encode())
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    return answer


def climbs(path: str) -> Iterator[str]:
    """Yield spellings of a path below the volume that leave the served folder."""
    for up in ("..", "%2e%2e", ".%2e", "%252e%252e", "..%00", "..;", "%c0%ae%c0%ae"):
        for slash in ("/", "%2f", "%5c", "\\", "%252f"):
            climb = slash.join([up, up])
            yield f"/packages/{climb}{slash}{path}"
            yield f"/packages/{up}{slash}{path}"
            yield f"/packages/web-page-s/{climb}{slash}{path}"
            yield f"/simple/{climb}{slash}{path}"
            yield f"/simple/web-page-s/{up}{slash}{climb}{slash}{path}"
            yield f"/{up}{slash}{path}"


def spellings(path: str) -> Iterator[str]:
    """Yield spellings of a path below the volume that name it directly."""
    yield f"/{path}"
    yield f"//{path}"
    yield f"/./{path}"
    yield f"/simple//{path}"
    yield f"/packages//{path}"
    yield f"/packages/web-page-s//{path}"
    yield "/" + path.replace("/", "%2f")
    yield "/packages/" + path.removeprefix("packages/")
    yield "/packages/" + path.removeprefix("packages/").replace("/", "%2f")
    yield "/packages/" + path.removeprefix("packages/").replace(".", "%2e")
    yield "/packages/" + quote(path.removeprefix("packages/")) + "%00.whl"
    yield "/simple/" + path.removeprefix("index/simple/")
    yield f"/file:///{path}"
    yield f"file:///{path}"
    yield f"http://127.0.0.1/{path}"


def test_only_distributions_metadata_and_pages_are_served(serve: Callable[..., Server]) -> None:
    """Side files, marks, drop/, incoming/, credentials, locks can't be read with any spelling.

    One file of each folder is also requested with "..".
    """
    server = serve("--upstream", "none")
    server.upload(WHEEL, fields={"attestations": wheels.attestations(WHEEL)})
    server.upload(YANKED)
    root = ("--root", str(server.root))
    ppmctl("package", "yank", "web-page-s", "1.0", "--reason", "planted reason", *root)
    ppmctl("package", "remove", "web-page-s", "2.0", "--yes", *root)
    ppmctl("package", "status", "web-page-s", "deprecated", *root)
    planted = {
        "drop/.hidden": b"planted in drop",
        "drop/planted-1.0.tar.gz.rejected.part": b"planted in drop too",
        "incoming/.planted": b"planted in incoming",
        "index/pending/.planted": b"planted in pending",
        "packages/web-page-s/.web.tmp": b"planted in a project",
        "packages/.planted": b"planted in packages",
    }
    for path, content in planted.items():
        (server.root / path).write_bytes(content)
    served = {
        f"packages/web-page-s/{WHEEL[0]}",
        f"packages/web-page-s/{WHEEL[0]}.metadata",
        f"packages/web-page-s/{WHEEL[0]}.provenance",
    }
    secret = {
        str(path.relative_to(server.root)): path.read_bytes()
        for path in server.root.rglob("*")
        if path.is_file() and path.stat().st_size and not path.is_relative_to(server.root / "index" / "simple")
    }
    secret = {path: content for path, content in secret.items() if path not in served}
    assert len(secret) > len(planted) + 6, "there is something to look for"
    climbed_to = {path.rpartition("/")[0]: path for path in secret}.values()
    assert len(climbed_to) > 6
    tried = 0
    for path, content in secret.items():
        for target in (*spellings(path), *(climbs(path) if path in climbed_to else ())):
            head, _, body = raw(server, target).partition(b"\r\n\r\n")
            status = int(head.split()[1])
            assert content not in body, (status, target)
            assert status in {303, 301, 400, 404} or (status == 200 and b"<title>" in body), (status, target, body)
            tried += 1
    assert tried > 1000
    for path in ("/etc/passwd", "//etc/passwd", "/packages//etc/passwd"):
        assert b"root:" not in raw(server, path)


def test_no_host_sent_by_a_client_is_in_an_answer(filled: Server) -> None:
    """pypiserver builds links from X-Forwarded-Host, so that a client could poison a cache."""
    headers = {
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "X-Forwarded-Server": "evil.example",
    }
    for path in every_kind_of_path():
        for accept in ("*/*", JSON):
            answer = filled.get(path, headers={**headers, "Accept": accept})
            assert answer.status_code < 500, path
            assert "evil.example" not in answer.text, path
            assert "evil.example" not in str(answer.headers), path
            if "Location" in answer.headers:
                assert urljoin(filled.url + path, answer.headers["Location"]).startswith(filled.url + "/"), path


def test_refusals_are_one_line_of_text(filled: Server) -> None:
    """Every error has its reason as one line, in ASCII in the status line, also errors of pypiserver."""
    for path in (
        "/favicon.ico",
        "/a/b/c",
        "/a/b/%F0%9F%98%80%0d%0aX-Evil:%201",
        "/web/json",
        "/simple/none/",
        "/simple/é/",
    ):
        answer = filled.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["Content-Type"].startswith("text/plain"), path
        assert answer.text.endswith("\n"), path
        assert answer.text.count("\n") == 1, path
        assert len(answer.text) > 5, path
        assert "None" not in answer.text, path
        assert answer.reason.isascii(), path
        assert "X-Evil" not in answer.headers, path
