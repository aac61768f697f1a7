"""Tests of pypiserver's behaviour that ppmctl/server/pypiserver_backend.py relies on, and that is not documented.

If a new pypiserver breaks one of these tests, the message names the change and the code of ppmctl that depends on it.
"""

from __future__ import annotations

import io
import xmlrpc.client
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pypiserver
import pytest
from pypiserver import backend as pypiserver_backend
from pypiserver.backend import Backend, BackendProxy
from pypiserver.bottle_wrapper import FileUpload, FormsDict, HTTPError, request, response
from pypiserver.config import DEFAULTS
from pypiserver.core import PkgFile
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

LOOK = "see ppmctl/server/pypiserver_backend.py: "


class Refusal(Exception):
    """An exception like ppm's."""


class Recording(Backend):
    """A backend that records the calls of pypiserver."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.asked: list[tuple[Any, ...]] = []
        self.fails = False

    def add_package(self, filename: str, stream: Any) -> None:
        self.asked.append(("add_package", filename, stream, request.environ.get("ppm.upload")))
        if self.fails:
            raise Refusal

    def remove_package(self, pkg: PkgFile) -> None:
        self.asked.append(("remove_package", pkg.pkgname, pkg.version, pkg.relfn))

    def exists(self, filename: str) -> bool:
        self.asked.append(("exists", filename))
        return True

    def get_projects(self) -> Iterable[str]:
        return ["x"]

    def get_all_packages(self) -> Iterator[PkgFile]:
        yield from self.find_project_packages("x")

    def find_project_packages(self, project: str) -> Iterator[PkgFile]:
        if project == "x":
            for number in ("1.0", "10.0"):
                name = f"x/x-{number}.tar.gz"
                yield PkgFile(pkgname="x", version=number, fn=f"/packages/{name}", root="/packages", relfn=name)

    def find_version(self, name: str, version: str) -> Iterator[PkgFile]:
        self.asked.append(("find_version", name, version))
        return (package for package in self.find_project_packages(name) if package.version == version)

    def package_count(self) -> int:
        return 42

    def digest(self, pkg: PkgFile) -> str | None:
        self.asked.append(("digest", pkg.relfn))
        return "sha256=abc"


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """Return pypiserver's application, made as in ppmctl/server/pypiserver_backend.py."""
    try:
        made = pypiserver.app(
            roots=[tmp_path],
            authenticate=[],
            password_file=".",
            overwrite=True,
            disable_fallback=True,
            backend_arg="simple-dir",
            welcome_msg="{{URL}} {{VERSION}} {{NUMPKGS}} {{PACKAGES}} {{SIMPLE}}",
        )
    except Exception as exc:
        raise AssertionError(
            f"pypiserver.app() takes other names or values for its settings now ({exc!r}); {LOOK}Pypiserver.__init__"
        ) from exc
    assert hasattr(made, "_pypiserver_config"), (
        f"the application has its settings elsewhere, so our backend can't be set; {LOOK}Pypiserver.__init__"
    )
    made._pypiserver_config.recording = Recording(made._pypiserver_config)
    made._pypiserver_config.backend = BackendProxy(made._pypiserver_config.recording)
    made.catchall = False
    return made


@pytest.fixture
def backend(app: Any) -> Recording:
    """Return the backend behind the proxy."""
    recording: Recording = app._pypiserver_config.recording
    return recording


def form(fields: dict[str, str], stream: object = None, filename: str = "") -> dict[str, Any]:
    """Return a parsed form, as ppmctl passes it on."""
    forms, files = FormsDict(), FormsDict()
    for key, value in fields.items():
        forms[key] = value
    if stream is not None:
        files["content"] = FileUpload(stream, "content", filename)
    return {
        "bottle.request.forms": forms,
        "bottle.request.files": files,
        "bottle.request.post": FormsDict([*forms.allitems(), *files.allitems()]),
    }


