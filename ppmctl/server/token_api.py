"""Answer `/api/whoami`, `/api/tokens` (a user's own tokens), `/api/join` and `/api/web-login`.

`docs/http.md` describes the requests and answers. The changes are those of `ppmctl token`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access import accounts, invite_exchange, login_links, rights
from ppmctl.access.account import Issued, Unknown
from ppmctl.access.credential_files import Access, Credentials
from ppmctl.errors import Refused, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret
from ppmctl.server import json_api

JOIN, WEB_LOGIN = "/api/join", "/api/web-login"

_ROUTES = json_api.routes(
    ("GET", "/api/whoami", "whoami"),
    ("GET", "/api/tokens", "tokens"),
    ("POST", "/api/tokens", "create"),
    ("DELETE", "/api/tokens", "revoke_secret"),
    ("DELETE", "/api/tokens/<name>", "revoke"),
)


class TokenApi:
    """Answers /api/whoami, and requests below /api/tokens."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    @staticmethod
    def handles(request: Request) -> bool:
        """Return whether a request is for this API, which always needs a credential."""
        return request.path.split("/")[1:3] in (["api", "whoami"], ["api", "tokens"])

    def answer(self, request: Request, by: Access) -> Response:
        """Return the response. Raise Refused, or another error with its status: 400, 403, 404, 405, 409, 411, 413."""
        return json_api.dispatch(self, _ROUTES, request, by)

    def whoami(self, _request: Request, by: Access) -> Response:
        """Return the credential with its effective rights. `projects` are what it may publish: a reader has none."""
        effective = by.effective
        shown = replace(effective, projects=()) if effective.role == "reader" else effective
        return json_api.answer(shown.as_values())

    def tokens(self, _request: Request, by: Access) -> Response:
        """Return the credentials of the owner."""
        owned = accounts.accounts(self._volume, owner=by.owner)
        return json_api.answer({"tokens": [account.as_values() for account in owned]})

    def create(self, request: Request, by: Access) -> Response:
        """Make a token. Only this answer has its secret."""
        json_api.attempt(request, "token create", by.owner)
        body = json_api.body(request, "name", "role", "projects", "reads", "expires", "expires_days")
        name = token_name(by, text(body, "name", "the token's purpose, such as laptop"))
        json_api.attempt(request, "token create", name)
        expires = _expires(body)
        issued = accounts.create_token(
            self._volume,
            json_api.actor(request, by),
            name,
            role=text(body, "role", f"one of {', '.join(rights.ROLES)}"),
            projects=_globs(body, "projects"),
            reads=_globs(body, "reads"),
            expires=expires,
        )
        return created(issued)

    def revoke(self, request: Request, by: Access, name: str) -> Response:
        """Revoke a token, and the tokens that were made with it. Return their names."""
        return self._revoke(request, by, token_name(by, name))

    def revoke_secret(self, request: Request, by: Access) -> Response:
        """Revoke the token of the same owner that has the secret in the body, as when it was published by mistake."""
        json_api.attempt(request, "token revoke", by.owner)
        secret = text(json_api.body(request, "token"), "token", "the secret of a token of the same owner")
        name = accounts.token_with(self._volume, by.owner, Secret(secret))
        if name is None:
            raise Refused(404, f"No token of {by.owner} has this secret; DELETE /api/tokens/NAME revokes by name")
        return self._revoke(request, by, name)

    def _revoke(self, request: Request, by: Access, name: str) -> Response:
        return json_api.answer({"revoked": list(revoke(request, self._volume, by, name))})


def token_name(by: Access, name: str) -> str:
    """Return the whole name of a token of which a user gives it, or only the purpose: laptop is ann+laptop."""
    return name if "+" in name else f"{by.owner}+{name}"


def revoke(request: Request, volume: Volume, by: Access, name: str) -> tuple[str, ...]:
    """Revoke a token, and those made with it. Return their names. Raise Unknown, NotAllowed."""
    json_api.attempt(request, "token revoke", name)
    if name.partition("+")[0] != by.owner and not by.may("manage"):
        raise Unknown(name)  # as for a token that does not exist, so that nobody learns the tokens of others
    return accounts.remove(volume, json_api.actor(request, by), name)


def web_login(request: Request, credentials: Credentials, volume: Volume, by: Access) -> Response:
    """Return the answer of /api/web-login: the path of a link that logs a browser in once, within a minute.

    Raise Refused: 400, 401, 411, 413, 415.
    """
    if request.method != "POST":
        return json_api.not_allowed("POST")
    json_api.attempt(request, "web login", by.name)
    json_api.body(request)
    current = credentials.current(by.name)
    if current is None:  # disabled or expired since
        raise Refused(401, "The credential has expired")
    code, expires = login_links.new(volume, by.name, current[1])
    return json_api.answer({"path": f"/login/{code}", "expires": expires}, status=201)


def join(request: Request, volume: Volume) -> Response:
    """Return the answer of /api/join: a token for an invite's code. It needs no credential.

    Raise Refused, or another error with its status: 400, 403, 411, 413.
    """
    if request.method != "POST":
        return json_api.not_allowed("POST")
    json_api.attempt(request, "user join", request.path)
    body = json_api.body(request, "code", "purpose")
    code = text(body, "code", "that of the invite")
    purpose = text(body, "purpose", "what the token is for, such as laptop") if "purpose" in body else "login"
    return created(invite_exchange.join(volume, request.remote_addr or "", code, purpose=purpose))


def created(issued: Issued) -> Response:
    """Return a 201 with the new credential and its secret."""
    return json_api.answer({**issued.account.access.as_values(), "secret": issued.secret.reveal()}, status=201)


def text(body: dict[str, Any], key: str, what: str) -> str:
    """Return the text of `key` in a body. Raise UsageError, which describes it as `what`, if it is missing."""
    value = body.get(key)
    if not isinstance(value, str) or not value:
        problem = f"{key!r} in the body must be a text" if key in body else f"The body lacks {key!r}"
        raise UsageError(f"{problem}: {what}.")
    return value


def _expires(body: dict[str, Any]) -> str | None:
    """Return the time of expiry in a body: `expires`, a duration, or `expires_days`, a number."""
    duration, days = body.get("expires"), body.get("expires_days")
    if duration is not None and days is not None:
        raise UsageError("The body has both 'expires' and 'expires_days'.", hint="Give one of them.")
    if days is not None:
        if not isinstance(days, int) or isinstance(days, bool) or days < 1:
            raise UsageError("'expires_days' must be a whole number from 1.")
        return rights.expiry(f"{days}d")
    return rights.expiry(text(body, "expires", "a duration, such as 90d")) if duration is not None else None


def _globs(body: dict[str, Any], key: str) -> list[str]:
    globs = body.get(key) or []
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise UsageError(f"{key!r} must be a list of project names or patterns, such as acme-*.")
    return globs
