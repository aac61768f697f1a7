"""A table of requests for two servers of one volume, and the parts of their answers that must be equal.

Both serve one volume, so that validators are equal too. Where the exact answers can't be equal, the parts that a
client acts on are.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from ppmctl.index import discovery
from ppmctl.server import content_negotiation
from ppmctl.web import site
from support import wheels
from support.environments import revision
from support.evidence import until
from support.raw import basic, trusting
from support.served import Served
from support.servers import JSON, Server

WHEEL = wheels.wheel("Answered.Here", "1.0", requires_python=">=3.9")
LOCAL = wheels.wheel("Answered.Here", "1.0+local.1")
SDIST = wheels.sdist("Answered.Here", "1.0")
MORE = [wheels.wheel("Answered.Here", f"2.{minor}") for minor in range(6)]  # a page long enough to be compressed
FILE = f"/packages/answered-here/{WHEEL[0]}"
PAGE = "/simple/answered-here/"
FORMS = (
    "requirements.txt",
    "constraints.txt",
    "environment.yml",
    "pylock.toml",
    "requirements-locked.txt",
    "env.json",
)
LOCK = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
HTML = "application/vnd.pypi.simple.v1+html"

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
_FORM_TOKEN = re.compile(rb'(?<=name="form_token" value=")[0-9a-f]+')

# these contain the server's URL
WITH_ITS_URL = ("/", "/answered-here/json", "/pypi/answered-here/json", "/pypi/answered-here/2.0/json")

COMPARED = (
    *("content-type", "vary", "cache-control", "location", "etag", "last-modified", "content-encoding"),
    *("accept-ranges", "content-range", "content-length", "allow", "www-authenticate", "retry-after"),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request of the table.

    `who` is admin, nobody (no credential), wrong (a wrong secret), unknown (a name), a secret alone, right or not, or
    a browser, which has the cookie of an admin's session.
    """

    path: str
    method: str = "GET"
    who: str = "admin"
    headers: Mapping[str, str] = field(default_factory=dict)
    form: str = ""

    def __str__(self) -> str:
        return " ".join([self.method, self.path, f"as {self.who}", *(f"[{k}: {v}]" for k, v in self.headers.items())])


@dataclass(frozen=True, kw_only=True)
class Party:
    """One of the two servers, at `localhost`; `ca` is the file with the root of its certificate."""

    url: str
    auth: tuple[str, str]
    ca: Path | None = None

    @cached_property
    def connection(self) -> http.client.HTTPConnection:
        """Return the connection of all requests; it reopens by itself after either side closed it."""
        parts = urlsplit(self.url)
        if self.ca:
            context = trusting(self.ca.read_text())
            return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=60, context=context)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    @cached_property
    def cookie(self) -> str:
        """Log in as a browser; return the header with the cookie of the session."""
        page = ask(self, Asked(path="/login", who="nobody"))
        (token,) = _FORM_TOKEN.findall(page.body)
        name, secret = self.auth
        form = urlencode({"form_token": token.decode(), "username": name, "password": secret})
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        done = ask(self, Asked(path="/login", method="POST", who="nobody", headers={"Cookie": cookie}, form=form))
        assert done.status == 303, done.body.decode()
        return done.headers["Set-Cookie"].partition(";")[0]


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Message
    body: bytes


def ask(party: Party, asked: Asked) -> Answer:
    """Send a request and return the answer, without redirects, retries or other help of a client library."""
    connection = party.connection
    user, secret = party.auth
    name, secret = {
        "admin": (user, secret),
        "wrong": (user, "ppm_wrong"),
        "unknown": ("unknown", secret),
        "secret alone": ("__token__", secret),
        "wrong secret alone": ("__token__", "ppm_wrong"),
        "nobody": ("", ""),
        "browser": ("", ""),
    }[asked.who]
    headers = dict(asked.headers) | ({"Cookie": party.cookie} if asked.who == "browser" else {})
    if asked.form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        connection.putrequest(asked.method, asked.path, skip_accept_encoding=True)
        if name:
            connection.putheader("Authorization", basic(name, secret))
        if asked.method in {"POST", "PUT", "PATCH"}:
            connection.putheader("Content-Length", str(len(asked.form)))
        for header, value in headers.items():
            connection.putheader(header, value)
        connection.endheaders(asked.form.encode() or None)
        with connection.getresponse() as response:
            answer = Answer(status=response.status, headers=response.headers, body=response.read())
    except (OSError, http.client.HTTPException):
        connection.close()  # the next request reopens it
        raise
    if not party.ca:  # without TLS a new one costs little, and a server may close an idle one
        connection.close()
    return answer


