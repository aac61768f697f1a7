"""While the application is stopped or stuck, installs work as before, and uploads get a 503 with Retry-After."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from support import debian, wheels
from support.environments import revision
from support.evidence import until
from support.servers import JSON, ppmctl
from support.webserver import Site

from ppmctl.index import discovery
from ppmctl.server import content_negotiation

WHEEL = wheels.wheel("still-here", "1.0")
FILE = f"/packages/still-here/{WHEEL[0]}"
SOON = 1.5  # seconds; an answer from disk takes milliseconds
OPEN = ("/healthz", discovery.PATH)  # without a credential
STUCK = "proxy_read_timeout 60s;"


@contextlib.contextmanager
def stopped(site: Site) -> Iterator[None]:
    """Stop the application and remove its socket."""
    with site.without_application():
        yield


@contextlib.contextmanager
def refusing(site: Site) -> Iterator[None]:
    """Leave a socket on which no process listens."""
    with site.without_application():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(site.places.socket))
        yield


@contextlib.contextmanager
def full(site: Site) -> Iterator[None]:
    """Fill the socket's queue with connections that no process accepts."""
    with site.without_application(), contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(site.places.socket))
        listener.listen(0)
        for _number in range(2):
            client = held.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(site.places.socket))
        yield


@contextlib.contextmanager
def stuck(site: Site) -> Iterator[None]:
    """Suspend the application: it still has its socket, and answers nothing."""
    os.killpg(site.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(site.process.pid, signal.SIGCONT)


STATES = {state.__name__: state for state in (stopped, refusing, full, stuck)}


def reads() -> list[tuple[str, str, dict[str, str]]]:
    """Return the requests of installers: method, path and headers."""
    requested = [
        (method, path, {"Accept": header})
        for path in ("/simple/", "/simple/still-here/", "/simple/public-name/", "/simple/acme-tool/")
        for _client, header, _form in content_negotiation.TABLE
        for method in ("GET", "HEAD")
    ]
    for path in (FILE, f"{FILE}.metadata", "/env/team/requirements.txt", "/env/team/1/pylock.toml", *OPEN):
        requested += [("GET", path, {}), ("HEAD", path, {}), ("GET", path, {"Range": "bytes=0-9"})]
    requested += [
        ("PUT", "/simple/still-here/", {}),
        ("PUT", FILE, {}),
        ("GET", "/packages/no/no-1.0.tar.gz", {}),
    ]
    return requested


def session(site: Site) -> requests.Session:
    made = requests.Session()
    made.auth, made.verify = site.auth, str(site.ca)
    made.trust_env = False
    return made


def comparable(answer: requests.Response) -> dict[str, Any]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("Date", "Connection")}
    return {"status": answer.status_code, "headers": headers, "body": answer.content}


@pytest.fixture(scope="module")
def filled(new_sites: Callable[..., Site]) -> Site:
    site = new_sites(faster={STUCK: "proxy_read_timeout 2s;", "proxy_read_timeout 300s;": "proxy_read_timeout 3s;"})
    for version in ("1.0", "2.0"):
        assert site.upload(wheels.wheel("still-here", version)).status_code == 200
    assert site.upload(wheels.wheel("without-page", "1.0")).status_code == 200
    assert site.upload(wheels.wheel("emptied", "1.0")).status_code == 200
    assert site.upload(wheels.wheel("evil", "1.0")).status_code == 200
    lock = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
    assert site.upload(revision("team", 1, "still-here==1.0", lock=lock)).status_code == 200
    ppmctl("package", "remove", "emptied", "1.0", "--yes", "--root", str(site.root))
    listed = {"emptied", "evil", "ppm-env-team", "still-here", "without-page"}
    until(
        lambda: {one["name"] for one in site.get("/simple/", headers={"Accept": JSON}).json()["projects"]} == listed,
        "the list of projects follows",
    )
    return site


@debian.with_each("state", {12: ["stopped", "full"], 13: ["refusing", "stuck"]})
def test_installs_work_without_the_application(filled: Site, state: str) -> None:
    """Pages, metadata, files, environments and redirects have the same answers; a wrong credential gets a 401."""
    before = [comparable(filled.request(method, path, headers=headers)) for method, path, headers in reads()]
    assert {answer["status"] for answer in before} == {200, 206, 302, 404, 405}
    with STATES[state](filled):
        for (method, path, headers), expected in zip(reads(), before, strict=True):
            started = time.monotonic()
            assert comparable(filled.request(method, path, headers=headers)) == expected, (method, path)
            assert time.monotonic() - started < SOON, (method, path)
            for auth in (None, ("admin", "ppm_wrong"), ("nobody", filled.secret)):
                refused = filled.request(method, path, headers=headers, auth=auth)
                assert refused.status_code == (200 if path in OPEN else 401) or "Range" in headers, (
                    method,
                    path,
                )


