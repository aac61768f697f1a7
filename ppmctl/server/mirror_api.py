"""Answer what mirrors and bots ask an index for: `/pypi/NAME/json`, and XML-RPC at `/pypi` and `/RPC2`.

`docs/http.md` describes the requests and answers.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable

from werkzeug.wrappers import Request, Response

from ppmctl.access.credential_files import Access
from ppmctl.distributions import legacy_json
from ppmctl.distributions.distribution import one_line
from ppmctl.errors import PpmError, Refused
from ppmctl.index import pages
from ppmctl.index.freshness import ROOT
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.server import json_api, same_origin, simple_api, xml_rpc
from ppmctl.server.catalog import Catalogue
from ppmctl.storage.bucket import Unavailable

RPC_PATHS = frozenset({"/RPC2", "/pypi", "/pypi/"})

_SEARCH = "search"  # which pypiserver answers
# seconds at most: from the choice of a page's serial until it is in place; the same where other nodes choose serials,
# whose clocks may differ by ten minutes, and whose changes are found within one and a half
_WRITING_TAKES, _FOLLOWING_TAKES = 5, 15 * 60


class MirrorApi:
    """Answers requests of mirrors and bots, with the projects that the credential may read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalogue = Catalogue(store)

    def answer(self, request: Request, by: Access) -> Response | None:
        """Return the response, or None for other paths and for a search, which pypiserver answers.

        Raise Refused: 400, 404, 411, 413.
        """
        if request.path in RPC_PATHS and request.method == "POST":
            return self._call(request, by)
        match request.path.split("/")[1:]:
            case ["pypi", name, "json"]:
                return self._document(request, by, name)
            case ["pypi", name, version, "json"]:
                return self._document(request, by, name, version)
        return None

    def _document(self, request: Request, by: Access, name: str, version: str | None = None) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return json_api.not_allowed("GET", "HEAD")
        project = simple_api.normalised(name)
        if project != name:
            return simple_api.moved(request, "/".join(["/pypi", project, *([version] if version else []), "json"]))
        simple_api.require_readable(by, project, _no_project(project))
        self._store.cache.require(project)
        serial = pages.last_serial(self._store.volume.pages(project))  # before its files: a mirror rather asks twice
        page = self._catalogue.project(project)
        if page is None or page.latest is None:
            raise Refused(404, _no_project(project))
        try:
            release = page.latest if version is None else page.release(version)
        except PpmError as exc:
            raise Refused(404, exc.message) from exc
        metadata = next((text for file in release.files if (text := self._catalogue.metadata(file))), b"")
        document = legacy_json.document(
            page, release, metadata, base=_base(request), serial=serial, has_releases=version is None
        )
        response = json_api.answer(document)
        response.headers["X-PyPI-Last-Serial"] = str(serial)
        return response

    def _call(self, request: Request, by: Access) -> Response | None:
        json_api.check_length(request, json_api.MAX_BODY)  # all of it is held in memory
        body = request.get_data()
        try:
            call = xml_rpc.Call(body)
        except xml_rpc.NOT_A_CALL as exc:
            raise Refused(400, "The body is not an XML-RPC call; uploads go to /legacy/") from exc
        if call.method == _SEARCH:
            request.environ |= {"PATH_INFO": "/RPC2", "wsgi.input": io.BytesIO(body)}
            return None
        text = self._answer(call, by)
        return Response(text, mimetype="text/xml", headers={"Cache-Control": "no-store"})

    def _answer(self, call: xml_rpc.Call, by: Access) -> str:
        if call.method not in _METHODS:
            known = ", ".join([*_METHODS, _SEARCH])
            message = f"There is no method {one_line(call.method)[:40]!r}; the methods are {known}"
            return xml_rpc.fault(xml_rpc.NO_SUCH_METHOD, f"{message}. A project's values are at /pypi/NAME/json")
        try:
            since = int(call.text("int", "i4", "i8")) if call.method == "changelog_since_serial" else 0
        except xml_rpc.NOT_A_CALL:
            return xml_rpc.fault(xml_rpc.INVALID_PARAMETERS, f"{call.method} needs a serial, which is a whole number")
        return xml_rpc.answer(_METHODS[call.method](self._serials(by), since))

    def _serials(self, by: Access) -> dict[str, int]:
        complete = complete_until(self._store.volume)  # before the list and the pages, which may then have more
        self._store.cache.require(ROOT)
        names = [name for name in self._store.projects() if by.may("read", name)]
        serials = {name: pages.last_serial(self._store.volume.pages(name)) for name in names}
        return reported(serials, complete=complete)


def complete_until(volume: Volume) -> int:
    """Return the last serial of which no more changes will be found here, of this node or another one.

    Raise Unavailable on a new node that has not yet read what the others changed.
    """
    if not volume.is_cache:
        return int(time.time()) - _WRITING_TAKES
    try:
        return int(volume.followed.stat().st_mtime) - _FOLLOWING_TAKES
    except FileNotFoundError as exc:
        raise Unavailable("This node does not know yet what other nodes changed; ask again in a minute") from exc


def reported(serials: dict[str, int], *, complete: int) -> dict[str, int]:
    """Return the serials of projects as a mirror gets them: none after `complete`, of which changes may be missing.

    A mirror that got a later one would miss a change of another project. It gets `complete`, and asks for the project
    again until its serial has passed; also for a project whose page is not here, and whose serial is unknown.
    """
    return {name: min(serial or complete, complete) for name, serial in serials.items()}


def _no_project(project: str) -> str:
    return f"There is no project {project} in this index, or it has no files"


def _changes(serials: dict[str, int], since: int) -> list[tuple[str, str, int, str, int]]:
    """Return a line for each project that has changed: its name, no version, the time, the action and the serial."""
    changed = sorted((serial, name) for name, serial in serials.items() if serial > since)
    return [(name, "", serial, "change", serial) for serial, name in changed]


_METHODS: dict[str, Callable[[dict[str, int], int], object]] = {
    "changelog_last_serial": lambda serials, _since: max(serials.values(), default=0),
    "changelog_since_serial": _changes,
    "list_packages": lambda serials, _since: list(serials),
    "list_packages_with_serial": lambda serials, _since: serials,
}


def _base(request: Request) -> str:
    """Return the URL of the index as the client used it, or "/" if it named no host."""
    host = request.environ[same_origin.HOST]
    return f"{request.environ['wsgi.url_scheme']}://{host}/" if host else "/"
