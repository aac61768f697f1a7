"""Read and write the JSON of `/api/…`, route its requests, and set what the audit records of them."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from ppmctl.access import audit_log
from ppmctl.access.account import Actor
from ppmctl.access.rights import Access
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import Refused

MAX_BODY = 16 << 10  # bytes


def attempt(request: Request, action: str, what: str) -> None:
    """Set what the audit records if this request is refused from here on."""
    recorded = audit_log.Attempt.of(request.environ)
    recorded.action, recorded.what = action, what


def actor(request: Request, by: Access) -> Actor:
    """Return the user behind a request, as the audit names them."""
    return Actor(name=by.name, origin=request.remote_addr or "", access=by)


def check_length(request: Request, limit: int) -> None:
    """Raise Refused for a body without a length (411), or one of more than `limit` bytes (413)."""
    if request.content_length is None:
        raise Refused(411, "Content-Length is required")
    if request.content_length > limit:
        raise Refused(413, f"The body is larger than {limit >> 10} KB")


def body(request: Request, *keys: str, limit: int = MAX_BODY) -> dict[str, Any]:
    """Return the JSON object in a request's body, {} without a body. No other key than `keys` is allowed.

    It has `limit` bytes at most.

    Raise Refused: 400, 411, 413, 415 for a body that a form of a web page could send, and what reading it raises.
    """
    if not request.content_length and "Transfer-Encoding" not in request.headers:
        return {}
    check_length(request, limit)
    if request.mimetype != "application/json":
        raise Refused(415, "The Content-Type of the body must be application/json (curl: --json)")
    try:
        values = json.loads(request.get_data())
    except (ValueError, RecursionError) as exc:
        raise Refused(400, "The body is not JSON") from exc
    if not isinstance(values, dict):
        raise Refused(400, "The body is not a JSON object")
    for key in values:
        if key not in keys:  # a misspelt key could give more rights, or more time, than intended
            raise Refused(400, f"Unknown key {one_line(key)[:40]!r} in the body; the keys are {', '.join(keys)}")
    return values


def answer(values: Any, *, status: int = 200) -> Response:
    """Return a JSON response that no cache may store: it can hold a secret, and it may change at any time."""
    text, headers = json.dumps(values, ensure_ascii=False), {"Cache-Control": "no-store"}
    return Response(text, status=status, mimetype="application/json", headers=headers)


def dispatch(api: object, routes: Map, request: Request, *arguments: Any) -> Response:
    """Return the answer of the method of `api` that a route names, or 405. Raise Refused: 404."""
    try:
        endpoint, values = routes.bind("").match(request.path, method=request.method)
    except MethodNotAllowed as exc:
        return not_allowed(*sorted(exc.valid_methods or ()))
    except NotFound as exc:
        raise Refused(404, f"There is nothing at {one_line(request.path)}") from exc
    response: Response = getattr(api, endpoint)(request, *arguments, **values)
    return response


def routes(*rules: tuple[str, str, str]) -> Map:
    """Return routes for `dispatch`; each rule is a method, a path and an endpoint. Slashes must match exactly."""
    parsed = (Rule(path, methods=[method], endpoint=endpoint) for method, path, endpoint in rules)
    return Map(parsed, merge_slashes=False)


def not_allowed(*allowed: str) -> Response:
    """Return a 405 with the methods that are allowed."""
    text, headers = f"Only {' and '.join(allowed)} work here\n", {"Allow": ", ".join(allowed)}
    return Response(text, status=405, mimetype="text/plain", headers=headers)
