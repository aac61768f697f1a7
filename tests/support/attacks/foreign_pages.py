"""Changes that a web page of another site makes with the credential that a browser remembers."""

from __future__ import annotations

from collections.abc import Iterator

from support.attacks.model import POISON, Attack, Judge, status
from support.raw import Target, request

JSON = "Content-Type: application/json"


def foreign_pages(target: Target) -> Iterator[Attack]:
    """Yield every change as a foreign page's, and as the index's own page's."""
    own = f"{'https' if target.has_tls else 'http'}://{target.name}"
    foreign = {
        "another site": (f"Origin: https://{POISON}", "Sec-Fetch-Site: cross-site"),
        "its Origin alone": (f"Origin: https://{POISON}",),
        "its Sec-Fetch-Site alone": ("Sec-Fetch-Site: cross-site",),
        "another port": (f"Origin: {own}:4", "Sec-Fetch-Site: same-site"),
        "another port, its Origin alone": (f"Origin: {own}:4",),
        "another scheme": (f"Origin: {own.replace('http', 'ftp')}",),
        "a sandbox": ("Origin: null", "Sec-Fetch-Site: cross-site"),
        "a sandbox, its Origin alone": ("Origin: null",),
        "a longer name": (f"Origin: {own}.{POISON}",),
        "two Origins": (f"Origin: {own}", f"Origin: https://{POISON}"),
        "two sites": ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
        "an own site, another Origin": (f"Origin: https://{POISON}", "Sec-Fetch-Site: same-origin"),
        "an own Origin, another site": (f"Origin: {own}", "Sec-Fetch-Site: cross-site"),
    }
    ours = {"its own page": (f"Origin: {own}", "Sec-Fetch-Site: same-origin"), "the user": ("Sec-Fetch-Site: none",)}
    for line, body, allowed in _changes(target):
        for who, headers in foreign.items():
            yield _row(target, line, body, who, headers, "403", status(403))
        for who, headers in {**ours, "a program": ()}.items():
            yield _row(target, line, body, who, headers, f"{allowed}, as without a browser", status(allowed))


def _changes(target: Target) -> Iterator[tuple[str, bytes, int]]:
    """Yield a request of every kind that may change something, and how it is answered otherwise: none changes it."""
    nothing = f"/api/packages/{target.project}/9.9"
    for path in ("/", "/legacy/", "/upload"):
        yield f"POST {path}", b"", 400
    yield f"PUT {nothing}/yank", b'{"reason": "attacked"}', 404
    yield f"DELETE {nothing}/yank", b"", 404
    yield f"PUT /api/packages/{target.project}/status", b'{"status": "no"}', 400
    yield "POST /api/tokens", b'{"name": "x", "role": "no"}', 400
    yield "DELETE /api/tokens/nothing", b"", 404
    yield "POST /api/join", b'{"code": ""}', 400
    yield "POST /api/web-login", b'{"x": 1}', 400
    yield "POST /RPC2", b"<x/>", 400


def _row(
    target: Target, line: str, body: bytes, who: str, headers: tuple[str, ...], expected: str, judge: Judge
) -> Attack:
    kind = (JSON,) if body.startswith(b"{") else ()
    sent = request(target, line, *headers, *kind, f"Content-Length: {len(body)}") + body
    return Attack(group="pages", shown=f"{line} by {who}", expected=expected, sent=sent, judge=judge)