def what_counts(answer: Answer, *, url: str, asked: Asked) -> dict[str, Any]:
    """Return the parts of an answer of the server at `url` that a client acts on.

    Differences that no configuration of nginx can remove, and that the standards allow, are left out.
    """
    fields: dict[str, Any] = {"status": answer.status}
    for header in COMPARED:
        values = answer.headers.get_all(header) or []
        assert len(values) < 2, f"{asked}: {header} twice: {values}"
        fields[header] = values[0] if values else None
    fields["location"] = (fields["location"] or "").replace(url, "")
    # a cookie's name has the port, and with TLS a prefix; its value is random, and so is a form's token
    cookies = answer.headers.get_all("Set-Cookie") or []
    fields["cookies"] = [re.sub("^__Host-|(?:-[0-9]+)?=[^;]*|; Secure", "", cookie) for cookie in cookies]
    # on a host the port is the default one, and nginx passes on no port
    is_packed_page = fields["content-encoding"] == "gzip" and is_for_people(asked)
    body = gzip.decompress(answer.body) if is_packed_page and answer.body else answer.body
    body = _FORM_TOKEN.sub(b"", body).replace(url.encode(), b"").replace(url.rpartition(":")[0].encode(), b"")
    fields["body"] = hashlib.sha256(body).hexdigest()[:8] if body else ""
    has_url = asked.path.partition("?")[0] in WITH_ITS_URL
    left_out: tuple[str, ...] = ("content-length",) if has_url or is_packed_page else ()
    if answer.status == 206 or asked.path.lstrip("/").startswith(
        "simple"
    ):  # nginx sends no Accept-Ranges with a range
        left_out += ("accept-ranges",)
    if answer.status == 416:  # nginx sends its own page, with the headers of the requested file
        left_out += ("content-type", "cache-control")
    if answer.status >= 300:  # the reason is for people; each server has its own words
        left_out += ("content-length", "body", "accept-ranges")
    if asked.method not in ("GET", "HEAD") and answer.status in (404, 405):
        # both are true of a missing file; each server decides which it checks first
        fields["status"] = "404 or 405"
        left_out += ("allow",)
    if is_for_people(asked):  # in each answer of a page, refusals too, only the lengths of names in it may differ
        left_out = (
            "content-length",
            "accept-ranges",
            *(["body"] if asked.path == "/admin/" else []),
        )  # the free disk
        return {key: value for key, value in fields.items() if key not in left_out}
    if 300 < answer.status < 400:
        left_out += ("content-type",)
    if answer.status == 304:  # RFC 9110, section 15.4.5: headers that describe the content are optional
        left_out += ("content-encoding", "last-modified")
    return {key: value for key, value in fields.items() if key not in left_out}


PIP, OLD_PIP = content_negotiation.TABLE[0][1], "text/html"
ODD = (
    "",
    JSON,
    HTML,
    "application/vnd.pypi.simple.latest+json",
    "application/vnd.pypi.simple.latest+html",
    "text/*",
    "application/*",
    f"text/html;q=0.1, {JSON};q=0.9",
    f"{HTML};q=0.3, text/html;q=0.5, */*;q=0.1",
    f"{JSON};q=0.000, text/html;q=0.001",
    f" text/html , {HTML};q=0.1",
    f"{JSON.upper()}, TEXT/HTML;q=0.5",
    "text/html;level=1",
    "image/png",
    "application/vnd.pypi.simple.v2+json",
    f"{JSON};q=0",
    "text/plain, text/html;q=0",
    "*/*;q=0",
    "nonsense",
    ";;;,,,=",
)
ENCODINGS = ("gzip", "identity", "br", "br, gzip;q=0.5", "gzip;q=0", "gzip;q=0.0, identity", "deflate, gzip", "")
RANGES = (
    "bytes=0-1,3-4",
    "lines=1-2",
    "bytes=0-9",
    "bytes=5-",
    "bytes=-7",
    "bytes=0-0",
    "bytes=100000000-",
    "bytes=5-2",
    "bytes=x-",
)


