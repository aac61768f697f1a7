"""An index below a path of a company's proxy: redirects, links and clients stay there, embedded and behind nginx."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from support import clients, debian, servers, webserver, wheels
from support.clients import Installer, Machine
from support.debian import Tree
from support.evidence import until
from support.pages import HTML
from support.servers import PPMCTL, Server
from support.webserver import Site

WHEEL = wheels.wheel("Below.Path", "1.0+a.b", summary="Below a path")
SDIST = wheels.sdist("below-path", "1.1")
# /team/pypi/ is the embedded server, /site/ is nginx with the role's configuration in front of the application
CONFIGURATION = """
daemon off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        proxy_set_header Host $http_host;
        location /team/pypi/ {{ proxy_pass http://127.0.0.1:{embedded}/; }}
        location /site/ {{
            proxy_pass https://127.0.0.1:{site}/;
            proxy_ssl_server_name on;
            proxy_ssl_name localhost;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = servers.start(tmp_path_factory.mktemp("embedded") / "root")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxied(tree: Tree, site: Site, embedded: Server) -> Iterator[dict[str, Server]]:
    """Return both indexes by the URL below which the company's proxy has them."""
    port = servers.free_port()
    for server in (site, embedded):
        for made in (WHEEL, SDIST):
            assert server.upload(made).status_code == 200
    with tempfile.TemporaryDirectory(prefix="ppm-") as folder:
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(
            CONFIGURATION.format(folder=folder, port=port, embedded=embedded.port, site=site.port)
        )
        process = subprocess.Popen(
            [*tree.nginx, "-c", str(configuration), "-p", folder, "-e", f"{folder}/error.log"],
            env=webserver.openssl_environment(tree),
        )
        try:
            indexes = {f"http://localhost:{port}/team/pypi/": embedded, f"http://localhost:{port}/site/": site}
            until(lambda: all(_answers(f"{url}healthz") for url in indexes), "the proxy serves both")
            yield indexes
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@debian.only(13)
@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("simple", "simple/"),
        ("simple/Below_Path/", "simple/below-path/"),
        ("simple/below-path", "simple/below-path/"),
        (f"packages/{WHEEL[0]}", f"packages/below-path/{WHEEL[0]}"),
        (f"packages/{WHEEL[0]}.metadata", f"packages/below-path/{WHEEL[0]}.metadata"),
        ("packages", "packages/"),
        ("Below.Path", "simple/Below.Path/"),
        ("Below.Path/json", "below-path/json"),
        ("env", "env/"),
        ("env/Some.Thing/2/env.json", "env/some-thing/2/env.json"),
        ("env/some-thing", "env/some-thing/"),
    ],
)
def test_redirects_keep_the_path_of_a_proxy(proxied: dict[str, Server], path: str, target: str) -> None:
    for url, server in proxied.items():
        answer = requests.get(url + path, auth=server.auth, allow_redirects=False, timeout=60)
        assert answer.is_redirect, f"{url}{path}: {answer.status_code}"
        assert urljoin(url + path, answer.headers["Location"]) == url + target
        direct = server.get(f"/{path}")
        assert urljoin(f"{server.url}/{path}", direct.headers["Location"]) == f"{server.url}/{target}"


@debian.only(13)
def test_links_of_all_pages_keep_the_path_of_a_proxy(proxied: dict[str, Server]) -> None:
    for url, server in proxied.items():
        for path in ("", "simple/", "simple/below-path/", "packages/"):
            page = requests.get(url + path, auth=server.auth, headers=HTML, timeout=60)
            links = [urljoin(url + path, link) for link in re.findall(r'href="([^"]*)"', page.text)]
            assert links, f"{url}{path} has no links"
            for link in links:
                assert link.startswith(url), f"{url}{path} links to {link}"
                assert requests.head(link, auth=server.auth, headers=HTML, timeout=60).status_code == 200, link


@pytest.fixture
def user(proxied: dict[str, Server], tmp_path: Path) -> Callable[[str], Machine]:
    """Return the computer of a user of the index at a URL."""

    def make(url: str) -> Machine:
        server = proxied[url]
        home = tmp_path / (urlsplit(url).path.strip("/").replace("/", "-"))
        made = clients.machine(home)
        (home / ".netrc").write_text(f"machine localhost login {server.user} password {server.secret}\n")
        (home / ".netrc").chmod(0o600)
        return made

    return make


@debian.only(13)
def test_clients_work_below_a_path(
    proxied: dict[str, Server], user: Callable[[str], Machine], tmp_path: Path
) -> None:
    for number, (url, server) in enumerate(proxied.items()):
        for client, name in (("twine", "by-twine"), ("uv", "by-uv")):
            filename, content = wheels.wheel(name, f"{number}.1")
            (tmp_path / filename).write_bytes(content)
            clients.publish(client, user(url), server, f"{url}legacy/", tmp_path / filename)
        for name, library in (("pip", clients.pip_library()), ("uv", None)):
            installer = Installer(name=name, machine=user(f"{url}"), library=library)
            installer.run("install", "--index-url", f"{url}simple/", "below.path==1.0+a.b", "by-twine", "by-uv")
            assert installer.version("by-uv") == f"{number}.1"
            installer.run("uninstall", *(() if library is None else ("-y",)), "below.path", "by-twine", "by-uv")
        found = user(url).run(*PPMCTL, "package", "show", "Below_Path", "--json", "--index", url)
        assert json.loads(found.output)["name"] == "below-path"


@debian.only(13)
def test_doctor_finds_nothing_wrong_below_a_path(proxied: dict[str, Server], user: Callable[[str], Machine]) -> None:
    for url in proxied:
        done = user(url).run(*PPMCTL, "doctor", f"{url}simple/", "--json", PATH="/usr/sbin:/sbin", expect=None)
        faults = [each for each in json.loads(done.output)["findings"] if each["state"] == "fail"]
        assert (done.code, faults) == (0, []), url
