"""The role's nginx configuration for every combination of settings, and that nginx accepts it; no host is needed."""

from __future__ import annotations

import filecmp
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import debian, rendering, webserver
from support.debian import Tree
from support.rendering import CHECKOUT, Directive

from ansible_collections.ppm.index.plugins.plugin_utils import inventory_values
from ppmctl.index import discovery
from ppmctl.web import forms

TLS = ("letsencrypt", "provided", "selfsigned", "none")
READ_ACCESS = ("authenticated", "public")
UPSTREAM = ("redirect", "none")
ROLES = ("base", "release", "credentials", "pypiserver", "nginx", "letsencrypt", "logs", "hardening")

# Unusual values that check_inventory accepts.
HOSTILE: dict[str, dict[str, Any]] = {
    "the longest domain": {"ppm_domain": ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])},
    "the shortest domain": {"ppm_domain": "a"},
    "a deep root": {"ppm_root": "/srv/a.b-c_d/" + "/".join(["deeper"] * 12) + "/ppm.2"},
    "a root at the top": {"ppm_root": "/p"},
    "patterns": {
        "ppm_private_names": [
            "*",
            "?",
            "[]x]",
            "[!]x]",
            "[!a-c]*",
            "**",
            "X_.-y",
            "[ab-]?",
            "[!x-]-y",
        ]
    },
    "many patterns": {"ppm_private_names": [f"team-{number:04}-*" for number in range(2000)]},
    "an upstream with signs": {"ppm_upstream_url": "http://up.example:8080/a%20b/~c/(d)*/e?f=g&h=i//"},
    "an upstream without a path": {"ppm_upstream_url": "https://up.example"},
    "the smallest limit": {"ppm_max_upload_size": "1"},
    "the largest limit": {"ppm_max_upload_size": "999999G"},
    "no hsts": {"ppm_hsts_max_age": 0},
    "one connection": {"ppm_connections_per_address": 1},
    "many connections": {"ppm_connections_per_address": 65535},
    "proxies": {"ppm_tls": "none", "ppm_trusted_proxies": ["10.0.0.0/8", "::1", "2001:db8::/32", "127.0.0.1"]},
}


@pytest.fixture(scope="session")
def combinations(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Path]:
    """Render the configuration for each combination of ppm_tls, ppm_read_access and ppm_upstream."""
    folder = tmp_path_factory.mktemp("combinations")
    made = {key: folder / "-".join(key) for key in itertools.product(TLS, READ_ACCESS, UPSTREAM)}
    rendering.render(
        [
            (
                path,
                rendering.variables(
                    tree,
                    ppm_tls=tls,
                    ppm_read_access=read_access,
                    ppm_upstream=upstream,
                    ppm_private_names=["acme-*"],
                    ppm_trusted_proxies=["192.0.2.0/24"] if tls == "none" else [],
                ),
            )
            for (tls, read_access, upstream), path in made.items()
        ]
    )
    return made


