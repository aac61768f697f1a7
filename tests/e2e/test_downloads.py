"""Tests of the counts of downloads by a server without a web server in front, and of `ppmctl stats`."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support import readme, wheels
from support.clients import Installer, Machine, machine, run
from support.evidence import until
from support.servers import Server, ppmctl

FILE = "/packages/sea-maps/sea_maps-1.0-py3-none-any.whl"


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def counts(server: Server, *arguments: str) -> dict[str, Any]:
    """Count what the server has logged, and return the downloads."""
    ppmctl("stats", "count", "--root", str(server.root))
    answer: dict[str, Any] = json.loads(
        ppmctl("stats", "downloads", *arguments, "--root", str(server.root), "--json").stdout
    )
    return answer


def installs(server: Server, number: int) -> None:
    """Wait until so many installs are counted: a server logs a request after the client has its answer."""
    until(lambda: counts(server)["installs"] == number, f"{number} installs are counted")


def test_installs_are_counted(
    serve: Callable[..., Server], installer_of: Callable[..., Installer], new_machine: Callable[..., Machine]
) -> None:
    server = serve()
    computer = new_machine(server)
    began = today()
    assert server.upload(wheels.wheel("sea-maps", "1.0")).status_code == 200
    assert server.upload(wheels.wheel("sea-maps", "0.9")).status_code == 200
    assert run(computer, "stats", "downloads", "--index", server.url) == ""
    for name in ("pip", "uv"):
        installer_of(name, server).install("sea-maps", index=server.simple)
    server.get(FILE, headers={"User-Agent": "bandersnatch/7.0"})
    server.get(FILE, headers={"Range": "bytes=0-9"})
    installs(server, 2)
    found = counts(server, "sea-maps")
    assert found["by_client"] == {"pip": 1, "uv": 1}
    assert found["mirrors"] == 1
    assert found["metadata"] >= 1
    assert [each["name"] for each in found["by_version"]] == ["1.0"]
    assert found["counted_since"] in {began, today()}  # midnight may have passed meanwhile
    assert server.get("/api/stats/downloads?project=sea-maps").json() == found
    assert server.get("/api/stats/downloads?since=yesterday").status_code == 400
    assert server.get("/api/stats/downloads?project=sea-mops").status_code == 404
    [by_project] = json.loads(run(computer, "stats", "downloads", "--index", server.url, "--json"))["by_project"]
    assert by_project.pop("last_install") in {began, today()}
    assert by_project == {"name": "sea-maps", "installs": 2}
    shown = run(computer, "stats", "downloads", "--index", server.url)
    assert re.search(r"^Installs: +2$", shown, re.MULTILINE)
    assert "pip" in shown
    assert "no project 'sea-mops'" in run(computer, "stats", "downloads", "sea-mops", "--root", server.root, expect=1)
    logged = (server.root / "requests" / "requests.log").read_text()
    assert server.user not in logged
    assert "127.0.0.1" not in logged
    for path in ("/project/sea-maps/", "/admin/statistics/"):
        page = server.get(path, headers={"Accept": "text/html"}).text
        assert "Installs a month" in page, path


def test_an_interrupted_download_is_no_install(serve: Callable[..., Server]) -> None:
    server = serve()
    assert server.upload(wheels.wheel("sea-maps", "1.0", files={"data": os.urandom(30 << 20)})).status_code == 200
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        credential = server.get("/healthz").request.headers["Authorization"]
        connection.sendall(f"GET {FILE} HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\n\r\n".encode())
        connection.recv(1000)
    log = server.root / "requests" / "requests.log"
    until(lambda: b"\t/packages/" in log.read_bytes(), "the request is logged")
    assert counts(server)["installs"] == 0
    server.get(FILE)
    installs(server, 1)


def test_unused_releases(serve: Callable[..., Server], new_machine: Callable[..., Machine]) -> None:
    server = serve()
    for version in ("1.0", "2.0"):
        assert server.upload(wheels.wheel("sea-maps", version)).status_code == 200
    began = today()
    server.get(FILE)
    installs(server, 1)
    unused = ("stats", "unused", "--root", str(server.root), "--json", "--since")
    assert json.loads(ppmctl(*unused, "1y").stdout)["releases"] == [], "uploaded after that"
    done = ppmctl(*unused, "2200-01-01")
    never, once = [each["last_install"] for each in json.loads(done.stdout)["releases"]]
    assert never is None
    assert once in {began, today()}
    assert done.stderr == ""
    before = ppmctl(*unused, "1y").stderr
    assert re.search(f"counted without a gap only since ({began}|{today()})", before)


def test_the_commands_of_the_documentation(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The command that counts for ever is ended by a signal, as systemd ends it."""
    server = serve()
    assert server.upload(wheels.wheel("sea-maps", "1.0")).status_code == 200
    admin = machine(tmp_path / "home", server)
    typed = "".join(block for section in readme.blocks("docs/statistics.md").values() for block in section)
    forever = "ppmctl stats count --log /var/log/nginx/ppm/requests.log --every 60s"
    for written, here in {
        forever: f"timeout --preserve-status --signal TERM 3 {forever}",
        "/var/log/nginx/ppm/requests.log": str(server.root / "requests" / "requests.log"),
        "/srv/ppm": str(server.root),
    }.items():
        assert written in typed
        typed = typed.replace(written, here)
    printed = readme.paste(typed, admin.home, {**admin.environ, "PPMCTL_INDEX": server.url})
    assert "sea-maps" in printed


def test_stats_alone_and_its_subcommands(index: Server) -> None:
    root = str(index.root)
    assert "projects" in json.loads(ppmctl("stats", "--root", root, "--json").stdout)
    assert "go after the subcommand" in ppmctl("stats", "--root", root, "downloads", expect=2).stderr
    assert "no command 'downlods'" in ppmctl("stats", "downlods", expect=2).stderr
    assert ppmctl("stats", "downloads", "--since", "x", "--root", root, expect=2).stderr


def test_the_server_counts_by_itself(serve: Callable[..., Server]) -> None:
    """Its thread counts what an earlier server has left, at the start."""
    server = serve()
    assert server.upload(wheels.wheel("sea-maps", "1.0")).status_code == 200
    server.get(FILE)
    server.stop()
    server.start_again()
    until(lambda: server.get("/api/stats/downloads").json()["installs"] == 1, "it is counted")
