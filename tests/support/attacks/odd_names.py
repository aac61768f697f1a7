"""Names of projects, releases, files and environments that no index has, wherever a request can put one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote, urlencode

from support.attacks.bodies import URLENCODED, field, form
from support.attacks.model import Attack, status
from support.raw import Target, request

NAMES = {
    "an absolute path": "/srv/other/packages/x",
    "a path upwards": "../../../other/packages/x",
    "a path with backslashes": "..\\..\\x",
    "dots": "..",
    "a NUL": "x\0",
    "a line end": "x\r\nSet-Cookie: a=b",
    "5,000 characters": "x" * 5_000,
    "5,000 digits": "9" * 5_000,
    "5,000 dashes": "-" * 5_000,
    "2,600 words": " --" * 2_600,
    "other letters": "\u0661\u212a\u200b\U0001f600",
    "a template": "{{7*7}}${7*7}%s%n",
    "a pattern": "(a+)+$*?[a-z]",
    "nothing but dots": "...",
    "an option": "--root",
}
PLACES = (
    *("GET /simple/{}/", "GET /simple/{}", "GET /packages/{}", "GET /packages/{}/x-1.0.zip", "GET /{}/json"),
    *("GET /packages/PROJECT/{}", "GET /{}", "GET /{}/", "GET /env/{}/", "GET /env/{}/1/env.json", "GET /env/x/{}"),
    *("GET /env/x/{}/env.json", "GET /env/?after={}", "GET /env/?owner={}", "GET /env/?limit={}", "GET /?{}"),
    *("GET /api/packages?q={}", "GET /api/packages/{}", "GET /api/tokens/{}", "DELETE /api/tokens/x+{}", "POST /{}"),
    *("PUT /api/packages/{}/1.0/yank", "PUT /api/packages/PROJECT/{}/yank", "DELETE /api/packages/{}/1.0/yank"),
    *("DELETE /api/packages/{}/1.0", "DELETE /api/packages/PROJECT/{}", "PUT /api/packages/{}/status"),
    *("DELETE /api/tokens/{}",),
)
REFUSED = (400, 401, 403, 404, 405, 411, 413, 414, 415)


def odd_names(target: Target) -> Iterator[Attack]:
    """Yield a request for every odd name in every place, and the removal of a release by a form."""
    for shown, name in NAMES.items():
        for place in PLACES:
            line = place.format(quote(name, safe="")).replace("PROJECT", target.project)
            if len(line) < 8_000:  # of others it is the length that is refused
                body = ["Content-Length: 0"] if not place.startswith("GET") else []
                yield Attack(
                    group="odd names",
                    shown=f"{place.format('NAME')} with {shown}",
                    expected="a page, a redirect, or refused",
                    sent=request(target, line, *body),
                    judge=status(200, 301, 302, 303, *REFUSED),
                )
        yield from _removals(target, shown, name)


def _removals(target: Target, shown: str, name: str) -> Iterator[Attack]:
    """Yield the removal of a release of this name, or of this version."""
    for field_name, values in {"name": (name, "1.0"), "version": (target.project, name)}.items():
        sent = {":action": "remove_pkg", "name": values[0], "version": values[1]}
        bodies = {
            URLENCODED: urlencode(sent).encode(),
            "multipart/form-data; boundary=x": form(*(field(key, value) for key, value in sent.items())),
        }
        for kind, body in bodies.items():
            head = request(target, "POST /", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
            yield Attack(
                group="odd names",
                shown=f"the removal of a {field_name} that is {shown} ({kind.partition(';')[0]})",
                expected="404",
                sent=head + body,
                judge=status(404),
            )
