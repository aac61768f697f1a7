"""Send pages and files from disk, with the answers that nginx gives on a host."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import http_date
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from ppmctl.access.rights import Access
from ppmctl.distributions import attestations
from ppmctl.distributions.distribution import InvalidDistribution, normalise, parse_filename, projects_of
from ppmctl.distributions.names import is_name, is_normalised
from ppmctl.errors import Refused
from ppmctl.index import discovery
from ppmctl.index.cache import UNKNOWN
from ppmctl.index.freshness import ROOT
from ppmctl.index.layout import PROVENANCE, SERVED
from ppmctl.index.pages import PACKED, packed_page, render_root
from ppmctl.index.store import Store
from ppmctl.server import content_negotiation, json_api
from ppmctl.server.bucket_files import BucketFiles
from ppmctl.server.content_negotiation import Form
from ppmctl.server.settings import ServerSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_ORIGIN = re.compile(r"https?://[^/?]*", re.IGNORECASE)
NO_FILE = "There is no such file in this index"
_SENDS_FILES = "X-Ppm-Sends-Files"  # nginx sets it, or removes it
_ATTEMPTS = 50  # to write and read a page while index/ is being deleted


class Reader:
    """Answers requests for pages and files on disk."""

    def __init__(self, settings: ServerSettings, store: Store, *, upstream_url: str) -> None:
        self._settings = settings
        self._store = store
        self._upstream_url = upstream_url
        self._file_cache = file_cache(settings)
        self._bucket_files = BucketFiles(settings, store) if store.cache.mirror is not None else None

    def answer(self, request: Request, by: Access) -> Response | None:
        """Return the response, or None for pypiserver's paths. Raise Refused: 404, 406, 503.

        A project that the credential may not read is answered as if it had never existed.
        """
        response: Response | None
        match request.path.split("/")[1:]:
            case _ if request.path == discovery.PATH:
                response = Response(
                    discovery.document(upstream=self._settings.upstream, read_access=self._settings.read_access),
                    mimetype="application/json",
                    headers={"Cache-Control": "no-cache"},
                )
            case ["simple"]:
                response = moved(request, "/simple/")
            case ["simple", ""]:
                response = self._root(request, by)
            case ["simple", name] | ["simple", name, ""] if name:
                response = self._project(request, by, name)
            case ["simple", *_]:
                raise Refused(404, "There is nothing here; a project's page is /simple/NAME/")
            case ["packages", ""]:
                return None
            case ["packages", project, filename] if filename:
                response = self._file(request, by, project, filename)
            case ["packages", filename] if filename:
                response = self._flat(request, by, filename)
            case ["packages", _, *_]:
                raise Refused(404, NO_FILE)
            case _:
                return None
        if request.method not in {"GET", "HEAD"}:
            if response is not None:
                response.close()  # it holds an open file
            return json_api.not_allowed("GET", "HEAD")
        return response

    def _root(self, request: Request, by: Access) -> Response | None:
        """Return the list of projects; for a credential with limited reads one that is made for it."""
        self._store.cache.require(ROOT)
        if not by.is_read_limited:
            return self._written(request, self._store.volume.simple, write=self._store.write_root)
        form, headers = _negotiated(request)
        content = render_root(by.readable(self._store.projects()))[form.page]
        if request.accept_encodings["gzip"] > 0 and (packed := packed_page(content)) is not None:
            content, headers["Content-Encoding"] = packed, "gzip"
        response = Response(content, headers=headers)
        response.add_etag()
        return response.make_conditional(request.environ)

    def _project(self, request: Request, by: Access, name: str) -> Response:
        project = normalised(name)
        if project != name or not request.path.endswith("/"):
            return moved(request, f"/simple/{project}/")
        # Never redirected: the name can be that of a project here, which the redirect would replace by a public one.
        require_readable(by, project, f"There is no project {project} in this index")
        self._store.cache.require(project)  # in a bucket, another node may have published it
        # A project that exists or existed, or that is private, is never redirected, even if its page is missing.
        page = self._written(
            request,
            self._store.volume.pages(project),
            write=lambda: self._store.refresh(project),
            is_here=lambda: self._store.has_project(project),
        )
        if page is not None:
            return page
        if self._settings.is_private(project):
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
        """Return a page, written again if it is missing; None if `is_here` is false.

        Try several times, because index/ can be deleted at any time, also between the writing and the reading.
        """
        for _attempt in range(_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                return self._page(request, pages)
            if not is_here():
                return None
            with contextlib.suppress(FileNotFoundError, FileExistsError):  # also mkdir's errors
                write()
        raise Refused(503, "The pages of this index are being deleted; ask again in a moment")

    def _page(self, request: Request, pages: Path) -> Response:
        """Return a page in the form that the client asks for. Raise FileNotFoundError if the page is missing."""
        if not (pages / content_negotiation.JSON.page).exists():
            raise FileNotFoundError(pages)
        form, headers = _negotiated(request)
        path = pages / form.page
        if request.accept_encodings["gzip"] > 0:
            with contextlib.suppress(FileNotFoundError):  # short pages have no compressed file
                packed = path.with_name(path.name + PACKED)
                return send(request, packed, {**headers, "Content-Encoding": "gzip"}, in_parts=False)
        return send(request, path, headers, in_parts=False)

    def _file(self, request: Request, by: Access, project: str, filename: str) -> Response:
        if not is_normalised(project) or not may_have(project, filename):
            raise Refused(404, NO_FILE)
        require_readable(by, project, NO_FILE)
        kind = media_type(filename)
        headers = {"Content-Type": kind, "Cache-Control": self._file_cache}
        path = self._store.volume.file(project, filename)
        is_known = self._store.cache.compare(project)
        for _attempt in range(_ATTEMPTS):
            try:
                if is_known and _sends_files(request, by) and self._store.cache.is_marked(project) and path.exists():
                    return _handed_over(request, kind)
                return send(request, path, headers)
            except FileNotFoundError as exc:
                missing = Refused(404, NO_FILE) if is_known else Refused(503, UNKNOWN)
                if self._bucket_files is None:
                    raise missing from exc
            try:
                response = self._bucket_files.answer(request, project, filename, kind=kind)
            except FileNotFoundError as exc:
                raise missing from exc
            if response is not None:
                return response
        raise Refused(503, UNKNOWN)  # each time it was removed before it was read, which does not happen

    def _flat(self, request: Request, by: Access, filename: str) -> Response:
        """Redirect from the URL of a file in a flat pypiserver, which lock files may contain."""
        for project in by.readable(projects_of(_distribution_of(filename))):
            self._store.cache.compare(project)
            if self._store.has_file(project, filename):
                return moved(request, f"/packages/{project}/{filename}")
        raise Refused(404, NO_FILE)


def _sends_files(request: Request, by: Access) -> bool:
    """Return whether the web server in front sends files of the volume that an answer names.

    It finds nothing there for a credential that may read only some projects.
    """
    connection = request.environ.get("gunicorn.socket")
    is_behind_proxy = connection is not None and connection.family == socket.AF_UNIX
    return is_behind_proxy and request.headers.get(_SENDS_FILES) == "yes" and not by.is_read_limited


def _handed_over(request: Request, kind: str) -> Response:
    """Return the answer by which nginx sends the requested file by itself, with its own headers."""
    return Response(headers={"X-Accel-Redirect": quote(request.path), "Content-Type": kind})


def require_readable(by: Access, project: str, message: str) -> None:
    """Raise Refused (404) if the credential may not read the project. Call it before looking for the project."""
    if not by.may("read", project):
        raise Refused(404, message)


def _negotiated(request: Request) -> tuple[Form, dict[str, str]]:
    """Return the form of a page that the client asks for, and the headers of the response. Raise Refused (406)."""
    form = content_negotiation.negotiate(request.headers.get("Accept", ""))
    if form is None:
        known = ", ".join(one.media_type for one in content_negotiation.FORMS)
        raise Refused(406, f"This page can be had as {known}")
    return form, {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding", "Cache-Control": "no-cache"}


def may_have(project: str, filename: str) -> bool:
    """Return whether this can be the name of a project's distribution, or of a side file of one that is served."""
    try:
        return parse_filename(_distribution_of(filename), project=project).project == project
    except InvalidDistribution:
        return False


