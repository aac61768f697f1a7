"""Requests with another host's name, in every place of a request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from support.attacks.model import POISON, Attack, Judge, all_of, either, no_handshake, not_found, nothing, status
from support.raw import Answer, Reply, Target, request, send


def poison(target: Target) -> Iterator[Attack]:
    """Yield requests with a false host, which must not get into links and redirects."""
    headers = {
        **dict.fromkeys(("X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-HTTP-Host-Override"), POISON),
        **dict.fromkeys(
            ("X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme"), POISON
        ),
        **dict.fromkeys(("X-Forwarded-Prefix", "X-Script-Name", "Script-Name", "SCRIPT_NAME"), f"/{POISON}"),
        **dict.fromkeys(
            ("X-Original-URL", "X-Rewrite-URL", "X-Original-URI", "PATH_INFO", "Path-Info"), f"/{POISON}/"
        ),
        "X-Forwarded-Ssl": "off",
        "Forwarded": f"host={POISON};proto=http;for={POISON}",
        "X-Forwarded-For": POISON,
        "X-Real-IP": POISON,
        "Via": POISON,
        "Referer": f"https://{POISON}/",
        "Origin": f"https://{POISON}",
        "X-HTTP-Method-Override": "DELETE",
    }
    pairs = [
        *headers.items(),
        *(("X-Forwarded-Proto", scheme) for scheme in ("gopher", "javascript:alert(1)//", "HTTP")),
    ]
    paths = ["/", f"/{target.project}/json", "/simple/No.Thing/", "/simple/nothing-here/", "/nothing", "/packages/"]
    paths += ["/login", f"/project/{target.project}/"]
    paths += [f"/packages/{target.file}", "/packages", "/simple", f"/simple/{target.project}/", "/a/b/c", "/legacy/"]
    for path in paths:
        for accept in ("text/html", "nothing/known, */*;q=0.1"):  # by nginx, and by the application
            plain = request(target, f"GET {path}", f"Accept: {accept}")
            usual = send(target, plain)
            for header, value in pairs:
                yield Attack(
                    group="poison",
                    shown=f"GET {path} with {header}: {value}",
                    expected=f"as without it, and no {POISON}",
                    sent=request(target, f"GET {path}", f"Accept: {accept}", f"{header}: {value}"),
                    judge=_same_as(usual),
                )


def _same_as(usual: Reply) -> Judge:
    def facts(answer: Answer) -> tuple[int, str, bytes]:
        body = re.sub(rb'(?<=name="form_token" value=")[0-9a-f]+', b"", answer.body)  # another one each time
        return answer.status, answer.header("location"), body

    def judge(reply: Reply) -> bool:
        return POISON.encode() not in reply.raw and [*map(facts, reply.answers)] == [*map(facts, usual.answers)]

    return judge


def hosts(target: Target) -> Iterator[Attack]:
    """Yield requests with another host's name in every place."""

    def row(shown: str, expected: str, lines: list[str], judge: Judge, *, plain: bool = False) -> Attack:
        sent = "\r\n".join([*lines, f"Authorization: {target.credential}", "Connection: close", "", ""]).encode(
            "latin-1"
        )
        return Attack(group="hosts", shown=shown, expected=expected, sent=sent, judge=judge, plain=plain)

    ours, get = f"Host: {target.name}", "GET /simple/ HTTP/1.1"
    bad_names = ("evil.example", f"{target.name}.evil.example", f"evil.{target.name}", "127.0.0.1", "[::1]", "x-y")
    expected, other = "the connection is closed", nothing
    if target.any_name:
        # its pages are the same for any Host
        expected, other = "as by its own name", _same_as(send(target, request(target, "GET /simple/")))
    for name in bad_names:
        yield row(f"Host: {name}", expected, [get, f"Host: {name}"], other)
        yield row(f"GET http://{name}/", expected, [f"GET http://{name}/simple/ HTTP/1.1", ours], other)
        yield row(f"port 80, Host: {name}", expected, [get, f"Host: {name}"], other, plain=True)
    for name in (*bad_names, f"a@{target.name}", "é") if target.any_name else ():
        for line in ("GET /simple HTTP/1.1", "GET /simple/No.Thing/ HTTP/1.1"):  # by nginx, and by the application
            yield row(f"{line}, Host: {name}", "400, or to a page here", [line, f"Host: {name}"], not_found)
    for value in (
        "",
        " ",
        "/",
        f"{target.name}/evil",
        f"a@{target.name}",
        f"{target.name} evil",
        "a..b",
        "\x00",
        "é",
        'a"b',
        "<b>",
        "a'b",
        "{{a}}",
    ):
        refused = either(nothing, status(400), other)
        yield row(f"Host: {value!r}", f"400, or {expected}", [get, f"Host: {value}"], refused)
    for value in (f'{target.name}"><script>', "a'b", "<b>", "a/b", "a b", f"{target.name}/x?"):
        lines = ["GET / HTTP/1.1", f"Host: {value}"]  # pypiserver's page has links with the host
        yield row(f"GET /, Host: {value!r}", "400 or nothing", lines, either(nothing, status(400)))
    yield row("no Host in HTTP/1.1", "400", [get], either(nothing, status(400)))
    yield row("no Host in HTTP/1.0, port 80", expected, ["GET /simple/ HTTP/1.0"], other, plain=True)
    yield row("two Hosts, the other second", "400", [get, ours, "Host: evil.example"], status(400))
    yield row("two Hosts, the other first", "400", [get, "Host: evil.example", ours], either(nothing, status(400)))
    yield row(
        f"GET http://{target.name}/nothing, Host: {POISON}",
        f"as ours, no {POISON}",
        [f"GET http://{target.name}/nothing HTTP/1.1", f"Host: {POISON}"],
        lambda reply: len(reply.answers) == 1 and POISON.encode() not in reply.raw,
    )
    if not target.has_tls:
        return
    for sni in ("evil.example", None, f"{target.name}.evil.example"):
        yield Attack(
            group="hosts",
            shown=f"TLS for {sni or 'no name'}",
            expected="the handshake is refused",
            sent=request(target, "GET /simple/"),
            judge=no_handshake,
            sni=sni,
        )
    for method, wanted in (("GET", 301), ("HEAD", 301), ("POST", 403), ("PUT", 403), ("TRACE", 405)):
        for auth in ("", None):
            yield Attack(
                group="hosts",
                shown=f"port 80: {method} /simple/ with {'a' if auth == '' else 'no'} credential",
                expected=f"{wanted}, to https alone",
                sent=request(target, f"{method} /simple/?x=1", "Content-Length: 0", auth=auth),
                judge=all_of(
                    status(wanted),
                    lambda reply: reply.answers[0].header("location") in ("", f"https://{target.name}/simple/?x=1"),
                ),
                plain=True,
                head=method == "HEAD",
            )
