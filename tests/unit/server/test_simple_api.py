"""Answers from disk, request by request, without a server."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import pytest
from support import wheels
from support.environments import revision
from werkzeug.datastructures import Headers
from werkzeug.http import http_date
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ppmctl.access.rights import Access
from ppmctl.distributions import distribution
from ppmctl.errors import Refused
from ppmctl.index import discovery
from ppmctl.index.store import Store
from ppmctl.server import content_negotiation, simple_api
from ppmctl.server.settings import ServerSettings
from ppmctl.server.simple_api import Reader

UPSTREAM = "https://upstream.invalid/simple/"
WHEEL = wheels.wheel("Web.Page_s", "1.0")
SDIST = wheels.sdist("Web.Page_s", "1.0+local.1")
PAGE, FILE = "/simple/web-page-s/", f"/packages/web-page-s/{WHEEL[0]}"
JSON = content_negotiation.JSON.media_type


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Headers
    body: bytes


class Asker:
    """Sends requests to a reader of one volume."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.settings = ServerSettings(
            volume=store.volume,
            host="127.0.0.1",
            port=8080,
            read_access="authenticated",
            upstream="redirect",
            upstream_url=None,
            private_names=("acme-*", "billing"),
            max_upload_size=1,
            threads=1,
        )
        self.by = Access(name="reader", role="reader", created="")

    def with_settings(self, **changes: Any) -> Asker:
        other = Asker(self.store)
        other.settings = replace(self.settings, **changes)
        return other

    def limited_to(self, *globs: str) -> Asker:
        """Return an asker whose credential may read only these projects."""
        other = Asker(self.store)
        other.by = replace(self.by, reads=globs)
        return other

    def optional(self, path: str, method: str = "GET", *, mounted_at: str = "", **headers: str) -> Answer | None:
        """Return the answer to a request, with `If_Range=…` and the like as headers; None for pypiserver's paths."""
        builder = EnvironBuilder(method=method, headers={name.replace("_", "-"): headers[name] for name in headers})
        environ = builder.get_environ()
        environ["PATH_INFO"], environ["SCRIPT_NAME"] = path, mounted_at
        environ["RAW_URI"] = mounted_at.rstrip("/") + quote(path)  # as gunicorn has it
        response = Reader(self.settings, self.store, upstream_url=UPSTREAM).answer(Request(environ), self.by)
        if response is None:
            return None
        chunks, status, pairs = response.get_wsgi_response(environ)
        body = b"".join(chunks)
        response.close()
        return Answer(status=int(status.split()[0]), headers=Headers(pairs), body=body)

    def __call__(self, path: str, method: str = "GET", **headers: str) -> Answer:
        answer = self.optional(path, method, **headers)
        assert answer is not None, "this path is answered from disk"
        return answer

    def refusal(self, path: str, method: str = "GET", **headers: str) -> Refused:
        with pytest.raises(Refused) as refused:
            self.optional(path, method, **headers)
        return refused.value


def put(store: Store, *made: tuple[str, bytes]) -> None:
    for filename, content in made:
        with store.area.new_file() as received:
            received.write(content)
            received.finish()
            store.put(received, distribution.inspect(received.path, filename), by="tester")


@pytest.fixture
def ask(store: Store) -> Asker:
    """Ask an index that has one project with a wheel and an sdist."""
    put(store, WHEEL, SDIST)
    return Asker(store)


# limited reads


def test_a_limited_reader_gets_the_same_404_for_hidden_and_missing_projects(ask: Asker) -> None:
    """Neither a page nor a redirect tells it which names exist, here or in another index."""
    limited = ask.limited_to("acme-*", "not-here")

    def refused(path: str, method: str, name: str) -> tuple[int, str]:
        refusal = limited.refusal(path, method)
        return refusal.status, refusal.message.replace(name, "NAME")

    wheel, sdist = wheels.wheel("missing", "1.0")[0], wheels.sdist("missing", "1.0")[0]
    pairs = [
        ("/simple/web-page-s/", "/simple/missing/"),
        (FILE, f"/packages/missing/{wheel}"),
        (f"{FILE}.metadata", f"/packages/missing/{wheel}.metadata"),
        (f"/packages/{WHEEL[0]}", f"/packages/{wheel}"),
        (f"/packages/web-page-s/{SDIST[0]}", f"/packages/missing/{sdist}"),
    ]
    for hidden, missing in pairs:
        for method in ("GET", "HEAD", "POST"):
            assert refused(hidden, method, "web-page-s") == refused(missing, method, "missing"), hidden
            assert limited.refusal(hidden, method).status == 404
    assert limited("/simple/Web.Page_s/").headers["Location"] == "../web-page-s/", "as for every name"
    assert limited("/simple/not-here/").status == 302, "a name that it may read is looked up as always"
    assert limited.refusal("/simple/acme-x/").status == 404


