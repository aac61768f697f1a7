"""`/api/packages` and `/api/stats`: search and numbers for readers; yank, status and removal for who may.

`docs/http.md` has the requests and answers. Each change is what `ppmctl package` does beside the volume.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl import api, audit, stats
from ppmctl.catalogue import Catalogue
from ppmctl.credentials import Access
from ppmctl.dists import is_name, normalise
from ppmctl.environments import rules
from ppmctl.errors import Refused
from ppmctl.folder import MAX_REASON, STATUSES, is_reason
from ppmctl.store import NotHere, Store


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
                return api.answer(stats.of_holdings(self._catalogue.holdings()).to_json())
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
        return api.answer({"projects": projects})

    def _yank(self, request: Request, by: Access, project: str, release: str) -> Response:
        api.attempt(request, "yank", f"{project} {release}")
        _demand(by.may("publish", project), by, f"yank releases of {project}")
        rules.demand_change(self._store, project, by)
        reason = rules.signed(_reason(api.body(request, "reason")), project, by)
        return self._done(request, by, "yank", project, self._store.yank(project, release, reason))

    def _unyank(self, request: Request, by: Access, project: str, release: str) -> Response:
        api.attempt(request, "unyank", f"{project} {release}")
        _demand(by.may("publish", project), by, f"unyank releases of {project}")
        rules.demand_change(self._store, project, by)
        return self._done(request, by, "unyank", project, self._store.unyank(project, release))

    def _remove(self, request: Request, by: Access, project: str, release: str) -> Response:
        api.attempt(request, "remove", f"{project} {release}")
        _demand(by.may("manage", project), by, f"remove releases of {project}: it is not an admin's")
        return self._done(request, by, "remove", project, self._store.remove(project, release))

    def _status(self, request: Request, by: Access, project: str) -> Response:
        api.attempt(request, "status", project)
        is_admin = by.may("manage", project)
        if not is_admin:
            rules.demand_status(self._store, project, by)
        body = api.body(request, "status", "reason")
        state = body.get("status")
        if state not in STATUSES:
            raise Refused(400, f"The status is one of {', '.join(STATUSES)} (PEP 792)")
        among = None if is_admin else rules.OWNERS_STATUSES
        found = self._store.set_status(project, state, _reason(body), among=among)
        self._audit(request, by, "status", f"{project} {state}")
        return api.answer({"project": project, "status": found.state, "reason": found.reason})

    def _done(self, request: Request, by: Access, action: str, project: str, filenames: list[str]) -> Response:
        for filename in filenames:
            self._audit(request, by, action, filename)
        return api.answer({"project": project, "action": action, "files": filenames})

    def _audit(self, request: Request, by: Access, action: str, what: str) -> None:
        origin = request.remote_addr or ""
        audit.write(self._store.volume, action=action, by=by.name, origin=origin, what=what, result="done")


def _demand(allowed: bool, by: Access, what: str) -> None:
    # before anything is said about what is here
    if not allowed:
        raise Refused(403, f"The credential {by.name} may not {what}")


def _project(name: str) -> str:
    if not is_name(name):
        raise Refused(404, "That is not a valid name of a project")
    return normalise(name)


def _reason(body: dict[str, Any]) -> str:
    reason = body.get("reason") or ""
    if not isinstance(reason, str) or not is_reason(reason):
        raise Refused(400, f"The reason is one line of text, of {MAX_REASON} characters at most")
    return reason


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
    return api.not_allowed(allowed)