def media_type(filename: str) -> str:
    """Return the media type of a distribution, or of a side file that is served."""
    return attestations.MEDIA_TYPE if filename.endswith(PROVENANCE) else "application/octet-stream"


def _distribution_of(filename: str) -> str:
    return filename.removesuffix(next(filter(filename.endswith, SERVED), ""))


def normalised(name: str) -> str:
    """Return the normalised name of a project. Raise Refused (404) for an invalid name."""
    if not is_name(name):
        raise Refused(404, "That is not a valid name of a project")
    return normalise(name)


def file_cache(settings: ServerSettings) -> str:
    """Return the Cache-Control of a file that never changes."""
    return f"max-age=31536000, immutable, {'public' if settings.public_reads else 'private'}"


def moved(request: Request, path: str) -> Response:
    """Return a 301 to another path of this index."""
    return _redirect(relative(request.environ, request.root_path.rstrip("/") + path), 301)


def relative(environ: WSGIEnvironment, path: str) -> str:
    """Return another path of this server relative to the requested one.

    So a redirect has no host, which a client could choose with a header, and stays below the path of a proxy.
    """
    # gunicorn sets RAW_URI
    sent = environ.get("RAW_URI") or quote(environ["SCRIPT_NAME"] + environ["PATH_INFO"], encoding="latin-1")
    folder = posixpath.dirname(_ORIGIN.sub("", sent, count=1).partition("?")[0])
    return posixpath.relpath(path, start=folder or "/") + ("/" if path.endswith("/") else "")


