"""Answer `/env/`: the list of environments, and their files from disk as nginx sends them on a host."""

from __future__ import annotations

from pathlib import Path

from werkzeug.wrappers import Request, Response

from ppmctl.access.rights import Access
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import FILES, NUMBER, PREFIX
from ppmctl.errors import Refused, UsageError
from ppmctl.index.environment_files import LATEST, LOG
from ppmctl.index.environment_list import MAX_LIMIT, Listing
from ppmctl.index.store import Store
from ppmctl.server import json_api, simple_api
from ppmctl.server.settings import ServerSettings

_LIMIT = 100
_NOTHING = "There is nothing of that name in this index"


class EnvironmentReader:
    """Answers requests below /env/."""

    def __init__(self, settings: ServerSettings, store: Store) -> None:
        self._store = store
        self._listing = Listing(store)
        self._file_cache = simple_api.file_cache(settings)

    def answer(self, request: Request, by: Access) -> Response | None:
        """Return the response, or None for a path outside /env/. Raise Refused: 400, 404.

        An environment that the credential may not read is answered as if it had never existed.
        """
        path = request.path.split("/")[1:]
        if path[0] != "env":
            return None
        if request.method not in {"GET", "HEAD"}:
            return json_api.not_allowed("GET", "HEAD")
        match path:
            case ["env"]:
                return simple_api.moved(request, "/env/")
            case ["env", ""]:
                return self._list(request, by)
            case ["env", name]:
                return simple_api.moved(request, f"/env/{_normal(name)}/")
            case ["env", name, ""]:
                return self._file(request, by, name, "", LOG)
            case ["env", name, file] if file in FILES:
                return self._file(request, by, name, file, f"{LATEST}/{file}")
            case ["env", name, number, file] if file in FILES and NUMBER.fullmatch(number):
                revision_file = f"{number}/{file}"
                return self._file(request, by, name, revision_file, revision_file, cache=self._file_cache)
        paths = f"/env/NAME/, /env/NAME/FILE and /env/NAME/REVISION/FILE, where FILE is one of {', '.join(FILES)}"
        raise Refused(404, f"There is nothing here; the paths of an environment are {paths}")

    def _list(self, request: Request, by: Access) -> Response:
        limit = request.args.get("limit", str(_LIMIT))
        if not NUMBER.fullmatch(limit) or int(limit) > MAX_LIMIT:
            raise Refused(400, f"The limit must be a whole number from 1 to {MAX_LIMIT}")
        page = self._listing.page(
            after=request.args.get("after", ""),
            limit=int(limit),
            owner=request.args.get("owner"),
            readable=by.readable if by.is_read_limited else None,
        )
        return json_api.answer({"environments": page.environments, "after": page.after})

    def _file(
        self, request: Request, by: Access, name: str, rest: str, path: str, *, cache: str = "no-cache"
    ) -> Response:
        normal = _normal(name)
        if normal != name:
            return simple_api.moved(request, f"/env/{normal}/{rest}")
        simple_api.require_readable(by, PREFIX + name, _NOTHING)
        self._store.cache.require(PREFIX + name)
        top = self._store.volume.environment(name)
        if not top.is_dir() and self._store.has_project(PREFIX + name):
            self._store.refresh(PREFIX + name)  # index/ can be deleted at any time
        kind = "application/json" if path.endswith(".json") else "text/plain; charset=utf-8"
        try:
            return simple_api.send(request, Path(top, path), {"Content-Type": kind, "Cache-Control": cache})
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise Refused(404, _NOTHING) from exc


def _normal(name: str) -> str:
    try:
        return formats.normalise(name)
    except UsageError as exc:
        raise Refused(404, "That is not a valid name of an environment") from exc
