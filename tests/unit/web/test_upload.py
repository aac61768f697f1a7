"""Tests of uploads from a browser: a result for each file, the refusals of any upload, and nothing left over."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from typing import Any

import pytest
from support import wheels
from support.pages import HTML, Page, Visitor
from werkzeug.test import TestResponse

from ppmctl import thread_limit
from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.distributions import inspection
from ppmctl.server import upload_files

PATH = "/upload/files"
KIND = "multipart/form-data; boundary=x"
HOSTILE = "<img src=x onerror=alert(1)>\"'.whl"


@pytest.fixture
def publisher(visitor: Visitor) -> Visitor:
    visitor.as_user("ann", "publisher")
    return visitor


def token(visitor: Visitor) -> str:
    return visitor.get("/upload/").fields["form_token"]


def part(name: str, value: str | bytes, filename: str | None = None) -> bytes:
    quoted = "" if filename is None else filename.replace("\\", "\\\\").replace('"', '\\"')
    more = "" if filename is None else f'; filename="{quoted}"'
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
    return head + (value.encode() if isinstance(value, str) else value) + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


def files(made: Iterable[tuple[str, bytes]]) -> list[bytes]:
    return [part("files", content, name) for name, content in made]


def post(
    visitor: Visitor, body: bytes, *, accept: str = "application/json", kind: str = KIND, **environ: Any
) -> TestResponse:
    """Send a body; `environ` are values of its WSGI environ."""
    headers = {**HTML, "Origin": visitor.base, "Accept": accept}
    return visitor.client.post(
        PATH, base_url=visitor.base, headers=headers, data=body, content_type=kind, environ_overrides=environ
    )


def stream(body: io.RawIOBase | io.BytesIO, length: int) -> dict[str, Any]:
    """Return the environ of a request with this body, and this Content-Length; 0 for none."""
    return {"wsgi.input": body, "CONTENT_LENGTH": str(length) if length else "", "CONTENT_TYPE": KIND}


def upload(visitor: Visitor, *made: tuple[str, bytes]) -> tuple[int, list[tuple[str, str, str]]]:
    """Send files as page.js does; return the status and each file's name, result and reason."""
    answer = post(visitor, form(part("form_token", token(visitor)), *files(made)))
    listed = json.loads(answer.data)["files"]
    return answer.status_code, [(each["name"], each["result"], each["reason"]) for each in listed]


def left_over(visitor: Visitor) -> list[str]:
    """Return the files that are being received, apart from the folder's lock."""
    paths = visitor.store.volume.incoming.rglob("*")
    return [path.name for path in paths if path.is_file() and not path.name.startswith(".")]


def audit(visitor: Visitor) -> list[tuple[str, str, str]]:
    lines = map(json.loads, visitor.store.volume.audit.read_text().splitlines())
    return [(line["by"], line["what"], line["result"]) for line in lines if line["action"] == "publish"]


def test_each_file_of_a_form_has_its_own_result(publisher: Visitor) -> None:
    good, other, sdist = wheels.wheel("good", "1.0"), wheels.wheel("other", "1.0"), wheels.sdist("good", "1.0")
    assert upload(publisher, good)[0] == 200
    changed = (good[0], wheels.wheel("good", "1.0", files={"more.py": b""})[1])
    wrong = (wheels.wheel("wrong", "1.0")[0], b"no archive")
    status, results = upload(publisher, other, wrong, good, changed, ("notes.txt", b"x"), sdist)
    assert status == 200
    assert [(name, result) for name, result, _reason in results] == [
        (other[0], "published"),
        (wrong[0], "refused"),
        (good[0], "identical"),
        (good[0], "refused"),
        ("notes.txt", "refused"),
        (sdist[0], "published"),
    ]
    reasons = [reason for _name, _result, reason in results]
    assert "a published file never changes" in reasons[3]
    assert all(reasons[number] for number in (1, 2, 4))
    assert publisher.store.read("good").files[0].record.uploaded_by == "ann"
    assert left_over(publisher) == []
    refused = [(by, what) for by, what, result in audit(publisher) if not result.startswith("done")]
    assert refused == [("ann", wrong[0]), ("ann", good[0]), ("ann", "notes.txt")]


