"""Requests to an index: each failure has a cause and a hint, and no message shows a secret."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from http.client import RemoteDisconnected
from io import BytesIO
from pathlib import Path

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, InvalidURL, ProxyError, ReadTimeout, SSLError
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, ProtocolError

from ppmctl.client import connection_errors, http
from ppmctl.client.connection_errors import explain
from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer, Transport, denied
from ppmctl.errors import CredentialError, PpmError, Unavailable, Unreachable
from ppmctl.secret import Secret

URL = "https://index.test:8443/simple/demo/"
CONNECTION = HTTPConnection("index.test")
POOL = HTTPConnectionPool("index.test")


def chain(outer: Exception, *causes: BaseException) -> Exception:
    cause: BaseException = outer
    for inner in causes:
        cause.__cause__ = inner
        cause = inner
    return outer


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    error.verify_message = "self-signed certificate."
    return error


def refused() -> Exception:
    return chain(NewConnectionError(CONNECTION, "failed"), ConnectionRefusedError(111, "Connection refused"))


NO_NAME = NameResolutionError("index.test", CONNECTION, socket.gaierror(-2, "Name or service not known"))

WAYS = {
    "certificate": (
        SSLError(MaxRetryError(POOL, URL, untrusted())),
        "not trusted: self-signed certificate.",
        "CA_BUNDLE",
        False,
    ),
    "no TLS": (SSLError(ssl.SSLError(1, "wrong version number")), "No TLS connection", "HTTPS", False),
    "proxy": (ProxyError("no"), "The proxy to https://index.test:8443", "NO_PROXY=index.test", False),
    "timeout": (ReadTimeout("slow"), "took too long", "Is it up", True),
    "DNS": (requests.ConnectionError(MaxRetryError(POOL, URL, NO_NAME)), "index.test has no address", "name", True),
    "refused": (
        chain(requests.ConnectionError("x"), refused()),
        "Nothing listens at https://index.test:8443",
        "port",
        True,
    ),
    "reset": (
        requests.ConnectionError(ProtocolError("x", ConnectionResetError(104, "Connection reset by peer"))),
        "Connection reset by peer",
        "",
        True,
    ),
    "closed": (
        requests.ConnectionError(ProtocolError("aborted", RemoteDisconnected("The other end closed it"))),
        "failed: The other end closed it.",
        "",
        True,
    ),
    "half": (ChunkedEncodingError("x"), "before the whole answer arrived", "", True),
    "URL": (InvalidURL("bad label"), "bad label", "", False),
}


@pytest.mark.parametrize(("exc", "message", "hint", "may_work_later"), WAYS.values(), ids=WAYS)
def test_each_connection_error_has_a_cause_and_a_hint(
    exc: Exception, message: str, hint: str, may_work_later: bool
) -> None:
    explained = explain(exc, URL)
    assert message in explained.message
    assert hint in explained.hint
    assert isinstance(explained, Unreachable) is may_work_later
    assert "\n" not in explained.message


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_hint_for_localhost_in_a_container_names_the_container(
    host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exc = chain(requests.ConnectionError("x"), refused())
    monkeypatch.setattr(connection_errors, "_IN_CONTAINER", tmp_path / "no")
    assert "ppmctl serve" in explain(exc, f"http://{host}:8080/").hint
    monkeypatch.setattr(connection_errors, "_IN_CONTAINER", tmp_path)
    hint = explain(exc, f"http://{host}:8080/").hint
    assert hint.startswith("Is the index started, and is the port right?"), "the commonest cause first"
    assert f"{host} is the container itself" in hint
    assert "ppmctl serve" in explain(exc, "http://index.test:8080/").hint


def test_a_host_name_without_dots_may_be_a_stopped_container() -> None:
    error = NameResolutionError("nginx", CONNECTION, socket.gaierror(-2, "Name or service not known"))
    exc = requests.ConnectionError(MaxRetryError(POOL, "http://nginx:8080/", error))
    assert "while it runs" in explain(exc, "http://nginx:8080/").hint
    assert "while it runs" not in explain(exc, "http://index.test/").hint


def test_a_request_raises_the_explained_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise requests.exceptions.ReadTimeout("slow")

    monkeypatch.setattr(requests.Session, "request", fail)
    with Transport(None, "") as transport, pytest.raises(PpmError, match="too long"):
        transport.request("GET", URL)


@pytest.mark.parametrize("credential", [None, Credential(username="ops", secret=Secret("pä:ss"), source="a test")])
def test_requests_never_takes_a_credential_from_netrc(
    credential: Credential | None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """requests would read ~/.netrc by itself, and no message could name the credential that was sent."""
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine index.test login other password stranger\n")
    monkeypatch.setenv("NETRC", str(netrc))
    sent: list[requests.PreparedRequest] = []

    def answer(_self: object, request: requests.PreparedRequest, **options: object) -> requests.Response:
        assert options["timeout"]
        assert options["allow_redirects"] is False
        sent.append(request)
        response = requests.Response()
        response.status_code, response.reason, response.raw = 302, "Found", BytesIO()
        response.headers["Location"] = "../other/"
        return response

    monkeypatch.setattr(requests.Session, "send", answer)
    with Transport(credential, URL) as transport:
        got = transport.request("GET", URL)
    assert (got.status, got.location) == (302, "https://index.test:8443/simple/other/")
    expected = None if credential is None else "Basic " + base64.b64encode("ops:pä:ss".encode()).decode()
    header = sent[0].headers.get("Authorization")
    assert (header.decode() if isinstance(header, bytes) else header) == expected


@pytest.mark.parametrize(
    "url", ["http://index.test:8443/", "https://index.test/", "https://index.test:8443@thief.test/"]
)
@pytest.mark.parametrize("home", [URL, ""])
def test_no_other_server_gets_the_credential(url: str, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redirects and links can lead to other servers; without a home no server gets it."""
    sent: list[requests.PreparedRequest] = []

    def fail(_self: object, request: requests.PreparedRequest, **_options: object) -> None:
        sent.append(request)
        raise requests.exceptions.ReadTimeout("slow")

    monkeypatch.setattr(requests.Session, "send", fail)
    with Transport(Credential(username="ops", secret=Secret("x"), source="a test"), home) as transport:
        with pytest.raises(Unreachable):
            transport.request("GET", url)
        with pytest.raises(Unreachable):
            transport.receive(url, lambda _bytes: None)
    assert [request.headers.get("Authorization") for request in sent] == [None, None]