@debian.with_each("state", {12: ["stuck"], 13: ["stopped"]})
def test_uploads_get_503_with_retry_after(filled: Site, state: str) -> None:
    """They get a 503 with one line of text, and never hang; afterwards the same upload succeeds."""
    made = wheels.wheel(f"later-{state}", "1.0")
    with STATES[state](filled):
        paths = ("/", "/legacy/", "/upload")
        started = time.monotonic()
        with ThreadPoolExecutor(len(paths)) as pool:
            answers = list(pool.map(lambda path: filled.upload(made, path=path), paths))
        assert time.monotonic() - started < 5
        for path, refused in zip(paths, answers, strict=True):
            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "5"
            assert refused.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert "Strict-Transport-Security" in refused.headers
            assert refused.text.count("\n") == 1
            assert "Try again" in refused.text
            assert filled.upload(made, path=path, auth=None).status_code == 401
        assert filled.bodies() == []
    assert filled.upload(made).status_code == 200
    assert filled.filenames(f"later-{state}") == {made[0]}


@debian.with_each("state", {12: ["refusing"], 13: ["stopped"]})
def test_only_limited_readers_need_the_application(filled: Site, state: str) -> None:
    """They get a 503, and everyone else is served; a wrong secret is a 401."""
    name = f"limited-{state}"
    place = ("--root", str(filled.root))
    secret = ppmctl("user", "add", name, "--role", "reader", "--project", "still-here", *place).stdout.strip()
    paths = ("/simple/", "/simple/still-here/", FILE, f"{FILE}.metadata", "/env/team/env.json", "/simple/evil/")
    with STATES[state](filled):
        for path in paths:
            assert filled.get(path).status_code == 200, path
            answer = filled.get(path, auth=(name, secret))
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), path
            assert "installs still work" not in answer.text
            assert filled.get(path, auth=(name, "ppm_wrong")).status_code == 401
    assert [filled.get(path, auth=(name, secret)).status_code for path in paths] == [200] * 4 + [404] * 2
    ppmctl("user", "remove", name, *place)


@debian.with_each("state", {12: ["refusing", "stuck"], 13: ["stopped", "full"]})
def test_requests_for_the_application_get_503_soon(filled: Site, state: str) -> None:
    """Names that are not normalised, unusual Accept headers, pypiserver's pages; without a credential it is a 401."""
    asked = {
        "/": {},
        "/simple/Still.Here/": {},
        "/simple/still-here/": {"Accept": "text/html;q=0.5"},
        "/packages/": {},
        "/still-here/json": {},
        f"/packages/{WHEEL[0]}": {},
    }
    with STATES[state](filled), ThreadPoolExecutor(len(asked)) as pool:
        started = time.monotonic()
        answers = pool.map(lambda path: filled.get(path, headers=asked[path]), asked)
        for path, answer in zip(asked, answers, strict=True):
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5"), path
            assert answer.text.count("\n") == 1
            assert filled.get(path, headers=asked[path], auth=None).status_code == 401
        assert time.monotonic() - started < 4


@debian.with_each("state", {12: ["stopped"], 13: ["stuck"]})
def test_a_browser_gets_a_page_that_says_so(filled: Site, state: str) -> None:
    """With and without a credential, and also for a form; programs get a line of text at the URLs that they use."""
    asked = [("GET", path) for path in ("/", "/login", "/projects/", "/static/style.css", "/search?q=x")]
    browser = {"Accept": "text/html,*/*;q=0.8"}
    with STATES[state](filled), ThreadPoolExecutor(7) as pool:
        answers = pool.map(
            lambda row: filled.request(*row, headers=browser, auth=None, allow_redirects=False),
            [*asked, ("HEAD", "/projects/"), ("POST", "/login")],
        )
        for answer in answers:
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5"), answer.url
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.headers["Content-Security-Policy"].startswith(
                "default-src 'none'; style-src 'unsafe-inline'"
            )
            assert "Strict-Transport-Security" in answer.headers
            if answer.request.method != "HEAD":
                assert "Installing packages still works" in answer.text
        assert filled.get("/", auth=None).status_code == 401
    assert filled.get("/login", headers=browser, auth=None).status_code == 200