class Unread(io.RawIOBase):
    """A request's body that must not be read again."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: Any) -> int:
        raise AssertionError(
            "pypiserver reads the body although the form was handed over parsed: an upload would be spooled twice; "
            f"{LOOK}_parsed"
        )


def post(app: Any, parsed: dict[str, Any], **environ: Any) -> tuple[str, str]:
    """POST a parsed form to pypiserver; return the status line and the body."""
    built = EnvironBuilder(path="/", method="POST", content_type="multipart/form-data; boundary=x").get_environ()
    built |= {"wsgi.input": Unread(), "CONTENT_LENGTH": "1000", **parsed, **environ}
    body, status, _headers = run_wsgi_app(app, built, buffered=True)
    return status, b"".join(body).decode()


UPLOAD = {":action": "file_upload"}


def test_the_pinned_version_is_the_one_that_is_tested() -> None:
    """A new version is pinned in pyproject.toml, together with these tests."""
    pins = [line for line in _pyproject().splitlines() if '"pypiserver==' in line]
    assert len(pins) == 1, "pyproject.toml pins pypiserver exactly, once"
    assert f'"pypiserver=={version("pypiserver")}"' in pins[0], (
        "the pypiserver that is installed is not the pinned one"
    )


def _pyproject() -> str:
    return (Path(__file__).parents[2] / "pyproject.toml").read_text()


def test_our_backend_is_used(app: Any, backend: Recording) -> None:
    """The settings object is read at each request, not once at the start."""
    page = Client(app).get("/simple/x/").text
    assert "x-10.0.tar.gz" in page, (
        f"pypiserver does not ask _pypiserver_config.backend any more; {LOOK}Pypiserver.__init__"
    )
    assert ("digest", "x/x-10.0.tar.gz") in backend.asked, f"BackendProxy answers by itself; {LOOK}StoreBackend"


def test_our_backend_has_all_abstract_methods() -> None:
    """Our backend would lack a new abstract method."""
    expected = {
        *("get_all_packages", "find_project_packages", "find_version", "get_projects", "exists", "digest"),
        *("package_count", "add_package", "remove_package"),
    }
    assert set(pypiserver_backend.IBackend.__abstractmethods__) == expected, (
        f"pypiserver's backends have other methods now; {LOOK}StoreBackend"
    )
    for name in expected:
        assert hasattr(BackendProxy, name), f"BackendProxy does not pass {name} on; {LOOK}StoreBackend"


def test_an_upload_is_passed_on_unchanged(app: Any, backend: Recording) -> None:
    """The raw filename and the same stream object, without a copy, and bottle's request during the upload."""
    stream, marker = io.BytesIO(b"content"), object()
    status, body = post(app, form(UPLOAD, stream, "x-1.0.tar.gz"), **{"ppm.upload": marker})
    assert status == "200 OK", f"an upload is answered {status} {body!r}; {LOOK}StoreBackend.add_package"
    assert [call[0] for call in backend.asked] == ["add_package"], (
        "overwrite=True no longer means that exists() is not asked: the decision would be made before the write and "
        f"not at it; {LOOK}StoreBackend.exists"
    )
    _name, filename, handed, upload = backend.asked[0]
    assert filename == "x-1.0.tar.gz", f"the filename is changed on its way; {LOOK}StoreBackend.add_package"
    assert handed is stream, f"the stream is wrapped or copied on its way; {LOOK}StoreBackend.add_package"
    assert upload is marker, (
        f"bottle's `request` is not the one that is being answered, or its environ is another; {LOOK}_UPLOAD"
    )


def test_the_filename_is_not_sanitised(app: Any, backend: Recording) -> None:
    """bottle's `filename` would replace `+` and `!`; pypiserver uses `raw_filename`."""
    for filename in ("x-1.0+cpu.1.tar.gz", "x-1!2.0-py3-none-any.whl", "X_y.z-1.0.tar.gz"):
        status, body = post(app, form(UPLOAD, io.BytesIO(b""), filename))
        assert status == "200 OK", f"{filename} is refused: {body!r}; {LOOK}StoreBackend.add_package"
        assert backend.asked[-1][1] == filename, f"the filename is changed on its way; {LOOK}StoreBackend.add_package"


def test_our_exceptions_are_propagated(app: Any, backend: Recording) -> None:
    """ppmctl/server/app.py renders each Refused in one place."""
    backend.fails = True
    try:
        status, _body = post(app, form(UPLOAD, io.BytesIO(b""), "x-1.0.tar.gz"))
    except Refusal:
        return
    raise AssertionError(
        f"catchall=False no longer lets an exception through, it is answered {status}; {LOOK}Pypiserver.__init__"
    )


def test_old_actions_are_ignored(app: Any, backend: Recording) -> None:
    """`submit` and `verify` are answered without any change."""
    for action in ("submit", "verify"):
        status, body = post(app, form({":action": action}))
        assert (status, body) == ("200 OK", ""), (
            f"{action} is answered {status} {body!r}; see ppmctl/server/app.py: _ACTIONS"
        )
    assert backend.asked == []


def test_a_removal_finds_the_version_and_removes_each_file(app: Any, backend: Recording) -> None:
    """remove_pkg calls find_version and remove_package, so that our methods decide."""
    status, body = post(app, form({":action": "remove_pkg", "name": "x", "version": "10.0"}))
    assert status == "200 OK", f"a removal is answered {status} {body!r}; {LOOK}StoreBackend.remove_package"
    assert backend.asked == [("find_version", "x", "10.0"), ("remove_package", "x", "10.0", "x/x-10.0.tar.gz")], (
        f"a removal asks something else of the backend; {LOOK}StoreBackend.find_version and remove_package"
    )
    assert post(app, form({":action": "remove_pkg", "name": "x", "version": "3"}))[0].startswith("404"), (
        f"a version that is not there is no 404 any more; {LOOK}StoreBackend.find_version"
    )