def pages() -> Iterator[Asked]:
    for path in ("/simple/", PAGE):
        for header in (*(header for _client, header, _form in content_negotiation.TABLE), *ODD):
            yield Asked(path=path, headers={"Accept": header})
        for encoding, form in itertools.product(ENCODINGS, (PIP, OLD_PIP, HTML, "*/*")):
            yield Asked(path=path, headers={"Accept": form, "Accept-Encoding": encoding})
        for method in ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
            yield Asked(path=path, method=method, headers={"Accept": PIP})
            yield Asked(path=path, method=method, headers={"Accept": HTML})
            yield Asked(path=path, method=method)
        yield Asked(path=path, method="HEAD", headers={"Accept": "image/png"})
        for asked in RANGES:
            yield Asked(path=path, headers={"Accept": PIP, "Range": asked})
            yield Asked(path=path, headers={"Accept": OLD_PIP, "Range": asked, "Accept-Encoding": "gzip"})


def names() -> Iterator[Asked]:
    for path in (
        *("/simple", "/simple/Answered.Here/", "/simple/answered.here", "/simple/answered-here", "/simple/a__b/"),
        *("/simple/nothing/", "/simple/nothing", "/simple/No.Thing/", "/simple/acme-tool/", "/simple/Acme.Tool/"),
        *(
            "/simple/billing/",
            "/simple/billing-2/",
            "/simple/-web/",
            "/simple/web-/",
            "/simple/w%20b/",
            "/simple/%C3%A9/",
        ),
        *("/simple/answered-here/index.json", "/simple/answered-here/index.html.gz", "/simple/index.json"),
        *("//simple/answered-here/", "/simple/answered-here/%0A", "/simple/undecided/", "/simple/index-html/"),
        *("/simple/answered%2Dhere/", "/simple%2Fanswered-here/", "/simple/answered-here/?x=1", "/simple/a/b/c"),
        *(f"/simple/{'a' * 300}/", "/simple/emptied/", "/simple/quarantined/", "/simple/archived/"),
    ):
        for method in ("GET", "HEAD"):
            yield Asked(path=path, method=method)
        yield Asked(path=path, headers={"Accept": "image/png"})
        yield Asked(path=path, headers={"Accept": JSON})
        yield Asked(path=path, method="POST")


def files() -> Iterator[Asked]:
    paths = [FILE, f"{FILE}.metadata", f"/packages/answered-here/{SDIST[0]}", f"/packages/answered-here/{LOCAL[0]}"]
    paths.append(f"{FILE}.provenance")
    paths.append(f"/packages/answered-here/{LOCAL[0].replace('+', '%2B')}")
    for path in paths:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            yield Asked(path=path, method=method)
        for asked in RANGES:
            yield Asked(path=path, headers={"Range": asked})
        yield Asked(path=path, headers={"Accept-Encoding": "gzip"})
        yield Asked(path=path, headers={"Accept": "image/png"})
        yield Asked(path=path + "?x=1")
    quarantined = "/packages/quarantined/quarantined-1.0-py3-none-any.whl"
    for missing in (
        *(
            quarantined,
            f"{quarantined}.metadata",
            f"/packages/{quarantined.rpartition('/')[2]}",
            f"{quarantined}?x=1",
        ),
        *("/quarantine/quarantined/quarantined-1.0-py3-none-any.whl", quarantined.replace(".", "%2E")),
        *(f"{FILE}.upload", f"{FILE}.yanked", f"{FILE}.removed", f"{FILE}.attestations", f"{FILE}.metadata.metadata"),
        *(f"{FILE}.metadata.provenance", f"{FILE}.provenance.metadata", f"/packages/{WHEEL[0]}.provenance"),
        f"/packages/answered-here/{SDIST[0]}.provenance",
        *(
            f"/packages/answered-here/{SDIST[0]}.metadata",
            "/packages/answered-here/.status",
            "/packages/answered-here/",
        ),
        *(
            "/packages/answered-here",
            "/packages/answered-here/none-1.0-py3-none-any.whl",
            "/packages/nothing/x-1.0.zip",
        ),
        *(f"/packages/Answered.Here/{WHEEL[0]}", f"/packages/other/{WHEEL[0]}", f"{FILE}%20"),
        *(f"{FILE}/", f"{FILE}%0A", f"{FILE}%2F", f"/packages/answered-here%2F{WHEEL[0]}"),
        *(f"/packages/{WHEEL[0]}", f"/packages/{LOCAL[0]}", f"/packages/{SDIST[0]}", "/packages/none-1.0.tar.gz"),
        *("/packages/none", "/packages/a/b/c/d-1.0.zip", "/packages/emptied/emptied-1.0-py3-none-any.whl"),
    ):
        for method in ("GET", "HEAD", "POST"):
            yield Asked(path=missing, method=method)


