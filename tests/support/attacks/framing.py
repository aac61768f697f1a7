"""Requests with ambiguous framing, and oversized requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.attacks.model import Attack, Judge, all_of, either, nothing, single, status, unauthenticated
from support.raw import Target, basic, request

_LENGTHS = ("+5", "-5", "0x5", "5, 5", "5 5", "5\x0b", "5;", "\x005", "\xb25", "")
_ENCODINGS = (
    *("identity", "xchunked", "chunked, identity", "identity, chunked", "gzip, chunked", "chunked, chunked"),
    *("chunked;x", "\x0bchunked", "CHUNKED\x00", ""),
)
_HEADERS = {
    "a space before the colon": "Content-Length : 5",
    "a tab before the colon": "Transfer-Encoding\t: chunked",
    "a NUL in a name": "Content\x00-Length: 5",
    "a NUL in a value": "X: a\x00b",
    "a bare CR in a value": "X: a\rTransfer-Encoding: chunked",
    "a folded header": "Connection: close\r\nX: a\r\n Transfer-Encoding: chunked",
    "a header without a colon": "Connection: close\r\nContent-Length 5",
}
_CHUNKS = {
    "no number": "zz\r\nhello\r\n0\r\n\r\n",
    "a negative size": "-5\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": "FFFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n",
    "a sign": "+5\r\nhello\r\n0\r\n\r\n",
    "0x": "0x5\r\nhello\r\n0\r\n\r\n",
    "more than was said": "5\r\nhello, and more\r\n0\r\n\r\n",
    "a space first": " 5\r\nhello\r\n0\r\n\r\n",
    "an end without CRLF": "5\r\nhello0\r\n\r\n",
}
_LINES = (
    *("get / HTTP/1.1", "GET / HTTP/3.7", "GET / HTTP/1.1x", "GET  HTTP/1.1", "GET /\x01 HTTP/1.1", "GET / http/1.1"),
    *(
        "GET x HTTP/1.1",
        "GET /\x7f\x00 HTTP/1.1",
        "G\x00T / HTTP/1.1",
        "/ HTTP/1.1",
        "GET * HTTP/1.1",
        "PRI * HTTP/2.0",
    ),
    *("CONNECT evil.example:443 HTTP/1.1", "GET ftp://evil.example/ HTTP/1.1", "OPTIONS * HTTP/1.1"),
)
_UPGRADES = {"h2c": "HTTP2-Settings: AAMAAABkAARAAAAA\r\n", "websocket": ""}


def smuggling(target: Target) -> Iterator[Attack]:
    """Yield requests whose end two servers in a row might see at different places."""
    hidden = request(target, f"GET /packages/{target.project}/{target.file}", close=False).decode()
    here = f"POST / HTTP/1.1\r\nHost: {target.name}\r\nAuthorization: {target.credential}\r\n"
    refused = {"judge": status(400), "expected": "400"}
    unknown = {"judge": status(400, 501), "expected": "400 or 501"}
    one = {"judge": single, "expected": "400, or one answer and the end"}

    def row(shown: str, text: str, how: dict[str, Any]) -> Attack:
        return Attack(group="smuggling", shown=shown, sent=text.encode("latin-1"), **how)

    length, encoding = "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"
    yield row("Content-Length and Transfer-Encoding", f"{here}{length}{encoding}\r\n0\r\n\r\n{hidden}", refused)
    yield row("Transfer-Encoding and Content-Length", f"{here}{encoding}{length}\r\n0\r\n\r\n{hidden}", refused)
    for pair in (("0", "5"), ("5", "0"), ("5", "5")):
        lengths = "".join(f"Content-Length: {value}\r\n" for value in pair)
        yield row(f"Content-Length {' and '.join(pair)}", f"{here}{lengths}\r\nhello{hidden}", refused)
    for value in _LENGTHS:
        yield row(f"Content-Length: {value!r}", f"{here}Content-Length: {value}\r\n\r\nhello{hidden}", refused)
    far = (
        f"{here}Content-Length: 9223372036854775808\r\n\r\nhello{hidden}"  # a number, but of a body that is too large
    )
    yield row("a Content-Length beyond 64 bits", far, {"judge": status(400, 413), "expected": "400 or 413"})
    for value in (*_ENCODINGS, "chunked\r\nTransfer-Encoding: identity", "\r\n chunked"):
        sent = f"{here}Transfer-Encoding: {value}\r\n\r\n0\r\n\r\n{hidden}"
        yield row(f"Transfer-Encoding: {value!r}", sent, unknown)
    for shown, header in _HEADERS.items():
        yield row(shown, f"{here}{header}\r\n\r\n" + ("" if "close" in header else f"hello{hidden}"), one)
    bare = request(target, "GET /healthz", auth=None).replace(b"\r\n", b"\n").decode()
    yield row("bare LF", bare, one)
    for shown, body in _CHUNKS.items():
        yield row(f"a chunk with {shown}", f"{here}{encoding}\r\n{body}{hidden}", one)
    lines = {"judge": either(status(400, 401, 405, 505), nothing), "expected": "400, 401, 405, 505 or nothing"}
    for line in _LINES:
        yield row(f"the line {line!r}", f"{line}\r\nHost: {target.name}\r\nConnection: close\r\n\r\n", lines)
    wanted = 200 if target.public else 401
    for protocol, more in _UPGRADES.items():
        sent = f"GET /simple/ HTTP/1.1\r\nHost: {target.name}\r\nConnection: Upgrade, close\r\n{more}"
        how = {"judge": status(wanted), "expected": f"{wanted}, no upgrade"}
        yield row(f"Upgrade: {protocol}", f"{sent}Upgrade: {protocol}\r\n\r\n", how)


def oversized(target: Target) -> Iterator[Attack]:
    """Yield requests with an oversized part, for every part of a request."""

    def row(shown: str, expected: str, judge: Judge, sent: bytes) -> Attack:
        return Attack(group="oversized", shown=shown, expected=expected, sent=sent, judge=judge)

    too_large = status(400, 414, 431, 494)
    yield row("a path of 10 KB", "414", too_large, request(target, f"GET /simple/{'a' * 10_000}/"))
    yield row("a path of 10 MB", "414", either(too_large, nothing), request(target, f"GET /{'a' * 10_000_000}/"))
    yield row("a header of 10 KB", "400", too_large, request(target, "GET /", f"X: {'a' * 10_000}"))
    yield row("a name of 10 KB", "400", too_large, request(target, "GET /", f"{'X' * 10_000}: a"))
    yield row("a credential of 10 KB", "400", too_large, request(target, "GET /", auth=basic("a" * 10_000, "b")))
    yield row("a credential of 6 KB", "401", unauthenticated, request(target, "POST /", auth=basic("a" * 4500, "b")))
    yield row(
        "5,000 headers", "400", too_large, request(target, "GET /", *(f"X-{n}: {'y' * 20}" for n in range(5000)))
    )
    for path, size, auth, wanted in (
        ("/", 1 << 50, "", 413),
        ("/", 1 << 50, None, 401),
        ("/legacy/", 1 << 50, "", 413),
        ("/legacy/", 1 << 50, None, 401),
        (f"/simple/{target.project}/", 2 << 20, "", 405),
        (f"/simple/{target.project}/", 2 << 20, None, 401),
        ("/RPC2", 2 << 20, "", 413),
        ("/nothing", 2 << 20, None, 401),
    ):
        who = "a" if auth == "" else "no"
        yield row(
            f"POST {path} of {size >> 20} MB with {who} credential",
            "401 and not 413" if wanted == 401 else f"{wanted} with a line of text",
            all_of(status(wanted), lambda reply: reply.answers[0].body.count(b"\n") == 1),
            request(target, f"POST {path}", f"Content-Length: {size}", auth=auth),
        )