@debian.with_each("state", {12: ["stopped"], 13: ["stuck"]})
def test_a_local_project_without_a_page_is_not_redirected(filled: Site, state: str) -> None:
    """A missing page must not become a redirect to the public index: it gets a 503, and later the page."""
    for name in ("without-page", "emptied"):
        shutil.rmtree(filled.root / "index" / "simple" / name)
    with STATES[state](filled), ThreadPoolExecutor(2) as pool:
        for answer in pool.map(lambda name: filled.get(f"/simple/{name}/"), ("without-page", "emptied")):
            assert answer.status_code == 503, answer.headers.get("Location")
            assert answer.headers["Retry-After"] == "5"
            assert answer.text.count("\n") == 1
    for name in ("without-page", "emptied"):
        assert filled.get(f"/simple/{name}/").status_code == 200


@debian.with_each("state", {12: ["stopped"], 13: ["stuck"]})
def test_a_quarantined_file_is_not_served(filled: Site, state: str) -> None:
    """nginx can't read it, whatever the application does; the name is not redirected, also without a page."""
    (name, _content), place = wheels.wheel("evil", "1.0"), ("--root", str(filled.root))
    paths = [f"/packages/evil/{name}{suffix}" for suffix in ("", ".metadata")]
    ppmctl("package", "status", "evil", "active", *place)
    with STATES[state](filled):
        assert [filled.get(path).status_code for path in paths] == [200, 200]
    ppmctl("package", "status", "evil", "quarantined", *place)
    with STATES[state](filled):
        for path in (*paths, paths[0].replace(".", "%2E"), f"/packages/./evil/{name}", f"/packages//evil/{name}"):
            for method in ("GET", "HEAD"):
                for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": '"x"'}):
                    answer = filled.request(method, path, headers=headers)
                    assert answer.status_code == 404, (method, path, headers)
        assert filled.page("evil")["files"] == []
    shutil.rmtree(filled.root / "index" / "simple" / "evil")
    with STATES[state](filled):
        assert filled.get("/simple/evil/").status_code == 503
    assert filled.page("evil")["project-status"] == {"status": "quarantined"}


def test_a_killed_application_fails_no_read(filled: Site) -> None:
    """It is killed repeatedly while a client reads without retries."""
    with session(filled) as client:
        for _turn in range(3):
            filled.kill()
            for path in ("/simple/still-here/", FILE, "/simple/public-name/"):
                answer = client.get(filled.url + path, timeout=5, allow_redirects=False)
                assert answer.status_code in (200, 302)
            filled.start_again()
    assert filled.upload(wheels.wheel("after-restarts", "1.0")).status_code == 200


@contextlib.contextmanager
def killed_once(site: Site) -> Iterator[list[bytes]]:
    """Break off the first request in the middle, as a killed application does, and answer the others with 200.

    Yield the list of received requests.
    """
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                if not received:
                    received.append(file.read1(1000))
                    continue
                head = b"".join(iter(file.readline, b"\r\n"))
                length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
                received.append(head + file.read(int(length[1]) if length else 0))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    with site.without_application(), socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(str(site.places.socket))
        listener.listen()
        pool.submit(serve, listener)
        try:
            yield received
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def test_an_upload_that_a_kill_interrupted_is_sent_again(filled: Site) -> None:
    """The whole body; nginx has it. An upload is accepted a second time if its content is the same."""
    content = os.urandom(300_000)
    with killed_once(filled) as received:
        assert filled.upload(("twice-1.0.tar.gz", content)).status_code == 200
    assert len(received) == 2
    assert content in received[1]


def test_a_read_is_sent_again_and_another_change_is_not(filled: Site) -> None:
    """A change may be done already, and its repetition would do something else or fail."""
    with killed_once(filled) as received, session(filled) as client:
        assert client.get(filled.url + "/api/whoami", timeout=5).status_code == 200
    assert len(received) == 2
    with killed_once(filled) as received, session(filled) as client:
        assert client.post(filled.url + "/api/tokens", json={"name": "x"}, timeout=5).status_code == 503
    assert len(received) == 1
