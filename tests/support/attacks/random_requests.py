"""Requests from a seed to every endpoint: none may make the server fail, whatever is in it."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from support import wheels
from support.attacks.bodies import MULTIPART, URLENCODED, field, form
from support.attacks.model import Attack
from support.raw import Target, request

SEED = int(os.environ.get("PPM_TEST_SEED") or 15)
METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW")
PATHS = (
    *("/", "/simple/", "/simple/{}/", "/simple/{}", "/packages/", "/packages/{}/{}", "/packages/{}", "/{}/json"),
    *("/legacy/", "/upload", "/RPC2", "/RPC2/{}", "/healthz", "/.well-known/ppm.json", "/{}/{}/{}", "/{}"),
    *("/env/", "/env/{}", "/env/{}/", "/env/{}/{}", "/env/{}/{}/{}", "/api/packages", "/api/packages/{}/status"),
    *("/api/packages/{}/{}/yank", "/api/packages/{}/{}", "/api/packages/{}", "/api/stats", "/api/whoami"),
    *("/api/join", "/api/tokens", "/api/tokens/{}", "/api/tokens/{}+{}", "/api/{}"),
)
KNOWN = ("known", "ppm-env-team", "team", "1.0", "latest", "env.json", "known-1.0.tar.gz")
NAMES = (
    *("Known", "1", "status", "yank", "a" * 200, "known-1.0-py3-none-any.whl.metadata", "nothing"),
    *("", ".", "..", "/", "//", "/etc/passwd", "../known", "a/../b", "\\", "\0", "known\0", "a\nb", "\r\n", "%"),
    *("9" * 5_000, "1!" + "9" * 4_400, "-" * 5_000, "a" * 5_000, "1." * 2_000 + "1", "(a+)+$", "*", "[a", "{{x}}"),
    *("\u0661", "\u202e", "\U0001f600", "\ud800", "\udcff", "é", "\ufb01", "\u0130", "0x10", "1e9", "-1", "NaN"),
    *("true", "null", "~", "+", "'\"", "admin", "admin+fuzz", "ppm_env_team-1-py3-none-any.whl", "team/1"),
)
KEYS = ("q", "limit", "after", "owner", "name", "role", "projects", "expires", "code", "purpose", "status", "reason")
FIELDS = (":action", "name", "version", "content", "gpg_signature", "md5_digest", "attestations", "classifiers")
ACTIONS = ("file_upload", "submit", "verify", "remove_pkg", "doc_upload")
KINDS = ("application/json", MULTIPART, URLENCODED, "text/xml", "text/plain", "multipart/form-data", "x", "é")
ENCODINGS = ("utf-8", "utf-16", "utf-7", "idna", "punycode", "x", "base64", "unicode_escape", "ascii", "cp437")
HEADERS = (
    *("Accept", "Accept-Encoding", "Range", "If-Range", "If-Modified-Since", "If-None-Match", "Cookie", "User-Agent"),
    *("X-Forwarded-Proto", "X-Forwarded-Host", "Content-Encoding", "Origin", "Sec-Fetch-Site", "Expect", "Via"),
)
VALUES = (
    *("*/*", "gzip", "bytes=0-", "bytes=-1", "bytes=9-1", f"bytes={'9' * 5_000}-", "W/x", '"', "é", ";q=", "null"),
    *("a=b", "text/html;q=1e999", "gzip;q=nan", "text/html;" * 200, "Thu, 01 Jan 0000 00:00:00 GMT", "100-continue"),
    *("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "Mon, 01 Jan 99999999999 00:00:00 GMT", "bytes=0-1"),
)
BAD_CREDENTIALS = ("Basic", "Basic !", "Bearer x", "Basic w6k6", "Basic " + "A" * 4_000, "Digest username=x")


class Fuzzer:
    """Makes requests from a seed."""

    def __init__(self, seed: int, *credentials: str) -> None:
        self._chance = random.Random(seed)
        self._credentials = credentials

    def request(self) -> tuple[str, str, dict[str, str], bytes]:
        """Return a method, a target, headers and a body; most have a credential, so that they get further."""
        chance = self._chance
        method = chance.choice(METHODS)
        path = chance.choice(PATHS)
        names = [self._name() for _place in range(path.count("{}"))]
        target = path.format(*(quote(name, safe="", errors="surrogatepass") for name in names))
        if chance.random() < 0.4:
            target += "?" + urlencode(self._pairs(KEYS), errors="surrogatepass")
        kind, body = self._body() if method not in ("GET", "HEAD") else ("", b"")
        headers = {"Content-Length": str(len(body))} | ({"Content-Type": kind} if kind else {})
        for _number in range(chance.choice((0, 0, 1, 2))):
            headers[chance.choice(HEADERS)] = chance.choice((*VALUES, *KNOWN))
        if chance.random() < 0.95:
            headers["Authorization"] = chance.choice((*self._credentials * 50, *BAD_CREDENTIALS))
        return method, target, headers, body

    def _name(self) -> str:
        chance = self._chance
        name = chance.choice(KNOWN if chance.random() < 0.4 else NAMES)
        if chance.random() < 0.1:
            name += chance.choice(NAMES)
        if chance.random() < 0.1:
            name = "".join(chr(chance.randrange(chance.choice((128, 0x3000)))) for _letter in range(9))
        return name

    def _pairs(self, keys: tuple[str, ...]) -> list[tuple[str, str]]:
        count = self._chance.randrange(4)
        return [(self._chance.choice((*keys, self._name())), self._name()) for _pair in range(count)]

    def _body(self) -> tuple[str, bytes]:
        chance = self._chance
        maker = chance.choice((self._json, self._form, self._urlencoded, self._xml, self._noise))
        kind, body = maker()
        if chance.random() < 0.1:
            kind = chance.choice(KINDS)
        if chance.random() < 0.1:
            body = body[: chance.randrange(len(body) + 1)]
        if body and chance.random() < 0.1:
            place = chance.randrange(len(body))
            body = body[:place] + chance.randbytes(3) + body[place:]
        return kind, body

    def _json(self) -> tuple[str, bytes]:
        values = {key: self._value(3) for key, _value in self._pairs(KEYS)}
        text = json.dumps(values, ensure_ascii=self._chance.random() < 0.5)
        return "application/json", text.encode(errors="replace")

    def _value(self, depth: int) -> object:
        chance = self._chance
        plain = (self._name(), 10**400, -1, 0.5, None, True, "reader", "90d", ["known"], {}, float("nan"), "active")
        if depth and chance.random() < 0.2:
            return [self._value(depth - 1), {self._name(): self._value(depth - 1)}]
        return chance.choice(plain)

    def _form(self) -> tuple[str, bytes]:
        chance = self._chance
        parts = [field(":action", chance.choice(ACTIONS))] if chance.random() < 0.9 else []
        for name, value in self._pairs(FIELDS):
            filename = chance.choice((None, self._name())) if name in ("content", "gpg_signature") else None
            parts.append(field(*(_clean(text) for text in (name, value)), filename=filename and _clean(filename)))
        if chance.random() < 0.4:
            version = chance.choice(("1.0", "1", "9" * 4_400))
            made = wheels.wheel("fuzzed", "1.0", meta=wheels.metadata("fuzzed", version))
            parts.append(field("content", made[1], filename=chance.choice((made[0], "fuzzed-1.0.tar.gz"))))
        chance.shuffle(parts)
        return MULTIPART, form(*parts)

    def _urlencoded(self) -> tuple[str, bytes]:
        pairs = [(":action", self._chance.choice(ACTIONS)), *self._pairs(FIELDS)]
        return URLENCODED, urlencode(pairs, errors="surrogatepass").encode()

    def _xml(self) -> tuple[str, bytes]:
        chance = self._chance
        inner, depth = f"<string>{self._name()}</string>", chance.choice((0, 1, 40, 700, 1_500))
        tag = chance.choice(("a", "methodName", "string", "params"))
        name = chance.choice(("<methodName>search</methodName>", "<methodName/>", "<methodName>é</methodName>", ""))
        xml = f"<methodCall>{name}{f'<{tag}>' * depth}{inner}{f'</{tag}>' * depth}</methodCall>"
        declared = f'<?xml version="1.0" encoding="{chance.choice(ENCODINGS)}"?>' if chance.random() < 0.3 else ""
        return "text/xml", (declared + xml).encode(errors="replace")

    def _noise(self) -> tuple[str, bytes]:
        return self._chance.choice(KINDS), self._chance.randbytes(self._chance.randrange(200))


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


def random_requests(target: Target, number: int = 300) -> Iterator[Attack]:
    """Yield requests, the same in every run; another PPM_TEST_SEED tries others."""
    fuzzer = Fuzzer(SEED, target.credential)
    for _number in range(number):
        method, path, headers, body = fuzzer.request()
        auth = sendable(headers.pop("Authorization")).decode("latin-1") if "Authorization" in headers else None
        lines = [f"{name}: {sendable(value).decode('latin-1')}" for name, value in headers.items()]
        yield Attack(
            group="random",
            shown=f"{method} {path[:200]} {headers} {body[:300]!r}",
            expected="any answer but a failure",
            sent=request(target, f"{method} {path}", *lines, auth=auth) + body,
            judge=lambda reply: len(reply.answers) == 1,
            head=method == "HEAD",
        )


def sendable(value: str) -> bytes:
    """Return the value of a header that every server reads as one."""
    return value.encode("latin-1", "replace")[:3_000].replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