def test_a_limited_reader_gets_its_own_list_of_projects(ask: Asker, store: Store) -> None:
    for number in range(60):
        put(store, wheels.wheel(f"acme-{number}", "1.0"))
    store.write_root()
    limited = ask.limited_to("acme-*")
    listed = limited("/simple/", Accept=JSON)
    assert {one["name"] for one in json.loads(listed.body)["projects"]} == {f"acme-{number}" for number in range(60)}
    assert b"web-page-s" not in limited("/simple/").body
    everything = ask("/simple/", Accept=JSON)
    kept = ("Content-Type", "Vary", "Cache-Control")
    assert [listed.headers[name] for name in kept] == [everything.headers[name] for name in kept]
    assert limited("/simple/", Accept=JSON, If_None_Match=listed.headers["ETag"]).status == 304
    packed = limited("/simple/", Accept=JSON, Accept_Encoding="gzip")
    assert (packed.headers["Content-Encoding"], gzip.decompress(packed.body)) == ("gzip", listed.body)
    assert limited.refusal("/simple/", Accept="image/png").status == 406
    assert limited("/simple/acme-1/").body == ask("/simple/acme-1/").body
    assert limited(f"/packages/acme-1/{wheels.wheel('acme-1', '1.0')[0]}").status == 200


# paths


@pytest.mark.parametrize(
    "path", ["/", "/packages/", "/web-page-s/json", "/legacy/", "/nothing", "/simpler/", "/packages", "/env/x/"]
)
def test_other_paths_are_left_to_pypiserver(ask: Asker, path: str) -> None:
    assert ask.optional(path) is None
    assert ask.optional(path, "POST") is None


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/simple", 301, "simple/"),
        ("/simple/web-page-s", 301, "web-page-s/"),
        ("/simple/Web.Page_s", 301, "web-page-s/"),
        ("/simple/WEB--PAGE__S/", 301, "../web-page-s/"),
        ("/simple/Not.Here/", 301, "../not-here/"),
        ("/simple/not-here/", 302, f"{UPSTREAM}not-here/"),
        ("/simple/my-acme-x/", 302, f"{UPSTREAM}my-acme-x/"),
        ("/simple/billing-2/", 302, f"{UPSTREAM}billing-2/"),
        ("/simple/ppm-environment/", 302, f"{UPSTREAM}ppm-environment/"),
        (f"/packages/{WHEEL[0]}", 301, f"web-page-s/{WHEEL[0]}"),
        (f"/packages/{WHEEL[0]}.metadata", 301, f"web-page-s/{WHEEL[0]}.metadata"),
        (f"/packages/{SDIST[0]}", 301, f"web-page-s/{SDIST[0]}"),
    ],
)
def test_redirects_are_not_cached(ask: Asker, path: str, status: int, location: str) -> None:
    """A project can be published later, so no cache may store a redirect."""
    for method in ("GET", "HEAD"):
        answer = ask(path, method)
        assert (answer.status, answer.headers["Location"]) == (status, location)
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.body == (b"" if method == "HEAD" else f"{location}\n".encode())


def test_a_redirect_stays_below_the_path_that_the_index_is_mounted_at(ask: Asker) -> None:
    answer = ask("/simple/Web.Page_s", mounted_at="/pypi/", Host="evil.example", X_Forwarded_Host="evil.example")
    assert answer.headers["Location"] == "web-page-s/"