@pytest.fixture(scope="session")
def hostile(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Render the configuration for each row of HOSTILE."""
    folder = tmp_path_factory.mktemp("hostile")
    made = {name: folder / str(number) for number, name in enumerate(HOSTILE)}
    rendering.render([(path, rendering.variables(tree, **HOSTILE[name])) for name, path in made.items()])
    return made


def servers(configuration: Directive) -> Iterator[Directive]:
    return (directive for directive in configuration.walk() if directive.name == "server" and directive.block)


def index_servers(configuration: Directive) -> list[Directive]:
    """Return the servers that serve the index: those with authentication."""
    return [server for server in servers(configuration) if any(server.all("auth_basic_user_file"))]


def locations(server: Directive) -> Iterator[Directive]:
    return (directive for directive in server.walk() if directive.name == "location")


def values(directive: Directive, name: str) -> list[str]:
    return [" ".join(child.arguments) for child in directive.walk() if child.name == name]


@debian.only(13)
def test_the_playbook_renders_what_these_tests_render(tree: Tree, tmp_path: Path) -> None:
    """The tests render many configurations in one process; users and images get them from playbooks/render.yml.

    This compares both for unusual settings; the last test of this file compares them for the images, with defaults.
    """
    settings: dict[str, Any] = {}
    for more in HOSTILE.values():
        settings |= more
    variables = rendering.variables(tree, **settings)
    rendering.render([(tmp_path / "ours", variables)])
    rendering.render_with_the_playbook(tmp_path / "theirs", variables)
    ours = sorted(path.relative_to(tmp_path / "ours") for path in (tmp_path / "ours").rglob("*") if path.is_file())
    assert len(ours) > 7
    _same, different, missing = filecmp.cmpfiles(tmp_path / "ours", tmp_path / "theirs", ours, shallow=False)
    assert (different, missing) == ([], [])


def test_nginx_accepts_every_combination_of_settings(
    combinations: dict[tuple[str, str, str], Path], tree: Tree, tmp_path: Path
) -> None:
    """`nginx -t` prints no warning, because a deprecated form is an error in the next release."""
    for number, (key, path) in enumerate(combinations.items()):
        output = webserver.check(
            path, tree, tmp_path / f"{number}"
        )  # a short path, because that of a socket is limited
        warnings = [line for line in output.splitlines() if "[warn]" in line and '"user" directive' not in line]
        assert warnings == [], key


@pytest.mark.parametrize("name", HOSTILE)
def test_nginx_accepts_every_value_that_check_inventory_accepts(
    name: str, hostile: dict[str, Path], tree: Tree, tmp_path: Path
) -> None:
    """If check_inventory accepted a wrong value, nginx would fail when the host is half changed."""
    given = {
        key: value for key, value in rendering.variables(tree, **HOSTILE[name]).items() if key.startswith("ppm_")
    }
    specs = inventory_values.read_specs(CHECKOUT / "roles", list(ROLES))
    assert list(inventory_values.variable_problems(specs, given)) == []
    webserver.check(hostile[name], tree, tmp_path, root=given.get("ppm_root", "/srv/ppm"))


def test_the_source_of_the_certificate_does_not_change_the_configuration(
    combinations: dict[tuple[str, str, str], Path],
) -> None:
    """A host that changes ppm_tls keeps its nginx configuration."""
    for read_access, upstream in itertools.product(READ_ACCESS, UPSTREAM):
        first, *others = (combinations[tls, read_access, upstream] for tls in TLS if tls != "none")
        files = [str(path.relative_to(first)) for path in (first / "etc" / "nginx").rglob("*.conf")]
        for other in others:
            assert filecmp.cmpfiles(first, other, files, shallow=False)[0] == files


def test_http2_directive_for_each_nginx_version(combinations: dict[tuple[str, str, str], Path], tree: Tree) -> None:
    """`http2 on` is unknown before nginx 1.25.1, and `listen … http2` is deprecated since then."""
    for (tls, *_rest), path in combinations.items():
        configuration = rendering.parse(path)
        (server,) = index_servers(configuration)
        listens = values(server, "listen")
        if tls == "none":
            assert listens == ["80", "[::]:80"]
            assert values(configuration, "http2") == []
        elif tree.release == 12:
            assert listens == ["443 ssl http2", "[::]:443 ssl http2"]
            assert values(configuration, "http2") == []
        else:
            assert listens == ["443 ssl", "[::]:443 ssl"]
            assert values(configuration, "http2") == ["on"]


def test_hybrid_key_exchange_only_if_openssl_supports_it(tree: Tree, tmp_path: Path) -> None:
    """X25519MLKEM768 needs OpenSSL 3.5; an older one rejects the whole configuration."""
    wanted = {"3.4.9": False, "3.5.0": True, "3.10.1": True, "4.0": True, "3.0.15": False}
    variables = rendering.variables(tree)
    rendering.render(
        [
            (tmp_path / version, {**variables, "render_versions": {**tree.versions(), "openssl": version}})
            for version in wanted
        ]
    )
    for version, is_supported in wanted.items():
        (curves,) = values(rendering.parse(tmp_path / version), "ssl_ecdh_curve")
        assert curves == ("X25519MLKEM768:" if is_supported else "") + "X25519:prime256v1:secp384r1", version


def test_versions_are_predicted_from_the_debian_release_before_installation(tree: Tree, tmp_path: Path) -> None:
    """With `--check` on a bare host, and for the images, no nginx is installed whose version can be read."""
    variables = rendering.variables(tree)
    rendering.render([(tmp_path / "asked", variables)])
    rendering.render([(tmp_path / "guessed", {**variables, "render_versions": {"nginx": "", "openssl": ""}})])
    files = [str(path.relative_to(tmp_path / "asked")) for path in (tmp_path / "asked").rglob("*.conf")]
    assert filecmp.cmpfiles(tmp_path / "asked", tmp_path / "guessed", files, shallow=False)[1:] == ([], [])


def test_nothing_is_answered_before_the_authentication(combinations: dict[tuple[str, str, str], Path]) -> None:
    """`return` and `rewrite` run before auth_basic, so they would answer requests without a credential."""
    for (_tls, read_access, _upstream), path in combinations.items():
        (server,) = index_servers(rendering.parse(path))
        assert own_values(server, "auth_basic") == ["$ppm_realm" if read_access == "public" else "ppm"]
        conditions = [[(child.name, *child.arguments[:1]) for child in each.block] for each in server.all("if")]
        for condition in conditions:
            # a refusal, and locations that authenticate before the application is asked, or in which it authenticates
            is_return = condition[0][0] == "return"
            if condition == [("set", "$ppm_uri"), ("rewrite", "^[^?]*$")]:
                continue  # to the detour, from which it comes back to the authentication: test_draining.py
            if condition == [("break",)]:
                continue  # it only ends the refusals below
            assert (
                condition[0][1] in {"419", "420", "421", "422", "423"}
                if is_return
                else {name for name, _value in condition} == {"set"}
            )
        assert not any(server.all("return"))
        assert not any(server.all("rewrite"))
        open_to_all = []
        for location in locations(server):
            name = " ".join(location.arguments)
            ends = [child for child in location.walk() if child.name == "return"]
            ends += [child for child in location.walk() if child.name == "rewrite" and child.arguments[-1] != "break"]
            if not name.startswith("@") and ends:
                open_to_all.append(name)
            if own_values(location, "auth_basic") == ["off"]:
                open_to_all.append(name)
            assert not any(child.name == "satisfy" for child in location.walk())
        public = ["~ ^/(?:RPC2|pypi/?)\\z"] if read_access == "public" else []
        assert open_to_all == [
            "= /.last-answer",
            "= /healthz",
            "= /healthz/write",
            *[f"= {discovery.PATH}"] * 2,
            *public,
            *["= /api/join"] * 2,  # twice, because it also refuses a body without a length
            "@secret_alone",
            "@web_page",
            "@web_upload",
        ]


def test_plain_requests_are_those_that_no_check_concerns(combinations: dict[tuple[str, str, str], Path]) -> None:
    """nginx skips checks and masks for plain requests: their texts can hold no secret, and none is for a web page."""
    (server,) = index_servers(rendering.parse(combinations["selfsigned", "authenticated", "none"]))
    (pattern,) = (each.arguments[2] for each in server.all("if") if each.arguments[0] == "($ppm_texts")
    plain = re.compile(pattern.replace("\\z", "\\Z").replace("*+", "*"))

    def is_plain(line: str, user: str = "ann@p.example+ci", referer: str = "", host: str = "ppm:8443") -> bool:
        return plain.search("\n".join([line, user, referer, host, "uv/1 (x_y)"])) is not None

    file = "/packages/pip/Pip_pm-1.0+x-py3-none-any.whl.metadata"
    for path in ("/simple/", "/simple/a/", "/env/a/2/pylock.toml", "/packages/ppm-env-a/ppm-1.zip", file):
        assert is_plain(f"GET {path} HTTP/2.0")
        assert is_plain(f"HEAD {path} HTTP/1.1", user="")
    line = f"GET {file} HTTP/1.1"
    for secret in ("ppm_aB3", "PPM_aB3", "pppm_", "%70pm_", "ppm%5f", "%"):
        assert not is_plain(f"GET /packages/a/a{secret}.whl HTTP/1.1"), secret
        assert not is_plain(line, user=f"a{secret}"), secret
        assert not is_plain(line, referer=secret), secret
        assert not is_plain(line, host=f"a:{secret}"), secret
        assert not plain.search("\n".join([line, "", "", "ppm", f"pip/1 {secret}"])), secret
    for path in (
        *("/", "/search", "/upload/", "/projects", "/account/", "/api/stats", "/simple", "/environments/"),
        *("//simple/a/", "/simple//a/", "/simple/../account/", "/simple/a/../../account/", "/simple/./a/"),
        *("/simple/a/?b", "/simple/a/#b"),
    ):
        assert not is_plain(f"GET {path} HTTP/1.1"), path
    for other in ("POST /simple/a/ HTTP/1.1", "GET /simple/a/", "TRACE /simple/a/ HTTP/1.1"):
        assert not is_plain(other)
    for user in ("__token__", "a/b", "a b", "a\nb", "\xe4"):
        assert not is_plain(line, user=user), user


def test_nginx_and_the_application_have_the_same_discovery_document(
    combinations: dict[tuple[str, str, str], Path], tmp_path: Path
) -> None:
    """Both build it from the same settings; nginx serves it without the application."""
    for (_tls, read_access, upstream), path in combinations.items():
        (server,) = index_servers(rendering.parse(path))
        (location,) = (child for child in locations(server) if child.arguments == ("=", discovery.PATH))
        (answer,) = location.all("return")
        document = discovery.document(upstream=upstream, read_access=read_access)
        assert answer.arguments == ("200", document.decode().replace("\n", "\\n"))


def test_every_location_has_all_error_pages(combinations: dict[tuple[str, str, str], Path]) -> None:
    """One error_page in a location drops all inherited ones."""
    for path in combinations.values():
        (server,) = index_servers(rendering.parse(path))
        wanted = set(own_values(server, "error_page"))
        assert {status for refused in wanted for status in re.findall(r"(?<!=)\b[45]\d\d", refused)} >= {
            *("401", "403", "404", "405", "413", "429", "500", "502", "504")
        }
        for location in locations(server):
            here = set(own_values(location, "error_page"))
            assert not here or here >= wanted


def own_values(directive: Directive, name: str) -> list[str]:
    return [" ".join(child.arguments) for child in directive.all(name)]


def test_every_answer_has_the_same_headers(combinations: dict[tuple[str, str, str], Path]) -> None:
    """One add_header in a location drops all inherited ones, and without `always` error answers have none."""
    for (tls, *_rest), path in combinations.items():
        (server,) = index_servers(rendering.parse(path))
        wanted = {header.arguments for header in server.all("add_header")}
        names = {arguments[0] for arguments in wanted}
        assert names == {
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Content-Security-Policy",
            "Cross-Origin-Resource-Policy",
            *(["Strict-Transport-Security"] if tls != "none" else []),
        }
        assert all(arguments[-1] == "always" for arguments in wanted)
        checked = 0
        for block in (child for child in server.walk() if child.block and child is not server):
            here = {header.arguments for header in block.all("add_header")}
            if block.arguments in {("@web_page",), ("@web_upload",)}:  # the application sends the others
                assert {name for name, *_rest in here} == {"Strict-Transport-Security"}
                assert tls == "none" or here < wanted
                continue
            assert not here or here >= wanted, block.arguments
            checked += bool(here)
        assert checked > 4


def test_only_served_paths_have_a_root(combinations: dict[tuple[str, str, str], Path]) -> None:
    """The whole volume is the root of one location only, and no side file matches its pattern.

    For a credential with limited reads an empty folder is the root of everything that is read.
    """
    for (_tls, read_access, _upstream), path in combinations.items():
        configuration = rendering.parse(path)
        (server,) = index_servers(configuration)
        assert own_values(server, "root") == ["/var/empty"]
        roots = {
            " ".join(location.arguments): own_values(location, "root")
            for location in locations(server)
            if any(location.all("root"))
        }
        whole = [name for name, root in roots.items() if root == ["$ppm_disk"]]
        assert len(whole) == 1
        pattern = re.compile(whole[0].removeprefix("~ ").replace("\\z", "\\Z"))
        assert pattern.search("/packages/a/a-1.0-py3-none-any.whl.metadata")
        assert pattern.search("/packages/a/a-1.0.zip.provenance")
        for suffix in (".upload", ".yanked", ".removed", ".attestations", ".status", ".lock", "~", ".part", "\n"):
            served = ("a-1.0-py3-none-any.whl.metadata", "a-1.0.zip.provenance")
            for name in ("a-1.0.tar.gz", "a-1.0-py3-none-any.whl", *served):
                assert not pattern.search(f"/packages/a/{name}{suffix}"), name + suffix
        for hidden in (
            "/packages/a/.status",
            "/packages/a/.a-1.0.tar.gz",
            "/drop/a-1.0.tar.gz",
            "/bodies/1",
            "/ppm.yml",
        ):
            assert not pattern.search(hidden)
        uploads = {"/srv/ppm/index"} if read_access == "public" else set()  # its folder tells a POST from a GET
        # what /healthz opens is no other for a request with the name of a limited credential
        assert roots.pop("= /.readable") == ["/srv/ppm/index"]
        assert {root for name, (root,) in roots.items() if name not in whole} == {"$ppm_disk/index", *uploads}
        disks = [one.arguments[1] for one in server.walk() if one.name == "set" and one.arguments[0] == "$ppm_disk"]
        assert disks == ["/srv/ppm", *(["/var/empty"] if read_access != "public" else [])]
        for forbidden in ("alias", "autoindex", "dav_methods", "stub_status", "random_index"):
            assert values(configuration, forbidden) == []


def test_requests_for_another_host_name_are_closed(combinations: dict[tuple[str, str, str], Path]) -> None:
    """The default server of each port closes the connection; the others have the index's domain."""
    for (tls, *_rest), path in combinations.items():
        configuration = rendering.parse(path)
        defaults = [
            server for server in servers(configuration) if "default_server" in " ".join(values(server, "listen"))
        ]
        assert len(defaults) == (1 if tls == "none" else 2)
        for server in defaults:
            assert values(server, "return") == ["444"]
            assert not any(server.all("location"))
            if any(" ssl" in listen for listen in values(server, "listen")):
                assert values(server, "ssl_reject_handshake") == ["on"]
                assert values(server, "ssl_certificate") == []
        others = [server for server in servers(configuration) if server not in defaults and any(server.all("listen"))]
        assert {name for server in others for name in values(server, "server_name")} == {rendering.DOMAIN}


def test_the_version_is_hidden_and_limits_are_set(combinations: dict[tuple[str, str, str], Path]) -> None:
    """The settings that a public server needs occur exactly once."""
    for path in combinations.values():
        configuration = rendering.parse(path)
        assert values(configuration, "server_tokens") == ["off"]
        for limit in (
            "client_header_timeout",
            "send_timeout",
            "limit_conn",
            "limit_conn_status",
        ):
            assert len(values(configuration, limit)) == 1, limit
        assert values(configuration, "keepalive_timeout") == ["75s", "0", "0"]
        assert values(configuration, "client_max_body_size") == [
            *("1m", "0", str(4 << 30), "16k", str(4 << 30), "0"),
            *(f"{forms.MAX_FORM >> 10}k", str(4 << 30), "0"),
        ]
        assert values(configuration, "client_body_temp_path") == ["/srv/ppm/bodies"]
        assert values(configuration, "limit_req") == []
        assert values(configuration, "auth_delay") == []


@pytest.mark.parametrize("of", ["letsencrypt", "none"])
def test_tls_settings_follow_mozillas_guideline(combinations: dict[tuple[str, str, str], Path], of: str) -> None:
    """They follow the guideline "intermediate"; without TLS they are absent."""
    configuration = rendering.parse(combinations[of, "authenticated", "redirect"])
    assert values(configuration, "ssl_protocols") == (["TLSv1.2 TLSv1.3"] if of == "letsencrypt" else [])
    assert values(configuration, "ssl_session_tickets") == (["off"] if of == "letsencrypt" else [])
    for ciphers in values(configuration, "ssl_ciphers"):
        assert all(
            re.fullmatch(r"ECDHE-(?:ECDSA|RSA)-(?:AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)", c)
            for c in ciphers.split(":")
        )


def test_no_ipv6_listeners_without_ipv6(tree: Tree, tmp_path: Path) -> None:
    """nginx does not start if it has to listen on IPv6 and the host has none."""
    rendering.render([(tmp_path / "rendered", rendering.variables(tree, ipv6=False))])
    assert not [listen for listen in values(rendering.parse(tmp_path / "rendered"), "listen") if "[" in listen]


def test_the_configuration_parser_of_these_tests(tmp_path: Path, rendered: Callable[..., Path]) -> None:
    """The parser follows nginx's grammar: quotes, escapes, comments and blocks."""
    (tmp_path / "x.conf").write_text('a "b;\\"{" \'c }\' d#e ${f}; # g;\nif ($h ~ "^(?:i{1,2})$") { j; }\nk{ }')
    directives = rendering.parse(tmp_path, "/x.conf").block
    assert [(one.name, one.arguments) for one in directives] == [
        ("a", ('b;\\"{', "c }", "d#e", "${f}")),
        ("if", ("($h", "~", "^(?:i{1,2})$", ")")),
        ("k", ()),
    ]
    assert directives[1].block[0].name == "j"
    configuration = rendering.parse(rendered())
    assert values(configuration, "user") == ["www-data"]
    assert len(list(configuration.walk())) > 150


def test_the_configuration_of_the_images_is_what_the_roles_render(tmp_path: Path) -> None:
    """`make generate` writes it with the playbook, and `make lint` checks that; this test renders it faster."""
    rendering.render([(tmp_path / "ROLE" / "rendered", {"render_for": "containers", "render_ipv6": False})])

    def files(folder: Path) -> dict[str, str]:
        paths = (path for path in folder.glob("*/rendered/**/*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in paths}

    assert len(files(tmp_path)) > 7
    assert files(tmp_path) == files(CHECKOUT / "docker")