def _redirect(location: str, status: int) -> Response:
    headers = {"Location": location, "Cache-Control": "no-cache"}
    return Response(f"{location}\n", status=status, mimetype="text/plain", headers=headers)


def _uses_range(request: Request) -> bool:
    """Return whether a Range is used. A range in another unit, of several parts, or with a weak validator in If-Range
    is ignored (RFC 9110, sections 13.1.5 and 14.2)."""
    asked = request.headers.get("Range", "").strip().lower()
    is_weak = request.headers.get("If-Range", "").startswith("W/")
    return asked.startswith("bytes=") and "," not in asked and not is_weak


def send(request: Request, path: Path, headers: Mapping[str, str], *, in_parts: bool = True) -> Response:
    """Return a response with the file at `path`: all of it, nothing (304), or with `in_parts` a range of it (206)."""
    environ = dict(request.environ)
    if not _uses_range(request):
        environ.pop("HTTP_RANGE", None)
    file = path.open("rb")
    response = Response(headers=headers)
    try:
        entry = os.fstat(file.fileno())
        modified = int(entry.st_mtime)
        response.headers["Last-Modified"] = http_date(modified)
        response.set_etag(f"{modified:x}-{entry.st_size:x}")  # nginx's form
        response.response = wrap_file(request.environ, file, 1 << 18)
        response.direct_passthrough = True
        response.content_length = entry.st_size
        response.make_conditional(environ, accept_ranges=in_parts, complete_length=entry.st_size)
    except RequestedRangeNotSatisfiable:
        file.close()
        text, length = "The file ends before the range that was asked for\n", f"bytes */{entry.st_size}"
        return Response(text, status=416, mimetype="text/plain", headers={"Content-Range": length})
    except BaseException:
        file.close()
        raise
    response.call_on_close(file.close)
    return response
