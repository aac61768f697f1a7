"""`/api/packages` and `/api/stats`: search and numbers for readers; yank, status and removal for who may.

`docs/http.md` has the requests and answers. Each change is what `ppmctl package` does beside the volume.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access.credential_files import Access
from ppmctl.distributions.distribution import is_name, normalise
from ppmctl.errors import Refused
from ppmctl.index.project_folder import MAX_REASON, STATUSES, is_reason
from ppmctl.index.statistics import of_holdings
from ppmctl.index.store import Store
from ppmctl.server import environment_policy, json_api
from ppmctl.server.catalog import Catalogue

_RELEASE = "/api/packages/<project>/<release>"
_ROUTES = json_api.routes(
    ("GET", "/api/packages", "search"),
    ("GET", "/api/stats", "stats"),
    ("PUT", "/api/packages/<project>/status", "status"),
    ("PUT", f"{_RELEASE}/yank", "yank"),
    ("DELETE", f"{_RELEASE}/yank", "unyank"),
    ("DELETE", _RELEASE, "remove"),
)


class PackageApi:
    """Answers what is below /api/packages, and /api/stats."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalogue = Catalogue(store)

    def answer(self, request: Request, by: Access) -> Response | None:
        """The response, or None for what is somebody else's to answer.

        Refused, or an error with its status: 400, 403, 404, 405, 411, 413.
        """
        if request.path.split("/")[1:3] not in (["api", "packages"], ["api", "stats"]):
            return None
        return json_api.dispatch(self, _ROUTES, request, by)

    def stats(self, _request: Request, _by: Access) -> Response:
        """The numbers that a reader may know."""
        return json_api.answer(of_holdings(self._catalogue.holdings()).to_json())

    def search(self, request: Request, _by: Access) -> Response:
        """The projects that have all words of `q`."""
        found = self._catalogue.search(request.args.get("q", ""))
        projects = [{"name": item.name, "version": item.version or None, "summary": item.summary} for item in found]
        return json_api.answer({"projects": projects})

    def yank(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Yank a release, or one of its files."""
        project = self._changeable(request, by, "yank", project, release)
        reason = environment_policy.signed(_reason(json_api.body(request, "reason")), project, by)
        return self._done(request, by, "yank", project, self._store.yank(project, release, reason))

    def unyank(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Take a yank back."""
        project = self._changeable(request, by, "unyank", project, release)
        return self._done(request, by, "unyank", project, self._store.unyank(project, release))

    def remove(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Remove a release, or one of its files, for good."""
        if release == "status" and is_name(project):
            return json_api.not_allowed("PUT")
        project = self._changeable(request, by, "remove", project, release)
        return self._done(request, by, "remove", project, self._store.remove(project, release))

    def status(self, request: Request, by: Access, project: str) -> Response:
        """Set a project's status."""
        project = _project(project)
        json_api.attempt(request, "status", project)
        is_admin = by.may("manage", project)
        if not is_admin:
            environment_policy.demand_status(self._store, project, by)
        body = json_api.body(request, "status", "reason")
        state = body.get("status")
        if state not in STATUSES:
            raise Refused(400, f"The status is one of {', '.join(STATUSES)} (PEP 792)")
        among = None if is_admin else environment_policy.OWNERS_STATUSES
        found = self._store.set_status(project, state, _reason(body), among=among)
        json_api.actor(request, by).record(self._store.volume, "status", f"{project} {state}")
        return json_api.answer({"project": project, "status": found.state, "reason": found.reason})

    def _changeable(self, request: Request, by: Access, action: str, name: str, release: str) -> str:
        """The normalised name of a project whose releases `by` may yank, unyank or remove."""
        project = _project(name)
        json_api.attempt(request, action, f"{project} {release}")
        # before anything is said about what is here
        if not by.may("manage" if action == "remove" else "publish", project):
            why = ": it is not an admin's" if action == "remove" else ""
            raise Refused(403, f"The credential {by.name} may not {action} releases of {project}{why}")
        environment_policy.demand_change(self._store, project, by)
        return project

    def _done(self, request: Request, by: Access, action: str, project: str, filenames: list[str]) -> Response:
        for filename in filenames:
            json_api.actor(request, by).record(self._store.volume, action, filename)
        return json_api.answer({"project": project, "action": action, "files": filenames})


def _project(name: str) -> str:
    if not is_name(name):
        raise Refused(404, "That is not a valid name of a project")
    return normalise(name)


def _reason(body: dict[str, Any]) -> str:
    reason = body.get("reason") or ""
    if not isinstance(reason, str) or not is_reason(reason):
        raise Refused(400, f"The reason is one line of text, of {MAX_REASON} characters at most")
    return reason
