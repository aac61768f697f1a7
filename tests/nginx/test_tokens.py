"""/api/ behind nginx: tokens and invites need authentication, reach the application, and are not logged or cached."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import requests
from support import debian, wheels
from support.servers import ppmctl
from support.webserver import Site


@debian.with_each("read_access", {12: ["authenticated"], 13: ["public"]})
def test_tokens_and_invites_behind_nginx(read_access: str, new_site: Callable[..., Site]) -> None:
    """With public reads too, only the exchange of an invite needs no credential; similar paths need one."""
    site = new_site(ppm_read_access=read_access)

    def ask(method: str, path: str, auth: tuple[str, str] | None = None, **options: Any) -> requests.Response:
        answer = site.request(method, path, auth=auth, **options)
        if path.startswith("/api/") and answer.status_code < 300:
            assert answer.headers["Cache-Control"] == "no-store"
        return answer

    made = ppmctl("user", "invite", "gina", "--role", "publisher", "--root", str(site.root))
    code = made.stdout.strip()
    for method, path in (
        ("GET", "/api/whoami"),
        ("GET", "/api/tokens"),
        ("POST", "/api/tokens"),
        ("DELETE", "/api/tokens/gina+laptop"),
        ("POST", "/api/join/"),
        ("POST", "/api/joins"),
        ("POST", "/api/../api/join/x"),
    ):
        answer = ask(method, path)
        assert (answer.status_code, method, path) == (401, method, path)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="ppm"'
    assert ask("POST", "/api/join", json={"code": "ppm_join_no"}).status_code == 403
    assert ask("GET", "/api/join").status_code == 405
    assert ask("POST", "/api/join", data=b"x" * 20_000).status_code == 413
    assert ask("POST", "/api/join", data=iter([b"x" * 10_000] * 2)).status_code == 411
    joined = ask("POST", "/api/join", json={"code": code, "purpose": "laptop"})
    assert joined.status_code == 201
    assert ask("POST", "/api/join", json={"code": code}).status_code == 403
    gina = (joined.json()["name"], joined.json()["secret"])
    assert ask("GET", "/api/whoami", gina).json()["name"] == "gina+laptop"
    assert ask("HEAD", "/api/whoami", gina).status_code == 200
    other = ask("POST", "/api/tokens", gina, json={"name": "ci", "role": "reader", "expires": "90d"})
    assert other.status_code == 201
    ci = (other.json()["name"], other.json()["secret"])
    assert [each["name"] for each in ask("GET", "/api/tokens", ci).json()["tokens"]] == ["gina", "gina+ci", gina[0]]
    assert ask("PUT", "/api/tokens", gina).status_code == 405
    assert ask("DELETE", "/api/tokens/gina%2Blaptop", ci).status_code == 403
    assert ask("DELETE", "/api/tokens/gina%2Bci", gina).status_code == 200
    assert ask("GET", "/api/whoami", ci).status_code == 401
    with site.without_application():
        assert ask("GET", "/api/whoami", gina).status_code == 503
        assert ask("POST", "/api/join", json={"code": code}).status_code == 503
    alone = ("__token__", gina[1])
    made = wheels.wheel("sent-alone", "1.0", files={"noise": os.urandom(2 << 20)})  # more than nginx buffers
    assert site.upload(made, auth=("__token__", ci[1])).status_code == 401, "it was revoked"
    assert site.upload(made, auth=alone).status_code == 200
    for path in ("/simple/sent-alone/", f"/packages/sent-alone/{made[0]}", "/api/whoami"):
        by_name, by_secret = ask("GET", path, gina), ask("GET", path, alone)
        assert (by_secret.status_code, by_secret.content) == (200, by_name.content)
        if not (read_access == "public" and path.startswith(("/simple", "/packages"))):
            refused = ask("GET", path, ("__token__", gina[1][:-1]))
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="ppm"')
    assert ask("GET", "/simple/Sent_Alone/", alone).headers["Location"] == "../sent-alone/"
    with site.without_application():
        unavailable = ask("GET", "/simple/sent-alone/", alone)
        assert (unavailable.status_code, unavailable.headers["Retry-After"]) == (503, "5")
        assert ask("GET", "/simple/sent-alone/", gina).status_code == 200
    logs = site.access_log() + site.error_log() + (site.root / "audit.jsonl").read_text()
    assert '"path":"/api/join"' in logs
    assert not [secret for secret in (code, gina[1], ci[1]) if secret in logs]
