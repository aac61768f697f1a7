"""Requests without the right to a resource, and secrets in wrong places."""

from __future__ import annotations

from collections.abc import Iterator

from ppmctl.index import discovery
from ppmctl.server.mirror_api import RPC_PATHS
from support.attacks.model import METHODS, SPELLINGS, STRAY_SECRET, Attack, status, unauthenticated
from support.raw import Reply, Target, basic, request


def locations(target: Target) -> list[str]:
    """Return a path of every kind, existing and missing."""
    file, pages = f"/packages/{target.project}/{target.file}", f"/simple/{target.project}"
    return [
        *(
            "/",
            "/simple",
            "/simple/",
            f"{pages}/",
            pages,
            "/simple/nothing-here/",
            "/simple/No.Thing/",
            "/simple/a/b",
        ),
        *(file, f"{file}.metadata", f"{file}.upload", f"/packages/{target.file}", "/packages/"),
        *("/packages/nothing/nothing-1.0.tar.gz", "/legacy/", "/legacy", "/upload", "/upload/", "/env/"),
        *("/env/team/requirements.txt", "/env/team/1/pylock.toml", f"/{target.project}/json", "/nothing", "/a/b/c"),
        *(
            "/favicon.ico",
            "/robots.txt",
            "/.well-known/security.txt",
            discovery.PATH,
            "/credentials/htpasswd",
            "/health",
            "/RPC2",
        ),
        *(
            "/.too-large",
            "/.readable",
            "/metrics",
            "/healthz/write/",
            "/.not-allowed",
            "//",
            "/simple/../healthz/",
            "/healthz/",
            "/Healthz",
            "/healthz%2f",
        ),
        "/healthz%00",
        *("/api/whoami", "/api/tokens", "/api/tokens/a+b", "/api/join/", "/api/joins", "/api/x/../join/x"),
        "/api/web-login",
        *_programs(target),
    ]


def _programs(target: Target) -> list[str]:
    """Return a path of every route of the APIs; tests/unit/test_attacks.py compares them with the application's."""
    packages, environments = f"/api/packages/{target.project}", "/api/environments"
    return [
        *(
            "/search",
            "/search?q=a",
            "/api/packages",
            "/api/packages?q=a",
            packages,
            f"{packages}/status",
            "/api/stats",
        ),
        *(f"{packages}/1.0", f"{packages}/1.0/yank", "/api/stats/downloads", f"/api/claims/{target.project}"),
        *(environments, f"{environments}/team", "/pypi", "/pypi/", f"/pypi/{target.project}/json"),
        *(f"/pypi/{target.project}/1.0/json", f"/packages/{target.project}/{target.file}.provenance"),
        *("/env/team/env.json", "/env/team/environment.yml", "/api", "/api/", "/api/nothing"),
    ]


def strangers(target: Target) -> Iterator[Attack]:
    """Yield every location with every method, from a client without a right to it."""
    others: dict[str, str | None] = {
        "no credential": None,
        "a wrong secret": basic(target.user, "ppm_wrong"),
        "an unknown name": basic("nobody", target.secret),
        "an empty one": "Basic Og==",
        "no Basic": f"Bearer {target.secret}",
        "nonsense": "Basic !!!",
    }
    for path in locations(target):
        for method in METHODS:
            for who, auth in others.items():
                if who != "no credential" and method not in ("GET", "POST", "TRACE"):
                    continue
                is_read = method in ("GET", "HEAD")
                open_to_all = (target.public and (is_read or path in RPC_PATHS)) or (
                    is_read and path == discovery.PATH
                )
                if open_to_all:
                    continue
                body = ["Content-Length: 0"] if method in ("POST", "PUT", "PATCH", "BREW") else []
                bad = "%00" in path
                yield Attack(
                    group="strangers",
                    shown=f"{method} {path}, {who}",
                    expected="400" if bad else "401 and nothing else",
                    sent=request(target, f"{method} {path}", "Accept: image/png", *body, auth=auth),
                    judge=status(400, 401, 405) if bad else unauthenticated,
                    head=method == "HEAD",
                )
    yield Attack(
        group="strangers",
        shown="a good request, then one without a credential on the same connection",
        expected="the second is 401",
        sent=request(target, "GET /", close=False) + request(target, "POST /", "Content-Length: 0", auth=None),
        judge=lambda reply: len(reply.statuses) == 2 and reply.statuses[1] == 401,
    )
    yield Attack(
        group="strangers",
        shown="an upload of 1 GB without a credential",
        expected="401 and not 413",
        sent=request(target, "POST /", "Content-Length: 1000000000", auth=None),
        judge=unauthenticated,
    )


