"""The discovery document: its exact content; with anything else at its URL the index is not one of ppm."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ppmctl.client.discovery import discover
from ppmctl.client.http import Answer, Transport
from ppmctl.client.index_url import Address
from ppmctl.errors import PpmError, Unavailable, Unreachable
from ppmctl.index import discovery
from ppmctl.index.discovery import Offer

WHOLE = {
    "ppm": 1,
    "simple": "/simple/",
    "upload": "/legacy/",
    "env": "/env/",
    "upstream": "redirect",
    "read": "authenticated",
}
HERE = Address(base="https://index.test/team", upload="https://index.test/team/legacy/")


class Constant(Transport):
    """A transport to a server that gives the same answer to every request."""

    def __init__(self, status: int = 200, body: bytes = b"", error: PpmError | None = None) -> None:
        super().__init__(None, HERE.base)
        self.status, self.body, self.error = status, body, error
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, url: str, **_options: Any) -> Answer:
        self.asked.append((method, url))
        if self.error is not None:
            raise self.error
        return Answer(url=url, status=self.status, reason="", headers={}, body=self.body)


def test_the_document_for_the_default_settings() -> None:
    """It is that of docs/http.md; private names, the volume and the version must not be public."""
    text = discovery.document(upstream="redirect", read_access="authenticated")
    assert json.loads(text) == WHOLE
    assert text.splitlines(keepends=True) == [text]


@pytest.mark.parametrize("upstream", ["redirect", "none"])
@pytest.mark.parametrize("read", ["authenticated", "public"])
def test_the_document_is_read_as_it_was_written(upstream: Any, read: Any) -> None:
    transport = Constant(body=discovery.document(upstream=upstream, read_access=read))
    assert discover(HERE, transport) == Offer(upstream=upstream, read_access=read)
    assert transport.asked == [("GET", "https://index.test/team/.well-known/ppm.json")]


def test_keys_of_later_versions_are_ignored() -> None:
    for upstream, read in (("redirect", "authenticated"), ("none", "public")):
        later = {**WHOLE, "upstream": upstream, "read": read, "search": "/search", "uploads": {"limit": 5}}
        assert discovery.parse(json.dumps(later).encode()) == Offer(upstream=upstream, read_access=read)


@pytest.mark.parametrize("status", [204, 301, 302, 401, 403, 404, 405, 410])
def test_other_statuses_mean_that_ppm_does_not_serve_the_index(status: int) -> None:
    assert discover(HERE, Constant(status, json.dumps(WHOLE).encode())) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"ppm"',
        b"{}",
        b"[" * 100_000,
        *(
            json.dumps({**WHOLE, **wrong}).encode()
            for wrong in (
                {"ppm": 2},
                {"ppm": True},
                {"ppm": "1"},
                {"upstream": "proxy"},
                {"upstream": None},
                {"upstream": ["redirect"]},
                {"read": "nobody"},
                {"read": {}},
            )
        ),
    ],
)
def test_an_invalid_document_means_that_ppm_does_not_serve_the_index(body: bytes) -> None:
    assert discover(HERE, Constant(body=body)) is None


def test_a_server_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(Unreachable):
        discover(HERE, Constant(error=Unreachable("away")))


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_index_is_an_error_and_not_another_index(status: int) -> None:
    """Otherwise it would be configured with the public index, on which others can register its project names."""
    with pytest.raises(Unavailable):
        discover(HERE, Constant(status, json.dumps(WHOLE).encode()))
