"""Tests of tokens and invites over HTTP: who may create, list and revoke them; a code works once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from support.evidence import until
from support.servers import Server, ppmctl

Auth = tuple[str, str]


def add(server: Server, name: str, role: str, *options: str) -> Auth:
    return name, ppmctl("user", "add", name, "--role", role, *options, "--root", str(server.root)).stdout.strip()


def ask(server: Server, method: str, path: str, auth: Auth | None, body: Any = None) -> requests.Response:
    return requests.request(method, server.url + path, auth=auth, json=body, timeout=60, allow_redirects=False)


def create(server: Server, auth: Auth, name: str, role: str, **more: Any) -> requests.Response:
    return ask(server, "POST", "/api/tokens", auth, {"name": name, "role": role, **more})


def names(server: Server, auth: Auth) -> list[str]:
    return [each["name"] for each in ask(server, "GET", "/api/tokens", auth).json()["tokens"]]


def audited(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (server.root / "audit.jsonl").read_text().splitlines()]


def invite(server: Server, name: str, *options: str) -> str:
    return ppmctl("user", "invite", name, *options, "--root", str(server.root)).stdout.strip()


def shown(server: Server, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ppmctl("user", "show", name, "--json", "--root", str(server.root)).stdout)
    return document


def join(server: Server, code: str, **more: Any) -> requests.Response:
    return ask(server, "POST", "/api/join", None, {"code": code, **more})


# a user's own tokens


def test_a_token_is_created_used_listed_and_revoked(index: Server) -> None:
    """The secret is shown once, works at once, and fails at the next request after its revocation."""
    ann = add(index, "ann", "publisher", "--project", "acme-*", "--email", "ann@index.example")
    made = create(index, ann, "laptop", "reader", expires="90d")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    values = made.json()
    assert (values["name"], values["owner"], values["role"]) == ("ann+laptop", "ann", "reader")
    laptop = (values["name"], values["secret"])
    who = ask(index, "GET", "/api/whoami", laptop)
    assert who.headers["Cache-Control"] == "no-store"
    assert who.json() == {key: value for key, value in values.items() if key != "secret"}
    assert names(index, ann) == names(index, laptop) == ["ann", "ann+laptop"]
    assert values["secret"] not in ask(index, "GET", "/api/tokens", ann).text
    assert ask(index, "GET", "/simple/", laptop).status_code == 200
    gone = ask(index, "DELETE", "/api/tokens/ann%2Blaptop", ann)
    assert (gone.status_code, gone.json()) == (200, {"revoked": ["ann+laptop"]})
    assert ask(index, "GET", "/simple/", laptop).status_code == 401
    assert values["secret"] not in (index.root / "audit.jsonl").read_text() + index.log.read_text()
    done = [(line["action"], line["by"], line["what"].split()[0], line["result"]) for line in audited(index)[-2:]]
    assert done == [("token create", "ann", "ann+laptop", "done"), ("token revoke", "ann", "ann+laptop", "done")]


def test_days_to_expiry(index: Server) -> None:
    dan = add(index, "dan", "publisher")
    assert create(index, dan, "month", "reader", expires_days=30).status_code == 201
    granted = datetime.fromisoformat(shown(index, "dan+month")["expires"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < granted <= timedelta(days=30)
    for wrong in (
        {"expires_days": 30, "expires": "30d"},
        *({"expires_days": days} for days in (0, -1, "30", True, 1.5)),
    ):
        assert create(index, dan, "wrong", "reader", **wrong).status_code == 400, wrong
    assert names(index, dan) == ["dan", "dan+month"]


def test_a_token_is_revoked_by_its_secret(index: Server) -> None:
    """By its user or by itself; other users learn nothing, and the secret gets into no log."""
    eve, mallory = add(index, "eve", "publisher"), add(index, "mallory", "admin")
    made = create(index, eve, "leaked", "publisher").json()
    body = {"token": made["secret"]}
    assert ask(index, "DELETE", "/api/tokens", None, body).status_code == 401
    for who, sent in ((mallory, body), (eve, {"token": eve[1]}), (eve, {"token": "ppm_unknown"})):
        refused = ask(index, "DELETE", "/api/tokens", who, sent)
        assert (refused.status_code, "No token of" in refused.text) == (404, True)
    for wrong in (None, {}, {"token": ""}, {"token": 1}, {"token": made["secret"], "name": "x"}):
        assert ask(index, "DELETE", "/api/tokens", eve, wrong).status_code == 400
    weaker = create(index, eve, "weaker", "reader").json()
    assert ask(index, "DELETE", "/api/tokens", ("eve+weaker", weaker["secret"]), body).status_code == 403
    revoked = ask(index, "DELETE", "/api/tokens", ("eve+leaked", made["secret"]), body)
    assert (revoked.status_code, revoked.json()) == (200, {"revoked": ["eve+leaked"]})
    assert ask(index, "DELETE", "/api/tokens", eve, {"token": weaker["secret"]}).json() == {"revoked": ["eve+weaker"]}
    assert names(index, eve) == ["eve"]
    written = (index.root / "audit.jsonl").read_text() + index.log.read_text()
    assert not [secret for secret in (made["secret"], weaker["secret"], eve[1]) if secret in written]


def test_whoami_limits_a_tokens_role_to_its_owners(index: Server) -> None:
    """A publisher's token is a reader's as soon as its owner is a reader."""
    bea = add(index, "bea", "publisher", "--project", "salt-*", "--expires", "10d")
    values = create(index, bea, "bea+ci", "publisher").json()
    token = ("bea+ci", values["secret"])
    assert values["projects"] == ["salt-*"], "a scoped owner's, where none are asked for"
    assert values["expires"] == ask(index, "GET", "/api/whoami", bea).json()["expires"] is not None
    ppmctl("user", "change", "bea", "--role", "reader", "--root", str(index.root))
    assert ask(index, "GET", "/api/whoami", token).json()["role"] == "reader"


@dataclass(frozen=True)
class Try:
    """A request of the credential `who`, and the expected answer."""

    who: str
    method: str
    path: str
    body: dict[str, Any] | None
    status: int

    def __str__(self) -> str:
        return f"{self.who}: {self.method} {self.path} {self.body or ''} → {self.status}"


def _create(who: str, status: int, name: str, role: str, **more: Any) -> Try:
    return Try(who, "POST", "/api/tokens", {"name": name, "role": role, **more}, status)


def _revoke(who: str, status: int, name: str) -> Try:
    return Try(who, "DELETE", f"/api/tokens/{name}", None, status)


TABLE = (
    # no more rights than its own: role
    _create("reader", 201, "a", "reader"),
    _create("reader", 403, "b", "publisher"),
    _create("reader", 403, "b", "admin"),
    _create("scoped", 403, "b", "admin"),
    _create("scoped+reading", 403, "b", "publisher"),
    _create("boss", 201, "a", "admin"),
    _create("boss+reading", 403, "b", "publisher"),
    # projects
    _create("scoped", 201, "a", "publisher", projects=["acme-*"]),
    _create("scoped", 201, "c", "publisher", projects=["acme-one"]),
    _create("scoped", 403, "b", "publisher", projects=["*"]),
    _create("scoped", 403, "b", "publisher", projects=["acme-*", "other"]),
    _create("scoped", 403, "b", "publisher", projects=["acme*"]),
    # lifetime
    _create("short", 403, "b", "reader", expires="365d"),
    _create("short", 201, "a", "reader", expires="1h"),
    _create("scoped+brief", 403, "b", "reader", expires="20d"),
    # owner
    _create("reader", 403, "scoped+mine", "reader"),
    _create("reader", 403, "scoped+reading", "reader"),  # as for one that does not exist
    _create("boss", 403, "reader+theirs", "reader"),
    _create("reader", 403, "nobody+x", "reader"),
    _revoke("reader", 404, "scoped+reading"),
    _revoke("reader", 404, "nobody+x"),
    _revoke("reader", 404, "reader+none"),
    _revoke("scoped+reading", 403, "scoped+brief"),  # more rights than its own
    _revoke("scoped", 404, "scoped"),  # a purpose: scoped+scoped
    _revoke("scoped+narrow", 403, "scoped+brief"),  # with more projects
    _revoke("scoped+brief", 403, "scoped+wide"),  # without an expiry
    _revoke("scoped+narrow", 404, "scoped+none"),
    _create("scoped+narrow", 201, "child", "publisher", projects=["acme-one"], expires="1h"),
    _revoke("scoped+narrow", 200, "child"),
    _revoke("scoped+narrow", 200, "narrow"),
    _revoke("scoped", 404, "boss+reading"),
    _revoke("boss", 200, "reader%2Ba"),
    _revoke("boss", 404, "reader%2Ba"),
    _revoke("scoped", 200, "scoped+a"),
    # invalid values
    _create("scoped", 400, "x y", "reader"),
    _create("scoped", 400, "", "reader"),
    _create("scoped", 400, "a+b+c", "reader"),
    _create("scoped", 400, "d", "king"),
    _create("scoped", 400, "d", "publisher", projects="acme-*"),
    _create("scoped", 400, "d", "publisher", projects=[1]),
    _create("scoped", 400, "d", "publisher", projects=["../x"]),
    _create("scoped", 400, "d", "reader", expires="soon"),
    _create("scoped", 400, "d", "reader", expires=90),
    _create("scoped", 400, "d", "reader", expires=""),
    _create("scoped", 400, "d", "publisher", project=["acme-one"]),
    _create("scoped", 400, "d", "reader", expire="1d"),
    _create("scoped", 409, "c", "reader"),
    Try("scoped", "POST", "/api/tokens", {}, 400),
    Try("scoped", "PUT", "/api/tokens", None, 405),
    Try("scoped", "GET", "/api/tokens/scoped+c", None, 405),
    Try("scoped", "GET", "/api/tokens/", None, 404),
    Try("scoped", "GET", "/api/tokens/x/y", None, 404),
    Try("scoped", "DELETE", "/api/whoami", None, 405),
    Try("scoped", "GET", "/api/whoami/x", None, 404),
    # authentication
    *(
        Try(who, method, path, None, 401)
        for who in ("nobody", "wrong", "gone")
        for method, path in (("GET", "/api/whoami"), ("GET", "/api/tokens"), ("POST", "/api/tokens"))
    ),
    _revoke("wrong", 401, "scoped+c"),
)


def test_no_credential_creates_or_revokes_beyond_its_rights(serve: Callable[..., Server]) -> None:
    """Also with public reads: /api/tokens and /api/whoami have no anonymous answer."""
    server = serve("--read-access", "public")
    who: dict[str, Auth | None] = {
        "nobody": None,
        "wrong": ("scoped", "ppm_wrong"),
        "reader": add(server, "reader", "reader"),
        "scoped": add(server, "scoped", "publisher", "--project", "acme-*"),
        "scoped+reading": add(server, "scoped+reading", "reader"),
        "scoped+brief": add(server, "scoped+brief", "publisher", "--project", "acme-*", "--expires", "10d"),
        "scoped+wide": add(server, "scoped+wide", "publisher"),
        "scoped+narrow": add(server, "scoped+narrow", "publisher", "--project", "acme-one"),
        "short": add(server, "short", "reader", "--expires", "2d"),
        "boss": add(server, "boss", "admin"),
        "boss+reading": add(server, "boss+reading", "reader"),
        "gone": add(server, "gone", "admin"),
    }
    ppmctl("user", "disable", "gone", "--root", str(server.root))
    got = [ask(server, each.method, each.path, who[each.who], each.body) for each in TABLE]
    assert [f"{each} {answer.text}" for each, answer in zip(TABLE, got, strict=True)] == [
        f"{each} {answer.text}" if answer.status_code == each.status else f"{each}, not {answer.status_code}"
        for each, answer in zip(TABLE, got, strict=True)
    ]
    theirs, nobodys = (
        ask(server, "DELETE", f"/api/tokens/{name}", who["reader"]).text for name in ("scoped+c", "nobody+c")
    )
    assert theirs.replace("scoped", "nobody") == nobodys, "whether somebody else has a token is not told"
    reader = who["reader"]
    assert reader is not None
    assert names(server, reader) == ["reader"]
    refused = [line for line in audited(server) if line.get("status") == 403]
    assert {(line["action"], line["by"]) for line in refused} >= {("token create", "reader")}


# invites


def test_an_invite_code_gives_one_token(index: Server) -> None:
    """The token has the user's own rights; the code is nowhere on the volume afterwards."""
    code = invite(index, "carl", "--role", "publisher", "--project", "acme-*", "--expires", "30d")
    assert code.startswith("ppm_join_")
    assert shown(index, "carl")["invite"]["by"].startswith("unix:")
    assert "has an open invite" in ppmctl("user", "show", "carl", "--root", str(index.root)).stderr
    path = index.root / "credentials" / "invites"
    assert path.stat().st_mode & 0o777 == 0o600
    assert code not in path.read_text()
    made = join(index, code, purpose="laptop")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    values = made.json()
    laptop = (values["name"], values["secret"])
    assert laptop[0] == "carl+laptop"
    who = ask(index, "GET", "/api/whoami", laptop).json()
    assert (who["role"], who["projects"]) == ("publisher", ["acme-*"])
    assert who["expires"] is not None
    again = join(index, code, purpose="laptop")
    assert again.status_code == 403
    assert shown(index, "carl")["invite"] is None
    printed = "".join(
        file.read_text(errors="replace") for file in [index.log, *(p for p in index.root.rglob("*") if p.is_file())]
    )
    assert code not in printed
    assert values["secret"] not in printed
    lines = [(line["action"], line["by"], line["what"].partition(" ")[0]) for line in audited(index)]
    assert ("user join", "carl", "carl+laptop") in lines
    assert any(action == "user invite" and what == "carl" for action, _by, what in lines)