def others() -> Iterator[Asked]:
    for path in (
        "/",
        "/legacy/",
        "/legacy",
        "/upload",
        "/upload/",
        "/packages/",
        "/packages",
        "/RPC2",
        "/pypi",
        "/pypi/",
        "/favicon.ico",
        *("/api/whoami", "/api/tokens", "/api/tokens/nobody+x", "/api/join", "/api/packages", "/api/stats", "/api/x"),
        *("/api/claims", "/api/claims/requests", "/search", "/search/", "/api/environments", "/api/environments/x"),
    ):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            yield Asked(path=path, method=method)
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):  # each POST makes another link
        yield Asked(path="/api/web-login", method=method)
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        yield Asked(path=discovery.PATH, method=method)
    for path in ("/.well-known/", "/.well-known/ppm.json/", "/.well-known/ppm%2Ejson", "/.well-known/other.json"):
        yield Asked(path=path)
    for headers in (
        {"Accept": "image/png"},
        {"Range": "bytes=0-9"},
        {"If-None-Match": '"other"'},
        {"Accept-Encoding": "gzip"},
    ):
        yield Asked(path=discovery.PATH, headers=headers)
    for path in (
        *(f"/env/there/{form}" for form in FORMS),
        *(f"/env/there/1/{form}" for form in FORMS),
        *(
            "/env/",
            "/env",
            "/env/?limit=1",
            "/env/?limit=0",
            "/env/there/",
            "/env/there/",
            "/env/there",
            "/env/There/",
            "/env/nothing/",
        ),
        *("/env/there/latest/env.json", "/env/there/3/env.json", "/env/there/01/env.json"),
        *(
            "/env/There/1/env.json",
            "/env/THERE/env.json",
            "/env/gone/",
            "/env/gone/env.json",
            "/env/gone/1/env.json",
        ),
        *("/env/nothing/env.json", "/env/there/1/", "/env/there/1", "/env/there/1/other.txt", "/env/there/other.txt"),
        *(
            "/env/there/1/env.json/",
            "/env/there%2F1/env.json",
            f"/env/{'x' * 61}/env.json",
        ),
        *("/env/ppm-env-there/env.json", "/env/shut/", "/env/shut/env.json", "/env/shut/1/env.json"),
        *("/env/there/2/pylock.toml", "/simple/ppm-env-nothing/"),
    ):
        yield Asked(path=path)
    for path in ("/env/there/env.json", "/env/there/1/pylock.toml", "/env/there/", "/env/", "/env/nothing/env.json"):
        for method in ("HEAD", "POST", "PUT"):
            yield Asked(path=path, method=method)
    for path in (
        "/search?q=answered",
        "/search",
        "/api/packages/answered-here",
        "/api/packages/nothing",
        "/api/environments/there",
        "/api/environments/gone",
        "/healthz",
        "/healthz/write",
        "/health",
        "/answered-here/json",
        "/quarantined/json",
        "/nothing/json",
        *(
            "/pypi/answered-here/json",
            "/pypi/answered-here/2.0/json",
            "/pypi/Answered.Here/json",
            "/pypi/nothing/json",
        ),
        *("/pypi/answered-here/9.0/json", "/pypi/quarantined/json", "/pypi/answered-here/json/", "/pypi/x/y/z/json"),
        "/a/b/c",
        "/nothing",
        "/env",
        "/%E9",
    ):
        yield Asked(path=path)
        yield Asked(path=path, method="HEAD")


