"""Reading an index: the pages of real servers, redirects, and the errors without an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ppmctl.client import index_url, simple_api
from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer, Transport
from ppmctl.client.simple_api import Index
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.errors import CredentialError, PpmError
from ppmctl.secret import Secret

BASE = "https://index.test/team"
URL = f"{BASE}/simple/demo/"
JSON = "application/vnd.pypi.simple.v1+json"
OPS = Credential(username="ops", secret=Secret("hunter2"), source="a test")

FULL = b"""{"meta": {"api-version": "1.4", "_last-serial": 7}, "name": "demo", "versions": ["1.0", "1.1"],
 "project-status": {"status": "archived", "reason": "see demo2"}, "alternate-locations": [], "files": [
 {"filename": "demo-1.0-py3-none-any.whl", "url": "../../packages/demo/demo-1.0-py3-none-any.whl",
  "hashes": {"md5": "00", "sha256": "AB12"}, "size": 1234, "upload-time": "2026-11-20T08:09:10.123456Z",
  "requires-python": ">=3.9", "yanked": "broken on Tuesdays", "core-metadata": {"sha256": "cd"}},
 {"filename": "demo-1.1.tar.gz", "url": "https://files.test/demo-1.1.tar.gz", "hashes": {}, "yanked": true,
  "dist-info-metadata": true}]}"""

# What pypiserver 2.4.2 answers.
PYPISERVER = b"""<!DOCTYPE html>
    <html><head><meta charset="utf-8"><title>Links for demo</title></head><body>
        <h1>Links for demo</h1>
             <a href="/packages/demo-1.0+local.1.tar.gz#sha256=ab12">demo-1.0+local.1.tar.gz</a><br>
    </body></html>"""

FULL_HTML = b"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.4">
 <meta name="pypi:project-status" content="archived"></head><body>
 <a href="../../packages/demo/demo-1.0%2Blocal-py3-none-any.whl#sha256=AB12" data-requires-python="&gt;=3.9"
    data-yanked data-core-metadata="sha256=cd" data-dist-info-metadata="sha256=cd">demo</a>
 <a href="demo-1.1-py3-none-any.whl#md5=00" data-dist-info-metadata="true">x</a><a name="top">top</a></body></html>"""


def read(body: bytes, content_type: str = JSON) -> ProjectPage:
    return simple_api.parse_page(body, content_type=content_type, url=URL)


def test_a_json_page_with_every_key() -> None:
    page = read(FULL)
    assert (page.name, page.versions, page.status, page.status_reason) == (
        "demo",
        ("1.0", "1.1"),
        "archived",
        "see demo2",
    )
    wheel, sdist = page.files
    assert wheel.url == f"{BASE}/packages/demo/demo-1.0-py3-none-any.whl"
    assert (wheel.sha256, wheel.size, wheel.requires_python) == ("ab12", 1234, ">=3.9")
    assert wheel.upload_time == datetime(2026, 11, 20, 8, 9, 10, 123456, tzinfo=UTC)
    assert (wheel.yanked, wheel.core_metadata) == ("broken on Tuesdays", "cd")
    assert (sdist.url, sdist.sha256, sdist.size) == ("https://files.test/demo-1.1.tar.gz", None, None)
    assert (sdist.yanked, sdist.core_metadata, sdist.upload_time) == ("", "", None)
    assert page.file("demo-1.1.tar.gz") is sdist
    assert page.file("demo-1.2.tar.gz") is None


def test_an_html_page_with_every_attribute() -> None:
    page = read(FULL_HTML, "text/html")
    assert (page.name, page.status) == ("demo", "archived")
    wheel, other = page.files
    assert wheel.filename == "demo-1.0+local-py3-none-any.whl"
    assert wheel.url == f"{BASE}/packages/demo/demo-1.0%2Blocal-py3-none-any.whl"
    assert (wheel.sha256, wheel.requires_python, wheel.yanked, wheel.core_metadata) == ("ab12", ">=3.9", "", "cd")
    assert other.url == f"{URL}demo-1.1-py3-none-any.whl"
    assert (other.sha256, other.yanked, other.core_metadata) == (None, None, "")


def test_the_html_page_of_pypiserver() -> None:
    (file,) = read(PYPISERVER, "text/html").files
    assert (file.filename, file.sha256) == ("demo-1.0+local.1.tar.gz", "ab12")
    assert file.url == "https://index.test/packages/demo-1.0+local.1.tar.gz"


def test_a_json_page_with_only_the_required_keys() -> None:
    page = read(b'{"meta": {"api-version": "1.0"}, "name": "demo", "files": []}')
    assert (page.files, page.status, page.versions) == ((), "active", ())


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"<html>", JSON, "not a page of a Simple API"),
        (b"[]", JSON, "not a page of a Simple API"),
        (b'{"meta": {"api-version": "1.0"}, "name": "demo"}', JSON, "'files'"),
        (FULL.replace(b'"hashes": {}', b'"hashes": 1'), JSON, "not a page of a Simple API"),
        (FULL.replace(b"1.4", b"2.0"), JSON, "version 2.0"),
        (FULL_HTML.replace(b'"1.4"', b'"2.0"'), "text/html", "version 2.0"),
        (FULL_HTML + b"<![x[", "text/html", "not a page in HTML"),
        (FULL_HTML + b"<![<", "text/html", "not a page in HTML"),
        (b"welcome", "text/plain", "answered with text/plain"),
        (b"", "", "no content type"),
    ],
)
def test_an_invalid_page_is_an_error_with_its_url(body: bytes, content_type: str, message: str) -> None:
    with pytest.raises(PpmError, match=message) as caught:
        read(body, content_type)
    assert URL in caught.value.message


