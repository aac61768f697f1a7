"""Requests to a server: the upload form alone, and any request to the whole application."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import xmlrpc.client
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote_to_bytes

from support import wheels
from werkzeug.test import run_wsgi_app
from werkzeug.wrappers import Request

from fuzz import scratch
from fuzz.archives import packed
from fuzz.credentials import SECRET
from ppmctl.access import declarative, nginx_htpasswd
from ppmctl.access.account import SERVER
from ppmctl.access.rights import Access
from ppmctl.distributions import distribution
from ppmctl.errors import Refused
from ppmctl.index.layout import Volume
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import uploads
from ppmctl.server.app import Index, log
from ppmctl.server.settings import server_settings
from ppmctl.web.application import application

MOST = 1 << 16  # bytes of an upload
USERS = ("admin", "publisher", "reader")
BOUNDARY = "b"


def upload(data: bytes) -> None:
    """Receive the body of a POST, after a line with its Content-Type. What is refused leaves no file."""
    content_type, _, body = data.partition(b"\n")
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": content_type.decode("latin-1"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    store = _uploads_store()
    try:
        received = uploads.receive(
            Request(environ), store, by=Access(name="ops", role="admin", created=""), max_size=MOST
        )
    except Refused as exc:
        if exc.status not in (400, 413):
            raise
    else:
        received.close()
    left = [path.name for path in store.volume.incoming.rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == []


@cache
def _uploads_store() -> Store:
    volume = Volume(root=scratch() / "uploads")
    volume.prepare()
    return Store(volume)


def form(*parts: tuple[str, bytes], boundary: str = BOUNDARY) -> bytes:
    """Return a body of (headers, content)."""
    body = b"".join(f"--{boundary}\r\n{headers}\r\n\r\n".encode() + content + b"\r\n" for headers, content in parts)
    return body + f"--{boundary}--\r\n".encode()


def field(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(filename: str, content: bytes, name: str = "content") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"; filename="{filename}"', content


def upload_seeds() -> Iterator[bytes]:
    made = wheels.wheel("x", "1.0")
    head = f"multipart/form-data; boundary={BOUNDARY}\n".encode()
    yield head + form(field(":action", "file_upload"), field("name", "x"), file(*made))
    yield head + form(field(":action", "remove_pkg"), field("name", "x"), field("version", "1.0"))
    yield head + form(file(*made), file("y", b"", "gpg_signature"), file("z", b""))
    yield head + form(field(":action", "a"), field(":action", "b"), field("", ""), ("X: y", b"z"))
    yield head + form(
        (f"Content-Type: multipart/mixed; boundary=c\r\n{field('content', '')[0]}", form(file(*made), boundary="c"))
    )
    yield head + form(
        ("Content-Disposition: form-data; name*=UTF-8''%ff; filename*0=a; filename*1*=x'y'%41", b"\xff")
    )
    yield head + form(("Content-Transfer-Encoding: base64\r\n" + file(*made)[0], base64.b64encode(made[1])))
    yield b"multipart/form-data; boundary=b; charset=utf-16\n" + form(field(":action", "submit"))
    yield b"application/x-www-form-urlencoded\n:action=verify&name=x&%ff=%00&a"
    yield b"multipart/form-data\n--\r\n"


def request(data: bytes) -> None:
    """Answer a request: METHOD TARGET, lines of headers, an empty line, the body. No status is 5xx.

    `As: admin`, in a line of the headers, stands for that user's credential.
    """
    head, _, body = data.partition(b"\n\n")
    if not re.fullmatch(rb"[A-Z]{3,20} [!-~]+", head.partition(b"\n")[0]):
        return  # gunicorn refuses it
    index, store = _server()
    failures: list[BaseException] = []
    with patch.object(nginx_htpasswd, "PARTS", 3), patch.object(log, "error", partial(_note, failures)):
        environ = _environ(head, body)
        _answer, status, headers = run_wsgi_app(index, environ, buffered=True)
    for failure in failures:
        raise failure
    assert int(status.split()[0]) < 500, status
    for name, value in headers.items():
        assert value.isprintable(), name
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD") and int(status.split()[0]) < 400:
        _reset(store)


def _note(failures: list[BaseException], *_message: object, exc_info: BaseException | None = None) -> None:
    failures += [exc_info] if exc_info is not None else []


def _environ(head: bytes, body: bytes) -> dict[str, Any]:
    """Return a request as gunicorn would pass it to an application."""
    first, *lines = head.split(b"\n")
    method, _, target = first.partition(b" ")
    path, _, query = target.partition(b"?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method.decode(),
        "PATH_INFO": unquote_to_bytes(path if path.startswith(b"/") else b"/" + path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": "index.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        key, value = name.strip().upper().replace("-", "_"), value.strip()
        if key == "AS" and value in USERS:
            key, value = "AUTHORIZATION", "Basic " + base64.b64encode(f"{value}:{SECRET}".encode()).decode()
        if not re.fullmatch("[A-Z0-9_]+", key) or "\0" in value or "\r" in value:
            continue  # gunicorn refuses it
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key not in ("CONTENT_LENGTH", "TRANSFER_ENCODING"):
            environ[f"HTTP_{key}"] = value
    return environ


@cache
def _server() -> tuple[Index, Store]:
    """Return the application of a volume with users and a project with a wheel, and its store."""
    volume = Volume(root=scratch() / "served")
    volume.prepare()
    listed = "".join(f"- {{name: {role}, role: {role}, secret: {SECRET}}}\n" for role in USERS)
    with patch.object(nginx_htpasswd, "PARTS", 3):
        declarative.apply(volume, SERVER, declarative.parse(f"users:\n{listed}"))
    store = Store(volume)
    filename, content = wheels.wheel("x", "1.0")
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        store.put(received, distribution.inspect(received.path, filename), by="ops")
    store.write_root()
    store.changes.add_any()
    SearchIndex(store).update_all(store.changes.take(0))  # a server's thread does it
    store.area.close()
    shutil.copytree(volume.root, _first())
    return application(server_settings(volume.root, environ={}), store), store


def _first() -> Path:
    return scratch() / "served-first"


def _reset(store: Store) -> None:
    """Undo what a request changed: each input must have the same effect, whatever came before it."""
    store.area.close()
    shutil.rmtree(store.volume.root)
    shutil.copytree(_first(), store.volume.root)


def request_seeds() -> Iterator[bytes]:
    for path in (
        "/",
        "/simple/",
        "/simple/x/",
        "/simple/X_/index.html",
        "/packages/x/x-1.0-py3-none-any.whl",
        "/packages/x/x-1.0-py3-none-any.whl.metadata",
        "/packages/",
        "/x/json",
        "/env/lab/requirements.txt",
        "/env/lab/1/env.json",
        "/healthz",
        "/.well-known/ppm.json",
        "/api/tokens",
        "/api/packages?q=x&limit=1&after=a",
        "/api/stats",
        "/env/?owner=ops&limit=1&after=a",
        "/api/whoami",
    ):
        yield f"GET {path}\nAs: reader\nAccept: application/vnd.pypi.simple.v1+json;q=0.5, text/html".encode()
    yield b'HEAD /simple/x/\nAs: admin\nIf-None-Match: W/"x"\nRange: bytes=0-1\nIf-Modified-Since: Thu, 01 Jan 1970'
    for line, values in (
        ("POST /api/tokens\nAs: publisher", {"name": "ci", "role": "reader", "projects": ["x*"], "expires": "1d"}),
        ("POST /api/join", {"code": "ppm_join_x", "purpose": "laptop"}),
        ("PUT /api/packages/x/1.0/yank\nAs: admin", {"reason": "broken"}),
        ("PUT /api/packages/x/status\nAs: admin", {"status": "archived", "reason": "old"}),
    ):
        yield f"{line}\nContent-Type: application/json\n\n{json.dumps(values)}".encode()
    yield b"DELETE /api/tokens/admin+ci\nAs: admin"
    yield b"DELETE /api/packages/x/1.0\nAs: admin"
    yield b"DELETE /api/packages/x/1.0/yank\nAs: admin"
    search = xmlrpc.client.dumps(({"name": ["x"], "summary": ["x"]}, "or"), "search")
    yield f"POST /RPC2\nAs: reader\nContent-Type: text/xml\n\n{search}".encode()
    since = "<methodCall><methodName>changelog_since_serial</methodName><params><param><value><int>1</int></value>"
    yield f"POST /pypi\nAs: reader\nContent-Type: text/xml\n\n{since}</param></params></methodCall>".encode()
    head = f"As: admin\nContent-Type: multipart/form-data; boundary={BOUNDARY}\n\n".encode()
    made = wheels.wheel("y", "1.0")
    yield (
        b"POST /\n" + head + form(field(":action", "file_upload"), file("y-1.0-py3-none-any.whl", packed({"a": b""})))
    )
    yield b"POST /legacy/\n" + head + form(field(":action", "file_upload"), field("md5_digest", "0"), file(*made))
    yield (
        b"POST /upload\n"
        + head
        + form(field(":action", "remove_pkg"), field("name", "/etc"), field("version", "1.0"))
    )
    yield b"POST /\n" + head + form(field(":action", "verify"))
    yield b"GET /simple/%00%ff/..%2f/\nAuthorization: Basic =x\nX-Forwarded-Proto: gopher\nHost: [x"
