"""A bucket: moto's S3 server in a thread, which counts requests and can delay, refuse or lose them.

    with buckets.serving() as bucket:
        server = servers.start(root, environ=bucket.environ("a"))

`python tests/support/buckets.py SECONDS` serves one in a process of its own, with that latency, until its stdin ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs

import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

PREFIX = "ppm"
_ACCOUNT = "123456789012"  # moto's

Kind = Literal["read", "write", "delete", "list"]
# handled as usual; answered with 503; its connection ends before the bucket handles it, or after that
Fate = Literal["handled", "refused", "cut", "lost"]
Answer = tuple[str, list[tuple[str, str]], bytes]
_REFUSED: Answer = ("503 Slow Down", [("Content-Length", "0")], b"")
Start = Callable[[str, list[tuple[str, str]]], object]


@dataclass(kw_only=True)
class Request:
    """A request to the bucket. `key` is without the prefix, `node` the node that sent it; `status` 0: no answer."""

    kind: Kind
    method: str
    key: str
    node: str
    body: bytes = field(repr=False)
    conditions: tuple[str, ...] = ()
    status: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


def variables(url: str, key: str) -> dict[str, str]:
    """Return the variables for an S3 server at `url`, with that access key."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": "of-a-test",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def make(environ: Mapping[str, str], name: str) -> None:
    """Make a bucket on an S3 server."""
    import boto3

    keys = {"aws_access_key_id": environ["AWS_ACCESS_KEY_ID"]}
    keys |= {"aws_secret_access_key": environ["AWS_SECRET_ACCESS_KEY"], "region_name": environ["AWS_REGION"]}
    boto3.client("s3", endpoint_url=environ["AWS_ENDPOINT_URL"], **keys).create_bucket(Bucket=name)


Matches = Callable[[Request], bool]


@dataclass(kw_only=True)
class _Trouble:
    matches: Matches
    left: int
    fate: Fate
    act: Callable[[], object] | None
    has_happened: threading.Event


