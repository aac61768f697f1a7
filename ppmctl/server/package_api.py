"""Answer `/search`, `/api/packages`, `/api/claims` and `/api/stats`, with the changes of `ppmctl package`.

`docs/http.md` describes the requests and answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access.credential_files import Access
from ppmctl.distributions import distribution
from ppmctl.distributions.distribution import is_name
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.errors import Refused
from ppmctl.index import project_details
from ppmctl.index.claims import Claim
from ppmctl.index.project_folder import MAX_REASON, STATUSES, is_reason
from ppmctl.index.search_index import ALL, SearchIndex
from ppmctl.index.statistics import Holding, of_holdings
from ppmctl.index.store import Store
from ppmctl.server import environment_policy, json_api
from ppmctl.server.catalog import Catalogue
from ppmctl.server.simple_api import normalised

SEARCH = "/search"
_RELEASE = "/api/packages/<project>/<release>"
_CLAIM = "/api/claims/<project>"
_ROUTES = json_api.routes(
    ("GET", "/api/packages", "search"),
    ("GET", SEARCH, "search"),
    ("GET", "/api/packages/<project>", "show"),
    ("GET", "/api/stats", "stats"),
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
        """Return the numbers that readers may see."""
        return json_api.answer(of_holdings(_readable(by, self._catalogue.holdings())).to_json())

    def search(self, request: Request, by: Access) -> Response:
        """Return the projects that have all words of `q`, the best match first."""
        listed, _total = self._index.search(request.args.get("q", ""), may_read=by.read_filter, limit=ALL)
        projects = [{"name": one.name, "version": one.version or None, "summary": one.summary} for one in listed]
        return json_api.answer({"projects": projects})

    def show(self, _request: Request, by: Access, project: str) -> Response:
        """Return a project with its releases, and the metadata of the latest. URLs are relative to the request's."""
        project = normalised(project)
        may_read = by.may("read", project)
        page, claim = self._catalogue.project(project), self._store.claim_of(project)
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
        reason = environment_policy.signed_reason(_reason(json_api.body(request, "reason")), project, by)
        return self._done(request, by, "yank", project, self._store.yank(project, release, reason))

    def unyank(self, request: Request, by: Access, project: str, release: str) -> Response:
        """Undo a yank."""
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
        project = normalised(project)
        json_api.attempt(request, "status", project)
        is_admin = by.may("manage", project)
        if not is_admin:
            environment_policy.require_status(self._store, project, by)
        body = json_api.body(request, "status", "reason")
        state = body.get("status")
        if state not in STATUSES:
            raise Refused(400, f"The status must be one of {', '.join(STATUSES)} (PEP 792)")
        among = None if is_admin else environment_policy.OWNERS_STATUSES
        status = self._store.set_status(project, state, _reason(body), among=among)
        json_api.actor(request, by).record(self._store.volume, "status", f"{project} {state}")
        return json_api.answer({"project": project, "status": status.state, "reason": status.reason})

    def show_claim(self, _request: Request, by: Access, project: str) -> Response:
        """Return who claimed a name, and when; null if nobody did, or the credential may not read the project."""
        project = normalised(project)
        return _claim_answer(project, self._store.claim_of(project) if by.may("read", project) else None)

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

    def _changeable(self, request: Request, by: Access, action: str, name: str, release: str) -> str:
        """Return the normalised name of a project whose releases `by` may yank, unyank or remove."""
        project = normalised(name)
        json_api.attempt(request, action, f"{project} {release}")
        # before the answer reveals what the index has
        if not by.may("manage" if action == "remove" else "publish", project):
            why = ": it has no admin's rights" if action == "remove" else ""
            raise Refused(403, f"The credential {by.name} may not {action} releases of {project}{why}")
        environment_policy.require_change(self._store, project, by)
        return project

    def _done(self, request: Request, by: Access, action: str, project: str, filenames: list[str]) -> Response:
        for filename in filenames:
            json_api.actor(request, by).record(self._store.volume, action, filename)
        return json_api.answer({"project": project, "action": action, "files": filenames})


def _readable(by: Access, holdings: Iterable[Holding]) -> list[Holding]:
    by_name = {holding.name: holding for holding in holdings}
    return [by_name[name] for name in by.readable(by_name)]


def _claim_answer(project: str, claim: Claim | None) -> Response:
    return json_api.answer({"project": project, "claim": None if claim is None else claim.to_json()})


def _reason(body: dict[str, Any]) -> str:
    reason = body.get("reason") or ""
    if not isinstance(reason, str) or not is_reason(reason):
        raise Refused(400, f"The reason is one line of text, of {MAX_REASON} characters at most")
    return reason
