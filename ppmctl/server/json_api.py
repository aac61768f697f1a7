"""What the parts of `/api/…` share: the JSON that a request sends, the JSON of an answer, the audit's words."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.exceptions import ClientDisconnected, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from ppmctl.access import audit_log
from ppmctl.access.account import Actor
from ppmctl.access.rights import Access
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import Refused

MAX_BODY = 16 << 10  # bytes


def attempt(request: Request, action: str, what: str) -> None:
    """What the audit says of this request if it is refused from here on."""
    found = audit_log.Attempt.of(request.environ)
    found.action, found.what = action, what


def actor(request: Request, by: Access) -> Actor:
    """Who asks for a change, as the audit has them."""
    return Actor(name=by.name, origin=request.remote_addr or "", access=by)


def body(request: Request, *keys: str) -> dict[str, Any]:
    """The JSON object that a request sends, with no other keys than these; nothing at all is an empty one.

    Refused: 400, 408, 411, 413.
    """
    if request.content_length is None:
        if "Transfer-Encoding" in request.headers:
            raise Refused(411, "This request needs its length (Content-Length)")
        return {}
    if request.content_length > MAX_BODY:
        raise Refused(413, f"This request may have {MAX_BODY >> 10} KB")
    try:
        values = json.loads(request.get_data() or b"{}")
    except TimeoutError as exc:
        raise Refused(408, "The body stopped arriving") from exc
    except (ClientDisconnected, ValueError, RecursionError) as exc:
        raise Refused(400, "The body is not JSON") from exc
    if not isinstance(values, dict):
        raise Refused(400, "The body is not a JSON object")
    for key in values:
        if key not in keys:  # misspelt, it would mean more right, or more time, than was meant
            raise Refused(400, f"The body has {one_line(key)[:40]!r}; it may have {', '.join(keys)}")
    return values


def answer(values: Any, *, status: int = 200) -> Response:
    """An answer that nothing on the way keeps: it may hold a secret, and is true for this moment."""
    response = Response(json.dumps(values, ensure_ascii=False), status=status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def dispatch(api: object, routes: Map, request: Request, *arguments: Any) -> Response:
    """The answer of the method of `api` that is the route's endpoint, or 405 with what works. Refused: 404."""
    try:
        endpoint, values = routes.bind("").match(request.path, method=request.method)
    except MethodNotAllowed as exc:
        return not_allowed(*sorted(exc.valid_methods or ()))
    except NotFound as exc:
        raise Refused(404, f"There is nothing at {one_line(request.path)}") from exc
    found: Response = getattr(api, endpoint)(request, *arguments, **values)
    return found


def routes(*rules: tuple[str, str, str]) -> Map:
    """Routes for `dispatch`: method, path and endpoint of each. A slash more or fewer is another path."""
    made = (Rule(path, methods=[method], endpoint=endpoint) for method, path, endpoint in rules)
    return Map(made, merge_slashes=False)


def not_allowed(*allowed: str) -> Response:
    """405, with the methods that work."""
    refused = Response(f"Only {' and '.join(allowed)} work here\n", status=405, mimetype="text/plain")
    refused.headers["Allow"] = ", ".join(allowed)
    return refused
