"""Rights: every action with every credential, in and out of its scope, live and not, on every index."""

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

IN_SCOPE, OUT_OF_SCOPE = "rights-in", "elsewhere-*"
_fresh = itertools.count(1)

# action → the role that it needs, or None if any role is enough
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
    "metrics": "admin",
    "tokens": None,
    "token create, as strong": None,
    "token create, an admin's": "admin",
    "publish": "publisher",
    "yank": "publisher",
    "unyank": "publisher",
    "status": "admin",
    "claim": "admin",
    "unclaim": "admin",
    "remove": "admin",
}
SCOPED = {"publish", "yank", "unyank"}
ROLES = {
    "monitor": ("monitor", []),
    "reader": ("reader", []),
    "publisher": ("publisher", []),
    "publisher, in": ("publisher", [IN_SCOPE]),
    "publisher, out": ("publisher", [OUT_OF_SCOPE]),
    "admin": ("admin", []),
}
STATES = ("live", "expired", "disabled", "revoked", "wrong secret")
INVALID_HEADERS = {
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
    """A credential: its role, scope and state, and the headers of a request with it."""

    role: str
    projects: list[str]
    state: str
    name: str
    headers: dict[str, str]

    def expected(self, action: str) -> int:
        wanted = ACTIONS[action]
        if self.state != "live":
            return 401
        if self.role == "monitor":
            return 200 if action == "metrics" else 403
        order = ["reader", "publisher", "admin"]
        if wanted is not None and order.index(self.role) < order.index(wanted):
            return 403
        return 403 if action in SCOPED and self.projects == [OUT_OF_SCOPE] else 200


@pytest.fixture(scope="module")
def filled_index(index: Served) -> Iterator[Served]:
    """Publish the project of the requests, and remove the two owners of the tokens at the end."""
    for version in ("1.0", "2.0"):
        index.upload(wheel(IN_SCOPE, version))
    yield index
    for user in ("rights", "shut"):
        index.ppmctl(f"user remove {user}")


@pytest.fixture(scope="module")
def holders(filled_index: Served) -> list[Holder]:
    made_holders: list[Holder] = []
    secrets = {user: filled_index.ppmctl(f"user add {user} --role admin").split()[-1] for user in ("rights", "shut")}
    expiring = 0.0
    for state, (name, (role, projects)) in itertools.product(STATES, ROLES.items()):
        user = "shut" if state == "disabled" else "rights"
        wanted = {"name": f"{user}+{state}-{name}".replace(" ", "-").replace(",", ""), "role": role}
        body = wanted | {"projects": projects, "expires": "1s" if state == "expired" else "1h"}
        made = filled_index.ask("POST", "/api/tokens", json=body, auth=(user, secrets[user]))
        assert made.status_code == 201, made.text
        secret = made.json()["secret"] if state != "wrong secret" else "ppm_" + "x" * 43
        headers = {"Authorization": "Basic " + b64encode(f"{wanted['name']}:{secret}".encode()).decode()}
        made_holders.append(Holder(role=role, projects=projects, state=state, name=wanted["name"], headers=headers))
        if state == "expired":
            expiring = time.monotonic() + 1.1
        if state == "revoked":
            path = "/metrics" if role == "monitor" else "/simple/"
            assert filled_index.ask("GET", path, auth=None, headers=headers).status_code == 200
            revoked = filled_index.ask("DELETE", f"/api/tokens/{wanted['name']}", auth=(user, secrets[user]))
            assert revoked.status_code == 200, revoked.text
    filled_index.ppmctl("user disable shut")
    eventually(time.monotonic, lambda now: now > expiring)
    filled_index.ppmctl("token prune")  # what the timer does within a minute
    for name, headers in INVALID_HEADERS.items():
        made_holders.append(Holder(role="", projects=[], state=name, name=name, headers=headers))
    return made_holders


def test_every_action_with_every_credential(filled_index: Served, holders: list[Holder], figures: list[str]) -> None:
    """An invalid credential gets a 401 for every action, a missing right a 403, and the others succeed."""
    seen = {(holder.name, action): perform(filled_index, holder, action) for holder in holders for action in ACTIONS}
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
    figures.append(f"    the same on {filled_index.url}: {len(seen)} requests")


def test_the_audit_log_has_refusals_and_no_secret(filled_index: Served, holders: list[Holder]) -> None:
    reader = next(holder for holder in holders if (holder.state, holder.role) == ("live", "reader"))
    refused = perform(filled_index, reader, "publish")
    assert refused.status_code == 403
    lines = [json.loads(line) for line in filled_index.look("tail -n 40 audit.jsonl").splitlines()]
    entries = [line for line in lines if line.get("by") == reader.name and "403" in json.dumps(line)]
    assert entries, lines
    audit = filled_index.look("cat audit.jsonl")
    for holder in holders:
        sent = holder.headers.get("Authorization", "").partition(" ")[2]
        assert not sent or sent not in audit
    # the form of issued secrets; a project can have a name like ppm_something
    assert not re.search(r"ppm_(?=[a-z0-9_-]*[A-Z])[\w-]{40,}", audit)


def perform(index: Served, holder: Holder, action: str) -> requests.Response:
    """Return the answer to an action, with a request that would succeed if allowed, and can be repeated."""

    def ask(method: str, path: str, **options: object) -> requests.Response:
        return index.ask(method, path, auth=_bare, headers=headers, **options)

    headers = dict(holder.headers)
    made = wheel(IN_SCOPE, f"3.{next(_fresh)}")
    file = f"/packages/{IN_SCOPE}/{wheel(IN_SCOPE, '1.0')[0]}"
    purpose = f"{holder.name.partition('+')[0]}+made-{next(_fresh)}"
    searched = (
        b"<?xml version='1.0'?><methodCall><methodName>search</methodName><params><param><value><struct><member>"
    )
    searched += b"<name>name</name><value><array><data><value><string>rights</string></value></data></array></value>"
    searched += (
        b"</member></struct></value></param><param><value><string>or</string></value></param></params></methodCall>"
    )
    requests_by_action: dict[str, Callable[[], requests.Response]] = {
        "list": lambda: ask("GET", "/simple/"),
        "page": lambda: ask("GET", f"/simple/{IN_SCOPE}/"),
        "file": lambda: ask("GET", file),
        "metadata": lambda: ask("GET", f"{file}.metadata"),
        "a name that is not here": lambda: ask("GET", "/simple/six/"),
        "search": lambda: ask("GET", "/api/packages?q=rights"),
        "XML-RPC search": lambda: ask("POST", "/RPC2", data=searched),
        "statistics": lambda: ask("GET", "/api/stats"),
        "whoami": lambda: ask("GET", "/api/whoami"),
        "metrics": lambda: ask("GET", "/metrics"),
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
        "yank": lambda: ask("PUT", f"/api/packages/{IN_SCOPE}/2.0/yank"),
        "unyank": lambda: ask("DELETE", f"/api/packages/{IN_SCOPE}/2.0/yank"),
        "status": lambda: ask("PUT", f"/api/packages/{IN_SCOPE}/status", json={"status": "active"}),
        "claim": lambda: ask("PUT", "/api/claims/claimed"),
        "unclaim": lambda: ask("DELETE", "/api/claims/claimed"),
        "remove": lambda: ask("DELETE", f"/api/packages/{IN_SCOPE}/{version}"),
    }
    version = "2.0"
    if action == "remove":
        version = f"4.{next(_fresh)}"
        if holder.expected(action) == 200:
            assert index.upload(wheel(IN_SCOPE, version)).status_code == 200
    return requests_by_action[action]()


def _bare(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave the request's headers alone, so that requests adds no credential."""
    return request


def status(answer: requests.Response) -> int:
    """Return the status, with 200 for a redirect to another index and for 201."""
    return 200 if answer.status_code in (201, 302) else answer.status_code


def table(holders: list[Holder]) -> list[str]:
    """Return a readable table of expected statuses, with a row for each kind of credential."""
    rows = {holder.name: [holder.expected(action) for action in ACTIONS] for holder in holders}
    wide = max(len(name) for name in rows)
    head = [f"who may do what: {', '.join(f'{number} {action}' for number, action in enumerate(ACTIONS, 1))}"]
    head.append(" " * wide + "".join(f"{number:>5}" for number in range(1, len(ACTIONS) + 1)))
    return head + [f"{name:{wide}}" + "".join(f"{code:>5}" for code in codes) for name, codes in rows.items()]
