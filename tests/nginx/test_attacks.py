"""Attacks on reads and uploads from outside; `pytest -s` prints the table."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import attacks, debian, impatient, raw, wheels
from support.evidence import until
from support.raw import Target
from support.servers import ppmctl
from support.webserver import Site

WHEEL = wheels.wheel("attacked", "1.0")
YANKED = wheels.wheel("attacked", "2.0")


def fill(site: Site) -> None:
    """Publish a project with all kinds of side files, and plant files in every folder of the volume."""
    assert site.upload(WHEEL, fields={"attestations": wheels.attestations(WHEEL)}).status_code == 200
    for version in ("2.0", "3.0"):
        assert site.upload(wheels.wheel("attacked", version)).status_code == 200
    assert site.upload(attacks.QUARANTINED).status_code == 200
    root = ("--root", str(site.root))
    ppmctl("package", "status", attacks.QUARANTINED_PROJECT, "quarantined", *root)
    ppmctl("package", "yank", "attacked", "2.0", "--reason", "planted reason", *root)
    ppmctl("package", "remove", "attacked", "3.0", "--yes", *root)
    ppmctl("package", "status", "attacked", "deprecated", *root)
    planted = (
        *(
            "drop/planted-1.0.tar.gz",
            "drop/.hidden",
            "incoming/planted",
            "bodies/0000000001",
            "index/pending/planted",
        ),
        *(
            "packages/attacked/.attacked.tmp",
            "packages/.planted",
            "ppm.yml",
            "first-credential",
            "netrc",
            ".git/config",
        ),
    )
    for path in planted:
        (site.root / path).parent.mkdir(exist_ok=True)
        (site.root / path).write_text(f"# planted in {path}\n")


def target_of(site: Site, limited: tuple[str, str] | None = None) -> Target:
    served = {f"packages/attacked/{name}{suffix}" for name in (WHEEL[0], YANKED[0]) for suffix in ("", ".metadata")}
    hidden = [
        path.read_bytes()
        for path in site.root.rglob("*")
        if path.is_file() and not path.is_relative_to(site.root / "index" / "simple")
        if str(path.relative_to(site.root)) not in served
    ]
    return Target(
        address="127.0.0.1",
        name="localhost",
        user=site.user,
        secret=site.secret,
        project="attacked",
        file=WHEEL[0],
        port=site.port,
        plain_port=site.places.plain_port,
        has_tls=site.has_tls,
        ca=site.ca,
        public=site.environ["PPM_READ_ACCESS"] == "public",
        never=tuple({content[:200] for content in hidden if len(content) > 10} | {b"root:x:", b"planted in"}),
        limited=limited,
    )


SETTINGS = {
    "ordinary": {},
    "public": {"ppm_read_access": "public"},
    "behind a proxy": {"ppm_tls": "none", "ppm_trusted_proxies": ["192.0.2.0/24"]},
}


@debian.with_each("name", {12: ["ordinary", "behind a proxy"], 13: ["ordinary", "public"]})
def test_every_attack_is_refused(name: str, new_site: Callable[..., Site], tmp_path: Path) -> None:
    """Every attack of the table is refused, and no secret that it sent is in a log."""
    site = new_site(**SETTINGS[name])
    fill(site)
    made = ppmctl("user", "add", "limited", "--role", "reader", "--project", "other-*", "--root", str(site.root))
    site.clear_logs()
    target = target_of(site, ("limited", made.stdout.strip()) if name != "public" else None)
    outcomes = attacks.run(target)
    print(attacks.table(outcomes))
    wrong = attacks.wrong(outcomes)
    assert not wrong, attacks.table(wrong)
    assert len(outcomes) > 1000
    for log in (site.access_log(), site.error_log(), site.log.read_text()):
        for secret in attacks.secrets_sent(target):
            lines = [line for line in log.splitlines() if secret in line]
            assert not lines, lines[:3]
    log = site.access_log()
    assert log.count("\n") > 500, "there is something that they could be in"
    for masked in ('"path":"/simple/ppm_***"', '"agent":"tool/1.0 (ppm_***"'):
        assert masked in log


@pytest.mark.parametrize("access", ["authenticated", "public"])
def test_slow_clients_are_disconnected(new_site: Callable[..., Site], access: str) -> None:
    """Otherwise a few could occupy all connections. The time-outs are 2 s in this test, 15 s and more on a host."""
    waits = (
        "client_header_timeout 20s;",
        "client_body_timeout 60s;",
        "keepalive_timeout 75s;",
        "lingering_time 15s;",
    )
    faster = {wait: f"{wait.split()[0]} 2s;" for wait in waits}
    site = new_site(faster=faster, command=impatient.COMMAND, ppm_read_access=access)
    fill(site)
    outcomes = attacks.slow_clients(target_of(site), within=20)
    print(attacks.table(outcomes))
    assert not attacks.wrong(outcomes), attacks.table(attacks.wrong(outcomes))
    assert site.get("/simple/attacked/").status_code == 200
    assert {Path(body).name for body in site.bodies()} == {"0000000001"}, "only the planted one"


def test_a_slow_publisher_is_not_disconnected(new_site: Callable[..., Site]) -> None:
    """An upload with a valid credential may take much longer than any time-out, if it does not stop."""
    waits = (
        "client_header_timeout 20s;",
        "client_body_timeout 60s;",
        "keepalive_timeout 75s;",
        "lingering_time 15s;",
    )
    site = new_site(faster={wait: f"{wait.split()[0]} 2s;" for wait in waits}, command=impatient.COMMAND)
    form = requests.Request("POST", site.url, files={"content": wheels.wheel("patient", "1.0")}).prepare()
    assert isinstance(form.body, bytes)
    target, size = target_of(site), len(form.body) // 10
    headers = [f"{name}: {value}" for name, value in form.headers.items()]
    with raw.connect(target) as connection:
        connection.sendall(raw.request(target, "POST /", *headers))
        for at in range(0, len(form.body), size):
            connection.sendall(form.body[at : at + size])
            time.sleep(0.7)
        assert raw.answers(connection.recv(1 << 16))[0].status == 200
    assert len(site.filenames("patient")) == 1


def test_forged_address_headers_are_ignored_in_the_audit(site: Site) -> None:
    """A publisher can't make the audit log show another address."""
    claims = {"X-Real-IP": "192.0.2.66", "X-Forwarded-For": "192.0.2.66", "Forwarded": "for=192.0.2.66"}
    assert site.upload(wheels.wheel("audited", "1.0"), headers=claims).status_code == 200
    (line,) = [line for line in (site.root / "audit.jsonl").read_text().splitlines() if "audited" in line]
    assert "192.0.2.66" not in line
    assert "127.0.0.1" in line
    assert "192.0.2.66" not in site.access_log()


