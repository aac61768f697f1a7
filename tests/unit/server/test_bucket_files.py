"""Files that only the bucket has: fetched once, answered without them (HEAD, redirect), or refused."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import wheels
from support.nodes import new_node
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from ppmctl.access.rights import ANYONE
from ppmctl.distributions import distribution
from ppmctl.errors import PpmError, Refused
from ppmctl.index import eviction
from ppmctl.index.freshness import ROOT
from ppmctl.index.layout import METADATA
from ppmctl.index.pages import JSON_PAGE
from ppmctl.index.store import Store
from ppmctl.server import bucket_files, simple_api
from ppmctl.server.bucket_files import BucketFiles
from ppmctl.server.settings import ServerSettings, server_settings
from ppmctl.server.simple_api import Reader
from ppmctl.storage.bucket import Unavailable
from ppmctl.web.application import application

MADE = wheels.wheel("demo", "1.0")
PATH = f"/packages/demo/{MADE[0]}"
LARGE = wheels.wheel("large", "1.0", files={"large.bin": os.urandom(9 << 20)})


@pytest.fixture
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{tmp_path.name}-{request.node.name}"


@pytest.fixture
def other(tmp_path: Path, address: str) -> Store:
    """Return a node that has published MADE."""
    node = new_node(tmp_path / "other", address)
    put(node, MADE)
    return node


@pytest.fixture
def here(tmp_path: Path, address: str, other: Store) -> Store:
    """Return a node that has nothing yet."""
    return new_node(tmp_path / "here", address)


def put(store: Store, made: tuple[str, bytes]) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by="tester")


def settings_of(store: Store, **values: str) -> ServerSettings:
    return server_settings(store.volume.root, environ={f"PPM_{name.upper()}": each for name, each in values.items()})


def reader(store: Store, **values: str) -> Reader:
    return Reader(settings_of(store, **values), store, upstream_url="https://upstream.invalid/simple/")


def get(store: Store, path: str = PATH, *, method: str = "GET", **headers: str) -> Response:
    """Return the answer of a node without a web server in front."""
    request = Request(EnvironBuilder(path=path, method=method, headers=list(headers.items())).get_environ())
    return whole(reader(store).answer(request, ANYONE), request)


def whole(answer: Response | None, request: Request) -> Response:
    """Return an answer with all of its content."""
    assert answer is not None
    return Response.from_app(answer, request.environ, buffered=True)


def behind_nginx(store: Store, path: str = PATH, by: Any = ANYONE, **headers: str) -> Response:
    environ = EnvironBuilder(path=path, headers=[("X-Ppm-Sends-Files", "yes"), *headers.items()]).get_environ()
    environ["gunicorn.socket"] = SimpleNamespace(family=socket.AF_UNIX)
    request = Request(environ)
    return whole(reader(store).answer(request, by), request)


def break_bucket(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise Unavailable("The bucket does not answer.")

    assert store.mirror is not None
    for name in ("pull", "fetch", "names"):
        monkeypatch.setattr(store.mirror, name, fail)


def test_a_file_is_fetched_and_sent(here: Store) -> None:
    answer = get(here)
    assert (answer.status_code, answer.get_data()) == (200, MADE[1])
    assert get(here, Range="bytes=5-9").get_data() == MADE[1][5:10]
    assert get(here, PATH + METADATA).get_data().startswith(b"Metadata-Version")
    assert here.volume.file("demo", MADE[0]).exists()


def test_the_first_request_can_be_for_a_part(here: Store) -> None:
    answer = get(here, Range="bytes=5-9")
    assert (answer.status_code, answer.get_data()) == (206, MADE[1][5:10])


def test_all_nodes_send_the_same_etag(here: Store, other: Store) -> None:
    for path in (PATH, PATH + METADATA):
        first, second = get(here, path).headers, get(other, path).headers
        assert (first["ETag"], first["Last-Modified"]) == (second["ETag"], second["Last-Modified"])


def test_head_needs_no_file(here: Store) -> None:
    answer = get(here, method="HEAD")
    assert (answer.status_code, answer.content_length, answer.headers["Accept-Ranges"]) == (
        200,
        len(MADE[1]),
        "bytes",
    )
    assert not here.volume.file("demo", MADE[0]).exists()


def test_requests_at_the_same_time_fetch_once(here: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert here.mirror is not None
    files, original, fetched, goes_on = BucketFiles(settings_of(here), here), here.mirror.fetch, [], threading.Event()

    def fetch(project: str, filename: str) -> Path:
        fetched.append(filename)
        goes_on.wait(10)
        return original(project, filename)

    here.cache.compare("demo")
    monkeypatch.setattr(here.mirror, "fetch", fetch)
    with ThreadPoolExecutor(4) as pool:
        request = Request(EnvironBuilder(path=PATH).get_environ())
        answers = [pool.submit(files.answer, request, "demo", MADE[0], kind="x") for _ in range(4)]
        goes_on.set()
        assert [answer.result(10) for answer in answers] == [None] * 4
    assert fetched == [MADE[0]]


def test_a_slow_file_is_503_until_it_is_here_and_does_not_hold_all_threads(
    here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.mirror is not None
    files, original, goes_on = (
        BucketFiles(settings_of(here, threads="2"), here, patience=0.3),
        here.mirror.fetch,
        None,
    )
    goes_on = threading.Event()

    def fetch(project: str, filename: str) -> Path:
        goes_on.wait(10)
        return original(project, filename)

    here.cache.compare("demo")
    monkeypatch.setattr(here.mirror, "fetch", fetch)
    request = Request(EnvironBuilder(path=PATH).get_environ())
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(files.answer, request, "demo", MADE[0], kind="x") for _ in range(2)]
        messages = [str(answer.exception(10)) for answer in answers]
    assert any("is being fetched" in message for message in messages)
    assert any("Too many requests wait" in message for message in messages), "of two threads one may wait"
    goes_on.set()
    assert files.answer(request, "demo", MADE[0], kind="x") is None
    assert here.volume.file("demo", MADE[0]).exists()


def test_a_damaged_object_is_not_served(here: Store) -> None:
    assert here.mirror is not None
    here.cache.compare("demo")
    (key,) = (key for key in here.mirror.bucket.keys("packages/demo") if key.endswith(".whl"))
    here.mirror.bucket.write(key, b"something else")
    with pytest.raises(PpmError, match="does not have the sha256"):
        get(here)
    assert not here.volume.file("demo", MADE[0]).exists()


def test_without_the_bucket_the_disk_answers(here: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    cold = wheels.wheel("cold", "1.0")
    put(other, cold)
    get(here)
    here.cache.compare("cold")
    break_bucket(here, monkeypatch)
    if here.cache.freshness is not None:
        here.cache.freshness._compared.clear()
    assert get(here).get_data() == MADE[1]
    assert get(here, "/simple/demo/").status_code == 200
    for path in (f"/packages/cold/{cold[0]}", "/simple/unknown/", "/simple/", "/packages/demo/demo-2.0.tar.gz"):
        with pytest.raises(PpmError) as refusal:
            get(here, path)
        assert refusal.value.status == 503, path
        assert "memory://" not in refusal.value.message


def test_a_removed_or_quarantined_file_is_not_fetched(here: Store, other: Store) -> None:
    put(other, wheels.wheel("evil", "1.0"))
    evil = f"/packages/evil/{wheels.wheel('evil', '1.0')[0]}"
    other.set_status("evil", "quarantined")
    other.remove("demo", "1.0")
    for path in (PATH, PATH + METADATA, evil, evil + METADATA, "/packages/demo/demo-9.tar.gz"):
        for method in ("GET", "HEAD"):
            with pytest.raises(Refused) as refusal:
                get(here, path, method=method)
            assert refusal.value.status == 404, path


def test_only_large_files_are_redirected(here: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in memory signs no URL, so this one is made up."""
    assert here.mirror is not None
    put(other, LARGE)
    signed: list[tuple[str, int]] = []

    def sign(key: str, *, seconds: int) -> str:
        signed.append((key, seconds))
        return "https://bucket.example/signed?x=y"

    monkeypatch.setattr(here.mirror.bucket, "signed_url", sign)

    def ask(path: str, method: str = "GET") -> Response:
        request = Request(EnvironBuilder(path=path, method=method).get_environ())
        return whole(reader(here, storage_redirect="true").answer(request, ANYONE), request)

    answer = ask(f"/packages/large/{LARGE[0]}")
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://bucket.example/signed?x=y")
    assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert signed == [(f"packages/large/{hashlib.sha256(LARGE[1]).hexdigest()}/{LARGE[0]}", 300)]
    assert ask(f"/packages/large/{LARGE[0]}", "HEAD").content_length == len(LARGE[1])
    for path in (f"/packages/large/{LARGE[0]}{METADATA}", PATH):
        assert ask(path).status_code == 200
    assert get(here, f"/packages/large/{LARGE[0]}").status_code == 200
    assert ask(f"/packages/large/{LARGE[0]}").status_code == 200, "it is on the disk now"


