"""Who may do what: every action with every credential, in and out of its projects, live and not, on every index."""

from __future__ import annotations

import itertools
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from support.deployed import eventually
from support.served import Served
from support.wheels import wheel

IN, OUT = "rights-in", "elsewhere-*"
_fresh = itertools.count(1)

# what each action wants of a role; None where any will do
ACTIONS: dict[str, str | None] = {
    "list": None,
    "page": None,
    "file": None,
    "metadata": None,
    "a name that is not here": None,
    "search": None,
    "XML-RPC search": None,
    "statistics": None,
    "whoami": None,
    "tokens": None,
    "token create, as strong": None,
    "token create, an admin's": "admin",
    "publish": "publisher",
    "yank": "publisher",
    "unyank": "publisher",
    "status": "admin",
    "remove": "admin",
}
SCOPED = {"publish", "yank", "unyank"}
ROLES = {
    "reader": ("reader", []),
    "publisher": ("publisher", []),
    "publisher, in": ("publisher", [IN]),
    "publisher, out": ("publisher", [OUT]),
    "admin": ("admin", []),
}
STATES = ("live", "expired", "disabled", "revoked", "wrong secret")
SHUT = {
    "none": {},
    "unknown": {"Authorization": "Basic " + b64encode(b"nobody:ppm_secret").decode()},
    "no colon": {"Authorization": "Basic " + b64encode(b"nobody").decode()},
    "no Base64": {"Authorization": "Basic %%%"},
    "empty": {"Authorization": "Basic " + b64encode(b":").decode()},
    "another scheme": {"Authorization": "Bearer ppm_secret"},
    "no scheme": {"Authorization": "ppm_secret"},
    "no UTF-8": {"Authorization": "Basic " + b64encode(b"\xff\xfe:\xff").decode()},
    "long": {"Authorization": "Basic " + b64encode(b"x" * 900 + b":y").decode()},
}


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A credential: what it is for, whether it is live, and what a request with it carries."""

    role: str
    projects: list[str]
    state: str
    name: str
    headers: dict[str, str]

    def expected(self, action: str) -> int:
        wanted = ACTIONS[action]
        if self.state != "live":
            return 401
        order = ["reader", "publisher", "admin"]
        if wanted is not None and order.index(self.role) < order.index(wanted):
            return 403
        return 403 if action in SCOPED and self.projects == [OUT] else 200


@pytest.fixture(scope="module")
def place(index: Served) -> Iterator[Served]:
    """The index, with what is asked for; a user whose tokens are asked with, and one that is disabled."""
    for version in ("1.0", "2.0"):
        index.upload(wheel(IN, version))
    yield index
    for user in ("rights", "shut"):
        index.ppmctl(f"user remove {user}")


@pytest.fixture(scope="module")
def holders(place: Served) -> list[Holder]:
    found: list[Holder] = []
    secrets = {user: place.ppmctl(f"user add {user} --role admin").split()[-1] for user in ("rights", "shut")}
    expiring = 0.0
    for state, (name, (role, projects)) in itertools.product(STATES, ROLES.items()):
        user = "shut" if state == "disabled" else "rights"
        wanted = {"name": f"{user}+{state}-{name}".replace(" ", "-").replace(",", ""), "role": role}
        body = wanted | {"projects": projects, "expires": "1s" if state == "expired" else "1h"}
        made = place.ask("POST", "/api/tokens", json=body, auth=(user, secrets[user]))
        assert made.status_code == 201, made.text
        secret = made.json()["secret"] if state != "wrong secret" else "ppm_" + "x" * 43
        headers = {"Authorization": "Basic " + b64encode(f"{wanted['name']}:{secret}".encode()).decode()}
        found.append(Holder(role=role, projects=projects, state=state, name=wanted["name"], headers=headers))
        if state == "expired":
            expiring = time.monotonic() + 1.1
        if state == "revoked":
            assert place.ask("GET", "/simple/", auth=None, headers=headers).status_code == 200
            gone = place.ask("DELETE", f"/api/tokens/{wanted['name']}", auth=(user, secrets[user]))
            assert gone.status_code == 200, gone.text
    place.ppmctl("user disable shut")
    eventually(time.monotonic, lambda now: now > expiring)
    place.ppmctl("token prune")  # what the timer does within a minute
    for name, headers in SHUT.items():
        found.append(Holder(role="", projects=[], state=name, name=name, headers=headers))
    return found


def test_every_action_with_every_credential(place: Served, holders: list[Holder], figures: list[str]) -> None:
    """401 for who is nobody, whatever is asked for; 403 for who has not the right; and the others get it."""
    seen = {(holder.name, action): asked(place, holder, action) for holder in holders for action in ACTIONS}
    wrong = [
        f"{holder.name}, {action}: {seen[holder.name, action].status_code}, not {holder.expected(action)}"
        f" ({seen[holder.name, action].text[:80]!r})"
        for holder in holders
        for action in ACTIONS
        if status(seen[holder.name, action]) != holder.expected(action)
    ]
    assert wrong == []
    for one in seen.values():
        assert (one.status_code == 401) == ("WWW-Authenticate" in one.headers)
    if not any("who may do what" in line for line in figures):
        figures.extend(table(holders))
    figures.append(f"    the same on {place.url}: {len(seen)} requests")


def test_refusals_are_in_the_audit_and_no_secret_is(place: Served, holders: list[Holder]) -> None:
    reader = next(holder for holder in holders if (holder.state, holder.role) == ("live", "reader"))
    refused = asked(place, reader, "publish")
    assert refused.status_code == 403
    lines = [json.loads(line) for line in place.look("tail -n 40 audit.jsonl").splitlines()]
    found = [line for line in lines if line.get("by") == reader.name and "403" in json.dumps(line)]
    assert found, lines
    audit = place.look("cat audit.jsonl")
    for holder in holders:
        sent = holder.headers.get("Authorization", "").partition(" ")[2]
        assert not sent or sent not in audit
    # as they are issued; a project may be called ppm_something
    assert not re.search(r"ppm_(?=[a-z0-9_-]*[A-Z])[\w-]{40,}", audit)


def asked(index: Served, holder: Holder, action: str) -> requests.Response:
    """The answer to an action, made so that it would be done if it were allowed, and could be once more."""

    def ask(method: str, path: str, **options: object) -> requests.Response:
        return index.ask(method, path, auth=_bare, headers=headers, **options)

    headers = dict(holder.headers)
    made = wheel(IN, f"3.{next(_fresh)}")
    file = f"/packages/{IN}/{wheel(IN, '1.0')[0]}"
    purpose = f"{holder.name.partition('+')[0]}+made-{next(_fresh)}"
    searched = (
        b"<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct><member>"
    )
    searched += b"<name>name</name><value><array><data><value><string>rights</string></value></data></array></value>"
    searched += (
        b"</member></struct></value></param><param><value><string>or</string></value></param></params></methodCall>"
    )
    ways: dict[str, Callable[[], requests.Response]] = {
        "list": lambda: ask("GET", "/simple/"),
        "page": lambda: ask("GET", f"/simple/{IN}/"),
        "file": lambda: ask("GET", file),
        "metadata": lambda: ask("GET", f"{file}.metadata"),
        "a name that is not here": lambda: ask("GET", "/simple/six/"),
        "search": lambda: ask("GET", "/api/packages?q=rights"),
        "XML-RPC search": lambda: ask("POST", "/RPC2", data=searched),
        "statistics": lambda: ask("GET", "/api/stats"),
        "whoami": lambda: ask("GET", "/api/whoami"),
        "tokens": lambda: ask("GET", "/api/tokens"),
        "token create, as strong": lambda: ask(
            "POST",
            "/api/tokens",
            json={"name": purpose, "role": holder.role or "reader", "projects": holder.projects, "expires": "1m"},
        ),
        "token create, an admin's": lambda: ask(
            "POST", "/api/tokens", json={"name": purpose, "role": "admin", "expires": "1m"}
        ),
        "publish": lambda: ask("POST", "/", data={":action": "file_upload"}, files={"content": made}),
        "yank": lambda: ask("PUT", f"/api/packages/{IN}/2.0/yank"),
        "unyank": lambda: ask("DELETE", f"/api/packages/{IN}/2.0/yank"),
        "status": lambda: ask("PUT", f"/api/packages/{IN}/status", json={"status": "active"}),
        "remove": lambda: ask("DELETE", f"/api/packages/{IN}/{there}"),
    }
    there = "2.0"
    if action == "remove":
        there = f"4.{next(_fresh)}"
        if holder.expected(action) == 200:
            assert index.upload(wheel(IN, there)).status_code == 200
    return ways[action]()


def _bare(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """For requests: no credential but that of the headers."""
    return request


def status(answer: requests.Response) -> int:
    """200 for all that is done: a redirect to another index, or what was made."""
    return 200 if answer.status_code in (201, 302) else answer.status_code


def table(holders: list[Holder]) -> list[str]:
    """What is expected, for people: a row for each kind of credential."""
    rows = {holder.name: [holder.expected(action) for action in ACTIONS] for holder in holders}
    wide = max(len(name) for name in rows)
    head = [f"who may do what: {', '.join(f'{number} {action}' for number, action in enumerate(ACTIONS, 1))}"]
    head.append(" " * wide + "".join(f"{number:>5}" for number in range(1, len(ACTIONS) + 1)))
    return head + [f"{name:{wide}}" + "".join(f"{code:>5}" for code in codes) for name, codes in rows.items()]
