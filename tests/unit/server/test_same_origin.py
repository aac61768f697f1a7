"""Which changes a browser may send: those of the index's own pages, and what a user typed."""

from __future__ import annotations

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ppmctl.errors import Refused
from ppmctl.server import same_origin

HOST = "index.test:8080"


def request(method: str, url: str = f"http://{HOST}", *, behind_proxy: bool = False, **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    environ = EnvironBuilder(method=method, base_url=url, headers=named).get_environ()
    same_origin.take_host(environ, behind_proxy=behind_proxy)
    return Request(environ)


def is_refused(asked: Request) -> bool:
    try:
        same_origin.require(asked)
    except Refused as exc:
        return exc.status == 403
    return False


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "post"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": f"http://{HOST}"},
        {"Sec_Fetch_Site": "same-origin", "Origin": "https://evil.example"},
        {"Sec_Fetch_Site": "none", "Origin": "null"},
    ],
    ids=str,
)
def test_a_change_by_a_foreign_page_is_refused(method: str, headers: dict[str, str]) -> None:
    assert is_refused(request(method, **headers))
    assert not is_refused(request("GET", **headers))
    assert not is_refused(request("HEAD", **headers))
    assert not is_refused(request("OPTIONS", **headers))


@pytest.mark.parametrize("site", ["", "SAME-ORIGIN", "same-origin,cross-site", "same-origin, same-origin", "?1", "é"])
def test_every_other_value_of_sec_fetch_site_is_refused(site: str) -> None:
    asked = request("POST")
    asked.environ["HTTP_SEC_FETCH_SITE"] = site
    assert is_refused(Request(asked.environ))


def test_programs_and_own_pages_may_change_it() -> None:
    """twine, uv and curl send neither header; a browser sends both."""
    assert not is_refused(request("POST"))
    assert not is_refused(request("POST", Sec_Fetch_Site="same-origin", Origin=f"http://{HOST}"))
    assert not is_refused(request("DELETE", Sec_Fetch_Site="none"))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://index.test", "http://index.test"),
        ("http://index.test", "http://index.test:80"),
        ("http://index.test:80", "http://index.test"),
        ("http://Index.Test", "HTTP://INDEX.test"),
        ("https://index.test", "https://index.test"),
        ("https://index.test:443", "https://index.test"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example"),
    ],
)
def test_the_index_knows_its_own_origin(url: str, origin: str) -> None:
    assert not is_refused(request("POST", url, Origin=origin))


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "",
            "null",
            "index.test",
            "//index.test:8080",
            "https://index.test:8080",
            "http://index.test",
            "http://index",
        ),
        *("http://index.test:8081", "http://index.test:80800", "http://index.test.:8080", "http://aindex.test:8080"),
        *(
            "http://index.test:8080/",
            "http://index.test:8080/x",
            "http://index.test:8080#x",
            "http://index.test:8080?",
        ),
        *("http://evil@index.test:8080", "http://index.test:8080@evil.example", "http://evil.example:8080"),
        *("http://index.test:8080, http://evil.example", "http://evil.example,http://index.test:8080"),
        *("http://index.test:8080,http://index.test:8080", "http://index.test:8080 http://index.test:8080"),
        *("http://127.0.0.1:8080", "http://[::1]:8080", "http://[::1", "http://index.test:", "ftp://index.test:8080"),
        *(
            "http://index.test:8080\\@x",
            "http://index.test:\u0668\u0660\u0668\u0660",
            "file://",
            "chrome-extension://x",
        ),
    ],
)
def test_other_origins_are_refused(origin: str) -> None:
    asked = request("POST")
    asked.environ["HTTP_ORIGIN"] = origin
    assert is_refused(Request(asked.environ))


def test_without_a_host_every_origin_is_foreign() -> None:
    for host in ("", "index.test index.test", "index.test, evil.example", "a@index.test"):
        asked = request("POST")
        asked.environ["HTTP_HOST"] = host
        same_origin.take_host(asked.environ, behind_proxy=False)
        asked.environ["HTTP_ORIGIN"] = f"http://{host}"
        assert is_refused(Request(asked.environ)), host


def test_a_web_server_in_front_names_the_host_with_its_port() -> None:
    """nginx's Host has no port. Its X-Forwarded-Host has it; from others that header is ignored."""
    forwarded = {"X_Forwarded_Host": "index.test:8443", "Origin": "http://index.test:8443"}
    behind = request("POST", "http://index.test", behind_proxy=True, **forwarded)
    assert not is_refused(behind)
    assert "HTTP_X_FORWARDED_HOST" not in behind.environ
    assert is_refused(
        request("POST", "http://index.test", behind_proxy=True, X_Forwarded_Host="a", Origin="http://b")
    )
    assert not is_refused(request("POST", "http://index.test", behind_proxy=True, Origin="http://index.test"))
    sent = request("POST", "http://index.test", X_Forwarded_Host="evil.example", Origin="http://evil.example")
    assert is_refused(sent)
    assert "HTTP_X_FORWARDED_HOST" not in sent.environ


def test_the_refusal_names_the_header() -> None:
    with pytest.raises(Refused, match=r"Origin: https://evil\.example") as refused:
        same_origin.require(request("POST", Origin="https://evil.example"))
    assert len(refused.value.message) < 200
    with pytest.raises(Refused, match="Sec-Fetch-Site: cross-site"):
        same_origin.require(request("POST", Sec_Fetch_Site="cross-site"))