@pytest.mark.parametrize(
    ("sent", "path", "target", "location"),
    [
        ("/simple/A", "/simple/A", "/simple/a/", "a/"),
        ("/simple%2FA/", "/simple/A/", "/simple/a/", "../simple/a/"),
        ("http://index.test:8080/simple/A/?x=/y/z", "/simple/A/", "/simple/a/", "../a/"),
        ("/env/A/1/env.json?x", "/env/A/1/env.json", "/env/a/1/env.json", "../../a/1/env.json"),
        ("", "/simple/A/", "/simple/a/", "../a/"),
    ],
)
def test_a_redirect_is_relative_to_the_path_that_the_client_sent(
    sent: str, path: str, target: str, location: str
) -> None:
    assert simple_api.relative({"RAW_URI": sent, "SCRIPT_NAME": "", "PATH_INFO": path}, target) == location


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/simple/-web/", "That is not a valid name of a project"),
        ("/simple/wéb", "That is not a valid name of a project"),
        ("/simple//", "There is nothing here; a project's page is /simple/NAME/"),
        ("/simple/web-page-s/x", "There is nothing here; a project's page is /simple/NAME/"),
        ("/simple/web-page-s/x/", "There is nothing here; a project's page is /simple/NAME/"),
        ("/simple/acme-x/", "acme-x is a private name of this index, and nothing was published under it yet"),
        ("/simple/billing/", "billing is a private name of this index, and nothing was published under it yet"),
        # names of environments are private too: other indexes can have environments of the same names
        ("/simple/ppm-env-x/", "ppm-env-x is a private name of this index, and nothing was published under it yet"),
        *(
            (path, "There is no such file in this index")
            for path in (
                f"{FILE}.upload",
                f"/packages/web-page-s/{SDIST[0]}.metadata",
                "/packages/web-page-s/web_page_s-9.9.tar.gz",
                "/packages/web-page-s/x-1.0.tar.gz",
                f"/packages/Web.Page_s/{WHEEL[0]}",
                f"/packages/not-here/{WHEEL[0]}",
                f"/packages/web-page-s/x/{WHEEL[0]}",
                "/packages/web-page-s/",
                "/packages//x-1.0.tar.gz",
                "/packages/x",
                f"/packages/{WHEEL[0]}.upload",
                "/packages/web_page_s-9.9.tar.gz",
                "/packages/web-page-s/../web-page-s/.status",
            )
        ),
    ],
)
def test_unknown_and_private_paths_get_404(ask: Asker, path: str, message: str) -> None:
    for method in ("GET", "HEAD", "POST"):
        refused = ask.refusal(path, method)
        assert (refused.status, refused.message) == (404, message)


def test_only_distributions_of_the_project_are_sent(ask: Asker) -> None:
    """Other files in its folder, written by hand, are not sent."""
    for name in ("x-1.0.tar.gz", "notes.txt", f"{SDIST[0]}.yanked"):
        (ask.store.volume.project("web-page-s") / name).write_text("by hand")
        assert ask.refusal(f"/packages/web-page-s/{name}").status == 404
    (ask.store.volume.packages / "Web.Page_s").symlink_to("web-page-s")
    assert ask.refusal(f"/packages/Web.Page_s/{WHEEL[0]}").status == 404


def test_without_an_upstream_unknown_projects_get_404(ask: Asker) -> None:
    refused = ask.with_settings(upstream="none").refusal("/simple/not-here/")
    assert (refused.status, refused.message) == (404, "There is no project not-here in this index")
    assert ask.with_settings(upstream="none")(PAGE).status == 200


@pytest.mark.parametrize("damage", ["a page", "a project's pages", "all pages"])
def test_a_project_that_exists_or_existed_is_never_redirected(ask: Asker, damage: str) -> None:
    """Missing pages are written again, also for a project whose files were all removed."""
    ask.store.remove("web-page-s", "1.0")
    volume = ask.store.volume
    if damage == "a page":
        (volume.pages("web-page-s") / "index.json").unlink()
    else:
        shutil.rmtree(volume.pages("web-page-s") if damage == "a project's pages" else volume.simple)
    answer = ask(PAGE, Accept=JSON)
    assert (answer.status, SDIST[0].encode() in answer.body) == (200, True)
    ask.store.remove("web-page-s", SDIST[0])
    shutil.rmtree(volume.simple)
    assert b'"files":[]' in ask(PAGE, Accept=JSON).body


def test_a_published_environment_has_a_page(ask: Asker) -> None:
    put(ask.store, revision("team", 1, "six==1.17.0"))
    assert ask("/simple/ppm-env-team/").status == 200


