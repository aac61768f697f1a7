"""Lists of projects: all of them, and those that a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from werkzeug.wrappers import Response

from ppmctl.errors import Refused, UsageError
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_EACH = 50  # projects on a page
_MAX_PAGE = 7  # digits of the number of a page
_ORDERS = (("name", "by name"), ("newest", "newest first"))


@dataclass(frozen=True, kw_only=True)
class _Pages:
    """Where a page of a list stands: its number, that of the last page, and links to its neighbours, or ""."""

    number: int
    last: int
    previous: str
    next: str

    @classmethod
    def of(cls, number: int, entries: int, **query: str) -> _Pages:
        """Return page `number` of this many entries. Raise Refused (404) behind the last."""
        last = max(1, -(-entries // _EACH))
        if number > last:
            raise Refused(404, f"The list has only {last} page{'s' if last > 1 else ''}")

        def link(page: int) -> str:
            return f"?{urlencode({**query, 'page': page})}" if 1 <= page <= last else ""

        return cls(number=number, last=last, previous=link(number - 1), next=link(number + 1))


def _projects(visit: Visit) -> Response:
    order = visit.request.args.get("order", "name")
    if order not in dict(_ORDERS):
        raise Refused(400, f"The order can be {' or '.join(dict(_ORDERS))}")
    number = _page_number(visit)
    rows, entries = visit.services.search.projects(
        order="newest" if order == "newest" else "name",
        may_read=visit.reads,
        limit=_EACH,
        offset=(number - 1) * _EACH,
    )
    pages = _Pages.of(number, entries, order=order)
    return _list(
        visit, title="Projects", rows=rows, pages=pages, numbers=_count(entries), orders=_ORDERS, order=order
    )


def _search(visit: Visit) -> Response:
    text = visit.request.args.get("q", "").strip()
    title = f"Search for {text[:200]}" if text else "Search"
    number = _page_number(visit)
    try:
        rows, entries = visit.services.search.search(
            text, may_read=visit.reads, limit=_EACH, offset=(number - 1) * _EACH
        )
    except UsageError as exc:
        return _list(visit, status=400, title=title, query=text[:200], wrong=exc.message)
    pages = _Pages.of(number, entries, q=text)
    return _list(visit, title=title, query=text, rows=rows, pages=pages, numbers=_count(entries))


def _list(visit: Visit, *, title: str, query: str = "", status: int = 200, **values: Any) -> Response:
    nothing = {"rows": (), "pages": None, "numbers": "", "orders": (), "order": "", "wrong": ""}
    return visit.page("projects.html", status=status, title=title, query=query, **{**nothing, **values})


def _page_number(visit: Visit) -> int:
    text = visit.request.args.get("page", "1")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_PAGE and int(text)):
        raise Refused(400, "The page must be a whole number from 1")
    return int(text)


def _count(number: int) -> str:
    return "1 project" if number == 1 else f"{number} projects" if number else "No project"


ROUTES = (
    Route(method="GET", path="/projects/", handler=_projects, need="read"),
    Route(method="GET", path="/search", handler=_search, need="read"),
)
