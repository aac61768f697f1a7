"""Which requests are answered in the main loop; tests/e2e/test_front.py compares the answers themselves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support import wheels
from support.raw import basic

from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.access.credential_files import Credentials
from ppmctl.distributions import distribution
from ppmctl.index.store import Store
from ppmctl.server import front_request, small_files
from ppmctl.server.content_negotiation import JSON
from ppmctl.server.front import Answer, Front
from ppmctl.server.request_metrics import RequestMetrics
from ppmctl.server.settings import server_settings

WHEEL = wheels.wheel("web-page", "1.0")
OTHER = "ppm_" + "aB3" * 14 + "x"  # a secret that belongs to nobody
PAGE, FILE = "/simple/web-page/", f"/packages/web-page/{WHEEL[0]}"


def put(store: Store, made: tuple[str, bytes]) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by="tester")


class Asker:
    """Sends requests of a user to the front of an index."""

    def __init__(self, store: Store, **grant: Any) -> None:
        self.store, self.registry = store, CollectorRegistry()
        self.credentials = Credentials(store.volume)
        self.secret = accounts.create_user(store.volume, SERVER, "ann", **{"role": "reader", **grant}).secret.reveal()
        self.settings = server_settings(store.volume.root, flags={}, environ={})
        self.front = Front(self.settings, self.credentials, RequestMetrics(self.registry))
        assert self.credentials.authenticate("ann", self.secret) is not None

    def raw(self, path: str = PAGE, *lines: str, first: str = "GET {} HTTP/1.1", **headers: str | None) -> bytes:
        fields = {"Host": "x:8080", "Authorization": basic("ann", self.secret)}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return "\r\n".join([first.format(path), *sent, *lines, "", ""]).encode("latin-1")

    def __call__(self, path: str = PAGE, *lines: str, **headers: Any) -> Answer | None:
        return self.front.answer(self.raw(path, *lines, **headers), "ppm")

    def body(self, path: str = PAGE, **headers: Any) -> bytes:
        answer = self(path, **headers)
        assert answer is not None
        return answer.content[len(answer.content) - answer.length :]


@pytest.fixture
def ask(store: Store, few_parts: None) -> Asker:
    """Ask an index that has a project with a wheel; its credential was right before."""
    put(store, WHEEL)
    store.write_root()
    return Asker(store)


def test_pages_and_files_are_answered(ask: Asker) -> None:
    pages = ask.store.volume.pages("web-page")
    assert ask.body() == (pages / "index.html").read_bytes()
    assert ask.body(Accept=JSON.media_type) == (pages / "index.json").read_bytes()
    assert ask.body("/simple/") == (ask.store.volume.simple / "index.html").read_bytes()
    assert ask.body(FILE) == WHEEL[1]
    assert ask.body(f"{FILE}.metadata") == wheels.metadata("web-page", "1.0")
    counted = ask.registry.get_sample_value
    assert counted("ppm_application_requests_total", {"kind": "page", "status": "200"}) == 3
    assert counted("ppm_application_requests_total", {"kind": "file", "status": "200"}) == 2
    assert counted("ppm_application_request_seconds_count", {"kind": "file"}) == 2


def test_compressed_pages_are_sent_to_those_who_read_them(ask: Asker) -> None:
    for number in range(2, 8):
        put(ask.store, wheels.wheel("web-page", f"{number}.0"))
    pages = ask.store.volume.pages("web-page")
    assert ask.body(Accept_Encoding="gzip, deflate") == (pages / "index.html.gz").read_bytes()
    assert ask.body(Accept_Encoding="gzip;q=0") == (pages / "index.html").read_bytes()


@pytest.mark.parametrize("path", [PAGE, FILE, "/simple/"])
def test_what_a_client_has_is_not_sent_again(ask: Asker, path: str) -> None:
    first = ask(path)
    assert first is not None
    head = first.content.split(b"\r\n\r\n")[0].decode()
    etag = next(line for line in head.split("\r\n") if line.startswith("ETag: ")).removeprefix("ETag: ")
    for more in ({}, {"If_Modified_Since": "Mon, 01 Jan 2001 00:00:00 GMT"}):
        again = ask(path, If_None_Match=etag, **more)
        assert again is not None
        assert (again.status, again.length) == (304, 0)
        other = ask(path, If_None_Match='"1-2"', **more)
        assert other is not None
        assert (other.status, other.length) == (200, first.length)
    many = ["If-Modified-Since: x"] * 101
    assert ask(path, *many, If_None_Match=etag) is None, "gunicorn refuses so many headers"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/simple",
        "/simple/web-page",
        "/simple/Web-Page/",
        "/simple/web--page/",
        "/simple/missing/",
        "/simple/web-page/?x",
        "/simple//",
        "/simple/web%2Dpage/",
        "//simple/web-page/",
        "/packages/",
        f"/packages/{WHEEL[0]}",
        f"/packages/other/{WHEEL[0]}",
        f"{FILE}.upload",
        f"{FILE}?x",
        f"http://x{FILE}",
        "/packages/web-page/web_page-2.0-py3-none-any.whl",
        "/packages/web-page/../web-page/.status",
        "/packages/web-page/.status",
        f"/packages/web-page/{OTHER}-1.0.tar.gz",
        "/simple/" + "x" * 300 + "/",
        "/healthz",
        "/search",
    ],
)
def test_other_paths_are_left_to_the_application(ask: Asker, path: str) -> None:
    """Redirects, refusals, and everything that is not as usual."""
    assert ask(path) is None


@pytest.mark.parametrize(
    "first", ["HEAD {} HTTP/1.1", "POST {} HTTP/1.1", "GET {} HTTP/1.0", "GET  {} HTTP/1.1", "get {} HTTP/1.1"]
)
def test_other_methods_and_versions_are_left_to_the_application(ask: Asker, first: str) -> None:
    assert ask(first=first) is None


@pytest.mark.parametrize(
    "line",
    [
        "Range: bytes=0-1",
        'If-None-Match: W/"1-2"',
        'If-None-Match: "1-2", "3-4"',
        "If-None-Match: *",
        "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT",
        "If-Range: x",
        "Connection: close",
        "Connection: Upgrade",
        "Content-Length: 0",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Cookie: a=b",
        "Referer: http://x/",
        "Origin: http://x",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "Forwarded: for=10.0.0.1",
        "Via: 1.1 x",
        "Host: other",
        "Accept: text/html",
        "Accept : text/html",
        " folded",
        "User-Agent:",
        "User-Agent: \x00",
        "User-Agent: \xff",
        "X_Forwarded: x",
        "no colon",
    ],
)
def test_other_headers_are_left_to_the_application(ask: Asker, line: str) -> None:
    more = {"Accept": "*/*"}
    assert ask(PAGE, **more) is not None
    assert ask(PAGE, line, **more) is None
    assert ask(PAGE, **more) is not None, "it has not been kept"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": None},
        {"Host": "a b"},
        {"Host": OTHER},
        {"Accept": "image/png"},
        {"Authorization": None},
        {"Authorization": "Bearer x"},
        {"Authorization": "Basic %"},
        {"Authorization": basic("ann", OTHER)},
        {"Authorization": basic("bob", OTHER)},
        {"Authorization": basic(OTHER, "x")},
        {"Authorization": basic("__token__", OTHER)},
    ],
)
def test_what_would_be_refused_is_left_to_the_application(ask: Asker, headers: dict[str, str | None]) -> None:
    assert ask(**headers) is None


def test_two_requests_at_once_are_left_to_the_application(ask: Asker) -> None:
    assert ask.front.answer(ask.raw() * 2, "ppm") is None
    assert ask.front.answer(ask.raw()[:-2], "ppm") is None
    assert ask.front.answer(ask.raw() + b"x", "ppm") is None


def test_a_secret_is_compared_by_the_application_first(store: Store, few_parts: None) -> None:
    """The front computes no hash: so it answers no faster or slower for names that exist."""
    put(store, WHEEL)
    ask = Asker(store)
    token = accounts.create_token(store.volume, SERVER, "ann+ci", role="reader").secret.reveal()
    sent = {"Authorization": basic("__token__", token)}
    assert ask(**sent) is None, "the credentials have changed, and were not read again"
    assert ask.credentials.authenticate("ann", ask.secret)
    assert ask() is not None
    assert ask(**sent) is None
    assert ask.credentials.authenticate("__token__", token)
    answer = ask(**sent)
    assert answer is not None
    assert answer.client.by.name == "ann+ci"
    assert ask(Authorization=basic("ann+ci", token)) is not None


def test_a_revoked_credential_has_no_answer(ask: Asker) -> None:
    assert ask() is not None
    accounts.disable(ask.store.volume, SERVER, "ann")
    assert ask() is None
    ask.credentials.authenticate("ann", ask.secret)
    assert ask() is None


def test_an_expired_credential_has_no_answer(ask: Asker) -> None:
    answer = ask()
    assert answer is not None
    object.__setattr__(answer.client.by, "expires", "2001-01-01T00:00:00Z")  # its time has come; no file has changed
    assert ask() is None


def test_limited_reads_are_limited_here_too(store: Store, few_parts: None) -> None:
    put(store, WHEEL)
    put(store, wheels.wheel("acme-x", "1.0"))
    store.write_root()
    ask = Asker(store, reads=["acme-*"])
    assert ask("/simple/acme-x/") is not None
    for path in (PAGE, FILE, f"{FILE}.metadata", "/simple/"):
        assert ask(path) is None


def test_a_monitor_reads_nothing(store: Store, few_parts: None) -> None:
    put(store, WHEEL)
    ask = Asker(store, role="monitor")
    assert ask() is None
    assert ask("/simple/") is None


def test_public_reads_need_no_credential(ask: Asker) -> None:
    settings = server_settings(ask.store.volume.root, flags={"read_access": "public"}, environ={})
    ask.front = Front(settings, ask.credentials, RequestMetrics(CollectorRegistry()))
    answer = ask(FILE, Authorization=None)
    assert answer is not None
    assert b"immutable, public" in answer.content
    assert ask(FILE, Authorization=basic("nobody", "wrong")) is not None, "as the application has it"
    assert ask(FILE, Authorization=basic(OTHER, "x")) is None
    assert ask(FILE, Authorization=f"{basic('ann', 'x')}, Basic x") is None, "gunicorn logs its name"


def changed_page(store: Store) -> None:
    put(store, wheels.wheel("web-page", "2.0"))


def removed_project(store: Store) -> None:
    store.remove("web-page", "1.0")


def deleted_pages(store: Store) -> None:
    shutil.rmtree(store.volume.pages("web-page"))


@pytest.mark.parametrize("change", [changed_page, removed_project])
def test_a_page_is_never_old(ask: Asker, change: Callable[[Store], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppmctl.files.is_settled", lambda _changed: True)  # kept in memory from the first request on
    before = ask.body()
    assert ask.body() == before
    change(ask.store)
    after = ask.body()
    assert after != before
    assert after == (ask.store.volume.pages("web-page") / "index.html").read_bytes()


def test_what_is_gone_is_left_to_the_application(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppmctl.files.is_settled", lambda _changed: True)
    assert ask() is not None
    assert ask(FILE) is not None
    ask.store.set_status("web-page", "quarantined")
    assert ask(FILE) is None
    assert ask(f"{FILE}.metadata") is None
    ask.store.set_status("web-page", "active")
    assert ask(FILE) is not None
    ask.store.remove("web-page", "1.0")
    assert ask(FILE) is None
    (ask.store.volume.pages("web-page") / "index.json").unlink()
    assert ask() is None, "the application writes all forms again"
    deleted_pages(ask.store)
    assert ask() is None


def test_memory_is_bounded(ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_request, "_MOST_CLIENTS", 3)
    monkeypatch.setattr(front_request, "_MOST_TARGETS", 3)
    monkeypatch.setattr(small_files, "_MOST", 2000)
    monkeypatch.setattr("ppmctl.files.is_settled", lambda _changed: True)
    for number in range(10):
        put(ask.store, wheels.wheel("web-page", f"2.{number}"))
        path = f"/packages/web-page/{wheels.wheel('web-page', f'2.{number}')[0]}"
        assert ask(path, User_Agent=str(number)) is not None
        assert ask(path, User_Agent=str(number)) is not None
        assert len(ask.front._clients._known) <= 3
        assert len(ask.front._targets._known) <= 3
        kept = ask.front._files._known.values()
        assert sum(each.size for each in kept) == ask.front._files._size <= 2000


def test_large_files_are_sent_as_files(ask: Asker) -> None:
    path = ask.store.volume.file("web-page", WHEEL[0])
    for size in (small_files.LARGEST, small_files.LARGEST + 1):
        path.unlink()
        path.write_bytes(bytes(size))
        answer = ask(FILE)
        assert answer is not None
        head, _, body = answer.content.partition(b"\r\n\r\n")
        assert f"\r\nContent-Length: {size}\r\n".encode() in head
        assert (answer.length, len(body)) == (size, 0 if answer.file else size)
        assert (answer.file is None) is (size <= small_files.LARGEST)
    assert answer.file is not None
    assert answer.file.read() == bytes(size)
    answer.file.close()
    entry = path.stat()
    again = ask(FILE, If_None_Match=f'"{int(entry.st_mtime):x}-{entry.st_size:x}"')
    assert again is not None
    assert (again.status, again.length, again.file) == (304, 0, None)
    assert ask.front.answer(ask.raw(FILE), "ppm", may_open=False) is None, "for example if many are open"
    assert ask.front.answer(ask.raw(), "ppm", may_open=False) is not None


def test_a_large_file_that_is_replaced_is_left_to_the_application(
    ask: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The headers are not those of another file. Pages are replaced at any time."""
    page = ask.store.volume.pages("web-page") / "index.html"
    page.write_bytes(bytes(small_files.LARGEST + 1))
    read = small_files.SmallFiles.read

    def replaced(self: small_files.SmallFiles, path: str) -> small_files.Stored:
        stored = read(self, path)
        page.unlink()
        page.write_bytes(bytes(small_files.LARGEST + 2))
        return stored

    monkeypatch.setattr(small_files.SmallFiles, "read", replaced)
    assert ask() is None


def test_what_is_no_regular_file_is_left_to_the_application(ask: Asker) -> None:
    path = ask.store.volume.file("web-page", WHEEL[0])
    path.unlink()
    os.mkfifo(path)
    assert ask(FILE) is None


def test_a_file_that_has_just_changed_is_not_kept_in_memory(ask: Asker) -> None:
    """A second change in the same tick of the clock would not show in its times."""
    assert ask(FILE) is not None
    assert ask.front._files._known == {}


def test_no_secret_is_kept(ask: Asker) -> None:
    assert ask() is not None
    [key] = ask.front._clients._known
    assert len(key) == 16
    assert ask.secret not in repr(ask.front._clients._known)
