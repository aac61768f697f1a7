"""A reader that may read only some projects: what it sees of an index, and that it can't tell what else is there."""

from __future__ import annotations

import itertools
import json
import xmlrpc.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from support import clients, wheels
from support.clients import Done, Installer, Machine
from support.environments import revision
from support.evidence import until
from support.servers import JSON, Server, ppmctl

GLOBS = ("limited-*", "ppm-env-limited-*")
SHOWN, SHOWN_ENV = "limited-lib", "limited-lab"
# of equal length and at the same place of each list, so that answers about them can be compared
HIDDEN, MISSING = "secret-tool", "sealed-tool"
HIDDEN_ENV, MISSING_ENV = "secret-lab", "sealed-lab"
Auth = tuple[str, str]
Ask = Callable[..., requests.Response]


def fill(index: Server) -> None:
    """Publish a project and an environment that the credentials may read, and one of each that they may not."""
    for name, environment in ((SHOWN, SHOWN_ENV), (HIDDEN, HIDDEN_ENV)):
        made = (wheels.wheel(name, "1.0"), wheels.sdist(name, "1.0"), revision(environment, 1, f"{name}==1.0"))
        for each in made:
            answer = index.upload(each)
            assert answer.status_code == 200, answer.text
    until(lambda: f"ppm-env-{HIDDEN_ENV}" in index.get("/simple/").text, "the list of projects follows")