def test_a_file_is_fetched_if_its_url_can_not_be_signed(here: Store, other: Store) -> None:
    """A store in memory signs no URL, as an account without the right to sign."""
    put(other, LARGE)
    request = Request(EnvironBuilder(path=f"/packages/large/{LARGE[0]}").get_environ())
    answer = whole(reader(here, storage_redirect="true").answer(request, ANYONE), request)
    assert (answer.status_code, answer.get_data()) == (200, LARGE[1])


def test_nginx_sends_what_is_on_the_disk_before_an_installer_gives_up() -> None:
    """It asks a stuck application for longer than a fetch may take, and for less than pip's 15 s."""
    folder = Path(__file__).parents[3] / "docker" / "nginx" / "bucket" / "etc" / "nginx" / "ppm" / "locations"
    compared = (folder / "application.conf").read_text().partition("location @compared {")[2].partition("}")[0]
    (seconds,) = re.findall(r"proxy_read_timeout ([0-9]+)s;", compared)
    assert bucket_files._PATIENCE < int(seconds) < 15


def test_nginx_sends_a_file_that_is_compared(here: Store) -> None:
    assert behind_nginx(here).headers["X-Accel-Redirect"] == PATH
    assert "Cache-Control" not in behind_nginx(here).headers, "nginx has its own"
    here.volume.current_mark("demo").unlink()
    assert behind_nginx(here).get_data() == MADE[1], "nginx would ask again"
    limited = SimpleNamespace(is_read_limited=True, may=lambda *_arguments: True)
    assert "X-Accel-Redirect" not in behind_nginx(here, by=limited).headers
    assert "X-Accel-Redirect" not in get(here, **{"X-Ppm-Sends-Files": "yes"}).headers