def strangers() -> Iterator[Asked]:
    """Yield every kind of path and method, for users without a right to any of them."""
    for path in (
        *("/", "/simple", "/simple/", PAGE, "/simple/Answered.Here/", "/simple/nothing/", "/simple/acme-x/", FILE),
        *(
            f"{FILE}.metadata",
            f"{FILE}.provenance",
            f"{FILE}.upload",
            "/packages/",
            "/packages/x/y-1.0.zip",
            f"/packages/{WHEEL[0]}",
        ),
        *("/packages/quarantined/quarantined-1.0-py3-none-any.whl", "/api/claims/requests"),
        *(
            "/legacy/",
            "/upload",
            "/RPC2",
            "/pypi",
            "/pypi/answered-here/json",
            "/nothing",
            "/a/b/c",
            "/answered-here/json",
            "/healthz",
            "/healthz/write",
            "/metrics",
            "//",
            *(
                "/env/x/a.txt",
                "/env/there/env.json",
                "/env/there/1/env.json",
                "/env/there/",
                "/env/",
                "/env/nothing/",
            ),
        ),
        *("/api/whoami", "/api/tokens", "/api/tokens/a+b", "/api/join", "/api/join/", "/api/%6aoin", "/api/stats"),
        "/api/web-login",
        *("/search?q=there", "/api/packages/answered-here", "/api/environments", "/api/environments/there"),
        *(discovery.PATH, f"{discovery.PATH}?x=1", f"{discovery.PATH}/", "/.well-known/", "/.well-known/other.json"),
    ):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"):
            for who in ("nobody", "wrong", "unknown"):
                yield Asked(path=path, method=method, who=who)
                if method == "GET":
                    yield Asked(path=path, method=method, who=who, headers={"Accept": "image/png"})
    paths = ("/simple/", PAGE, FILE, "/simple/Answered.Here/", "/simple/nothing/", "/env/there/", "/api/whoami", "/")
    methods = ("GET", "HEAD", "POST", "OPTIONS")
    for path, who, method in itertools.product(paths, ("secret alone", "wrong secret alone"), methods):
        yield Asked(path=path, method=method, who=who)
    for nonsense in ("Basic", "Basic !!!", "Basic YWJj", "Bearer x", "Digest a=b", "basic Og==", "Basic Og==", ""):
        yield Asked(path=PAGE, who="nobody", headers={"Authorization": nonsense})


def is_for_people(asked: Asked) -> bool:
    """Return whether a request is for a web page."""
    path = unquote(asked.path.partition("?")[0])
    if path in site.SHARED:
        return asked.method in ("GET", "HEAD") and "text/html" in asked.headers.get("Accept", "")
    return path in site.PATHS or path.split("/")[1] in site.FIRST


def web() -> Iterator[Asked]:
    """Yield each page as a browser and as a program ask for it, with and without a credential."""
    paths = (
        *("/", "/?x=1", "/search", "/search?q=answered", "/search?q=%22*", "/search/?q=x", "/upload/", "/upload"),
        *("/login", "/login/", "/login?next=/project/answered-here/", "/Login", "/%6cogin", "/login%2f", "/logout"),
        *("/projects/", "/projects", "/projects/?order=newest", "/projects/x", "/projectsx/", "/project/"),
        *("/project/answered-here/", "/project/answered-here/2.0/", "/project/Answered.Here/", "/project/nothing/"),
        *(
            "/project/answered-here",
            "/project/answered-here/9.9/",
            "/project/answered-here/files/nothing-1.0.tar.gz",
            "/project/quarantined/",
            "/project//answered-here/",
        ),
        *("/environments/", "/environment/there/", "/environment/nothing/", "/environment/there", "/environment/"),
        *("/account/", "/account", "/account/nothing", "/admin/", "/admin", "/admin/nothing", "/join", "/join/"),
        *("/static/style.css", "/static/page.js", "/static/icon.svg", "/static/nothing", "/static/", "/static"),
        *(
            "/upload/files",
            "/upload/files/",
            "/upload/x",
            "/project/answered-here/manage",
            "/admin/users/",
            "/admin/audit",
        ),
    )
    for path in paths:
        for who, method in itertools.product(("nobody", "browser"), ("GET", "HEAD", "POST")):
            yield Asked(path=path, method=method, who=who, headers={"Accept": BROWSER})
        for who in ("admin", "wrong", "secret alone", "wrong secret alone"):
            yield Asked(path=path, who=who, headers={"Accept": BROWSER})
    for path in ("/", "/?x=1", "/search?q=x", "/upload/", "/upload", "/login", "/projects/", "/upload/files"):
        for who, method in itertools.product(("nobody", "browser"), ("GET", "HEAD", "POST")):
            yield Asked(path=path, method=method, who=who)
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
            yield Asked(path=path, method=method, who="browser", headers={"Accept": BROWSER})
    for path in ("/", "/login", "/projects/", "/project/answered-here/", "/static/style.css"):
        for encoding in ENCODINGS:
            yield Asked(path=path, who="browser", headers={"Accept": BROWSER, "Accept-Encoding": encoding})
        yield Asked(path=path, who="browser", headers={"Accept": BROWSER, "Range": "bytes=0-9"})
        yield Asked(
            path=path, who="nobody", headers={"Accept": BROWSER, "Cookie": "ppm-session=x; __Host-ppm-session"}
        )
    for headers in ({"Origin": "https://other.example"}, {"Sec-Fetch-Site": "cross-site"}):
        yield Asked(path="/login", method="POST", who="nobody", headers={"Accept": BROWSER, **headers})


