"""The home page: search, what is new, and the visitor's environments."""

from __future__ import annotations

from werkzeug.wrappers import Response

from ppmctl.web.route import Route
from ppmctl.web.visit import Visit


def _home(visit: Visit) -> Response:
    projects = visit.by.readable(visit.services.store.projects())
    return visit.page("home.html", projects=projects)


ROUTES = (Route(method="GET", path="/", handler=_home, need="read"),)
