"""The read path of the embedded server: pages and files from disk, with the answers that nginx gives on a host."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import http_date
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from ppmctl.distributions.distribution import InvalidDistribution, is_name, is_normalised, normalise, parse_filename
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import Refused
from ppmctl.index import discovery
from ppmctl.index.layout import METADATA
from ppmctl.index.pages import PACKED
from ppmctl.index.store import Store
from ppmctl.server import content_negotiation, json_api
from ppmctl.server.settings import ServerSettings

_FOR_EVER = "max-age=31536000, immutable"
_VARY = "Accept, Accept-Encoding"
_NO_FILE = "There is no such file in this index"
_ATTEMPTS = 50  # to write and read a page that somebody deletes meanwhile


class Reader:
    """Answers GET and HEAD for what is served from disk."""

    def __init__(self, settings: ServerSettings, store: Store, *, upstream_url: str) -> None:
        self._settings = settings
        self._store = store
        self._upstream_url = upstream_url
        self._file_cache = for_ever(settings)

    def answer(self, request: Request) -> Response | None:
        """The response, or None for what is pypiserver's to answer. Refused: 404, 405 or 406."""
        found: Response | None
        match request.path.split("/")[1:]:
            case _ if request.path == discovery.PATH:
                found = Response(
                    discovery.document(upstream=self._settings.upstream, read_access=self._settings.read_access),
                    mimetype="application/json",
                )
                found.headers["Cache-Control"] = "no-cache"
            case ["simple"]:
                found = moved(request, "/simple/")
            case ["simple", ""]:
                found = self._written(request, self._store.volume.simple, write=self._store.write_root)
            case ["simple", name] | ["simple", name, ""] if name:
                found = self._project(request, name)
            case ["simple", *_]:
                raise Refused(404, "There is nothing here; a project's page is /simple/NAME/")
            case ["packages", ""]:
                return None
            case ["packages", project, filename] if filename:
                found = self._file(request, project, filename)
            case ["packages", filename] if filename:
                found = self._flat(request, filename)
            case ["packages", _, *_]:
                raise Refused(404, _NO_FILE)
            case _:
                return None
        if request.method not in {"GET", "HEAD"}:
            if found is not None:
                found.close()  # the file that it would have sent
            return json_api.not_allowed("GET", "HEAD")
        return found

    def _project(self, request: Request, name: str) -> Response:
        if not is_name(name):
            raise Refused(404, "That is not a valid name of a project")
        project = normalise(name)
        if project != name or not request.path.endswith("/"):
            return moved(request, f"/simple/{project}/")
        # A name that is here, was here or is private is never sent elsewhere, whatever becomes of its page.
        found = self._written(
            request,
            self._store.volume.pages(project),
            write=lambda: self._store.refresh(project),
            is_here=lambda: self._store.has_project(project),
        )
        if found is not None:
            return found
        is_private = any(fnmatchcase(project, glob) for glob in self._settings.private_names)
        if is_private or environment_of(project) is not None:  # nobody else's environments either
            raise Refused(404, f"{project} is a private name of this index, and nothing was published under it yet")
        if self._settings.upstream == "none":
            raise Refused(404, f"There is no project {project} in this index")
        return _redirect(f"{self._upstream_url}{project}/", 302)

    def _written(
        self,
        request: Request,
        pages: Path,
        *,
        write: Callable[[], None],
        is_here: Callable[[], bool] = lambda: True,
    ) -> Response | None:
        """A page, written again where it is missing; None where what it is about is not here.

        index/ may be deleted at any time, also between the writing and the reading, and again.
        """
        for _attempt in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                return self._page(request, pages)
            if not is_here():
                return None
            with contextlib.suppress(FileNotFoundError, FileExistsError):  # what mkdir says of a folder that goes
                write()
        raise Refused(503, "The pages of this index are being deleted; ask again in a moment")

    def _page(self, request: Request, pages: Path) -> Response:
        """A page in the form that the client asked for; FileNotFoundError where there is none."""
        form = content_negotiation.negotiate(request.headers.get("Accept", ""))
        path = pages / (form.page if form is not None else content_negotiation.JSON.page)
        if not path.exists():
            raise FileNotFoundError(path)
        if form is None:
            known = ", ".join(
                known.media_type
                for known in (content_negotiation.JSON, content_negotiation.HTML, content_negotiation.PLAIN_HTML)
            )
            raise Refused(406, f"This page can be had as {known}")
        about = {"Content-Type": form.content_type, "Vary": _VARY, "Cache-Control": "no-cache"}
        if request.accept_encodings["gzip"] > 0:
            with contextlib.suppress(FileNotFoundError):  # short pages have no packed form
                packed = path.with_name(path.name + PACKED)
                return send(request, packed, {**about, "Content-Encoding": "gzip"}, in_parts=False)
        return send(request, path, about, in_parts=False)

    def _file(self, request: Request, project: str, filename: str) -> Response:
        if not is_normalised(project) or _project_of(filename) != project:
            raise Refused(404, _NO_FILE)
        about = {"Content-Type": "application/octet-stream", "Cache-Control": self._file_cache}
        try:
            return send(request, self._store.volume.file(project, filename), about)
        except FileNotFoundError as exc:
            raise Refused(404, _NO_FILE) from exc

    def _flat(self, request: Request, filename: str) -> Response:
        """The URL that a pypiserver with a flat folder gave out, which lock files may still hold."""
        project = _project_of(filename)
        if not self._store.has_file(project, filename):
            raise Refused(404, _NO_FILE)
        return moved(request, f"/packages/{project}/{quote(filename)}")


