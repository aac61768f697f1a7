"""Which page a URL is, and who may see it. Each group of pages has a module with its routes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.wrappers import Request, Response

from ppmctl.access import audit_log, rights
from ppmctl.access.credential_files import Credentials
from ppmctl.access.rights import Access
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import PpmError, Refused
from ppmctl.index.environment_list import Listing
from ppmctl.index.pages import packed_page
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server import json_api, same_origin
from ppmctl.server.app import authenticated
from ppmctl.server.settings import ServerSettings
from ppmctl.web import (
    account,
    admin,
    admin_audit,
    admin_project,
    admin_users,
    environment,
    environments,
    home,
    join,
    login,
    project,
    projects,
    static_files,
    upload,
)
from ppmctl.web.release_metadata import ReleaseMetadata
from ppmctl.web.route import Need, Route
from ppmctl.web.services import Services
from ppmctl.web.sessions import Sessions
from ppmctl.web.visit import Visit

# Paths that programs use too: a page only for a GET of a client that asks for HTML. nginx has the same rule.
SHARED = frozenset({"/", "/search", "/upload/"})
# What other pages begin with. nginx lets these reach the application without a credential.
FIRST = frozenset(
    {"account", "admin", "environment", "environments", "join", "login", "logout", "project", "projects", "static"}
)
PATHS = frozenset({"/upload/files"})  # other paths that are pages, for every method
_READS = frozenset({"GET", "HEAD"})
ROUTES: tuple[Route, ...] = (
    *static_files.ROUTES,
    *login.ROUTES,
    *join.ROUTES,
    *home.ROUTES,
    *projects.ROUTES,
    *project.ROUTES,
    *environments.ROUTES,
    *environment.ROUTES,
    *account.ROUTES,
    *upload.ROUTES,
    *admin.ROUTES,
    *admin_audit.ROUTES,
    *admin_project.ROUTES,
    *admin_users.ROUTES,
)


class Site:
    """The pages of one index."""

    def __init__(self, settings: ServerSettings, store: Store, credentials: Credentials) -> None:
        sessions = Sessions(settings.volume, credentials)
        self._services = Services(
            settings=settings,
            store=store,
            credentials=credentials,
            sessions=sessions,
            environments=Listing(store),
            search=SearchIndex(store),
            metadata=ReleaseMetadata(store),
        )
        self._routes = _map(ROUTES)

    def handles(self, request: Request) -> bool:
        """Return whether the request is for a page."""
        if request.path in SHARED:
            return request.method in _READS and "text/html" in request.headers.get("Accept", "")
        return request.path in PATHS or request.path.split("/")[1] in FIRST

    def answer(self, request: Request) -> Response:
        """Return the page. Raise Refused, or another error with its status."""
        same_origin.require(request)
        try:
            route, values = self._routes.bind("").match(request.path, method=request.method)
        except MethodNotAllowed as exc:
            methods = sorted(exc.valid_methods or ())
            refusal = self.refusal(request, Refused(405, f"Only {' and '.join(methods)} work here"))
            refusal.headers["Allow"] = ", ".join(methods)
            return refusal
        except (NotFound, RequestRedirect) as exc:
            if isinstance(exc, RequestRedirect) and request.method in _READS:  # the slash at its end is missing
                query = request.query_string.decode("latin-1")
                return self._visit(request, must_be_right=False).redirect(
                    quote(request.path, safe="/") + "/" + (query and f"?{query}")
                )
            raise Refused(404, f"There is no page {one_line(request.path)[:100]}") from exc
        visit = self._visit(request, must_be_right=route.need != "nothing")
        audit_log.Attempt.of(request.environ).by = visit.by.name if visit.is_known else ""
        if not self._may_see(visit, route.need):
            if request.method in _READS:
                return visit.redirect(login.path_for(request))
            raise Refused(
                401, "You are not logged in any more: log in, load the page again, and send the form once more"
            )
        if request.method not in _READS and route.is_form:
            visit.require_token()
        return _packed(request, route.handler(visit, **values))

    def refusal(self, request: Request, refused: Refused) -> Response:
        """Return a page with the reason of a refusal."""
        visit = self._visit(request, must_be_right=False)
        headers = {"Retry-After": "1"} if refused.status == 503 else {}
        if refused.status in {408, 413}:  # the rest of the body is not read
            headers["Connection"] = "close"
        if request.accept_mimetypes.best == "application/json":
            response = json_api.answer({"message": one_line(refused.message)}, status=refused.status)
        else:
            response = visit.page("error.html", status=refused.status, refused=refused)
        response.headers.update(headers)
        return _packed(request, response)

    def _visit(self, request: Request, *, must_be_right: bool) -> Visit:
        """Return the visit, with the credential of the session's cookie, or else of Basic authentication.

        Raise Refused (401) for another one of Basic authentication if it `must_be_right`: a browser that remembers an
        old one sends it with every request, also with that for the login.
        """
        services = self._services
        visit = Visit(services, request, rights.ANYONE if services.settings.public_reads else _NOBODY, None)
        session = services.sessions.find(request.cookies.get(visit.cookie("session"), ""))
        if session is not None:
            return Visit(services, request, session.access, session)
        if "Authorization" not in request.headers:
            return visit
        try:
            return Visit(services, request, authenticated(services.credentials, request), None)
        except PpmError:
            if must_be_right:
                raise
            return visit

    def _may_see(self, visit: Visit, need: Need) -> bool:
        """Return whether the visitor may see a page; False if a login could help. Raise Refused (403) if not."""
        if need == "nothing" or (need == "read" and visit.by.may("read")):
            return True
        if not visit.is_known:
            return False
        if not visit.by.may("read"):
            raise Refused(403, f"The credential {visit.by.name} is for monitoring: it reads only /metrics")
        if (need == "publish" and not visit.may_publish) or (need == "admin" and not visit.is_admin):
            raise Refused(
                403, f"The credential {visit.by.name} may not do this: it has only a {visit.by.role}'s rights"
            )
        return True


_NOBODY = Access(name=rights.ANONYMOUS, role="reader", created="", disabled=True)  # may not even read


def _packed(request: Request, response: Response) -> Response:
    """Return a page compressed, if the browser can read that; here, so that both kinds of server do the same."""
    if response.direct_passthrough:  # a file
        return response
    if request.accept_encodings["gzip"] > 0 and (packed := packed_page(response.get_data())) is not None:
        response.set_data(packed)
        response.headers["Content-Encoding"] = "gzip"
    return response


def _map(routes: Sequence[Route]) -> Map:
    rules = (Rule(route.path, methods=[route.method], endpoint=route) for route in routes)
    return Map(rules, merge_slashes=False)
