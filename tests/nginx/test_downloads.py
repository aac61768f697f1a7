"""Downloads through nginx are counted once: by real clients, over rotations, and without addresses and users."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from support import debian, wheels
from support.clients import Installer, Machine, machine, pip_library, run
from support.evidence import until
from support.servers import ppmctl
from support.webserver import Site


@pytest.fixture
def site(new_sites: Callable[..., Site]) -> Site:
    return new_sites(ppm_upstream="none")


def counts(site: Site, *arguments: str) -> dict[str, Any]:
    """Count all lines that nginx has written, and return the downloads."""
    marker = f"/simple/marker-{os.urandom(6).hex()}/"
    site.get(marker)
    until(lambda: marker.encode() in site.requests_log.read_bytes(), "nginx has written its log")
    ppmctl("stats", "count", "--log", str(site.requests_log), "--root", str(site.root))
    answer: dict[str, Any] = json.loads(
        ppmctl("stats", "downloads", *arguments, "--root", str(site.root), "--json").stdout
    )
    return answer


def user(site: Site, home: Path) -> Machine:
    made = machine(home)
    (home / ".netrc").write_text(f"machine localhost login {site.user} password {site.secret}\n")
    (home / ".netrc").chmod(0o600)
    trusted = {name: str(site.ca) for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
    return Machine(home=home, environ={**made.environ, **trusted})


def is_counted(site: Site, installs: int) -> bool:
    return bool(counts(site, "sea-maps")["installs"] >= installs)


@debian.only(13)
def test_installs_of_real_clients(site: Site, tmp_path: Path) -> None:
    assert site.upload(wheels.wheel("sea-maps", "1.0")).status_code == 200
    index = f"{site.url}/simple/"
    for number, (name, library) in enumerate((("pip", pip_library()), ("uv", None))):
        (tmp_path / name).mkdir()
        installer = Installer(name=name, machine=user(site, tmp_path / name), library=library)
        installer.install("sea-maps", index=index)
        assert installer.version("sea-maps") == "1.0"
        # nginx's other worker may write its line after the marker's
        until(partial(is_counted, site, number + 1), "the install is in the log")
        found = counts(site, "sea-maps")
        assert (found["installs"], found["ci"]) == (number + 1, 0), "the file, not its metadata and the page"
    file = f"{site.url}/packages/sea-maps/sea_maps-1.0-py3-none-any.whl"
    curl = ("curl", "-sS", "--fail", "--netrc", "--cacert", site.ca, "-o", "out")
    computer = user(site, tmp_path)
    computer.run(*curl, file)
    computer.run(*curl, "--head", file)
    computer.run(*curl, "--range", "0-99", file)
    computer.run(*curl, "--user-agent", "bandersnatch/7.0.0 (cpython 3.12)", file)
    computer.run(*curl, "--etag-save", "tag", file)
    computer.run(*curl, "--etag-compare", "tag", file)
    until(partial(is_counted, site, 4), "the downloads are in the log")
    found = counts(site, "sea-maps")
    assert (found["installs"], found["mirrors"]) == (4, 1)
    assert found["by_client"] == {"curl": 2, "pip": 1, "uv": 1}
    assert found["metadata"] >= 1
    assert sum(found["by_python"].values()) == 4
    assert len(found["by_python"]) == 2
    assert [(each["name"], each["installs"]) for each in found["by_version"]] == [("1.0", 4)]
    assert counts(site, "sea-maps") == {**found}, "nothing is counted again"
    # over HTTP, and for somebody who may not read it
    answer = site.get("/api/stats/downloads?project=Sea_Maps").json()
    assert answer == found
    assert json.loads(run(computer, "stats", "downloads", "sea-maps", "--index", site.url, "--json")) == found
    secret = ppmctl("user", "add", "lim", "--role", "reader", "--project", "o-*", "--root", str(site.root)).stdout
    limited = ("lim", secret.strip())
    assert site.get("/api/stats/downloads?project=sea-maps", auth=limited).status_code == 404
    assert site.get("/api/stats/downloads", auth=limited).json()["by_project"] == []
    log = site.requests_log.read_text()
    assert "127.0.0.1" not in log
    assert site.user not in log


def requested(site: Site, agent: str, *, read: int | None = None, **headers: str) -> None:
    """Request the large file, and read all of it or the first bytes of it."""
    context = ssl.create_default_context(cafile=str(site.ca))
    with (
        socket.create_connection(("localhost", site.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        request = requests.Request("GET", f"{site.url}/packages/heavy/heavy-1.0-py3-none-any.whl", auth=site.auth)
        sent = {
            **request.prepare().headers,
            "Host": "localhost",
            "User-Agent": agent,
            "Connection": "close",
            **headers,
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        connection.sendall(f"GET /packages/heavy/heavy-1.0-py3-none-any.whl HTTP/1.1\r\n{text}\r\n".encode())
        while (read is None or read > 0) and (got := connection.recv(1 << 16)):
            read = read if read is None else read - len(got)


@debian.only(12)
def test_parts_rotations_and_hostile_clients(site: Site) -> None:
    made = wheels.wheel("heavy", "1.0", files={"heavy/data": os.urandom(30 << 20)})
    size = len(made[1])
    assert site.upload(made).status_code == 200
    requested(site, "a", read=1 << 20)
    assert counts(site)["installs"] == 0, "it was cut off"
    requested(site, "a", Range=f"bytes={1 << 20}-")
    assert counts(site)["installs"] == 1, "and resumed"
    requested(site, "b", Range=f"bytes={size - 5000}-")
    requested(site, 'x"\\\t{}é\x7f' + "9" * 4_000)
    found = counts(site)
    assert (found["installs"], found["by_client"]) == (2, {"other": 2})
    # renamed, as logrotate does it
    site.requests_log.rename(f"{site.requests_log}.1")
    requested(site, "pip/1.0")
    site.nginx.send_signal(signal.SIGUSR1)
    until(site.requests_log.exists, "nginx has begun a new log")
    requested(site, "pip/1.0")
    assert counts(site)["installs"] == 4
    # copied and truncated
    requested(site, "pip/1.0")
    assert counts(site)["installs"] == 5
    shutil.copy(site.requests_log, f"{site.requests_log}.2")
    os.truncate(site.requests_log, 0)
    requested(site, "pip/1.0")
    assert counts(site)["installs"] == 6