def _project_of(filename: str) -> str:
    """The project that a file, or the metadata of one, belongs to. Refused, 404, for another name."""
    try:
        return parse_filename(filename.removesuffix(METADATA)).project
    except InvalidDistribution as exc:
        raise Refused(404, _NO_FILE) from exc


def for_ever(settings: ServerSettings) -> str:
    """The Cache-Control of what never changes."""
    return f"{_FOR_EVER}, {'public' if settings.public_reads else 'private'}"


def moved(request: Request, path: str) -> Response:
    """301 to another path of this index."""
    # without the host: nothing that a client sends in a header can end up in it
    return _redirect(request.root_path.rstrip("/") + path, 301)


def _redirect(location: str, status: int) -> Response:
    response = Response(f"{location}\n", status=status, mimetype="text/plain")
    response.headers["Location"] = location
    response.headers["Cache-Control"] = "no-cache"
    return response


def _range_counts(request: Request) -> bool:
    """Whether a Range is heeded: one in another unit, of several parts, or on condition of a weak validator gets the
    whole (RFC 9110, sections 13.1.5 and 14.2)."""
    asked = request.headers.get("Range", "").strip().lower()
    return (
        asked.startswith("bytes=") and "," not in asked and not request.headers.get("If-Range", "").startswith("W/")
    )


def send(request: Request, path: Path, about: Mapping[str, str], *, in_parts: bool = True) -> Response:
    """Return the file at `path` with the headers `about`: whole, not at all (304), or in part (Range, `in_parts`)."""
    environ = dict(request.environ)
    if not _range_counts(request):
        environ.pop("HTTP_RANGE", None)
    file = path.open("rb")
    response = Response(headers=about)
    try:
        entry = os.fstat(file.fileno())
        modified = int(entry.st_mtime)
        response.headers["Last-Modified"] = http_date(modified)
        response.set_etag(f"{modified:x}-{entry.st_size:x}")  # as nginx makes it
        response.response = wrap_file(request.environ, file, 1 << 18)
        response.direct_passthrough = True
        response.content_length = entry.st_size
        response.make_conditional(environ, accept_ranges=in_parts, complete_length=entry.st_size)
    except RequestedRangeNotSatisfiable:
        file.close()
        refused = Response("The file ends before the range that was asked for\n", status=416, mimetype="text/plain")
        refused.headers["Content-Range"] = f"bytes */{entry.st_size}"
        return refused
    except BaseException:
        file.close()
        raise
    response.call_on_close(file.close)
    return response
