"""Tests of the lines in logs of requests."""

from __future__ import annotations

import pytest

from ppmctl.downloads import request_line
from ppmctl.downloads.request_line import Part, Target
from ppmctl.web import site

WHEEL = "sea_maps-1.0-py3-none-any.whl"


def wheel(kind: request_line.Kind, version: str = "1.0", filename: str = WHEEL) -> Target:
    return Target(kind=kind, project="sea-maps", version=version, filename=filename)


TARGETS = {
    b"/simple/": Target(kind="page"),
    b"/simple/sea-maps/": Target(kind="page"),
    f"/packages/sea-maps/{WHEEL}".encode(): wheel("file"),
    f"//packages/./x/../sea-maps/{WHEEL}".encode(): wheel("file"),
    f"/packages/sea-maps/{WHEEL}.metadata".encode(): wheel("metadata"),
    f"/packages/sea-maps/{WHEEL}.provenance".encode(): Target(kind="other"),
    f"/project/sea-maps/files/{WHEEL}".encode(): wheel("web"),
    b"/packages/sea-maps/sea_maps-1.0%2Blocal-py3-none-any.whl": wheel(
        "file", "1.0+local", "sea_maps-1.0+local-py3-none-any.whl"
    ),
    b"/packages/sea-maps/sea-maps-1.0.tar.gz": wheel("file", "1.0", "sea-maps-1.0.tar.gz"),
    f"/packages/other/{WHEEL}".encode(): Target(kind="other"),
    f"/packages/Sea_Maps/{WHEEL}".encode(): Target(kind="other"),
    b"/packages/sea-maps/\\u0000.whl": Target(kind="other"),
    b"/packages/sea-maps/sea_maps-1.0-py3-none-any.whl%0a": Target(kind="other"),
    b"/packages/sea-maps/" + b"a" * 100_000 + b"-1.0-py3-none-any.whl": Target(kind="other"),
    b"/packages/": Target(kind="other"),
    b"/env/tools/requirements.txt": Target(kind="environment"),
    b"/admin/users/": Target(kind="web"),
    b"/project/sea-maps/": Target(kind="web"),
    b"/upload/files": Target(kind="web"),
    b"/": Target(kind="other"),
    b"": Target(kind="other"),
    b"/legacy/": Target(kind="other"),
    b"/healthz": Target(kind="other"),
    b"/\xff\xfe": Target(kind="other"),
}


@pytest.mark.parametrize("path", TARGETS, ids=lambda path: ascii(path[:50]))
def test_what_a_path_leads_to(path: bytes) -> None:
    assert request_line.target(path) == TARGETS[path]


def test_web_pages_are_those_of_the_site() -> None:
    assert request_line.WEB == site.FIRST
    assert all(request_line.target(path.encode()).kind == "web" for path in site.PATHS)


def test_a_line_has_eight_fields_whatever_a_client_sends() -> None:
    line = request_line.line(
        time=1764478800.5,
        sent=10,
        length=10,
        status=200,
        method="GET",
        path="/a\tb\nc",
        agent='x" \\ \t\r\n\x00\x85 é 1764478800.500\t1\t1\t200',
        content_range="",
    )
    assert line.count(b"\n") == 1
    assert line.startswith(b"1764478800.500\t10\t10\t200\tGET\t")
    fields = line[:-1].split(b"\t")
    assert len(fields) == 8
    assert request_line.agent(fields[6]) == 'x" \\ \t\r\n\x00\x85 é 1764478800.500\t1\t1\t200'


def test_agents_that_can_not_be_decoded_are_taken_as_they_are() -> None:
    assert request_line.agent(b'\xff\\x "') == '\ufffd\\x "'
    assert request_line.agent(b'pip\\/1 {\\"a\\":1}') == 'pip/1 {"a":1}'


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"bytes 0-9/10", Part(start=0, total=10)),
        (b"bytes 5-9/10", Part(start=5, total=10)),
        (b"bytes */10", None),
        (b"", None),
        (b"bytes 0-9/*", None),
        (b"bytes 0-" + b"9" * 5_000 + b"/10", None),
    ],
)
def test_content_range(text: bytes, part: Part | None) -> None:
    assert request_line.part(text) == part


@pytest.mark.parametrize(
    ("text", "status"), [(b"200", 200), (b"999", 0), (b"", 0), (b"2000", 0), (b"\xb2\xb2\xb2", 0)]
)
def test_status(text: bytes, status: int) -> None:
    assert request_line.status(text) == status
