"""Bodies that cost more than they should, or that two readers understand differently: forms, JSON and XML."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from support import wheels
from support.attacks.model import Attack, status
from support.raw import Target, request

NAME, CONTENT = wheels.wheel("hostile", "1.0")
MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"
JSON = "application/json"
DEEP = 4_000  # elements; Python's own limit of calls is 1,000
FAR = "9" * 5_000  # more digits than Python converts


def field(name: str, value: str | bytes, *headers: str, filename: str | None = None) -> bytes:
    """Return a part of a form with the boundary x."""
    named = f'name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = "".join(f"{header}\r\n" for header in (f"Content-Disposition: form-data; {named}", *headers))
    return f"--x\r\n{head}\r\n".encode() + (value.encode() if isinstance(value, str) else value) + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


FILE = field("content", CONTENT, filename=NAME)
UPLOAD = field(":action", "file_upload")
SIGNATURE = field("gpg_signature", "x", filename=f"{NAME}.asc")
NESTED = "Content-Type: multipart/mixed; boundary=y"
FORMS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "a third file": (400, lambda: form(UPLOAD, FILE, SIGNATURE, field("b", "", filename="b"))),
    "two signatures": (400, lambda: form(UPLOAD, FILE, SIGNATURE, SIGNATURE)),
    "two files in content": (400, lambda: form(UPLOAD, FILE, FILE)),
    "1,005 files": (400, lambda: form(UPLOAD, *[field(f"f{number}", "x", filename=NAME) for number in range(1005)])),
    "a file in :action": (400, lambda: form(field(":action", "file_upload", filename="x"), FILE)),
    "two actions": (400, lambda: form(UPLOAD, field(":action", "submit"), FILE)),
    "two names": (400, lambda: form(UPLOAD, field("name", "hostile"), field("name", "other"), FILE)),
    "a NUL in the file's name": (400, lambda: form(UPLOAD, field("content", CONTENT, filename="a\0-1.0.zip"))),
    "a file's name of 10 KB": (400, lambda: form(UPLOAD, field("content", CONTENT, filename="a" * 10_000 + ".zip"))),
    "a file's name with a path": (400, lambda: form(UPLOAD, field("content", CONTENT, filename="/etc/" + NAME))),
    "a file's version of 180 digits": (400, lambda: form(field("content", CONTENT, filename=f"a-{'9' * 180}.zip"))),
    "10,001 fields": (413, lambda: form(UPLOAD, *[field("a", "b")] * 10_001, FILE)),
    "a field's name of 1 MB": (413, lambda: form(UPLOAD, field("a" * (1 << 20), "x"), FILE)),
    "a field's header of 1 MB": (413, lambda: form(UPLOAD, field("a", "x", "X: " + "x" * (1 << 20)), FILE)),
    "100,000 headers of a field": (413, lambda: form(UPLOAD, field("a", "x", *["a:"] * 100_000), FILE)),
    "17 MB of text": (413, lambda: form(UPLOAD, field("description", b"x" * (17 << 20)), FILE)),
    "forms in a form": (400, lambda: form(UPLOAD, field("content", form(FILE).replace(b"--x", b"--y"), NESTED))),
    "no end": (400, lambda: UPLOAD + FILE),
    "no form": (400, lambda: b"x" * 1000),
    "nothing": (400, lambda: b""),
}
BODIES: tuple[tuple[str, str, str, int, Callable[[], bytes]], ...] = (
    ("a form of 2 MB", "POST /", URLENCODED, 413, lambda: b"a=" + b"b" * (2 << 20)),
    ("10,001 fields", "POST /", URLENCODED, 400, lambda: b"&".join([b"a=b"] * 10_001)),
    ("two actions", "POST /", URLENCODED, 400, lambda: b":action=submit&:action=remove_pkg&name=a&version=1"),
    ("a form as text", "POST /", "text/plain", 400, lambda: form(UPLOAD, FILE)),
    ("a form as JSON", "POST /", JSON, 400, lambda: b"{}"),
    ("deep JSON", "POST /api/tokens", JSON, 400, lambda: b"[" * DEEP),
    ("deep JSON in a value", "POST /api/tokens", JSON, 400, lambda: b'{"name":' + b"[" * DEEP + b"]" * DEEP + b"}"),
    ("JSON with a large number", "POST /api/tokens", JSON, 400, lambda: f'{{"name": {FAR}}}'.encode()),
    ("JSON of 17 KB", "POST /api/tokens", JSON, 413, lambda: b'{"name": "' + b"x" * 17_000 + b'"}'),
    ("JSON with half a character", "POST /api/tokens", JSON, 400, lambda: b'{"name": "\\ud800", "role": "reader"}'),
    ("a code with half a character", "POST /api/join", JSON, 403, lambda: b'{"code": "ppm_join_\\ud800"}'),
    ("JSON that is none", "POST /api/join", JSON, 400, lambda: b"\xff{"),
    ("JSON of another type", "POST /api/join", JSON, 400, lambda: b'{"code": {"$ne": 1}}'),
    ("a long duration", "POST /api/tokens", JSON, 400, lambda: _token(expires=f"{FAR}d")),
    ("a long name", "POST /api/tokens", JSON, 400, lambda: _token(name="a" * 5_000)),
    ("a long project", "POST /api/tokens", JSON, 400, lambda: _token(projects=["a" * 5_000])),
    ("JSON as text", "POST /api/tokens", "text/plain", 415, lambda: _token()),
    ("JSON as a form", "POST /api/tokens", URLENCODED, 415, lambda: _token()),
    ("JSON as a form with a file", "POST /api/tokens", MULTIPART, 415, lambda: _token()),
    ("JSON without a type", "POST /api/tokens", "", 415, lambda: _token()),
    ("JSON as text", "POST /api/join", "text/plain", 415, lambda: b'{"code": "ppm_join_x"}'),
    ("deep XML", "POST /RPC2", "text/xml", 400, lambda: b"<a>" * 2_000 + b"</a>" * 2_000),
    ("deep XML in a search", "POST /RPC2", "text/xml", 400, lambda: _search(b"<a>" * 1_500 + b"</a>" * 1_500)),
    ("XML of 17 KB", "POST /RPC2", "text/xml", 413, lambda: _search(b"x" * 17_000)),
    ("XML with entities", "POST /RPC2", "text/xml", 400, lambda: b'<!DOCTYPE x [<!ENTITY a "a">]><x>&a;</x>'),
    ("XML with a file", "POST /RPC2", "text/xml", 400, lambda: b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>'),
    ("XML in no encoding", "POST /RPC2", "text/xml", 400, lambda: b'<?xml version="1.0" encoding="x"?><a/>'),
    ("XML in an odd encoding", "POST /RPC2", "text/xml", 400, lambda: b'<?xml version="1.0" encoding="idna"?><a/>'),
    ("XML without a search", "POST /RPC2", "text/xml", 400, lambda: b"<methodCall><methodName/></methodCall>"),
)


def bodies(target: Target) -> Iterator[Attack]:
    """Yield requests whose bodies are refused with a 4xx, at once."""
    for shown, (wanted, body) in FORMS.items():
        yield _row(target, f"a form with {shown}", "POST /", MULTIPART, wanted, body())
    for shown, line, kind, wanted, body in BODIES:
        yield _row(target, f"{line} with {shown}", line, kind, wanted, body())
    packed = request(target, "POST /", f"Content-Type: {MULTIPART}", "Content-Encoding: gzip", "Content-Length: 9")
    yield Attack(
        group="bodies",
        shown="a form that says it is packed",
        expected="400",
        sent=packed + b"\x1f\x8b\x08" + bytes(6),
        judge=status(400),
    )


def _row(target: Target, shown: str, line: str, kind: str, wanted: int, body: bytes) -> Attack:
    headers = (f"Content-Type: {kind}",) if kind else ()
    sent = request(target, line, *headers, f"Content-Length: {len(body)}") + body
    return Attack(group="bodies", shown=shown, expected=str(wanted), sent=sent, judge=status(wanted))


def _token(**values: object) -> bytes:
    return json.dumps({"name": "attack", "role": "reader", **values}).encode()


def _search(text: bytes) -> bytes:
    value = b"<params><param><value><string>" + text + b"</string></value></param></params>"
    return b"<methodCall><methodName>search</methodName>" + value + b"</methodCall>"