def test_errors_use_the_default_handler(app: Any) -> None:
    """One line of text with the reason, instead of bottle's HTML page."""
    seen: list[Any] = []

    def handler(error: Any) -> str:
        seen.append(error)
        response.status = f"{error.status_code} Reason"
        response.content_type = "text/plain; charset=utf-8"
        return "reason\n"

    app.default_error_handler = handler
    client: Any = Client(app)
    for path, method, status in (("/a/b/c", "GET", 404), ("/simple/none/", "GET", 404), ("/", "PUT", 405)):
        answer = client.open(path, method=method)
        assert seen, f"default_error_handler is not asked for a {status}; {LOOK}Pypiserver.__init__ and _plain_error"
        assert isinstance(seen[-1], HTTPError)
        assert seen[-1].status_code == status, f"{method} {path} is a {seen[-1].status_code}; {LOOK}_plain_error"
        assert (answer.status, answer.text) == (f"{status} Reason", "reason\n"), (
            f"what the handler sets is not what is answered; {LOOK}_plain_error"
        )
        assert answer.content_type.startswith("text/plain"), (
            f"the content type is not the handler's; {LOOK}_plain_error"
        )


def test_the_welcome_page_gets_its_variables(app: Any) -> None:
    """Our text of it uses them."""
    page = Client(app).get("/", base_url="http://index.example/").text
    assert page.split() == [
        "http://index.example/",
        version("pypiserver"),
        "42",
        "/packages/",
        "/simple/",
    ], f"the welcome page's variables are others, or package_count() is not asked: {page!r}; {LOOK}_WELCOME"


def test_forwarded_hosts_are_trusted_by_pypiserver(app: Any) -> None:
    """If this fails, pypiserver and bottle no longer trust the header: ppmctl/server/app.py may stop deleting it."""
    page = Client(app).get("/", headers={"X-Forwarded-Host": "evil.example"}).text
    assert page.startswith("http://evil.example/"), (
        "X-Forwarded-Host has no effect; see ppmctl/server/same_origin.py: take_host"
    )


def test_search_by_xml_rpc_lists_the_backends_packages(app: Any) -> None:
    """Names and versions come from get_all_packages."""
    answer = Client(app).post("/RPC2", data=xmlrpc.client.dumps(({"name": "x"},), "search"))
    ((packages,), _method) = xmlrpc.client.loads(answer.data)
    assert isinstance(packages, list)
    assert [(item["name"], item["version"]) for item in packages] == [("x", "1.0"), ("x", "10.0")], (
        f"a search answers something else; {LOOK}StoreBackend.get_all_packages"
    )


def test_malformed_xml_rpc_raises_in_pypiserver(app: Any) -> None:
    """If this fails, pypiserver validates XML: Pypiserver.__call__ may stop catching these exceptions."""
    with pytest.raises((IndexError, AttributeError)):
        Client(app).post("/RPC2", data="<a/>")


def test_a_projects_json_lists_the_backends_packages(app: Any) -> None:
    """The newest version is first, and links are below /packages/."""
    printed = Client(app).get("/x/json", base_url="http://index.example/").json
    assert printed == {
        "info": {"version": "10.0"},
        "releases": {
            number: [{"url": f"http://index.example/packages/x/x-{number}.tar.gz"}] for number in ("1.0", "10.0")
        },
    }, f"/project/json answers something else: {printed}; {LOOK}StoreBackend.find_project_packages"


def test_the_list_of_all_files_has_the_backends_digests(app: Any, backend: Recording) -> None:
    """/packages/ calls digest() for each file, which must not read the file."""
    page = Client(app).get("/packages/").text
    assert "/packages/x/x-1.0.tar.gz#sha256=abc" in page, (
        f"/packages/ links files or their digests differently: {page}; {LOOK}StoreBackend.digest"
    )
    assert ("digest", "x/x-1.0.tar.gz") in backend.asked, f"digest() is not asked; {LOOK}StoreBackend.digest"


def test_pypiserver_has_the_public_indexs_url() -> None:
    """The default of `upstream_url` is pypiserver's fallback, so that our code contains no host."""
    assert DEFAULTS.FALLBACK_URL.startswith("https://"), f"DEFAULTS.FALLBACK_URL is gone; {LOOK}PUBLIC_INDEX"
    assert DEFAULTS.FALLBACK_URL.rstrip("/").endswith("/simple"), f"it is no Simple API now; {LOOK}PUBLIC_INDEX"


def test_pypiserver_does_not_authenticate(app: Any) -> None:
    """`authenticate=[]` and `password_file="."`: requests are already authenticated."""
    for path in ("/", "/simple/", "/packages/", "/x/json"):
        assert Client(app).get(path).status_code == 200, (
            f"{path} asks for a credential of pypiserver's own; {LOOK}Pypiserver.__init__"
        )
