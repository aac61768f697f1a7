"""An nginx that has other sites already: site.yml finds what can't work together before it changes anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support import rendering
from support.debian import Tree

from ansible_collections.ppm.index.plugins.modules import try_nginx
from ansible_collections.ppm.index.plugins.modules.try_nginx import Nginx

# other ports than a host's, which only root may open
PORTS = {80: 28080, 443: 28443}
ADDRESSES = frozenset({"192.0.2.1", "2001:db8::1"})  # of the index
DEBIAN = "events {}\nhttp {\n    include /etc/nginx/sites-enabled/*;\n}\n"
DEFAULT = "server { listen 28080 default_server; }\n"

Problems = Callable[..., list[str]]


def with_ports(text: str) -> str:
    for port, other in PORTS.items():
        text = text.replace(f"listen {port}", f"listen {other}").replace(f"[::]:{port}", f"[::]:{other}")
    return text


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Make Debian's /etc/nginx with a site whose files are included by relative paths."""
    folder = tmp_path / "etc" / "nginx"
    for name in ("conf.d", "modules-enabled", "sites-enabled", "sites-available", "snippets"):
        (folder / name).mkdir(parents=True)
    (folder / "nginx.conf").write_text(DEBIAN)
    (folder / "mime.types").write_text("types { text/html html; }\n")
    (folder / "snippets" / "n.conf").write_text("server_name n.example;\n")
    (folder / "snippets" / "other.conf").write_text("root /var/www/other;\n")
    (folder / "sites-available" / "default").write_text(DEFAULT)
    (folder / "sites-enabled" / "default").symlink_to("../sites-available/default")
    site = "server {\n    listen 28080;\n    server_name other.example;\n    include snippets/other.conf;\n}\n"
    (folder / "sites-enabled" / "other").write_text(site)
    return folder


@pytest.fixture
def problems(tree: Tree, rendered: Callable[..., Path], etc: Path, tmp_path: Path) -> Problems:
    """Return a function that returns the problems of the index with the other sites."""
    folder = rendered()
    log, packaged = tmp_path / "log", {}
    log.mkdir()
    for name, content in (("nginx.conf", DEBIAN), ("sites-available/default", DEFAULT)):
        packaged[f"/etc/nginx/{name}"] = hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()
    files = {}
    for path in folder.glob("etc/nginx/**/*.conf"):
        text = with_ports(path.read_text()).replace("/var/log/nginx", str(log))
        text = text.replace("user www-data;", f"user {rendering.me()};")
        text = text.replace("http {\n", f"http {{\n{rendering.temporary_paths(tmp_path)}")
        files[f"/{path.relative_to(folder)}"] = text
    (tmp_path / "tmp").mkdir()
    command = (*tree.nginx, "-p", str(tmp_path), "-e", str(log / "error.log"))
    nginx = Nginx(etc=etc, command=command, packaged=packaged)

    def find(*, replace: bool = False) -> list[str]:
        before = {path: path.lstat().st_mtime_ns for path in etc.glob("**/*")}
        found = list(
            try_nginx.problems(
                nginx, files, rendering.DOMAIN, list(PORTS.values()), addresses=ADDRESSES, replace=replace
            )
        )
        assert {path: path.lstat().st_mtime_ns for path in etc.glob("**/*")} == before, "nothing is changed"
        return found

    return find


def test_sites_that_fit_are_no_problem(problems: Problems, etc: Path) -> None:
    """Also where Debian's default site is enabled, which an index removes, and on other addresses and ports."""
    (etc / "conf.d" / "inside.conf").write_text(
        "# listen 192.0.2.1:28080;\nserver { listen 127.0.0.1:28080 default_server; }\n"
        f"server {{ listen 127.0.0.3:29000; server_name {rendering.DOMAIN}; listen unix:/run/x.sock; }}\n"
        "server { listen unix:/run/y.sock proxy_protocol; listen [::1]:28443 proxy_protocol; }\n"
        "server { listen 28080; include snippets/n.conf; }\n"
        "server { listen 28080; server_name 192.0.2.1; }\nserver { listen 28080; server_name ~^www; }\n"
    )
    assert problems() == []


