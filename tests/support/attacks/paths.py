"""Requests for files that are not served."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator

from support import wheels
from support.attacks.model import Attack, all_of, either, not_found, status
from support.raw import Target, request

# a file of a project that must be published and quarantined before the attacks
PROJECT, QUARANTINED = "kept-back", wheels.wheel("kept-back", "1.0")
# files below the volume; the last is the host's
FILES = (
    *("credentials/htpasswd", "credentials/access.yml", "credentials/invites", "credentials/disabled"),
    *("audit.jsonl", "ppm.yml", "first-credential", "netrc"),
    *("drop/planted-1.0.tar.gz", "incoming/planted", "bodies/0000000001", "index/pending/planted", "index/boot"),
    *("packages/{project}/{file}.upload", "packages/{project}/.status", "../../../../../../etc/passwd"),
    f"quarantine/{PROJECT}/{QUARANTINED[0]}",
)
SUFFIXES = (
    *(".upload", ".attestations", ".yanked", ".removed", ".rejected", ".status", ".part", ".tmp", ".bak", ".gz", "~"),
    *(".metadata.upload", ".metadata.metadata", ".UPLOAD", ".metadata.gz", ".metadata%00", "%20", "%0a", ".", "/"),
    *("::$DATA", "%00.whl", "/.", "%2f."),
)

UPS = ("..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "..%00", "..;", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "..%01")
SLASHES = ("/", "%2f", "%5c", "\\", "%252f", "%c0%af", "%ef%bc%8f", "//", "/./")


def traversal(target: Target) -> Iterator[Attack]:
    """Yield requests for files of the volume and the host, with every spelling of ".."."""
    for file in FILES:
        for shown, path in spellings(target, file.format(project=target.project, file=target.file)):
            yield Attack(
                group="traversal",
                shown=f"GET {shown}",
                expected="400, 404, or a redirect to a page",
                sent=request(target, f"GET {path}"),
                judge=not_found,
            )


def spellings(target: Target, file: str) -> Iterator[tuple[str, str]]:
    """Yield an attacker's spellings of the path of a file below the volume: as shown, and as sent."""
    starts = ("/packages/", f"/packages/{target.project}/", "/simple/", f"/simple/{target.project}/", "/env/x/", "/")
    ways = [
        start + (up + slash) * max(start.count("/") - 1, 1) for up in UPS for slash in SLASHES for start in starts
    ]
    some = [way for way in ways if way.startswith(("/packages/..", "/simple/%2e"))]
    straight = [
        "/",
        "//",
        "/./",
        "/simple//",
        "/packages//",
        f"/packages/{target.project}//",
        "/packages/./",
        "/%00/",
    ]
    # all spellings for the file that an attacker wants most
    for way in (*(ways if "htpasswd" in file else some), *straight):
        yield f"{way}FILE", way + file
    inside = file.removeprefix("packages/")
    yield "/FILE with %2f", "/" + file.replace("/", "%2f")
    yield "/FILE%00.whl", f"/{file}%00.whl"
    yield "/packages/FILE with %2e", "/packages/" + inside.replace(".", "%2e")
    for end in ("%0a.whl", "?.whl", "#.whl", ";.whl", "%23.whl", "%3f.whl"):
        yield f"/packages/FILE{end}", f"/packages/{inside}{end}"


def side_files(target: Target) -> Iterator[Attack]:
    """Yield requests for side files of served files, by their names."""
    folder, pages = f"/packages/{target.project}", f"/simple/{target.project}"
    own = [f"{folder}/{target.file}{suffix}" for suffix in SUFFIXES]
    own += [f"{folder}/{name}" for name in (".status", ".lock", ".tmp", f".{target.file}")]
    own += [f"{pages}/{name}" for name in ("index.json", "index.html", "index.json.gz", ".index.json")]
    own += ["/simple/index.json", "/simple/.root", f"/index{pages}/index.json", "/index/pending/", "/index/boot"]
    own += ["/drop/", f"/drop/{target.file}", "/incoming/", "/bodies/", "/bodies/0000000001", "/locks/00"]
    own += ["/credentials/", "/credentials/htpasswd", "/credentials/access.yml", "/audit.jsonl", "/ppm.yml"]
    own += ["/claims/", "/claims/planted", "/index/layout"]
    own += ["/first-credential", "/netrc", "/.htpasswd", "/.git/config", "/nginx_status"]
    for path in (*own, "/.too-large", "/.not-allowed"):
        for method in ("GET", "HEAD"):
            yield Attack(
                group="side files",
                shown=f"{method} {path}",
                expected="404, or a redirect to a page",
                sent=request(target, f"{method} {path}"),
                judge=either(not_found, status(413)) if path == "/.too-large" else not_found,
                head=method == "HEAD",
            )


def quarantine(target: Target) -> Iterator[Attack]:
    """Yield requests for a quarantined file by every name that it had, and for the lists that could name it."""
    file = QUARANTINED[0]
    paths = [f"/packages/{PROJECT}/{file}", f"/packages/{PROJECT}/{file}.metadata", f"/packages/{file}"]
    paths += [f"/packages/{PROJECT.upper()}/{file}", f"/packages/{PROJECT}//{file}", f"/packages/./{PROJECT}/{file}"]
    paths += [f"/packages/{PROJECT}/{file.replace('.', '%2e')}", f"/packages/{PROJECT}%2f{file}", f"/{PROJECT}/json"]
    paths += ["/quarantine/", f"/quarantine/{PROJECT}/", f"/quarantine/{PROJECT}/{file}", "/packages/.quarantine/"]
    for path in paths:
        for method in ("GET", "HEAD"):
            for header in ("Accept: */*", "Range: bytes=0-9", 'If-None-Match: "x"', "If-Modified-Since: x"):
                yield Attack(
                    group="quarantine",
                    shown=f"{method} {path} with {header}",
                    expected="404, or a redirect to a page",
                    sent=request(target, f"{method} {path}", header),
                    judge=not_found,
                    head=method == "HEAD",
                )
    for path in (f"/pypi/{PROJECT}/json", f"/pypi/{PROJECT}/1.0/json", f"/project/{PROJECT}/files/{file}"):
        yield Attack(
            group="quarantine",
            shown=f"GET {path}",
            expected="no file: 404, or the way to the login",
            sent=request(target, f"GET {path}"),
            judge=all_of(status(303, 404), lambda reply: b"PK" not in reply.raw),
        )
    for path in ("/packages/", f"/simple/{PROJECT}/", f"/api/packages?q={PROJECT}", f"/api/packages/{PROJECT}"):
        yield Attack(
            group="quarantine",
            shown=f"GET {path}",
            expected="200, without the file",
            sent=request(target, f"GET {path}", "Accept: text/html"),
            judge=all_of(status(200), lambda reply: file.encode() not in reply.raw),
        )
    for method in ("list_packages", "release_urls", "package_releases", "search"):
        values = {"search": {"name": PROJECT}}.get(method), {"list_packages": None}.get(method, PROJECT)
        body = xmlrpc.client.dumps(tuple(value for value in values if value), method).encode()
        yield Attack(
            group="quarantine",
            shown=f"XML-RPC {method}",
            expected="an answer without the file",
            sent=request(target, "POST /RPC2", "Content-Type: text/xml", f"Content-Length: {len(body)}") + body,
            judge=all_of(status(200, 400), lambda reply: file.encode() not in reply.raw),
        )
