"""Headers of a client that are dropped or refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from werkzeug.wrappers import Request

from ppmctl.errors import Refused
from ppmctl.server import request_headers

SECRET = "ppm_" + "aB3_" * 10 + "xyz"


def environ(path: str = "/simple/", query: str = "", **headers: str) -> dict[str, Any]:
    about = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "wsgi.url_scheme": "http"}
    return {**about, "SERVER_NAME": "index.example", "SERVER_PORT": "80", **headers}


@pytest.mark.parametrize("scheme", ["gopher", "HTTPS", "https,http", "javascript:", "", " https", "https\t"])
def test_a_scheme_that_is_neither_http_nor_https_is_dropped(scheme: str) -> None:
    """pypiserver builds links with whatever the header has."""
    sent = environ(HTTP_X_FORWARDED_PROTO=scheme)
    request_headers.drop(sent)
    assert "HTTP_X_FORWARDED_PROTO" not in sent


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_scheme_of_a_proxy_is_used(scheme: str) -> None:
    sent = environ(HTTP_X_FORWARDED_PROTO=scheme)
    request_headers.drop(sent)
    assert sent["HTTP_X_FORWARDED_PROTO"] == scheme


@pytest.mark.parametrize(
    "name",
    ["FORWARDED", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PREFIX", "X_SCRIPT_NAME", "X_ORIGINAL_URL"],
)
def test_headers_that_change_links_are_dropped(name: str) -> None:
    sent = environ(**{f"HTTP_{name}": "evil.example"})
    request_headers.drop(sent)
    assert f"HTTP_{name}" not in sent


@pytest.mark.parametrize("name", ["IF_MODIFIED_SINCE", "IF_UNMODIFIED_SINCE", "IF_RANGE"])
def test_a_date_that_can_not_be_read_is_dropped(name: str) -> None:
    for sent, stays in {
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999": False,
        "Mon, 01 Jan 99999999999 00:00:00 GMT": False,
        "Mon, 01 Jan 2024 00:00:00 GMT": True,
        '"5e1f-3"': True,
    }.items():
        headers = environ(**{f"HTTP_{name}": sent})
        request_headers.drop(headers)
        assert (f"HTTP_{name}" in headers) == stays


@pytest.mark.parametrize(
    "host",
    [
        *("index.example", "localhost:8080", "127.0.0.1", "[::1]", "[fe80::1%eth0]:8080", "ppm_app:80", "a-b.c.", ""),
        *("xn--bcher-kva.example",),
    ],
)
def test_hosts_pass(host: str) -> None:
    request_headers.check(Request(environ(HTTP_HOST=host)))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "a/b",
            'a"b',
            "a'b",
            "a b",
            "user@a",
            "a:b",
            "a:123456",
            "[::1",
            "a?b",
            "a#b",
            "<script>",
            "é",
            "a,b",
            "a\\b",
        ),
        *("{{a}}", "a\n", "a%20b"),
    ],
)
def test_an_invalid_host_is_refused(host: str) -> None:
    """pypiserver's own pages have it in their links."""
    with pytest.raises(Refused) as refused:
        request_headers.check(Request(environ(HTTP_HOST=host)))
    assert refused.value.status == 400


def test_a_missing_host_is_refused_since_http_1_1() -> None:
    request_headers.check(Request(environ(SERVER_PROTOCOL="HTTP/1.0")))
    with pytest.raises(Refused):
        request_headers.check(Request(environ(SERVER_PROTOCOL="HTTP/1.1")))


def test_the_host_of_a_complete_url_counts() -> None:
    sent = environ(RAW_URI="http://index.example:80/simple/", HTTP_HOST="evil.example")
    request_headers.drop(sent)
    assert sent["HTTP_HOST"] == "index.example:80"


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:x".encode()).decode()


@pytest.mark.parametrize(
    "sent",
    [
        environ(query=f"token={SECRET}"),
        environ(query=f"a=1&{SECRET.replace('_', '%5F')}"),
        environ(path=f"/simple/{SECRET}/"),
        environ(HTTP_AUTHORIZATION=basic(SECRET)),
        environ(HTTP_AUTHORIZATION=basic(f"ann-{SECRET}")),
        environ(HTTP_REFERER=f"https://index.example/?{SECRET}"),
        environ(HTTP_HOST=f"{SECRET}.example"),
    ],
)
def test_a_secret_in_a_wrong_place_is_refused(sent: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        request_headers.check(Request(sent))
    assert refused.value.status == 401
    assert "aB3" not in refused.value.message


@pytest.mark.parametrize(
    "sent",
    [
        environ(query="q=ppm_env"),
        environ(query="owner=ppm_x"),
        environ(query="q=ppm_environment_of_the_whole_team_for_2027"),
        environ(path="/packages/a/ppm_GeoAnalysis2ToolkitNotebook_extra-1.0-py3-none-any.whl"),
        environ(HTTP_AUTHORIZATION=basic("ppm_bot")),
        environ(HTTP_AUTHORIZATION="Basic !!!"),
        environ(HTTP_AUTHORIZATION=f"Bearer {SECRET}"),
    ],
)
def test_other_requests_pass(sent: dict[str, Any]) -> None:
    request_headers.check(Request(sent))