def test_every_invalid_code_gets_the_same_answer(index: Server) -> None:
    """Never issued, used, withdrawn, replaced, expired, or of a disabled, expired, removed or recreated user."""
    root = ("--root", str(index.root))
    codes = {"never": "ppm_join_" + "x" * 32, "empty prefix": "ppm_join_"}
    for how in ("used", "withdrawn", "replaced", "expired", "disabled", "ended", "removed", "anew"):
        options = ("--expires", "1s") if how == "ended" else ()
        codes[how] = invite(index, f"void-{how}", "--role", "reader", *options)
    assert join(index, codes["used"]).status_code == 201
    ppmctl("user", "invite", "void-withdrawn", "--withdraw", *root)
    fresh = invite(index, "void-replaced")
    path = index.root / "credentials" / "invites"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["name"] == "void-expired":
            line["expires"] = "2026-01-01T00:00:00Z"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ppmctl("user", "disable", "void-disabled", *root)
    ppmctl("user", "remove", "void-removed", *root)
    ppmctl("user", "remove", "void-anew", *root)
    add(index, "void-anew", "admin")
    until(lambda: shown(index, "void-ended")["state"] == "expired", "void-ended expires")
    before = len(audited(index))
    answers = {how: join(index, code) for how, code in codes.items()}
    refused = audited(index)[before:]
    assert {(answer.status_code, answer.reason, answer.text) for answer in answers.values()} == {
        (403, answers["never"].reason, answers["never"].text)
    }
    assert join(index, fresh).status_code == 201, "the one that replaced another works"
    ppmctl("user", "enable", "void-disabled", *root)
    assert join(index, codes["disabled"]).status_code == 201, "as of a user that was away"
    ppmctl("token", "prune", *root)
    assert "void-expired" not in path.read_text()
    assert [(line["action"], line["status"]) for line in refused] == [("user join", 403)] * len(codes)
    assert "ppm_join_" not in (index.root / "audit.jsonl").read_text()


