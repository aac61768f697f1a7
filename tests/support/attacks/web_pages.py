"""Requests for web pages, which reach the application without nginx's authentication: none leads elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from support.attacks.model import METHODS, POISON, STRAY_SECRET, Attack, Judge, all_of, either, status
from support.attacks.paths import SLASHES, UPS
from support.raw import Reply, Target, basic, request

BROWSER = "Accept: text/html,*/*;q=0.8"
STARTS = ("/projects/", "/project/x/", "/login/", "/static/", "/account/", "/join/", "/upload/", "/search/", "/")
FORM = "Content-Type: application/x-www-form-urlencoded"


def web_pages(target: Target) -> Iterator[Attack]:
    """Yield ways from a page to what needs a credential, and odd methods, cookies and bodies, without one."""
    if not target.public:
        yield from _ways(target)
        yield from _methods(target)
        yield from _cookies(target)
    yield from _bodies(target)
    yield from _secrets(target)


def refused(reply: Reply) -> bool:
    """Accept a refusal, or the way to the login of this index."""
    if len(reply.answers) != 1:
        return False
    answer = reply.answers[0]
    if answer.status in {301, 303}:
        return re.match(r"(?:\./|(?:\.\./)+)login(?:\?next=/|\Z)", answer.header("location")) is not None
    return answer.status in {400, 401, 403, 404, 405, 411, 414, 501}


def _row(shown: str, sent: bytes, judge: Judge = refused, expected: str = "a refusal, or the login") -> Attack:
    return Attack(
        group="web pages", shown=shown, expected=expected, sent=sent, judge=judge, head=shown.startswith("HEAD")
    )


def _ways(target: Target) -> Iterator[Attack]:
    """Yield paths that begin with a page and end with what needs a credential, and the other way round."""
    pages, file = f"/simple/{target.project}/", f"packages/{target.project}/{target.file}"
    wanted = ("/simple/", pages, f"/{file}", "/env/", "/api/whoami", "/api/tokens", "/credentials/htpasswd")
    paths = [start + (up + slash) + file for start in ("/projects/", "/static/") for up in UPS for slash in SLASHES]
    for path in wanted:
        for start in STARTS:
            paths += [f"{start}..{path}", f"{start}%2e%2e{path}", f"{start}..%2f{path[1:]}", f"{start}/{path}"]
        paths += [f"{path}/../../projects/", f"{path}%2f..%2f..%2fprojects/", f"{path};/projects/", f"/{path}"]
        paths += [f"{path}?/projects/", f"{path}%3f/projects/", f"{path}%23/projects/", f"{path}#/projects/"]
        paths += [f"{path}%0a/projects/", f"{path}%0d%0aAccept:text/html%0a/projects/", f"/projects%0a{path}"]
        paths += [f"/projects{path}", f"/projects;{path}", f"/projects%00{path}", f"http://{target.name}{path}"]
    for number, path in enumerate(paths):
        for headers in ([BROWSER], []) if number % 5 == 0 else ([BROWSER],):
            yield _row(f"GET {path}", request(target, f"GET {path}", *headers, auth=None))
    for accept in ("text/html", "text/html\t", "text/html /", "x, text/html;q=1", "text/html\x0b/projects/"):
        for path in ("/simple/", f"/{file}", "/env/", "/api/whoami", "/search?q=x", "/upload", "/legacy/"):
            yield _row(f"GET {path}, {accept!r}", request(target, f"GET {path}", f"Accept: {accept}", auth=None))


def _methods(target: Target) -> Iterator[Attack]:
    pages = (
        "/projects/",
        f"/project/{target.project}/",
        "/environments/",
        "/account/",
        "/admin/",
        "/",
        "/search?q=a",
    )
    for path in (*pages, "/upload/", "/upload/files", "/account/tokens", "/admin/users/"):
        for method in METHODS:
            for auth in (None, basic(target.user, "ppm_wrong"), f"Bearer {target.secret}"):
                body = ["Content-Length: 0"] if method in ("POST", "PUT", "PATCH", "BREW") else []
                sent = request(target, f"{method} {path}", BROWSER, *body, auth=auth)
                yield _row(f"{method} {path}", sent)


def _cookies(target: Target) -> Iterator[Attack]:
    """Yield requests with a cookie that is no session's: a name of a file, a credential, and other texts."""
    values = ("x", "", "../htpasswd", "%2e%2e/htpasswd", "A" * 43, "A" * 4000, '"A"', "a" * 64, target.secret, "\x01")
    for value in (*values, f"{target.user}:{target.secret}", "é", "A; ppm-session=B", "null", "0"):
        for name in ("ppm-session", f"ppm-session-{target.port}", f"__Host-ppm-session-{target.port}", "ppm-form"):
            sent = request(target, "GET /projects/", BROWSER, f"Cookie: {name}={value}", auth=None)
            yield _row(f"GET /projects/ with the cookie {name}={value[:40]!r}", sent)


