"""The home page: search, what is new, and the visitor's environments."""

from __future__ import annotations

from werkzeug.wrappers import Response

from ppmctl.web import install_commands
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_NEWEST = 10  # projects
_ENVIRONMENTS = 10


def _home(visit: Visit) -> Response:
    services = visit.services
    newest, _number = services.search.projects(order="newest", may_read=visit.reads, limit=_NEWEST)
    owned = services.environments.mine(visit.by.owner, readable=visit.readable) if visit.is_known else ()
    return visit.page(
        "home.html",
        newest=newest,
        totals=services.search.totals(visit.reads),
        environments=owned[:_ENVIRONMENTS],
        install=install_commands.of("NAME", visit.base, redirects=services.settings.upstream == "redirect")[
            0
        ].command,
    )


ROUTES = (Route(method="GET", path="/", handler=_home, need="read"),)