def status(code: int, url: str = URL) -> Answer:
    headers = {"content-type": "text/plain", "retry-after": "7"}
    return Answer(url=url, status=code, reason="", headers=headers, body=b"why")


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_statuses_of_a_busy_server_raise_unavailable(code: int) -> None:
    with (
        Transport(None, "") as transport,
        pytest.raises(Unavailable, match=f"x.whl was refused \\({code}\\): why") as caught,
    ):
        transport.checked(status(code), "x.whl was refused")
    assert caught.value.retry_after == "7"
    assert "Try again" in caught.value.hint


def test_401_and_403_raise_a_credential_error_only_from_the_index_itself() -> None:
    with Transport(None, URL) as transport:
        for code in (401, 403):
            with pytest.raises(CredentialError, match="none was found") as caught:
                transport.checked(status(code))
            assert caught.value.hint.startswith(f"ppmctl login {URL}")
            assert transport.checked(status(code, "https://files.test/")).status == code
        for code in (200, 302, 400, 404, 409):
            assert transport.checked(status(code)).status == code


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ({"https://a/": "https://b/", "https://b/": "https://a/"}, "too many times"),
        ({"https://a/": "http://b/"}, "plain HTTP"),
    ],
)
def test_circles_and_redirects_to_http_are_refused(hops: dict[str, str], expected: str) -> None:
    def send(url: str) -> Answer:
        return Answer(url=url, status=302, reason="", headers={}, body=b"", location=hops[url])

    with pytest.raises(PpmError, match=expected):
        Transport.followed("https://a/", send)
    assert Transport.followed("https://a/", send, may_follow=lambda _url: False).location == hops["https://a/"]


@pytest.mark.parametrize(
    ("code", "body", "values"),
    [
        (200, b'{"a": 1}', {"a": 1}),
        (404, b'{"a": 1}', {}),
        (200, b"[]", {}),
        (201, b"{", {}),
        (200, b"[" * 100_000, {}),
    ],
)
def test_the_values_of_an_answer_are_its_json_object_or_empty(code: int, body: bytes, values: dict[str, int]) -> None:
    assert Answer(url=URL, status=code, reason="", headers={}, body=body).values == values