def validators(party: Party) -> Iterator[Asked]:
    for path, headers in (
        (PAGE, {"Accept": PIP}),
        ("/simple/", {"Accept": OLD_PIP}),
        (FILE, {}),
        (f"{FILE}.metadata", {}),
        ("/env/there/requirements.txt", {}),
        ("/env/there/1/requirements.txt", {}),
        ("/env/there/", {}),
    ):
        for encoding in ("identity", "gzip"):
            first = ask(party, Asked(path=path, headers={**headers, "Accept-Encoding": encoding})).headers
            etag, modified = first["ETag"], first["Last-Modified"]
            for condition in (
                *({"If-None-Match": value} for value in (etag, f'"other", {etag}', f"W/{etag}", "*", '"other"')),
                *({"If-Modified-Since": value} for value in (modified, "Mon, 01 Jan 2001 00:00:00 GMT", "nonsense")),
                {"If-None-Match": '"other"', "If-Modified-Since": modified},
                {"If-None-Match": etag, "If-Modified-Since": modified},
                *({"Range": "bytes=0-9", "If-Range": value} for value in (etag, modified, '"other"', f"W/{etag}")),
            ):
                for method in ("GET", "HEAD"):
                    sent = {**headers, "Accept-Encoding": encoding, **condition}
                    yield Asked(path=path, method=method, headers=sent)


def fill(index: Server | Served, ppmctl: Callable[[str], object]) -> None:
    """Make the projects that the table requests; `ppmctl` runs a command line on the server host."""
    assert index.upload(WHEEL, fields={"attestations": wheels.attestations(WHEEL)}).status_code == 200
    for made in (LOCAL, SDIST, *MORE):
        assert index.upload(made).status_code == 200
    for kind in ("emptied", "quarantined", "archived"):
        assert index.upload(wheels.wheel(kind, "1.0")).status_code == 200
    for name, numbers in (("there", (1, 2)), ("gone", (1,)), ("shut", (1,))):
        for number in numbers:
            lock = {"lock": LOCK} if number == 1 else {}
            assert index.upload(revision(name, number, "answered-here", **lock)).status_code == 200
    ppmctl("package yank ppm-env-gone 1")
    ppmctl("package status ppm-env-shut quarantined")
    ppmctl("package remove emptied 1.0 --yes")
    ppmctl("package status quarantined quarantined")
    ppmctl("package status archived archived")
    here = {"answered-here", "emptied", "quarantined", "archived"}
    until(
        lambda: here <= {one["name"] for one in index.get("/simple/", headers={"Accept": JSON}).json()["projects"]},
        "the list of projects follows",
        seconds=5,
    )


Rows = Callable[[Party], Iterator[Asked]]


def every(party: Party) -> Iterator[Asked]:
    """Yield the whole table, with the validators that `party` sends."""
    yield from (*pages(), *names(), *files(), *others(), *strangers(), *web(), *validators(party))


def sample(party: Party) -> Iterator[Asked]:
    """Yield the rows in which a path, method, header, value or kind of user occurs for the first time."""
    seen: set[object] = set()
    for asked in every(party):
        parts = {("path", asked.path), ("method", asked.method), ("who", asked.who), *asked.headers.items()}
        if not parts <= seen:
            seen |= parts
            yield asked


def differences(one: Party, other: Party, rows: Rows = every) -> tuple[int, list[str]]:
    """Return the number of requests sent to both, and their differences, the first one's answer first."""
    lines, count = [], 0
    for asked in rows(one):
        count += 1
        first, second = (what_counts(ask(party, asked), url=party.url, asked=asked) for party in (one, other))
        differing = [key for key in first if first[key] != second.get(key, first[key])]
        if differing:
            values = [f"{key} {first[key]!r} {second[key]!r}" for key in differing]
            lines.append(f"{asked}: {', '.join(values)}")
    for party in (one, other):
        party.connection.close()
    return count, lines
