"""Random requests to every endpoint: none may make the server fail, whatever is in it."""

from __future__ import annotations

import contextlib
import http.client

from support import wheels
from support.attacks.random_requests import SEED, Fuzzer, sendable
from support.environments import revision
from support.raw import basic
from support.servers import Server, ppmctl

REQUESTS = 2_000


def test_no_request_makes_the_server_fail(index: Server) -> None:
    """The same requests in every run; another PPM_TEST_SEED tries others."""
    for made in (wheels.wheel("known", "1.0"), wheels.sdist("known", "1.0"), revision("team", 1)):
        assert index.upload(made).status_code == 200
    token = ppmctl("token", "create", "admin+fuzz", "--role", "publisher", "--root", str(index.root)).stdout.strip()
    fuzzer = Fuzzer(SEED, basic(*index.auth), basic("admin+fuzz", token))
    failures, statuses = [], set()
    for _number in range(REQUESTS):
        method, target, headers, body = fuzzer.request()
        status, reason = _answer(index, method, target, headers, body)
        statuses.add(status)
        if not 200 <= status < 500:
            failures.append(f"{status} {reason}: {method} {target[:200]} {headers} {body[:300]!r}")
    assert not failures, "\n".join(failures[:10])
    assert "Traceback" not in index.log.read_text()
    assert {200, 301, 400, 401, 403, 404, 405, 415} <= statuses, "it reaches more than the first check"


def _answer(server: Server, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    """Send one request; return its status and reason, 0 if there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, sendable(value))
        try:
            connection.endheaders(body)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as exc:
            return 0, repr(exc)
        return answer.status, answer.reason
