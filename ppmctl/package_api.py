"""`/api/packages` and `/api/stats`: search and numbers for readers; yank, status and removal for who may.

`docs/http.md` has the requests and answers. Each change is what `ppmctl package` does beside the volume.
"""

from __future__ import annotations

import json
from typing import Any

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response

from ppmctl import audit, stats
from ppmctl.catalogue import Catalogue
from ppmctl.credentials import Access
from ppmctl.dists import is_name, normalise
from ppmctl.errors import Refused
from ppmctl.folder import STATUSES
from ppmctl.store import NotHere, Store

MAX_BODY = 16 << 10  # bytes
MAX_REASON = 500  # characters


class PackageApi:
    """Answers what is below /api/packages, and /api/stats."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalogue = Catalogue(store)

    def answer(self, request: Request, by: Access) -> Response | None:
        """The response, or None for what is somebody else's to answer. Refused: 400, 403, 404, 405, 411, 413."""
        path = request.path.split("/")[1:]
        if path[:2] not in (["api", "packages"], ["api", "stats"]):
            return None
        try:
            return self._answer(request, by, path)
        except NotHere as exc:
            raise Refused(404, exc.message) from exc

    def _answer(self, request: Request, by: Access, path: list[str]) -> Response:
        match (request.method, *path):
            case ("GET" | "HEAD", "api", "packages"):
                return self._search(request)
            case ("GET" | "HEAD", "api", "stats"):
                return _json(stats.of_holdings(self._catalogue.holdings()).to_json())
            case ("PUT", "api", "packages", project, "status"):
                return self._status(request, by, _project(project))
            case ("PUT", "api", "packages", project, release, "yank"):
                return self._yank(request, by, _project(project), release)
            case ("DELETE", "api", "packages", project, release, "yank"):
                return self._unyank(request, by, _project(project), release)
            case ("DELETE", "api", "packages", project, release) if release != "status":
                return self._remove(request, by, _project(project), release)
        return _not_allowed(path)

    def _search(self, request: Request) -> Response:
        found = self._catalogue.search(request.args.get("q", ""))
        projects = [{"name": item.name, "version": item.version or None, "summary": item.summary} for item in found]
        return _json({"projects": projects})

    def _yank(self, request: Request, by: Access, project: str, release: str) -> Response:
        _attempt(request, "yank", f"{project} {release}")
        _demand(by.may("publish", project), by, f"yank releases of {project}")
        reason = _reason(_body(request))
        return self._done(request, by, "yank", project, self._store.yank(project, release, reason))

    def _unyank(self, request: Request, by: Access, project: str, release: str) -> Response:
        _attempt(request, "unyank", f"{project} {release}")
        _demand(by.may("publish", project), by, f"unyank releases of {project}")
        return self._done(request, by, "unyank", project, self._store.unyank(project, release))

    def _remove(self, request: Request, by: Access, project: str, release: str) -> Response:
        _attempt(request, "remove", f"{project} {release}")
        _demand(by.may("manage", project), by, f"remove releases of {project}: it is not an admin's")
        return self._done(request, by, "remove", project, self._store.remove(project, release))

    def _status(self, request: Request, by: Access, project: str) -> Response:
        _attempt(request, "status", project)
        _demand(by.may("manage", project), by, f"set the status of {project}: it is not an admin's")
        body = _body(request)
        state = body.get("status")
        if state not in STATUSES:
            raise Refused(400, f"The status is one of {', '.join(STATUSES)} (PEP 792)")
        found = self._store.set_status(project, state, _reason(body))
        self._audit(request, by, "status", f"{project} {state}")
        return _json({"project": project, "status": found.state, "reason": found.reason})

    def _done(self, request: Request, by: Access, action: str, project: str, filenames: list[str]) -> Response:
        for filename in filenames:
            self._audit(request, by, action, filename)
        return _json({"project": project, "action": action, "files": filenames})

    def _audit(self, request: Request, by: Access, action: str, what: str) -> None:
        origin = request.remote_addr or ""
        audit.write(self._store.volume, action=action, by=by.name, origin=origin, what=what, result="done")


def _attempt(request: Request, action: str, what: str) -> None:
    """What the audit says of this request if it is refused from here on."""
    attempt = audit.Attempt.of(request.environ)
    attempt.action, attempt.what = action, what


def _demand(allowed: bool, by: Access, what: str) -> None:
    # before anything is said about what is here
    if not allowed:
        raise Refused(403, f"The credential {by.name} may not {what}")


def _project(name: str) -> str:
    if not is_name(name):
        raise Refused(404, "That is not a valid name of a project")
    return normalise(name)


def _body(request: Request) -> dict[str, Any]:
    """The JSON object that a request sends; nothing at all is an empty one."""
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
    return values


def _reason(body: dict[str, Any]) -> str:
    reason = body.get("reason") or ""
    if not isinstance(reason, str) or len(reason) > MAX_REASON or not reason.isprintable():
        raise Refused(400, f"The reason is one line of text, of {MAX_REASON} characters at most")
    return reason


def _json(values: Any) -> Response:
    response = Response(json.dumps(values, ensure_ascii=False), mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _not_allowed(path: list[str]) -> Response:
    match path[1:]:
        case ["packages"] | ["stats"]:
            allowed = "GET, HEAD"
        case ["packages", _, "status"]:
            allowed = "PUT"
        case ["packages", _, _, "yank"]:
            allowed = "PUT, DELETE"
        case ["packages", _, release] if release:
            allowed = "DELETE"
        case _:
            raise Refused(404, "There is nothing here; docs/http.md has what is below /api/packages")
    refused = Response(f"Only {allowed} work here\n", status=405, mimetype="text/plain")
    refused.headers["Allow"] = allowed
    return refused
