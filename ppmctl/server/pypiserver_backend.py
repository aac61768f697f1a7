"""Run pypiserver, unmodified, with our store as its backend. No other module imports pypiserver.

pypiserver does not guarantee what is used here; tests/e2e/test_pypiserver_contract.py checks it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pypiserver
from pypiserver.backend import Backend, BackendProxy
from pypiserver.bottle_wrapper import FileUpload, FormsDict, HTTPResponse, request, response
from pypiserver.config import DEFAULTS
from pypiserver.core import PkgFile
from werkzeug.wrappers import Response

from ppmctl.access.rights import Access
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.distributions.names import is_name
from ppmctl.errors import Refused
from ppmctl.index import pages, project_folder
from ppmctl.index.lookup import NotHere
from ppmctl.index.project_folder import Folder, StoredFile
from ppmctl.index.store import Store
from ppmctl.server import simple_api, uploads, xml_rpc
from ppmctl.server.public_names import PublicNames
from ppmctl.server.uploads import Upload

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PUBLIC_INDEX: str = DEFAULTS.FALLBACK_URL  # where pypiserver redirects unknown projects to

MAX_FOUND = 500  # projects, of an XML-RPC search

_BY = "ppm.by"  # in the environ: the credential of the request
_UPLOAD = "ppm.upload"
_LIST = "/packages/"  # of all files
# what pypiserver raises for XML that is no search: missing elements, an unknown encoding, elements nested too deep
_NOT_A_SEARCH = (AttributeError, LookupError, ValueError, RecursionError)
_WELCOME = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Python package index</title></head>
<body><h1>Python package index</h1>
<p>{{NUMPKGS}} projects, in the <a href="simple/">Simple API</a>. Install with
<code>pip install --index-url {{URL}}simple/ NAME</code>, publish with <code>ppmctl publish</code> or
<code>twine upload --repository-url {{URL}}</code>.</p>
<p>Served by pypiserver and ppm.</p></body></html>
"""


class StoreBackend(Backend):
    """pypiserver's storage, backed by our store. Uploads come from the module `uploads`.

    It has only the projects that the credential of the request may read.
    """

    def __init__(self, config: Any, store: Store, public_names: PublicNames) -> None:
        super().__init__(config)
        self._store = store
        self._public_names = public_names

    def add_package(self, filename: str, stream: object) -> None:
        upload: Upload = request.environ[_UPLOAD]
        if upload.filename != filename or upload.content is not stream:
            raise Refused(400, "A form must have exactly one file, in its field 'content'")
        uploads.publish(self._store, upload, self._public_names)
        if upload.notes:  # pypiserver's answer has no text
            text = "".join(f"{one_line(note)}\n" for note in upload.notes)
            raise HTTPResponse(text, 200, content_type="text/plain; charset=utf-8")

    def remove_package(self, pkg: PkgFile) -> None:
        upload: Upload = request.environ[_UPLOAD]
        filename = pkg.relfn.rpartition("/")[2]
        self._store.remove(pkg.pkgname, filename)
        upload.actor.record(self._store.volume, "remove", filename)

    def exists(self, filename: str) -> bool:
        raise AssertionError(filename)  # never called: with `overwrite` the store decides, when it writes the file

    def get_projects(self) -> list[str]:
        by: Access = request.environ[_BY]
        return by.readable(self._store.projects())

    def find_project_packages(self, project: str) -> Iterator[PkgFile]:
        """Yield the files that pypiserver's pages offer: not yanked ones, which these pages can't mark (PEP 592)."""
        content = self._read(project)
        for file in pages.listed_files(content):
            if file.yanked is None:
                yield self._package(content.project, file)

    def _read(self, project: str) -> Folder:
        by: Access = request.environ[_BY]
        with contextlib.suppress(NotHere):
            if by.may("read", normalise(project)):
                return self._store.read(normalise(project))
        return Folder(project=project)

    def _package(self, project: str, file: StoredFile) -> PkgFile:
        relative = f"{project}/{file.filename}"
        return PkgFile(
            pkgname=project,
            version=file.record.version,
            fn=str(self._store.volume.packages / relative),
            root=str(self._store.volume.packages),
            relfn=relative,
        )

    def get_all_packages(self) -> Iterator[PkgFile]:
        projects = self.get_projects()
        if request.path == "/RPC2":  # to read all of them takes seconds, and pypiserver drops most
            word = _searched_word()
            projects = [project for project in projects if word in project][:MAX_FOUND]
        for project in projects:
            yield from self.find_project_packages(project)

    def find_version(self, name: str, version: str) -> Iterator[PkgFile]:
        """Yield the files of a release that is to be removed, whatever their state."""
        content = self._read(name)
        for file in content.files:
            if file.record.version == version:
                yield self._package(content.project, file)

    def package_count(self) -> int:
        return len(self.get_projects())

    def digest(self, pkg: PkgFile) -> str | None:
        filename = pkg.relfn.rpartition("/")[2]
        return f"sha256={project_folder.read_record(self._store.volume, pkg.pkgname, filename).sha256}"