CONFLICTS = {
    "default_server": (
        "server { listen 28080 default_server; }",
        "a duplicate default server for 0.0.0.0:28080 in ",
        "remove default_server from its listen directives",
    ),
    "default_server of TLS": (
        "server { listen 28443 ssl default_server; ssl_reject_handshake on; }",
        "a duplicate default server for 0.0.0.0:28443 in ",
        "remove default_server from its listen directives",
    ),
    "options": (
        "server { listen 28080 reuseport; } server { listen 28080 backlog=9; }",
        "duplicate listen options for 0.0.0.0:28080 in ",
        "remove the options of that listen directive",
    ),
    "http": ("server_tokens off;", '"server_tokens" directive is duplicate in ', "move it into that site's server"),
    "broken": ("server {", "unexpected end of file", "repair or remove that file"),
    "no such file": ("include snippets/none.conf;", "none.conf", "repair or remove that file"),
    "the name": (
        f"server {{ listen 28080; server_name www.x {rendering.DOMAIN}; }}",
        f"a site has the name {rendering.DOMAIN} already",
        "choose another ppm_domain",
    ),
    "no name": (
        'server { listen 28080; location / { return 200 "{"; } }\nserver { listen 29000; server_name x.example; }',
        "a site has no server_name, so it gets the requests for names of no site",
        "Give it the name by which it is asked, which may be an address",
    ),
    "an empty name": (
        "server {\n  listen [::]:28080;  # here\n  server_name _;\n}",
        "a site has no server_name",
        "the index refuses those",
    ),
    "both protocols": (
        "server { listen [::]:28443 ssl ipv6only=off; server_name x.example; ssl_reject_handshake on; }",
        "listen [::]:28443 ipv6only=off takes IPv4 too",
        "remove that option",
    ),
    "the PROXY protocol": (
        "server { listen 28080 proxy_protocol; server_name x.example; }",
        "listen 28080 proxy_protocol is for all sites of that port",
        "use a port of its own for it",
    ),
    "an address": (
        "server { listen 127.0.0.2:9000; listen 127.0.0.4:28443; listen 192.0.2.1:28443; }",
        "a site listens on 192.0.2.1:28443",
        "let it listen on the port alone",
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_site_that_does_not_fit_is_named(name: str, problems: Problems, etc: Path) -> None:
    content, message, hint = CONFLICTS[name]
    path = etc / "conf.d" / "conflict.conf"
    path.write_text(f"# a site\n{content}\n")
    (problem,) = problems()
    assert message in problem
    assert hint in problem
    assert str(path) in problem
    path.unlink()
    assert problems() == []


def test_what_was_changed_on_the_host_is_not_replaced_unless_allowed(problems: Problems, etc: Path) -> None:
    (etc / "nginx.conf").write_text(f"{DEBIAN}stream {{}}\n")
    (etc / "sites-available" / "default").write_text("server { server_name mine.example; }\n")
    main, default = problems()
    assert main.startswith("/etc/nginx/nginx.conf was changed on this host")
    assert default.startswith("/etc/nginx/sites-enabled/default was changed on this host")
    assert "ppm_nginx_replace: true" in main
    assert problems(replace=True) == []
    # an index's own file, which an administrator has changed since
    (etc / "nginx.conf").write_text("http {\n    include /etc/nginx/ppm/http.conf;\n    gzip on;\n}\n")
    (etc / "sites-available" / "default").write_text(DEFAULT)
    assert problems() == []
    (etc / "sites-enabled" / "default").unlink()
    (etc / "sites-enabled" / "default").write_text(DEFAULT)
    assert len(problems()) == 1, "a file, and no link to the package's"