@pytest.mark.parametrize(
    ("content_type", "body", "reason", "text"),
    [
        ("text/plain; charset=utf-8", b"It is too large.\nmore", "Bad Request", "It is too large"),
        ("text/html", b"<html>", "Not Found", "Not Found"),
        ("text/plain", b"", "", "no reason given"),
        ("text/plain", b"\x1b[31mred\x07", "", "[31mred"),
    ],
)
def test_the_reason_of_a_refusal_is_one_printable_line(
    content_type: str, body: bytes, reason: str, text: str
) -> None:
    """The server sends it, so a terminal must not get its control characters."""
    answer = Answer(url=URL, status=400, reason=reason, headers={"content-type": content_type}, body=body)
    assert answer.says == text


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (401, "The credential has expired", "does not accept", "an invite or another token"),
        (401, "The credential is wrong: unknown name or secret", "does not accept", "It is wrong, expired"),
        (
            403,
            "The project x is archived",
            "does not allow this to 'ops' (from a test): The project x is",
            "administrator",
        ),
    ],
)
def test_a_refused_credential_has_a_reason_and_a_hint(status: int, body: str, message: str, hint: str) -> None:
    headers = {"content-type": "text/plain"}
    answer = Answer(url=URL, status=status, reason="", headers=headers, body=body.encode())
    error = denied(answer, Credential(username="ops", secret=Secret("x"), source="a test"), base="https://index.test")
    assert message in error.message
    assert hint in error.hint
    assert ("has expired" in error.message) is ("has expired" in body)
    assert ("wrong" in error.hint) is ("wrong" in body)
    assert "role" not in error.hint, "the index gives the reason"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Index.test/simple/", ("https", "index.test", 443)),
        ("http://index.test:8080", ("http", "index.test", 8080)),
        ("http://thief.test\\@index.test/x", ("http", "thief.test", 80)),
        ("https://index.test@thief.test/x", ("https", "thief.test", 443)),
        ("http://[::1]:80/", ("http", "[::1]", 80)),
    ],
)
def test_where_a_request_goes(url: str, expected: tuple[str, str, int]) -> None:
    """The origin decides whether the credential is sent, so it has to be the host that requests connects to."""
    assert http.origin(url) == expected
    prepared = requests.Request("GET", url).prepare().url
    assert prepared is not None
    assert http.origin(prepared) == expected


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "//index.test/", "http://", "http://x:99999/", "http://[x/", "x"]
)
def test_a_url_without_scheme_or_host_has_no_origin(url: str) -> None:
    with pytest.raises(PpmError, match="is not a URL"):
        http.origin(url)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("../../files/a.whl#sha256=00", "https://index.test:8443/files/a.whl"),
        ("https://files.test/a b\x1b.whl", "https://files.test/a%20b%1B.whl"),
        ("/é%20+!~'", "https://index.test:8443/é%20+!~'"),
        ("/\ud800", "https://index.test:8443/%3F"),
    ],
)
def test_links_are_resolved_and_quoted(target: str, expected: str) -> None:
    assert http.absolute(URL, target) == expected
    with pytest.raises(PpmError, match="is not a URL"):
        http.absolute(URL, "http://[")


def test_authorities_are_loaded_once_and_only_for_https(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system has a few hundred, and some commands make a dozen sessions; plain HTTP needs none."""
    for variable in os.environ:
        if variable.upper().endswith(("_PROXY", "_CA_BUNDLE")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    loaded: list[ssl.SSLContext] = []
    used: list[ssl.SSLContext | None] = []

    def connect(connection: HTTPConnection, *_arguments: object, **_options: object) -> None:
        used.append(getattr(connection, "ssl_context", None))
        raise refused()

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda context: loaded.append(context))
    monkeypatch.setattr(HTTPConnection, "connect", connect)
    monkeypatch.setattr(HTTPSConnection, "connect", connect)
    for proxy in ("", "http://proxy.test:3128"):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        for url in ("http://index.test/", URL, URL.upper()):
            with Transport(None, "") as connection, pytest.raises(PpmError):
                connection.request("GET", url)
    assert len(loaded) == 1
    assert used == [None, loaded[0], loaded[0]] * 2