def test_one_of_many_parallel_exchanges_gets_the_token(index: Server) -> None:
    for round_ in range(3):
        code = invite(index, f"race{round_}", "--role", "reader")
        barrier = threading.Barrier(12)

        def exchange(number: int, code: str = code, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            return join(index, code, purpose=f"p{number}").status_code

        with ThreadPoolExecutor(12) as pool:
            assert sorted(pool.map(exchange, range(12))) == [201, *[403] * 11]
        assert len(shown(index, f"race{round_}")["tokens"]) == 1


def test_a_second_machine_gets_its_own_token_name(index: Server) -> None:
    """An invite of a user that has tokens replaces none of them."""
    first = join(index, invite(index, "dora", "--role", "reader"), purpose="laptop").json()
    second = join(index, invite(index, "dora"), purpose="laptop").json()
    assert (first["name"], second["name"]) == ("dora+laptop", "dora+laptop-2")
    for made in (first, second):
        assert ask(index, "GET", "/simple/", (made["name"], made["secret"])).status_code == 200
    assert ask(index, "DELETE", "/api/tokens/dora+laptop", (first["name"], first["secret"])).status_code == 200
    assert ask(index, "GET", "/simple/", (second["name"], second["secret"])).status_code == 200


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("GET", b"", 405),
        ("POST", b"", 400),
        ("POST", b"[]", 400),
        ("POST", b'{"code": 5}', 400),
        ("POST", b'{"code": "x", "purpose": "a b"}', 400),
        ("POST", b'{"code": "x", "purpose": 5}', 400),
        ("POST", b'{"code": "\\ud800"}', 403),
        ("POST", b'{"code": "' + b"a" * 20_000 + b'"}', 413),
    ],
)
def test_an_invalid_exchange_is_refused(index: Server, method: str, body: bytes, status: int) -> None:
    kind = {"Content-Type": "application/json"}
    answer = requests.request(method, f"{index.url}/api/join", data=body, headers=kind, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/plain; charset=utf-8")


def test_an_invalid_invite_is_refused_with_the_reason(index: Server) -> None:
    root = ("--root", str(index.root))
    add(index, "emil", "reader")
    for arguments, code, message in (
        (("emil+laptop",), 2, "a token's name"),
        (("emil", "--role", "admin"), 2, "changes no rights"),
        (("nobody-yet",), 2, "--role ROLE creates"),
        (("no body", "--role", "reader"), 2, "can't be the name"),
        (("emil", "--withdraw"), 1, "no open invite"),
        (("emil", "--withdraw", "--role", "reader"), 2, "takes no other options"),
    ):
        done = ppmctl("user", "invite", *arguments, *root, expect=code)
        assert message in done.stderr
        assert done.stdout == ""
    ppmctl("user", "disable", "emil", *root)
    assert "is disabled" in ppmctl("user", "invite", "emil", *root, expect=1).stderr
