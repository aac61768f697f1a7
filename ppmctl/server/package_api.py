"""Answer `/search`, `/api/packages`, `/api/claims` and `/api/stats`, with the changes of `ppmctl package`.

`docs/http.md` describes the requests and answers.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access import audit_query
from ppmctl.access.credential_files import Access
from ppmctl.distributions import distribution
from ppmctl.distributions.names import is_name
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.downloads import report
from ppmctl.errors import Refused
from ppmctl.index import project_details
from ppmctl.index.claims import Claim
from ppmctl.index.search_index import ALL, SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import json_api, package_changes
from ppmctl.server.catalog import Catalogue
from ppmctl.server.simple_api import normalised

SEARCH = "/search"
_FOLLOWS_WITHIN = 1.0  # seconds that an answer waits for the changes before it
_RELEASE = "/api/packages/<project>/<release>"
_CLAIM = "/api/claims/<project>"
_ROUTES = json_api.routes(
    ("GET", "/api/packages", "search"),
    ("GET", SEARCH, "search"),
    ("GET", "/api/packages/<project>", "show"),
    ("GET", "/api/stats", "stats"),
    ("GET", "/api/stats/downloads", "downloads"),
    ("PUT", "/api/packages/<project>/status", "status"),
    ("GET", _CLAIM, "show_claim"),
    ("PUT", _CLAIM, "claim"),
    ("DELETE", _CLAIM, "unclaim"),
    ("PUT", f"{_RELEASE}/yank", "yank"),
    ("DELETE", f"{_RELEASE}/yank", "unyank"),
    ("DELETE", _RELEASE, "remove"),
)


class PackageApi:
    """Answers requests below /api/packages and /api/claims, /api/stats and /search."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalogue = Catalogue(store)
        self._index = SearchIndex(store)
        self._reports = report.Reports(store.volume)

    def answer(self, request: Request, by: Access) -> Response | None:
        """Return the response, or None for other paths.

        Raise Refused, or another error with its status: 400, 403, 404, 405, 411, 413.
        """
        parts = request.path.split("/")[1:3]
        is_api = parts[0] == "api" and parts[1:] in (["packages"], ["claims"], ["stats"])
        if not is_api and request.path != SEARCH:
            return None
        return json_api.dispatch(self, _ROUTES, request, by)

    def stats(self, _request: Request, by: Access) -> Response:
        """Return the numbers of the projects that the credential may read, from the search index."""
        self._store.changes.wait_until_done(_FOLLOWS_WITHIN)
        return json_api.answer(self._index.statistics(by.read_filter).to_json())

    def downloads(self, request: Request, by: Access) -> Response:
        """Return the downloads of the projects that the credential may read, or of `project`, since `since`."""
        start, name = request.args.get("since"), request.args.get("project")
        day = audit_query.parse_since(start, now=datetime.now(UTC)).date() if start else None
        project = normalised(name) if name is not None else None
        if project is not None and not (by.may("read", project) and self._store.has_project(project)):
            raise Refused(404, f"There is no project {project} in this index")
        found = self._reports.read(project, day, by.read_filter)
        return json_api.answer(found.to_json())

    def search(self, request: Request, by: Access) -> Response:
        """Return the projects that have all words of `q`, the best match first."""
        listed, _total = self._index.search(request.args.get("q", ""), may_read=by.read_filter, limit=ALL)
        projects = [{"name": one.name, "version": one.version or None, "summary": one.summary} for one in listed]
        return json_api.answer({"projects": projects})

    def show(self, _request: Request, by: Access, project: str) -> Response:
        """Return a project with its releases, and the metadata of the latest. URLs are relative to the request's."""
        project = normalised(project)
        may_read = by.may("read", project)
        page, claim = self._catalogue.project(project), self._store.last_claim_of(project)
        if not may_read or (page is None and claim is None):
            raise Refused(404, f"There is no project {project} in this index")
        page = page or ProjectPage(name=project, files=())
        texts = map(self._catalogue.metadata, page.latest.files if page.latest is not None else ())
        text = next((text for text in texts if text is not None), None)
        metadata = distribution.core_metadata(text) if text is not None else {}
        files = tuple(replace(file, url=f"../../{file.url}") for file in page.files)
        return json_api.answer(project_details.values(replace(page, files=files), page.latest, metadata, claim))

    def yank(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Yank a release, or one of its files."""
        project = self._changeable(request, by, "yank", project, release)
        reason = _reason(json_api.body(request, "reason"))
        actor = json_api.actor(request, by)
        return _done(project, "yank", package_changes.yank(self._store, actor, project, release, reason))

    def unyank(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Undo a yank."""
        project = self._changeable(request, by, "unyank", project, release)
        actor = json_api.actor(request, by)
        return _done(project, "unyank", package_changes.unyank(self._store, actor, project, release))

    def remove(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Remove a release, or one of its files, for good."""
        if release == "status" and is_name(project):
            return json_api.not_allowed("PUT")
        project = self._changeable(request, by, "remove", project, release)
        actor = json_api.actor(request, by)
        return _done(project, "remove", package_changes.remove(self._store, actor, project, release))

    def status(self, request: Request, by: Access, project: str) -> Response:
        """Set a project's status."""
        project = normalised(project)
        json_api.attempt(request, "status", project)
        package_changes.require_status(self._store, by, project)
        body = json_api.body(request, "status", "reason")
        actor = json_api.actor(request, by)
        status = package_changes.set_status(self._store, actor, project, body.get("status"), _reason(body))
        return json_api.answer({"project": project, "status": status.state, "reason": status.reason})

    def show_claim(self, _request: Request, by: Access, project: str) -> Response:
        """Return who claimed a name, and when; null if nobody did, or the credential may not read the project."""
        project = normalised(project)
        return _claim_answer(project, self._store.last_claim_of(project) if by.may("read", project) else None)

    def claim(self, request: Request, by: Access, project: str) -> Response:
        """Let any publisher upload the first file of a name (`public_names`)."""
        project = self._claimable(request, by, "claim", project)
        claim = self._store.claim(project, by=by.name)
        json_api.actor(request, by).record(self._store.volume, "claim", project)
        return _claim_answer(project, claim)

    def unclaim(self, request: Request, by: Access, project: str) -> Response:
        """Undo a claim."""
        project = self._claimable(request, by, "unclaim", project)
        self._store.unclaim(project)
        json_api.actor(request, by).record(self._store.volume, "unclaim", project)
        return _claim_answer(project, None)

    def _claimable(self, request: Request, by: Access, action: str, name: str) -> str:
        project = normalised(name)
        json_api.attempt(request, action, project)
        if not by.may("manage", project):
            raise Refused(403, f"The credential {by.name} may not {action} {project}: it has no admin's rights")
        json_api.body(request)
        return project

    def _changeable(
        self, request: Request, by: Access, action: package_changes.Action, name: str, release: str
    ) -> str:
        """Return the normalised name of a project whose releases `by` may yank, unyank or remove.

        This is checked before the body is, so that no answer reveals what the index has.
        """
        project = normalised(name)
        json_api.attempt(request, action, f"{project} {release}")
        package_changes.require(self._store, by, action, project)
        return project


def _claim_answer(project: str, claim: Claim | None) -> Response:
    return json_api.answer({"project": project, "claim": None if claim is None else claim.to_json()})


def _done(project: str, action: str, filenames: list[str]) -> Response:
    return json_api.answer({"project": project, "action": action, "files": filenames})


def _reason(body: dict[str, Any]) -> Any:
    return body.get("reason") or ""
