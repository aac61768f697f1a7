"""`/api/whoami` and `/api/tokens`: who one is, and one's own tokens; `/api/join`: an invite for the first of them.

`docs/http.md` has the requests and answers. Each change is what `ppmctl token` does beside the volume, as far as the
credential that asks may do it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access import accounts, invite_exchange, rights
from ppmctl.access.account import Issued, NotAllowed, Unknown
from ppmctl.access.credential_files import Access
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume
from ppmctl.server import json_api

JOIN = "/api/join"
MAX_TOKENS = 100  # of one owner, that are made over HTTP

_ROUTES = json_api.routes(
    ("GET", "/api/whoami", "whoami"),
    ("GET", "/api/tokens", "tokens"),
    ("POST", "/api/tokens", "create"),
    ("DELETE", "/api/tokens/<name>", "revoke"),
)


class TokenApi:
    """Answers /api/whoami and what is below /api/tokens."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    @staticmethod
    def is_its(request: Request) -> bool:
        """Whether a request is to be answered here: with a credential, also where everybody may read."""
        return request.path.split("/")[1:3] in (["api", "whoami"], ["api", "tokens"])

    def answer(self, request: Request, by: Access) -> Response:
        """The response. Refused, or an error with its status: 400, 403, 404, 405, 409, 411, 413."""
        return json_api.dispatch(self, _ROUTES, request, by)

    def whoami(self, _request: Request, by: Access) -> Response:
        """Who `by` is, and what is left of it beside its owner. Projects are about publishing: a reader has none."""
        left = by.effective
        return json_api.answer((replace(left, projects=()) if left.role == "reader" else left).as_values())

    def tokens(self, _request: Request, by: Access) -> Response:
        """The credentials of `by`'s owner."""
        found = accounts.accounts(self._volume, owner=by.owner)
        return json_api.answer({"tokens": [each.as_values() for each in found]})

    def create(self, request: Request, by: Access) -> Response:
        """A new token, with the one time that its secret is said."""
        json_api.attempt(request, "token create", by.owner)
        body = json_api.body(request, "name", "role", "projects", "expires")
        name = text(body, "name", "the token's purpose, such as laptop")
        name = name if "+" in name else f"{by.owner}+{name}"
        json_api.attempt(request, "token create", name)
        if len(accounts.accounts(self._volume, owner=by.owner)) > MAX_TOKENS:
            raise NotAllowed(f"{by.owner} has {MAX_TOKENS} tokens; revoke one first.")
        expires = text(body, "expires", "a duration, such as 90d") if body.get("expires") is not None else None
        issued = accounts.create_token(
            self._volume,
            json_api.actor(request, by),
            name,
            role=text(body, "role", f"one of {', '.join(rights.ROLES)}"),
            projects=_globs(body),
            expires=rights.expiry(expires) if expires is not None else None,
        )
        return created(issued)

    def revoke(self, request: Request, by: Access, name: str) -> Response:
        """What was revoked: a token, with those that were made with it."""
        name = name if "+" in name else f"{by.owner}+{name}"
        json_api.attempt(request, "token revoke", name)
        if name.partition("+")[0] != by.owner and not by.may("manage"):
            # as for a name that nobody has: whether somebody else has it is not theirs to know
            raise Unknown(name)
        return json_api.answer({"revoked": list(accounts.remove(self._volume, json_api.actor(request, by), name))})


def join(request: Request, volume: Volume) -> Response:
    """The response of /api/join, without a credential: a token for an invite's code. Refused: 400, 403, 411, 413."""
    if request.method != "POST":
        return json_api.not_allowed("POST")
    json_api.attempt(request, "user join", request.path)
    body = json_api.body(request, "code", "purpose")
    code = text(body, "code", "that of the invite")
    purpose = text(body, "purpose", "what the token is for, such as laptop") if "purpose" in body else "login"
    return created(invite_exchange.join(volume, request.remote_addr or "", code, purpose=purpose))


def created(issued: Issued) -> Response:
    """201, with the one time that the secret is said."""
    return json_api.answer({**issued.account.access.as_values(), "secret": issued.secret.reveal()}, status=201)


def text(body: dict[str, Any], key: str, what: str) -> str:
    """The text that a body has for `key`, which is `what`. UsageError where it has none."""
    found = body.get(key)
    if not isinstance(found, str) or not found:
        lack = f"The body's {key!r} is no text" if key in body else f"The body lacks {key!r}"
        raise UsageError(f"{lack}: {what}.")
    return found


def _globs(body: dict[str, Any]) -> list[str]:
    globs = body.get("projects") or []
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise UsageError("'projects' is a list of names of projects, such as acme-*.")
    return globs