def add(index: Server, name: str, role: str = "reader") -> Auth:
    """Create a credential that may read only what GLOBS match."""
    option = "--project" if role == "reader" else "--read-project"
    options = itertools.chain.from_iterable((option, glob) for glob in GLOBS)
    made = ppmctl("user", "add", name, "--role", role, *options, "--root", str(index.root))
    return name, made.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request; `{name}`, `{module}` and `{env}` in it are those of the hidden or of the missing project."""

    method: str
    path: str
    headers: dict[str, str]
    options: dict[str, Any]

    def ask(self, ask: Ask, auth: Auth, name: str, environment: str) -> tuple[object, ...]:
        """Return the answer, with placeholders for the names in it."""
        names = {"name": name, "module": name.replace("-", "_"), "env": environment}
        options = {"headers": self.headers}
        for key, value in self.options.items():
            options[key] = value(names) if callable(value) else value
        answer = ask(self.method, self.path.format_map(names), auth=auth, **options)
        kept = {key: value for key, value in answer.headers.items() if key not in ("Date", "Connection", "ETag")}
        text = json.dumps([kept, answer.text])
        for key, value in reversed(names.items()):
            text = text.replace(value, f"<{key}>")
        return answer.status_code, text


def rows() -> Iterator[Row]:
    """Yield requests about a project or an environment, on every path that knows its name."""
    wheel, environment = "{module}-1.0-py3-none-any.whl", "ppm_env_{module}-1-py3-none-any.whl"
    paths = (
        *("/simple/{name}/", "/simple/{name}", "/simple/{module}/", "/{name}/json", "/{name}/", "/{name}"),
        *(f"/packages/{{name}}/{wheel}", f"/packages/{{name}}/{wheel}.metadata", f"/packages/{wheel}"),
        *("/packages/{name}/{module}-1.0.tar.gz", "/packages/{name}/", f"/packages/{{name}}/{wheel}.upload"),
        *("/simple/ppm-env-{env}/", "/packages/ppm-env-{env}/", f"/packages/ppm-env-{{env}}/{environment}"),
        *("/env/{env}/", "/env/{env}", "/env/{env}/env.json", "/env/{env}/1/env.json", "/env/{env}/requirements.txt"),
        *("/api/packages?q={name}", "/api/claims/{name}", "/api/packages?q={env}", "/env/?after={env}&limit=1"),
        *(
            "/api/packages/{name}",
            "/search?q={name}",
            "/pypi/{name}/json",
            "/pypi/{module}/json",
            "/pypi/{name}/1.0/json",
        ),
        *(f"/packages/{{name}}/{wheel}.provenance", "/api/environments/{env}", "/api/packages/ppm-env-{env}"),
    )
    for path in paths:
        for method, headers in (("GET", {}), ("GET", {"Accept": JSON}), ("HEAD", {}), ("POST", {}), ("PUT", {})):
            yield Row(method=method, path=path, headers=headers, options={})
    yield Row(method="GET", path=paths[6], headers={"Range": "bytes=0-9"}, options={})
    for method, path in (
        ("PUT", "/api/packages/{name}/1.0/yank"),
        ("DELETE", "/api/packages/{name}/1.0/yank"),
        ("DELETE", "/api/packages/{name}/1.0"),
        ("PUT", "/api/claims/{name}"),
        ("PUT", "/api/packages/ppm-env-{env}/status"),
        ("PUT", "/api/environments/{env}"),
        ("DELETE", "/api/environments/{env}"),
    ):
        yield Row(method=method, path=path, headers={}, options={"json": {}})
    form = {":action": "file_upload"}
    sent = {"data": form, "files": lambda names: {"content": wheels.wheel(names["name"], "1.0")}}
    yield Row(method="POST", path="/", headers={}, options=sent)
    made = {"json": lambda names: {"name": names["env"], "requirements": []}}
    yield Row(method="POST", path="/api/environments", headers={}, options=made)
    for path in ("/RPC2", "/pypi"):
        yield Row(method="POST", path=path, headers={}, options={"data": lambda names: search(names["name"])})


def search(text: str) -> str:
    """Return the body of an XML-RPC search."""
    member = (
        f"<member><name>name</name><value><array><data><value><string>{text}</string></value></data></array></value>"
    )
    call = f"<params><param><value><struct>{member}</member></struct></value></param></params>"
    return f"<?xml version='1.0'?><methodCall><methodName>search</methodName>{call}</methodCall>"


def differences(ask: Ask, auth: Auth) -> list[str]:
    """Return the requests whose answer tells a hidden name from a missing one."""
    found = []
    for row in rows():
        hidden, missing = (row.ask(ask, auth, *names) for names in ((HIDDEN, HIDDEN_ENV), (MISSING, MISSING_ENV)))
        if hidden != missing or (
            row.method == "GET" and hidden[0] == 200 and not row.path.startswith(("/api", "/env/?", "/search"))
        ):
            found.append(f"{row.method} {row.path} {row.headers}: {hidden}, but {missing}")
    return found


def check(ask: Ask, everything: Auth, limited: Auth) -> None:
    """Check that `limited` sees the shown project as `everything` does, and nothing of the hidden one."""
    wheel = wheels.wheel(SHOWN, "1.0")[0]
    for path in (
        *(f"/simple/{SHOWN}/", f"/packages/{SHOWN}/{wheel}", f"/packages/{SHOWN}/{wheel}.metadata"),
        *(f"/packages/{SHOWN}/{wheels.sdist(SHOWN, '1.0')[0]}", f"/env/{SHOWN_ENV}/", f"/env/{SHOWN_ENV}/env.json"),
        *(f"/env/{SHOWN_ENV}/1/requirements.txt", f"/simple/ppm-env-{SHOWN_ENV}/", f"/{SHOWN}/json"),
    ):
        for headers in ({}, {"Accept": JSON}, {"Range": "bytes=0-9"}):
            own, whole = (ask("GET", path, auth=auth, headers=headers) for auth in (limited, everything))
            assert (own.status_code, own.content) == (whole.status_code, whole.content), (path, headers)
            assert own.status_code in (200, 206), path
            for header in ("Content-Type", "ETag", "Cache-Control"):
                assert own.headers.get(header) == whole.headers.get(header), (path, header)
    for path in ("/simple/", "/", "/packages/", "/api/packages", "/api/stats", "/env/", "/env/?limit=1"):
        for accept in (JSON, "text/html") if path == "/simple/" else ("*/*",):
            text = ask("GET", path, auth=limited, headers={"Accept": accept}).text
            assert "secret" not in text, (path, accept)
            assert ("limited" in text) == (path != "/"), (path, accept)
    for method in ("list_packages", "list_packages_with_serial"):
        text = ask("POST", "/pypi", auth=limited, data=xmlrpc.client.dumps((), method)).text
        assert (text.count("secret"), text.count(f"{SHOWN}<")) == (0, 1)
    assert "2 projects" in ask("GET", "/", auth=limited).text
    listed = ask("GET", "/simple/", auth=limited, headers={"Accept": JSON}).json()["projects"]
    assert listed == [{"name": SHOWN}, {"name": f"ppm-env-{SHOWN_ENV}"}]
    assert ask("POST", "/RPC2", auth=limited, data=search("tool")).text.count(HIDDEN) == 0
    assert ask("POST", "/RPC2", auth=limited, data=search("lib")).text.count(SHOWN) > 0
    assert differences(ask, limited) == []


def install(folder: Path, index: Server, auth: Auth, name: str, *, ca: Path | None = None, expect: int) -> Done:
    """Install a project with the newest pip as this user, on a computer of its own."""
    folder.mkdir()
    trust = {} if ca is None else dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(ca))
    made = clients.machine(folder)
    machine = Machine(home=made.home, environ={**made.environ, **trust})
    pip = Installer(name="pip", machine=machine, library=clients.pip_library())
    url = index.simple.replace("://", f"://{auth[0]}:{auth[1]}@")
    return pip.install(name, index=url, expect=expect)