def test_an_upload_is_refused_where_too_many_others_are_read(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread is free for others then, and the client tries again."""
    secret = visitor.as_user("ann", "publisher")
    monkeypatch.setattr(thread_limit, "_PATIENCE", 0.01)
    monkeypatch.setattr(inspection._pool(os.getpid()), "uploads", thread_limit.ThreadLimit(4, inspection.Busy))
    made = wheels.wheel("good", "1.0")

    def sent() -> TestResponse:
        data = {":action": "file_upload", "content": (io.BytesIO(made[1]), made[0])}
        return visitor.client.post("/", base_url=visitor.base, auth=("ann", secret), data=data)

    with inspection.uploading(), inspection.uploading():
        answer = sent()
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "too many files at the same time" in answer.get_data(as_text=True)
        assert [result for _name, result, _reason in upload(visitor, made)[1]] == ["refused"]
        assert visitor.get("/upload/").status == 200
    assert left_over(visitor) == []
    assert sent().status_code == 200


def test_the_page_works_without_javascript(publisher: Visitor) -> None:
    page = publisher.get("/upload/")
    assert ('enctype="multipart/form-data"' in page.html, 'name="files" type="file" multiple' in page.html) == (
        True,
        True,
    )
    body = form(part("form_token", token(publisher)), *files([wheels.wheel("good", "1.0"), (HOSTILE, b"")]))
    answer = Page(post(publisher, body, accept=HTML["Accept"]))
    assert answer.status == 200
    assert "good-1.0-py3-none-any.whl : published" in answer.text
    assert HOSTILE in answer.text
    assert "<img" not in answer.html
    nothing = Page(
        post(publisher, form(part("form_token", token(publisher)), part("files", "", "")), accept="text/html")
    )
    assert (nothing.status, "Choose one or more files" in nothing.text) == (400, True)


@pytest.mark.parametrize(
    "name",
    [
        HOSTILE,
        "../../x-1.0-py3-none-any.whl",
        "/etc/passwd",
        "x-1.0-py3-none-any.whl\x00",
        "x" * 5000,
        ".",
        "a\nb",
        "é.whl",
    ],
)
def test_a_hostile_name_is_refused(publisher: Visitor, name: str) -> None:
    before = sorted(publisher.store.volume.packages.rglob("*"))
    answer = post(publisher, form(part("form_token", token(publisher)), part("files", b"x", name)))
    assert 400 <= answer.status_code < 500
    assert sorted(publisher.store.volume.packages.rglob("*")) == before
    assert left_over(publisher) == []


def test_the_refusals_are_those_of_any_upload(visitor: Visitor) -> None:
    visitor.as_user("ann", "publisher", projects=["mine", "requests"])
    for name, status, reason in (
        ("other", 403, "The credential ann may not publish other"),
        ("requests", 403, "one of the most used public names"),
    ):
        found, results = upload(visitor, wheels.wheel(name, "1.0"))
        assert (found, results[0][1], reason in results[0][2]) == (status, "refused", True)
    assert upload(visitor, wheels.wheel("mine", "1.0"))[0] == 200
    visitor.store.set_status("mine", "archived", "it is done")
    found, results = upload(visitor, wheels.wheel("mine", "2.0"))
    assert (found, "is archived and takes no uploads: it is done" in results[0][2]) == (403, True)


class Unread(io.RawIOBase):
    """A body that must not be read."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise AssertionError("the body was read")


def test_no_body_is_read_before_the_session_is_checked(visitor: Visitor) -> None:
    stranger = visitor.another()
    visitor.as_user("rea", "reader")
    for browser, status in ((visitor, 403), (stranger, 401)):
        answer = post(browser, b"", **stream(Unread(), 1 << 30))
        assert answer.status_code == status
    accounts.disable(visitor.store.volume, SERVER, "rea")
    assert post(visitor, b"", **stream(Unread(), 1 << 30)).status_code == 401


def test_nothing_is_stored_before_the_token_is_checked(publisher: Visitor) -> None:
    wheel = wheels.wheel("good", "1.0")
    right, file = part("form_token", token(publisher)), files([wheel])[0]
    for parts in (
        (file,),
        (part("form_token", ""), file),
        (part("form_token", "x" * 100), file),
        (part("form_token", "x" * 5000), file),
        (file, right),
        (part("other", "x"), right, file),
    ):
        answer = post(publisher, form(*parts))
        assert (answer.status_code, "message" in json.loads(answer.data)) == (403, True), parts[0][:80]
    foreign = visitor_token_of_another(publisher)
    assert post(publisher, form(part("form_token", foreign), file)).status_code == 403
    assert not publisher.store.has_project("good")
    assert left_over(publisher) == []


def visitor_token_of_another(visitor: Visitor) -> str:
    other = visitor.another()
    other.as_user("bob", "publisher")
    return token(other)


def test_a_page_of_another_site_uploads_nothing(publisher: Visitor) -> None:
    body = form(part("form_token", token(publisher)), *files([wheels.wheel("good", "1.0")]))
    headers = {"Origin": "https://evil.test"}
    answer = publisher.client.post(PATH, base_url=publisher.base, headers=headers, data=body, content_type=KIND)
    assert answer.status_code == 403
    assert not publisher.store.has_project("good")


def test_a_body_that_ends_early_leaves_nothing(publisher: Visitor) -> None:
    whole = form(
        part("form_token", token(publisher)), *files([wheels.wheel("one", "1.0"), wheels.wheel("two", "1.0")])
    )
    second = whole.index(b"two-1.0-py3") + 200
    for end, published in ((second, ["one"]), (whole.index(b"one-1.0-py3") + 200, []), (60, [])):
        answer = post(publisher, b"", **stream(io.BytesIO(whole[:end]), len(whole)))
        assert answer.status_code == 400
        values = json.loads(answer.data)
        assert ("ended too early" in values["message"], left_over(publisher)) == (True, [])
        if published:
            assert [each["result"] for each in values["files"]] == ["published"]
        assert publisher.store.projects() == ["one"]


def test_limits_of_a_form(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Visitor(visitor.store, max_upload_size="100K")
    small.as_user("ann", "publisher")
    one, big = wheels.wheel("one", "1.0"), wheels.wheel("big", "1.0", files={"x.py": bytes(range(256)) * 200})
    big = (big[0], big[1] + bytes(200_000))
    body = form(part("form_token", token(small)), *files([one, big]))
    answer = post(small, body)
    assert (answer.status_code, answer.headers["Connection"]) == (413, "close")
    assert "max_upload_size" in json.loads(answer.data)["message"]
    chunked = post(small, b"", **stream(io.BytesIO(body), 0))
    assert chunked.status_code == 413
    assert [each["result"] for each in json.loads(chunked.data)["files"]] == ["published"]
    assert small.store.projects() == ["one"]
    monkeypatch.setattr(upload_files, "MAX_FILES", 2)
    answer = post(small, form(part("form_token", token(small)), *files([("a", b""), ("b", b""), ("c", b"")])))
    assert answer.status_code == 413
    assert len(json.loads(answer.data)["files"]) == 2
    assert left_over(small) == []


def test_other_forms_are_refused(publisher: Visitor) -> None:
    right = part("form_token", token(publisher))
    for body, kind in (
        (b"form_token=x", "application/x-www-form-urlencoded"),
        (form(right, part("content", b"x", "x.whl")), KIND),
        (form(right, part("files", b"x")), KIND),
        (form(right), KIND),
        (form(right), "multipart/form-data"),
        (b"", KIND),
    ):
        assert post(publisher, body, kind=kind).status_code in (400, 403), (body[:60], kind)


def test_programs_upload_where_they_did(publisher: Visitor) -> None:
    """POST to /upload/ stays twine's, and a GET without HTML gets no page."""
    name, content = wheels.wheel("good", "1.0")
    for path in ("/upload/", "/upload", "/legacy/"):
        answer = publisher.client.post(
            path, base_url=publisher.base, data={"content": (io.BytesIO(content), name)}, headers=HTML
        )
        assert answer.status_code == 401, "a session is no credential for a program"
    assert publisher.get("/upload/", Accept="*/*").status != 200
    assert publisher.get(PATH).status == 405