def test_the_list_of_projects_is_complete_or_refused(
    here: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_root()
    assert (here.volume.simple / JSON_PAGE).exists()
    with monkeypatch.context() as broken:
        break_bucket(here, broken)
        with pytest.raises(Unavailable):
            here.cache.require(ROOT)
    assert b'href="demo/"' in get(here, "/simple/").get_data()
    put(other, wheels.wheel("later", "1.0"))
    if here.cache.freshness is not None:
        here.cache.freshness._compared.clear()
    assert b'href="later/"' in get(here, "/simple/").get_data()


def test_a_full_disk_gets_room_or_the_client_asks_again(
    here: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with room for one file: the bucket has the other one, so it is no 507, after which nobody asks again."""
    newer = wheels.wheel("newer", "1.0")
    put(other, newer)
    assert get(here).status_code == 200
    cached, fsync, is_full = here.volume.file("demo", MADE[0]), os.fsync, True

    def fail_without_room(descriptor: int) -> None:
        if cached.exists() or is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail_without_room)
    monkeypatch.setattr(eviction, "_JUST_READ", 0)
    visitor = Client(application(settings_of(here, read_access="public"), here))
    answer = visitor.get(f"/packages/newer/{newer[0]}", buffered=True)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert {path.name for path in here.volume.incoming.rglob("*") if path.is_file()} <= {".lock"}
    is_full = False
    assert visitor.get(PATH, buffered=True).get_data() == MADE[1]
    answer = visitor.get(f"/packages/newer/{newer[0]}", buffered=True)
    assert (answer.status_code, answer.get_data()) == (200, newer[1])
    assert not cached.exists()


def test_an_evicted_file_is_fetched_again(here: Store) -> None:
    get(here)
    here.volume.file("demo", MADE[0]).unlink()
    assert get(here).get_data() == MADE[1]


@pytest.fixture(autouse=True)
def _few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simple_api, "_ATTEMPTS", 3)