def limited_reads(target: Target) -> Iterator[Attack]:
    """Yield requests of a credential that may not read the project, and names that lead to other files of nginx."""
    if target.limited is None:
        return
    name, secret = target.limited
    for path in locations(target):
        for method in METHODS:
            if method in ("POST", "PUT", "PATCH", "BREW", "TRACE", "CONNECT") and path in ("/", "//"):
                continue
            body = ["Content-Length: 0"] if method in ("POST", "PUT", "PATCH", "BREW") else []
            yield Attack(
                group="limited",
                shown=f"{method} {path} of a project that the credential may not read",
                expected="nothing of it",
                sent=request(target, f"{method} {path}", *body, auth=basic(name, secret)),
                judge=lambda reply: _shows_nothing(reply, target),
                head=method == "HEAD",
            )
    for prefix in ("/packages/", "/simple/", "/env/x/"):
        file = f"{target.project}/{target.file}"
        for way in (
            f"../packages/{file}",
            f"%2e%2e/packages/{file}",
            f"./{file}",
            f"/{file}",
            f"..%2fpackages/{file}",
        ):
            yield Attack(
                group="limited",
                shown=f"GET {prefix}{way} of a project that the credential may not read",
                expected="nothing of it",
                sent=request(target, f"GET {prefix}{way}", auth=basic(name, secret)),
                judge=lambda reply: _shows_nothing(reply, target),
            )
    names = (
        f"../nginx-limited/{name}",
        f"./{name}",
        f"{name}/",
        f"{name}/.",
        "../nginx/00",
        "..",
        ".",
        "",
        f"{name}\0",
    )
    for other in (*names, f"{name}%00", f"{name}\n", f" {name}", name.upper(), f"{name}+", f"{name}+../{name}"):
        for path in ("/simple/", f"/simple/{target.project}/", f"/packages/{target.project}/{target.file}"):
            yield Attack(
                group="limited",
                shown=f"GET {path} as {other!r} with the secret of {name}",
                expected="401",
                sent=request(target, f"GET {path}", auth=basic(other, secret)),
                judge=unauthenticated,
            )


def _shows_nothing(reply: Reply, target: Target) -> bool:
    """Accept answers without a file's content, its URL, or a link to the project; a 404 may repeat the path.

    So does the answer to who has claimed a name: nobody, as for a name that nobody has.
    """
    unclaimed = f'{{"project": "{target.project}", "claim": null}}'.encode()
    return all(
        answer.status not in (206, 302)
        and not answer.body.startswith(b"PK")
        and (answer.status >= 300 or target.project.encode() not in answer.body.replace(unclaimed, b""))
        for answer in reply.answers
    )


def stray_secrets(target: Target) -> Iterator[Attack]:
    """Yield requests with a secret in a wrong place; `secrets_sent` must be in no log afterwards."""
    queries = (
        f"/simple/?token={STRAY_SECRET}",
        f"/?{STRAY_SECRET}",
        *(f"/simple/x/?a=1&b={sent}" for sent in SPELLINGS),
    )
    for path in ("/simple/", "/", "/simple/nothing-here/", "/packages/", "/healthz"):
        for method in ("GET", "POST", "TRACE"):
            pairs = (
                (STRAY_SECRET, ""),
                (STRAY_SECRET, "x"),
                (STRAY_SECRET, STRAY_SECRET),
                (f"ann-{STRAY_SECRET}", "x"),
            )
            for name, secret in pairs:
                yield Attack(
                    group="logs",
                    shown=f"{method} {path} with a secret as the name",
                    expected="401",
                    sent=request(target, f"{method} {path}", auth=basic(name, secret)),
                    judge=unauthenticated,
                )
    for query in queries:
        for auth in ("", None, basic(target.user, "ppm_wrong"), basic("nobody", "x")):
            for size in ("0", str(1 << 50)):
                yield Attack(
                    group="logs",
                    shown=f"POST with a secret in the query, {size} bytes",
                    expected="401",
                    sent=request(target, f"POST {query}", f"Content-Length: {size}", auth=auth),
                    judge=unauthenticated,
                )
    for spelling in SPELLINGS:
        for path in (
            "/simple/{}/",
            "/{}",
            "/packages/attacked/{}",
            "/env/{}/requirements.txt",
            "/api/tokens/{}",
            "/healthz/{}",
        ):
            for method in ("GET", "DELETE"):
                for auth in ("", None, basic(target.user, "ppm_wrong")):
                    yield Attack(
                        group="logs",
                        shown=f"{method} {path.format('SECRET')} with a secret in the path",
                        expected="401",
                        sent=request(target, f"{method} {path.format(spelling)}", auth=auth),
                        judge=unauthenticated,
                    )
    yield from _secrets_in_headers(target)
    if target.has_tls:
        yield Attack(
            group="logs",
            shown="port 80 with a secret as the name",
            expected="301",
            sent=request(target, "GET /simple/", auth=basic(STRAY_SECRET, "")),
            judge=status(301),
            plain=True,
        )


def _secrets_in_headers(target: Target) -> Iterator[Attack]:
    """Yield requests with a secret in a header that servers log."""
    usual = {
        "": 200,
        None: 200 if target.public else 401,
        basic(target.user, "ppm_wrong"): 200 if target.public else 401,
    }
    for spelling in SPELLINGS:
        for auth, wanted in usual.items():
            yield Attack(
                group="logs",
                shown="a secret in the user agent",
                expected=f"{wanted}, as without it",
                sent=request(target, "GET /simple/", f"User-Agent: tool/1.0 ({spelling}) {spelling}", auth=auth),
                judge=status(wanted),
            )
            yield Attack(
                group="logs",
                shown="a secret in the referrer",
                expected="401",
                sent=request(target, "GET /simple/", f"Referer: https://{target.name}/?a={spelling}", auth=auth),
                judge=unauthenticated,
            )


def no_secrets(target: Target) -> Iterator[Attack]:
    """Yield requests with names that only begin like a secret; they are answered as others."""
    for path, wanted in (
        ("/api/packages?q=ppm_env", 200),
        ("/env/?owner=ppm_x", 200),
        ("/api/packages?q=ppm_environment_for_the_team_of_2027", 200),
        ("/env/?owner=ppm%5Fx&limit=5", 200),
        ("/simple/ppm_env/", 301),
        ("/packages/attacked/ppm_GeoAnalysis2ToolkitNotebook_extra-1.0-py3-none-any.whl", 404),
    ):
        yield Attack(
            group="no secrets",
            shown=f"GET {path}",
            expected=f"{wanted}, as any other name",
            sent=request(target, f"GET {path}"),
            judge=status(wanted),
        )