def test_the_own_origin_has_the_port_that_the_client_used(site: Site) -> None:
    """Another service of the same machine, on another port, is a foreign site."""
    host = site.url.partition("://")[2]
    for origin, status in {site.url: 400, site.url.rpartition(":")[0]: 403, f"ftp://{host}": 403}.items():
        assert site.request("POST", "/", headers={"Origin": origin}).status_code == status, origin


@debian.only(12)
def test_client_address_behind_a_trusted_proxy(new_site: Callable[..., Site]) -> None:
    """Otherwise all clients behind a proxy would have its address, in the audit log and for the connection limit."""
    site = new_site(ppm_tls="none", ppm_trusted_proxies=["127.0.0.0/8", "::1"])
    claims = {"X-Forwarded-For": "198.51.100.1, 192.0.2.77, 127.0.0.9", "X-Forwarded-Proto": "https"}
    assert site.upload(wheels.wheel("proxied", "1.0"), headers=claims).status_code == 200
    (line,) = [line for line in (site.root / "audit.jsonl").read_text().splitlines() if "proxied" in line]
    assert "192.0.2.77" in line, "the one that the first trusted proxy saw, and not what was said to it"
    assert "https://localhost/" in site.get("/", headers=claims).text


@debian.only(13)
def test_limit_of_connections_per_address(new_site: Callable[..., Site]) -> None:
    """The next connection gets a 429 with one line, until others are closed."""
    site = new_site(ppm_connections_per_address=2)
    target = target_of(site)
    held = []
    try:
        for _number in range(2):
            connection = raw.connect(target)
            held.append(connection)
            connection.sendall(raw.request(target, "POST /", "Content-Length: 10"))  # nginx waits for the body
        until(lambda: site.get("/simple/").status_code == 429, "the limit", seconds=10)
        refused = site.get("/simple/")
        assert (refused.status_code, refused.text) == (429, "Too many connections from one address.\n")
    finally:
        for connection in held:
            connection.close()
    until(lambda: site.get("/simple/").status_code == 200, "room for another", seconds=10)