@dataclass(kw_only=True)
class Bucket:
    """A bucket that nodes use; `serving` makes it.

    `latency` is the time of each request in seconds, of which half passes before it is handled; up to `jitter`
    seconds are added to each half, so that requests overtake each other. `has_bare_tags`: the condition of a write is
    compared with the tag without its quotes, as by Ceph's gateway.
    """

    name: str
    port: int = 0
    latency: float = 0.0
    jitter: float = 0.0
    has_bare_tags: bool = False
    requests: list[Request] = field(default_factory=list)
    _troubles: list[_Trouble] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _handling: threading.Lock = field(default_factory=threading.Lock)
    _flows: threading.Event = field(default_factory=threading.Event)
    _is_away: bool = False
    _server: BaseWSGIServer | None = None
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._application = DomainDispatcherApplication(create_backend_app)
        self._chance = random.Random(self.name)
        self._flows.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """Return the value of the setting `storage`."""
        return f"s3://{self.name}/{PREFIX}"

    def environ(self, node: str) -> dict[str, str]:
        """Return the variables with which a process uses the bucket; its requests are recorded with this `node`."""
        return {"PPM_STORAGE": self.address, **self.credentials(node)}

    def credentials(self, node: str) -> dict[str, str]:
        """Return the same without the address."""
        return variables(self.url, node)

    # what it has

    def objects(self, prefix: str = "") -> list[str]:
        """Return the keys of all objects, without a request."""
        with self._handling:
            keys = [key.removeprefix(f"{PREFIX}/") for key in self._stored()]
        return sorted(key for key in keys if key.startswith(prefix))

    def content(self, key: str) -> bytes:
        """Return an object's content, without a request."""
        with self._handling:
            value: bytes = self._stored()[f"{PREFIX}/{key}"].value
            return value

    def _stored(self) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends[_ACCOUNT]["aws"].buckets[self.name].keys

    # how it is disturbed

    def at(
        self,
        number: int,
        fate: Fate,
        *,
        of: Matches = lambda _request: True,
        act: Callable[[], object] | None = None,
    ) -> threading.Event:
        """Give a fate to the `number`-th request from now for which `of` is true; return an event for when it came.

        `act` is called before the request is handled, or after it if its answer is lost.
        """
        trouble = _Trouble(matches=of, left=number, fate=fate, act=act, has_happened=threading.Event())
        with self._guard:
            self._troubles.append(trouble)
        return trouble.has_happened

    def untroubled(self) -> None:
        """Forget the fates of requests that have not come."""
        with self._guard:
            self._troubles.clear()

    @contextmanager
    def recording(self, of: Matches = lambda _request: True) -> Iterator[list[Request]]:
        """Yield a list that has the requests of the block for which `of` is true, when the block ends."""
        start = len(self.requests)
        found: list[Request] = []
        yield found
        found += [request for request in self.requests[start:] if of(request)]

    def leave(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        self._is_away = True
        self._stop()

    def come_back(self) -> None:
        """Answer again, with all objects; also if it never left."""
        if self._is_away:
            self._is_away = False
            self._start()
        self.untroubled()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Leave during the block."""
        self.leave()
        try:
            yield
        finally:
            self.come_back()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Accept connections during the block, and answer no request before its end."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    # the server

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Handle one request (WSGI)."""
        request = self._received(environ)
        fate, act, has_happened = self._fate(request)
        self._pass_time()
        self._flows.wait()
        if act is not None and fate != "lost":
            act()
        if self._is_away or fate == "cut":
            has_happened.set()
            raise ConnectionAbortedError  # werkzeug closes the connection
        answer = _REFUSED if fate == "refused" else self._handled(environ)
        request.status = int(answer[0][:3])
        self._pass_time()
        if fate == "lost":
            request.status = 0
            if act is not None:
                act()
        has_happened.set()
        if fate == "lost" or self._is_away:
            raise ConnectionAbortedError
        start_response(*answer[:2])
        return [answer[2]]

    def _received(self, environ: dict[str, Any]) -> Request:
        body = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH")
        content = body.read(int(length)) if length else body.read() if "wsgi.input_terminated" in environ else b""
        environ["wsgi.input"] = io.BytesIO(content)
        query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        method = environ["REQUEST_METHOD"]
        key = environ["PATH_INFO"].removeprefix(f"/{self.name}").removeprefix("/").removeprefix(f"{PREFIX}/")
        kind: Kind = "read" if method in ("GET", "HEAD") else "delete" if method == "DELETE" else "write"
        if method == "GET" and ("list-type" in query or not key):
            kind, key = "list", query.get("prefix", [""])[0].removeprefix(f"{PREFIX}/")
        elif "delete" in query:
            kind = "delete"
        node = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition("/")[0]
        names = ("If-Match", "If-None-Match")
        has = tuple(name for name in names if "HTTP_" + name.upper().replace("-", "_") in environ)
        request = Request(kind=kind, method=method, key=key, node=node, body=content, conditions=has)
        with self._guard:
            self.requests.append(request)
        return request

    def _fate(self, request: Request) -> tuple[Fate, Callable[[], object] | None, threading.Event]:
        with self._guard:
            for trouble in self._troubles:
                if trouble.matches(request):
                    trouble.left -= 1
            for trouble in self._troubles:
                if trouble.left == 0:
                    self._troubles.remove(trouble)
                    return trouble.fate, trouble.act, trouble.has_happened
        return "handled", None, threading.Event()

    def _handled(self, environ: dict[str, Any]) -> Answer:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
            started.append((status, headers))

        if self.has_bare_tags and "HTTP_IF_MATCH" in environ:
            environ["HTTP_IF_MATCH"] = f'"{environ["HTTP_IF_MATCH"]}"'
        with self._handling:  # moto compares a condition and writes in two steps
            body = self._application(environ, start)
            content = b"".join(body)
            if hasattr(body, "close"):
                body.close()
        return *started[-1], content

    def _pass_time(self) -> None:
        delay = self.latency / 2 + (self._chance.uniform(0, self.jitter) if self.jitter else 0)
        if delay:
            time.sleep(delay)

    def _start(self) -> None:
        self._server = make_server("127.0.0.1", self.port, self, threaded=True, request_handler=_Quiet)
        self.port = self._server.server_port
        arguments = {"poll_interval": 0.02}
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs=arguments, daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Quiet(MotoRequestHandler):
    def log_request(self, *_arguments: object) -> None:
        pass

    def connection_dropped(self, *_arguments: object) -> None:
        self.close_connection = True


@contextmanager
def serving(*, latency: float = 0.0, jitter: float = 0.0) -> Iterator[Bucket]:
    """Serve an empty bucket on a free port of the loopback."""
    bucket = Bucket(name=f"of-a-test-{secrets.token_hex(4)}")
    bucket._start()
    try:
        made = requests.put(f"{bucket.url}/{bucket.name}", timeout=60)
        assert made.ok, made.text
        bucket.requests.clear()
        bucket.latency, bucket.jitter = latency, jitter
        yield bucket
    finally:
        bucket._flows.set()
        if not bucket._is_away:
            bucket._stop()


def counted(found: Iterable[Request]) -> Counter[str]:
    """Count requests by their kind."""
    return Counter(request.kind for request in found)


@contextmanager
def in_a_process(*, latency: float) -> Iterator[dict[str, str]]:
    """Serve a bucket from a process of its own; yield the variables of a node. Its work is not this process's."""
    command = [sys.executable, str(Path(__file__).resolve()), str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            environ: dict[str, str] = json.loads(process.stdout.readline())
            yield environ
        finally:
            process.stdin.close()


def main() -> None:
    with serving(latency=float(sys.argv[1])) as bucket, contextlib.suppress(KeyboardInterrupt):
        print(json.dumps(bucket.environ("node")), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
