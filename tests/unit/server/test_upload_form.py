"""The limits of an upload's form: what is stored of it, and what is refused before it costs anything."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import wheels
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from ppmctl.errors import Refused
from ppmctl.index.staging import IncomingFile
from ppmctl.server import upload_form
from ppmctl.server.upload_form import Form

MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"
NAME, CONTENT = wheels.wheel("x", "1.0")
FILE = f'name="content"; filename="{NAME}"'


class Reader:
    """Reads forms, and counts the files that are opened for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.opened: list[IncomingFile] = []

    def new_file(self) -> IncomingFile:
        self.opened.append(IncomingFile(self._folder / str(len(self.opened))))
        return self.opened[-1]

    def __call__(self, body: bytes, kind: str = MULTIPART, *, max_size: int = 1 << 30) -> Form:
        environ = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_type=kind).get_environ()
        form = Form()
        upload_form.read(Request(environ), form, self.new_file, max_size=max_size)
        return form

    def refusal(self, body: bytes, kind: str = MULTIPART, *, max_size: int = 1 << 30) -> Refused:
        with pytest.raises(Refused) as refused:
            self(body, kind, max_size=max_size)
        return refused.value


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    for file in reader.opened:
        file.discard()


def part(disposition: str, value: bytes | str, *headers: str) -> bytes:
    head = "".join(f"{header}\r\n" for header in (f"Content-Disposition: form-data; {disposition}", *headers))
    return f"--x\r\n{head}\r\n".encode() + (value.encode() if isinstance(value, str) else value) + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


def fields(**values: str) -> list[bytes]:
    return [part(f'name="{name}"', value) for name, value in values.items()]


def test_the_file_and_the_fields_that_the_server_uses_are_stored(read: Reader) -> None:
    """The README and the classifiers are in the file's metadata as well; a signature is not stored (PEP 527)."""
    sent = {"name": "x", "version": "1.0", "sha256_digest": "0", "attestations": "[]", "description": "y" * 3_000_000}
    signature = part(f'name="gpg_signature"; filename="{NAME}.asc"', "-----BEGIN PGP SIGNATURE-----")
    done = read(form(part('name=":action"', "file_upload"), *fields(**sent), part(FILE, CONTENT), signature))
    assert done.fields == {":action": "file_upload", **{name: sent[name] for name in sent if name != "description"}}
    assert done.content is not None
    done.content.finish()
    assert (done.filename, done.content.path.read_bytes()) == (NAME, CONTENT)
    assert len(read.opened) == 1


@pytest.mark.parametrize("size", [0, 1, 5, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 1 << 20])
def test_a_file_of_any_size_arrives_byte_for_byte(read: Reader, size: int) -> None:
    """Also one that is full of almost-boundaries, at every border between two reads."""
    content = (b"\r\n--y\r\r\n--\n\r\n" * size)[:size]
    done = read(form(*fields(name="x"), part(FILE, content)))
    assert done.content is not None
    done.content.finish()
    assert done.content.path.read_bytes() == content
    assert done.content.size == size