class Pypiserver:
    """pypiserver's application."""

    def __init__(self, store: Store, public_names: PublicNames) -> None:
        # requests are authenticated before, and unknown projects are redirected before
        app = pypiserver.app(
            roots=[store.volume.packages],
            authenticate=[],
            password_file=os.curdir,  # by which pypiserver means that there is none
            overwrite=True,
            disable_fallback=True,
            backend_arg="simple-dir",
            welcome_msg=_WELCOME,
        )
        config = app._pypiserver_config
        config.backend = BackendProxy(StoreBackend(config, store, public_names))
        app.catchall = False  # so that Refused reaches the code that renders it
        app.default_error_handler = _plain_error
        self._app: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]] = app

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, by: Access, upload: Upload | None = None
    ) -> Iterable[bytes]:
        """Answer a request of the credential `by`. pypiserver does not parse the form again if `upload` is given.

        Raise Refused (404) for a path that starts with no name of a project: pypiserver would redirect from it.
        """
        first = environ["PATH_INFO"].split("/")[1:2]
        if not all(name == "" or is_name(name) for name in first):
            raise Refused(404, "There is nothing here: the path does not start with a valid name of a project")
        environ[_BY] = by
        if upload is not None:
            environ = {**environ, **_parsed(upload), _UPLOAD: upload, "PATH_INFO": "/"}
        try:
            return _below_any_path(environ, Response.from_app(self._app, environ, buffered=True))(
                environ, start_response
            )
        except _NOT_A_SEARCH as exc:
            if environ["PATH_INFO"] != "/RPC2":
                raise
            raise Refused(400, "The body is not an XML-RPC search") from exc


def _below_any_path(environ: WSGIEnvironment, answer: Response) -> Response:
    """Make redirects and links relative: pypiserver does not know the path that a proxy has it below."""
    if location := answer.headers.get("Location"):
        answer.headers["Location"] = simple_api.relative(environ, urlsplit(location).path)
    if environ["PATH_INFO"] == _LIST:
        del answer.headers["Content-Length"]  # pypiserver's, which the answer to HEAD has too
        answer.response = [answer.get_data().replace(f'href="{_LIST}'.encode(), b'href="')]
    return answer


def _searched_word() -> str:
    """Return the text that pypiserver looks for in the names of projects; it has parsed the search before."""
    return xml_rpc.Call(request.body.read()).text("string")


def _parsed(upload: Upload) -> dict[str, Any]:
    forms, uploaded = FormsDict(), FormsDict()
    for key, value in {**upload.fields, ":action": upload.action}.items():
        forms[key] = value
    if upload.content is not None:
        uploaded["content"] = FileUpload(upload.content, "content", upload.filename)
    return {
        "bottle.request.forms": forms,
        "bottle.request.files": uploaded,
        "bottle.request.post": FormsDict([*forms.allitems(), *uploaded.allitems()]),
    }


def _plain_error(error: Any) -> str:
    """Render pypiserver's errors as our refusals: the reason in the status line, and as one line of text."""
    reason = one_line(error.body or error.status_line)
    phrase = reason.encode("ascii", "replace").decode()  # bottle's 404 quotes the path
    response.status = f"{error.status_code} {phrase}"
    response.content_type = "text/plain; charset=utf-8"
    return reason + "\n"