def _bodies(target: Target) -> Iterator[Attack]:
    """Yield bodies that nobody may send, and forms without the token of a page."""
    refusals: tuple[tuple[str, tuple[str, ...], bytes, tuple[int, ...]], ...] = (
        ("a form without a token", (FORM, "Content-Length: 24"), b"username=a&password=abcd", (403,)),
        ("a form with a wrong token", (FORM, "Content-Length: 12"), b"form_token=0", (403,)),
        ("JSON", ("Content-Type: application/json", "Content-Length: 2"), b"{}", (415,)),
        ("no kind", ("Content-Length: 2",), b"a=", (415,)),
        ("a body over the limit", (FORM, f"Content-Length: {(64 << 10) + 1}"), b"", (413,)),
        ("1 PB", (FORM, f"Content-Length: {1 << 50}"), b"", (413,)),
        ("no length", (FORM,), b"", (411, 415, 403)),
        ("chunks", (FORM, "Transfer-Encoding: chunked"), b"3\r\na=b\r\n0\r\n\r\n", (403, 411)),
        ("501 fields", (FORM, "Content-Length: 1503"), b"a=&" * 501, (400, 403)),
        ("a foreign Origin", (f"Origin: https://{POISON}", FORM, "Content-Length: 0"), b"", (403,)),
        ("no Origin", ("Origin: null", FORM, "Content-Length: 0"), b"", (403,)),
        ("a foreign page", ("Sec-Fetch-Site: cross-site", FORM, "Content-Length: 0"), b"", (403,)),
        ("a cousin", ("Sec-Fetch-Site: same-site", FORM, "Content-Length: 0"), b"", (403,)),
    )
    for path in ("/login", "/logout"):
        for shown, headers, body, wanted in refusals:
            sent = request(target, f"POST {path}", BROWSER, *headers, auth=None) + body
            yield _row(f"POST {path} with {shown}", sent, status(*wanted), " or ".join(map(str, wanted)))
    hidden = request(target, "GET /api/whoami", close=False).decode()
    both = request(target, "POST /login", FORM, "Content-Length: 4", "Transfer-Encoding: chunked", auth=None)
    yield _row("POST /login with two lengths", both + f"0\r\n\r\n{hidden}".encode(), status(400), "400")
    for path in ("/projects/", "/login", "/"):
        sent = request(target, f"GET {path}", BROWSER, f"Content-Length: {1 << 40}", auth=None)
        judge = either(refused, status(200, 413))
        yield _row(f"GET {path} with a body of 1 TB", sent, judge, "an answer, and not the body")


def _secrets(target: Target) -> Iterator[Attack]:
    """Yield secrets in URLs of pages: they are refused like those in other URLs, before a log has them."""
    nothing_of_it = all_of(status(401), lambda reply: STRAY_SECRET.encode() not in reply.raw)
    for path in ("/login?next=/{}", "/search?q={}", "/?token={}", "/projects/{}/", "/account/{}", "/join?code={}"):
        for auth in ("", None):
            sent = request(target, f"GET {path.format(STRAY_SECRET)}", BROWSER, auth=auth)
            yield _row(f"GET {path.format('SECRET')}", sent, nothing_of_it, "401, without the secret")
