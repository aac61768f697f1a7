"""The administration's first page, with the state of the server, and the statistics."""

from __future__ import annotations

import os
from collections.abc import Iterator

from werkzeug.wrappers import Response

from ppmctl import __version__, output
from ppmctl.access import audit_pages
from ppmctl.access.audit_query import Entry, Selection
from ppmctl.distributions.distribution import normalise
from ppmctl.distributions.names import is_name
from ppmctl.errors import PpmError, some
from ppmctl.index import recovery
from ppmctl.index.free_space import free_space
from ppmctl.index.layout import Volume
from ppmctl.secret import masked
from ppmctl.server import health
from ppmctl.server.setting_table import SETTINGS
from ppmctl.server.settings import ServerSettings
from ppmctl.web import charts
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_RECENT = 20  # uploads
_RECENT_READ = 1 << 20  # bytes of the audit in which they are looked for
_MONTHS = 24
_BARS = 10  # of the largest projects


def _overview(visit: Visit) -> Response:
    settings = visit.services.settings
    return visit.page(
        "admin.html",
        version=__version__,
        checks=list(_checks(settings.volume)),
        uploads=recent_uploads(settings.volume),
        settings=[(setting, _shown(settings, setting.name)) for setting in SETTINGS],
        asked=_asked(visit),
    )


def _asked(visit: Visit) -> dict[str, str]:
    """Return the project that the visitor wants to manage, and what is wrong with its name."""
    name = visit.request.args.get("project", "").strip()
    if not name:
        return {"project": "", "problem": ""}
    if not is_name(name) or not visit.services.store.has_project(normalise(name)):
        return {"project": name, "problem": f"There is no project {name[:100]!r} in this index."}
    return {"project": normalise(name), "problem": ""}


def _manage(visit: Visit) -> Response:
    asked = _asked(visit)
    if asked["project"] and not asked["problem"]:
        return visit.redirect(f"/project/{asked['project']}/manage")
    return _overview(visit)


def recent_uploads(volume: Volume) -> list[Entry]:
    """Return the newest uploads of the audit."""
    wanted = Selection(action="publish", is_done=True)
    return list(audit_pages.read(volume, wanted, limit=_RECENT, max_read=_RECENT_READ).entries)


def _checks(volume: Volume) -> Iterator[tuple[str, str, str]]:
    """Yield checks that cost nothing: each one's name, its state ("ok", "warn", "fail") and what was found."""
    try:
        for free in free_space(os.statvfs(volume.root)):
            yield free.what, free.state, free.message
        health.check_volume(volume)
        yield "volume", "ok", "the list of projects can be read, and the volume written"
    except OSError as exc:
        yield "volume", "fail", f"the volume can't be read: {exc.strerror}"
    except PpmError as exc:
        yield "volume", "fail", exc.phrase
    names = recovery.marked_projects(volume)
    if names:
        yield "pages", "warn", f"pages may be old ({len(names)}: {some(names, 5)}), unless an upload is running"
    else:
        yield "pages", "ok", "all project pages are up to date"


def _shown(settings: ServerSettings, name: str) -> str:
    """Return a setting's value without a secret."""
    value = getattr(settings, name)
    if name == "max_upload_size":
        return output.size(value)
    if isinstance(value, tuple):
        value = " ".join(value)
    return "" if value is None else masked(str(value))


def _statistics(visit: Visit) -> Response:
    counted = visit.services.numbers.get()
    if counted is None:
        return visit.page("statistics.html", counted=None, months=(), largest=(), plots=None)
    newest = list(counted.uploads.items())[-_MONTHS:]
    largest = [each for each in counted.largest[:_BARS] if each.size]
    return visit.page(
        "statistics.html",
        counted=counted,
        plots=counted.plots,
        months=charts.bars((month, count, str(count)) for month, count in newest),
        largest=charts.bars((each.name, each.size or 0, output.size(each.size or 0)) for each in largest),
    )


ROUTES = (
    Route(method="GET", path="/admin/", handler=_overview, need="admin"),
    Route(method="GET", path="/admin/project", handler=_manage, need="admin"),
    Route(method="GET", path="/admin/statistics/", handler=_statistics, need="admin"),
)
