"""The audit log, newest first, with filters."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from werkzeug.wrappers import Response

from ppmctl.access import audit_pages, audit_query
from ppmctl.access.audit_pages import AuditPage
from ppmctl.access.audit_query import Selection
from ppmctl.distributions.distribution import normalise
from ppmctl.distributions.names import is_name
from ppmctl.errors import PpmError, UsageError
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_ON_PAGE = 50
_FILTERS = ("user", "action", "project", "since", "refused")
# what `accounts`, `package_changes` and others write
_ACTIONS = (
    *("publish", "yank", "unyank", "remove", "status", "claim", "unclaim", "write", "login"),
    *(f"user {verb}" for verb in ("add", "invite", "join", "change", "rotate", "disable", "enable", "remove")),
    *(f"token {verb}" for verb in ("create", "change", "rotate", "disable", "enable", "revoke")),
)


def _show(visit: Visit) -> Response:
    filters = {name: visit.request.args.get(name, "").strip() for name in _FILTERS}
    before, problem, status = visit.request.args.get("before", ""), "", 200
    page = AuditPage(entries=(), before="")
    try:
        page = audit_pages.read(visit.services.settings.volume, _selection(filters), limit=_ON_PAGE, before=before)
    except PpmError as exc:
        if exc.status >= 500:
            raise
        problem, status = exc.phrase, exc.status
    given = {name: value for name, value in filters.items() if value}
    return visit.page(
        "audit.html",
        status=status,
        page=page,
        filters=filters,
        actions=_ACTIONS,
        problem=problem,
        newest="/admin/audit" + (f"?{urlencode(given)}" if given else ""),
        older=f"/admin/audit?{urlencode({**given, 'before': page.before})}" if page.before else "",
        is_newest=not before,
    )


def _selection(filters: dict[str, str]) -> Selection:
    """Return what the filters select. Raise UsageError for a filter that can't select anything."""
    project, since = filters["project"], filters["since"]
    if project and not is_name(project):
        raise UsageError(f"{project[:100]!r} is not a name of a project.")
    return Selection(
        since=audit_query.parse_since(since, now=datetime.now(UTC)) if since else None,
        user=filters["user"],
        project=normalise(project) if project else "",
        action=filters["action"],
        is_done=False if filters["refused"] else None,
    )


ROUTES = (Route(method="GET", path="/admin/audit", handler=_show, need="admin"),)