@pytest.mark.parametrize("raised", [FileNotFoundError, FileExistsError])
def test_pages_that_are_deleted_again_and_again_get_503(
    ask: Asker, monkeypatch: pytest.MonkeyPatch, raised: type[OSError]
) -> None:
    """index/ can be deleted between the writing and the reading of a page. The server gives up after 50 attempts."""
    tried = []

    def write(*_arguments: object) -> None:
        tried.append(1)
        raise raised

    monkeypatch.setattr(ask.store, "refresh", write)
    monkeypatch.setattr(ask.store, "write_root", write)
    shutil.rmtree(ask.store.volume.simple)
    for path in ("/simple/", PAGE):
        tried.clear()
        refused = ask.refusal(path)
        assert (refused.status, len(tried)) == (503, 50)
        assert refused.message == "The pages of this index are being deleted; ask again in a moment"


def test_a_page_is_sent_even_if_it_appears_at_the_last_attempt(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh, tried = ask.store.refresh, []

    def write(project: str) -> None:
        tried.append(project)
        if len(tried) == 49:
            refresh(project)

    monkeypatch.setattr(ask.store, "refresh", write)
    shutil.rmtree(ask.store.volume.pages("web-page-s"))
    assert ask(PAGE).status == 200
    assert tried == ["web-page-s"] * 49


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/simple", "/simple/", PAGE, "/simple/not-here/", FILE, discovery.PATH])
def test_other_methods_get_405(ask: Asker, method: str, path: str) -> None:
    answer = ask(path, method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.body == b"Only GET and HEAD work here\n"


def test_the_discovery_document_is_sent(ask: Asker) -> None:
    answer = ask(discovery.PATH)
    assert answer.body == discovery.document(upstream=ask.settings.upstream, read_access=ask.settings.read_access)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Cache-Control"] == "no-cache"


# pages


@pytest.mark.parametrize("path", ["/simple/", PAGE])
@pytest.mark.parametrize(
    ("header", "content_type", "page"),
    [
        (JSON, JSON, "index.json"),
        (content_negotiation.HTML.media_type, content_negotiation.HTML.media_type, "index.html"),
        ("text/html", "text/html; charset=utf-8", "index.html"),
        ("*/*", "text/html; charset=utf-8", "index.html"),
        ("", "text/html; charset=utf-8", "index.html"),
    ],
)
def test_a_page_is_sent_in_the_requested_form(
    ask: Asker, path: str, header: str, content_type: str, page: str
) -> None:
    ask.store.write_root()
    answer = ask(path, **{"Accept": header} if header else {})
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "Content-Encoding" not in answer.headers
    pages = ask.store.volume.pages("web-page-s") if path == PAGE else ask.store.volume.simple
    assert answer.body == (pages / page).read_bytes()
    assert answer.headers["Content-Length"] == str(len(answer.body))


def test_an_unknown_form_gets_406(ask: Asker) -> None:
    refused = ask.refusal(PAGE, Accept="image/png")
    known = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, text/html"
    assert (refused.status, refused.message) == (406, f"This page can be had as {known}")
    # a redirect comes first: the other index may have that form
    assert ask("/simple/not-here/", Accept="image/png").status == 302


@pytest.mark.parametrize(
    ("encodings", "is_packed"),
    [("gzip", True), ("br, gzip;q=0.001", True), ("*", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_a_long_page_is_compressed_for_clients_that_accept_gzip(ask: Asker, encodings: str, is_packed: bool) -> None:
    put(ask.store, *(wheels.wheel("long", f"{number}.0") for number in range(5)))
    for form in (content_negotiation.JSON, content_negotiation.PLAIN_HTML):
        plain = ask("/simple/long/", Accept=form.media_type)
        answer = ask("/simple/long/", Accept=form.media_type, Accept_Encoding=encodings)
        assert answer.headers.get("Content-Encoding") == ("gzip" if is_packed else None)
        assert answer.headers["Content-Type"] == plain.headers["Content-Type"]
        assert (gzip.decompress(answer.body) if is_packed else answer.body) == plain.body
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert (answer.headers["ETag"] == plain.headers["ETag"]) is not is_packed
        again = ask("/simple/long/", Accept=form.media_type, Accept_Encoding=encodings, Range="bytes=0-9")
        assert (again.status, again.body) == (200, answer.body), "a page is always whole"
        assert "Accept-Ranges" not in again.headers


def test_a_short_page_is_not_compressed(ask: Asker) -> None:
    shutil.rmtree(ask.store.volume.packages / "web-page-s")
    put(ask.store, wheels.sdist("short", "1.0"))
    answer = ask("/simple/short/", Accept=JSON, Accept_Encoding="gzip")
    assert answer.status == 200
    assert "Content-Encoding" not in answer.headers
    assert answer.body.startswith(b"{")


# files


@pytest.mark.parametrize(("access", "shared"), [("authenticated", "private"), ("public", "public")])
def test_a_file_is_immutable_for_caches(ask: Asker, access: str, shared: str) -> None:
    """A published file never changes. A shared cache may store it only if reads are public."""
    for path, content in ((FILE, WHEEL[1]), (f"{FILE}.metadata", wheels.metadata("Web.Page_s", "1.0"))):
        answer = ask.with_settings(read_access=access)(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/octet-stream")
        assert answer.headers["Cache-Control"] == f"max-age=31536000, immutable, {shared}"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(content).digest()


def test_validators_are_those_of_nginx(ask: Asker) -> None:
    """So that a client keeps its cache when an index moves behind nginx."""
    entry = ask.store.volume.file("web-page-s", WHEEL[0]).stat()
    answer = ask(FILE)
    assert answer.headers["ETag"] == f'"{int(entry.st_mtime):x}-{entry.st_size:x}"'
    assert answer.headers["Last-Modified"] == http_date(int(entry.st_mtime))


@pytest.mark.parametrize("path", [PAGE, FILE])
def test_an_unchanged_page_or_file_gets_304(ask: Asker, path: str) -> None:
    first = ask(path)
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for condition in (
        {"If_None_Match": etag},
        {"If_None_Match": f'"other", W/{etag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": modified},
    ):
        for method in ("GET", "HEAD"):
            again = ask(path, method, **condition)
            assert (again.status, again.body) == (304, b"")
            assert again.headers["ETag"] == etag
            assert again.headers["Cache-Control"] == first.headers["Cache-Control"]
    for condition in (
        {"If_None_Match": '"other"'},
        {"If_None_Match": '"other"', "If_Modified_Since": modified},
        {"If_Modified_Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    ):
        assert ask(path, **condition).body == first.body


SIZE = len(WHEEL[1])


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("BYTES=0-9 ", 0, 10),
        (f"bytes={SIZE - 5}-", SIZE - 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=10-{SIZE + 100}", 10, SIZE),
    ],
)
def test_a_range_of_a_file_gets_206(ask: Asker, asked: str, start: int, stop: int) -> None:
    part = ask(FILE, Range=asked)
    assert (part.status, part.body) == (206, WHEEL[1][start:stop])
    assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert part.headers["Content-Length"] == str(stop - start)
    head = ask(FILE, "HEAD", Range=asked)
    assert head.body == b""


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=5-2", "bytes=x-"])
def test_a_range_outside_the_file_gets_416(ask: Asker, asked: str) -> None:
    answer = ask(FILE, Range=asked)
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.body == b"The file ends before the range that was asked for\n"


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=0-1,5-6", "xbytes=0-9", ""])
def test_an_unsupported_range_gets_the_whole_file(ask: Asker, asked: str) -> None:
    """RFC 9110, section 14.2: a range in another unit, or of several parts, is ignored, as nginx does."""
    answer = ask(FILE, Range=asked)
    assert (answer.status, answer.body) == (200, WHEEL[1])


def test_if_range_needs_a_strong_validator(ask: Asker) -> None:
    """RFC 9110, section 13.1.5: a download is resumed only if a strong validator shows that nothing changed."""
    whole = ask(FILE)
    for same in (whole.headers["ETag"], whole.headers["Last-Modified"]):
        assert ask(FILE, Range="bytes=0-9", If_Range=same).body == WHEEL[1][:10]
    for other in ('"other"', "Mon, 01 Jan 2001 00:00:00 GMT", f"W/{whole.headers['ETag']}"):
        answer = ask(FILE, Range="bytes=0-9", If_Range=other)
        assert (answer.status, answer.body) == (200, WHEEL[1])


def test_head_sends_the_headers_without_the_body(ask: Asker) -> None:
    for path in (PAGE, FILE):
        got, head = ask(path), ask(path, "HEAD")
        assert head.body == b""
        for header in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Cache-Control"):
            assert head.headers.get(header) == got.headers.get(header), (path, header)