@pytest.mark.parametrize("line_break", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_a_body_may_arrive_in_pieces_of_any_size(
    read: Reader, line_break: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each border between two reads is tried; the decoder takes some of those within a boundary for data."""
    content = b"a\nb\r\n--y\r\n-\r\n" + bytes(40) + b"\r\r"
    body = form(*fields(name="x"), part(FILE, content.replace(b"\n", b"?"))).replace(b"\r\n", line_break)
    whole = read(body)
    assert whole.content is not None
    expected = whole.content.digest("sha256")
    for size in range(1, len(body)):
        monkeypatch.setattr(upload_form, "_PIECE", size)
        done = read(body)
        assert done.content is not None
        assert (done.fields, done.content.digest("sha256")) == ({"name": "x"}, expected), size
        done.content.discard()


@pytest.mark.parametrize(
    "disposition",
    [
        'name="other"; filename="x-1.0.tar.gz"',
        'name=":action"; filename="x-1.0.tar.gz"',
        'filename="x-1.0.tar.gz"',
        'name=""; filename=""',
        FILE,
        'name="gpg_signature"; filename="a.asc"',
    ],
)
def test_more_files_are_refused_before_one_is_opened(read: Reader, disposition: str) -> None:
    signature = part('name="gpg_signature"; filename="a.asc"', "signed")
    parts = [part(FILE, CONTENT), signature, part(disposition, "more")]
    assert read.refusal(b"".join(parts)).status == 400
    assert len(read.opened) == 1


def test_a_thousand_files_open_one(read: Reader) -> None:
    assert read.refusal(part(FILE, "x") * 1005).status == 400
    assert len(read.opened) == 1


@pytest.mark.parametrize("filename", ["", "a", "x" * 300 + "-1.0.zip", "x" * 16_000, "x-1.0.zip%00", "../x-1.0.zip"])
def test_a_file_of_another_name_is_refused_before_it_is_opened(read: Reader, filename: str) -> None:
    refused = read.refusal(form(part(f'name="content"; filename="{filename}"', CONTENT)))
    assert refused.status == 400
    assert len(refused.message) < 500
    assert not read.opened


@pytest.mark.parametrize("name", [":action", "name", "version", "md5_digest", "attestations"])
@pytest.mark.parametrize("kind", [MULTIPART, URLENCODED])
def test_a_field_that_decides_can_be_there_once(read: Reader, name: str, kind: str) -> None:
    """Two readers of the same form could use different ones; of other fields there may be many."""
    twice = form(part(f'name="{name}"', "a"), part(f'name="{name}"', "a"))
    refused = read.refusal(twice if kind == MULTIPART else f"{name}=a&{name}=a".encode(), kind)
    assert (refused.status, refused.message) == (400, f"The form has the field {name!r} twice")
    read(form(*fields(classifiers="a"), *fields(classifiers="b")))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("", b""),
        ("application/json", b"{}"),
        ("text/plain", form(*fields(name="x"))),
        ("multipart/mixed; boundary=x", form(*fields(name="x"))),
        ("multipart/form-data", form(*fields(name="x"))),
        ("multipart/form-data; boundary=é", form(*fields(name="x"))),
        (MULTIPART, b""),
        (MULTIPART, b"nothing"),
        (MULTIPART, form(*fields(name="x"))[:-6]),
        (MULTIPART, b"--x\r\n\r\nno header\r\n--x--\r\n"),
        (MULTIPART, b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\nx\r\n--x--\r\n"),
        (URLENCODED, b"name=\xff"),
        (URLENCODED, b"&".join([b"a=b"] * 10_001)),
    ],
)
def test_other_bodies_are_refused(read: Reader, kind: str, body: bytes) -> None:
    assert read.refusal(body, kind).status == 400


def test_nested_forms_are_text(read: Reader) -> None:
    """A part that is a form itself (RFC 2388) is not parsed again."""
    inner = form(*fields(name="y")).replace(b"--x", b"--y")
    done = read(form(part('name="other"', inner, "Content-Type: multipart/mixed; boundary=y"), *fields(name="x")))
    assert done.fields == {"name": "x"}


LARGE = {
    "text": lambda: [part('name="description"', b"x" * (17 << 20))],
    "many texts": lambda: [part('name="description"', b"x" * (1 << 20))] * 17,
    "a signature": lambda: [part('name="gpg_signature"; filename="a.asc"', b"x" * (17 << 20))],
    "fields": lambda: [part('name="a"', b"b")] * 10_001,
    "a stored field": lambda: [part('name="attestations"', b"x" * (1 << 21))],
    "a name": lambda: [part(f'name="{"x" * (1 << 20)}"', b"x")],
    "a header": lambda: [part('name="a"', b"x", "X: " + "x" * (1 << 20))],
    "many headers": lambda: [part('name="a"', b"x", *["a:"] * 100_000)],
    "headers of many fields": lambda: [part('name="a"', b"x", "X: " + "x" * 10_000)] * 300,
    "a preamble": lambda: [b"x" * (1 << 20)],
    "an epilogue": lambda: [*fields(name="x"), b"--x--\r\n", b"x" * (1 << 20)],
}


@pytest.mark.parametrize("what", LARGE)
def test_too_much_besides_the_file_is_refused(read: Reader, what: str) -> None:
    """At little cost: nothing but the stored fields is held in memory."""
    body = b"".join(LARGE[what]())
    tracemalloc.start()
    try:
        refused = read.refusal(body)
        _now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.status == 413, refused.message
    assert "10000 fields" in refused.message
    assert most < 8 << 20, "it was held in memory"


def test_a_form_over_the_limit_is_refused(read: Reader) -> None:
    """`max_size` counts the whole body, with a length or without."""
    whole = form(part(FILE, b"x" * 5_000))
    read(whole, max_size=len(whole))
    assert "max_upload_size" in read.refusal(whole, max_size=len(whole) - 1).message
    assert read.refusal(b"a=" + b"b" * (1 << 20), URLENCODED).status == 413


READS: dict[str, Callable[[Reader], object]] = {
    "urlencoded": lambda read: read(b":action=remove_pkg&name=x&version=1.0&version_=2", URLENCODED).fields,
    "multipart": lambda read: read(form(*fields(**{":action": "remove_pkg", "name": "x", "version": "1.0"}))).fields,
}


@pytest.mark.parametrize("kind", READS)
def test_a_removal_needs_no_file(read: Reader, kind: str) -> None:
    """With `curl -d` and `curl -F`."""
    assert READS[kind](read) == {":action": "remove_pkg", "name": "x", "version": "1.0"}
    assert not read.opened