class Recorded(Transport):
    """Answers from a table of URL → answer, and with 404 for all other URLs."""

    def __init__(self, answers: Mapping[str, Answer], credential: Credential | None = OPS) -> None:
        super().__init__(credential, BASE)
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, url: str, **_options: Any) -> Answer:
        self.asked.append((method, url))
        return replace(self.answers.get(url, answer(404)), url=url)


def answer(status: int, body: bytes = b"", *, location: str = "", content_type: str = JSON) -> Answer:
    headers = {"content-type": content_type}
    return Answer(url=URL, status=status, reason="", headers=headers, body=body, location=location)


def index(answers: Mapping[str, Answer], credential: Credential | None = OPS) -> tuple[Index, Recorded]:
    transport = Recorded(answers, credential)
    where = index_url.resolve(BASE, environ={}, home=Path("/nowhere"))
    return Index(where, transport), transport


def test_values_of_other_types_count_as_missing() -> None:
    file = {
        "filename": "x-1.0.tar.gz",
        "url": "x",
        "hashes": {},
        "requires-python": 3,
        "core-metadata": {"sha256": 1},
    }
    page = {"meta": {"api-version": "1.0"}, "name": "x", "files": [file], "versions": [1]}
    parsed = read(json.dumps(page).encode())
    assert (parsed.versions, parsed.files[0].requires_python, parsed.files[0].core_metadata) == (("1",), None, "")


def test_the_project_name_is_normalised_for_the_request() -> None:
    url = f"{BASE}/simple/de-mo/"
    reader, transport = index({url: answer(200, FULL)})
    assert reader.project("De._Mo") == read(FULL)
    assert transport.asked == [("GET", url)]


def test_a_redirect_within_the_index_is_followed() -> None:
    """Links on the page are relative to its last URL."""
    target = f"{BASE}/simple/deeper/demo/"
    reader, transport = index({URL: answer(301, location=target), target: answer(200, FULL)})
    page = reader.project("demo")
    assert transport.asked == [("GET", URL), ("GET", target)]
    assert page == simple_api.parse_page(FULL, content_type=JSON, url=target)
    assert page.files[0].url == f"{BASE}/simple/packages/demo/demo-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    "other",
    [
        "https://public.test/simple/demo/",
        "https://index.test:8443/team/simple/demo/",
        "https://index.test/public/simple/demo/",
        "https://index.test/team/simple-public/demo/",
        "http://index.test/team/simple/demo/",
        "https://index.test.evil.test/team/simple/demo/",
    ],
)
def test_a_redirect_to_another_index_means_no_such_project(other: str) -> None:
    """A file with the same name and hash on another index must not stop an upload."""
    reader, transport = index({URL: answer(302, location=other), other: answer(200, FULL)})
    assert reader.project("demo") is None
    assert transport.asked == [("GET", URL)], "the credential must not go there"


def test_a_circle_of_redirects_is_an_error() -> None:
    reader, _ = index({URL: answer(302, location=URL)})
    with pytest.raises(PpmError, match="too many times"):
        reader.project("demo")


def test_the_hint_for_a_redirect_to_https_has_the_https_url() -> None:
    transport = Recorded({"http://index.test/simple/demo/": answer(301, location="https://index.test/simple/demo/")})
    reader = Index(index_url.resolve("http://index.test", environ={}, home=Path("/nowhere")), transport)
    with pytest.raises(PpmError, match="redirects to HTTPS") as caught:
        reader.project("demo")
    assert "--index https://index.test/" in caught.value.hint


def test_404_of_a_project_means_that_it_does_not_exist() -> None:
    reader, transport = index({f"{BASE}/simple/": answer(200)})
    assert reader.project("demo") is None
    assert transport.asked == [("GET", URL), ("HEAD", f"{BASE}/simple/")]


def test_404_of_the_list_too_means_that_there_is_no_index() -> None:
    with pytest.raises(PpmError, match=f"no Simple API at {BASE}/simple/"):
        index({})[0].project("demo")


def test_other_statuses_are_errors_with_their_reason() -> None:
    with pytest.raises(PpmError, match="503: out to lunch"):
        index({URL: answer(503, b"out to lunch\nand more", content_type="text/plain")})[0].project("demo")


def test_401_without_a_credential_lists_all_places_for_one() -> None:
    with pytest.raises(CredentialError, match="none was found") as caught:
        index({URL: answer(401)}, None)[0].project("demo")
    for place in ("--credential-file", "PPMCTL_TOKEN", "TWINE_PASSWORD", ".pypirc", ".netrc"):
        assert place in caught.value.hint


@pytest.mark.parametrize(("status", "message"), [(401, "does not accept"), (403, "does not allow")])
def test_401_and_403_name_the_user_and_the_source_but_not_the_secret(status: int, message: str) -> None:
    with pytest.raises(CredentialError, match=message) as caught:
        index({URL: answer(status)})[0].project("demo")
    assert "'ops' (from a test)" in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint
