"""Tests of `ppmctl serve`: settings, start and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from support import wheels
from support.evidence import until
from support.servers import PPMCTL, Server, free_port, ppmctl


def test_the_first_admin_is_created_once(serve: Callable[..., Server]) -> None:
    server = serve(warm=False)
    first = server.secret
    assert server.get("/simple/").status_code == 200
    assert first not in server.log.read_text()
    server.stop()
    server.start_again()
    assert (server.root / "first-credential").read_text() == f"admin:{first}\n"
    assert server.get("/simple/").status_code == 200
    server.kill()


def test_the_url_and_how_to_stop_it_are_printed(tmp_path: Path) -> None:
    """Also without a first credential; each request is a line of the access log, without its query."""
    port, out = free_port(), tmp_path / "out"
    arguments = [*PPMCTL, "serve", "--root", str(tmp_path / "root"), "--port", str(port), "--access-log"]
    with out.open("wb") as stdout:
        process = subprocess.Popen(arguments, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
    assert process.stderr is not None
    url = f"http://127.0.0.1:{port}"
    try:
        assert process.stderr.readline().decode() == f"ppm serves {url}/ from {tmp_path / 'root'}\n"
        process.stderr.readline()
        assert process.stderr.readline() == b"stop       Ctrl-C\n"
        secret = "ppm_" + "aB3" * 14
        until(lambda: is_served(url), "the server answers")
        agent = {"User-Agent": 'a "client"'}
        with requests.Session() as session:  # on two connections, the second line could be the first
            session.get(f"{url}/simple/a%0Ab/?q=hidden", auth=("ann", "hidden"), headers=agent, timeout=30)
            session.get(f"{url}/simple/", auth=(secret, "hidden"), timeout=30)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 0
        process.stderr.close()
    *_, injected, named = (json.loads(line) for line in out.read_text().splitlines())
    assert (injected["user"], injected["method"], injected["path"]) == ("ann", "GET", "/simple/a%0Ab/")
    assert (injected["status"], injected["client"], injected["agent"]) == (401, "127.0.0.1", 'a "client"')
    assert named["user"] == "ppm_***"
    assert "hidden" not in out.read_text()


def test_settings_come_from_the_environment_and_from_the_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    root = tmp_path / "root"
    ppmctl("init", "--root", str(root))
    (root / "ppm.yml").write_text("upstream_url: https://mirror.example/simple\nprivate_names: [acme-*]\n")
    server = serve(root=root, environ={"PPM_READ_ACCESS": "public"}, warm=False)
    answer = server.get("/simple/other/", auth=None)
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://mirror.example/simple/other/")
    assert server.get("/simple/acme-x/", auth=None).status_code == 404


def test_a_used_port_is_named_at_once(serve: Callable[..., Server], tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        arguments = [*PPMCTL, "serve", "--root", str(tmp_path / "root"), "--port", port, "--first-credential"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert "serves" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(serve: Callable[..., Server], number: signal.Signals) -> None:
    server = serve(warm=False)
    assert server.upload(wheels.wheel("x", "1.0")).status_code == 200
    os.killpg(server.process.pid, number)
    assert server.process.wait(timeout=60) == 0
    assert "Traceback" not in server.log.read_text()
    assert [path.name for path in (server.root / "incoming").iterdir()] == []
    ppmctl("index", "check", "--root", str(server.root))


def has_arrived(incoming: Path) -> bool:
    """Return whether an upload has started (its folder is renamed right after it is created)."""
    try:
        return any(path.name != ".lock" for path in incoming.glob("*/*"))
    except FileNotFoundError:
        return False


def is_served(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=1).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def serves_on(server: Server, *, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.get("/simple/").status_code == 200


def test_it_serves_while_nginx_is_stopped_at_the_same_time(serve: Callable[..., Server], tmp_path: Path) -> None:
    """As in compose. A nginx that was killed has left its file, and a second signal ends the waiting."""
    stopping = tmp_path / "stopping"
    server = serve("--upstream", "none", environ={"PPM_STOP_AFTER": str(stopping)})
    stopping.touch()
    server.process.send_signal(signal.SIGTERM)
    serves_on(server, seconds=4)  # longer than it waits for the file
    assert server.upload(wheels.wheel("late", "1.0")).status_code == 200
    stopping.unlink()
    assert server.process.wait(timeout=30) == 0

    server.start_again()
    stopping.touch()
    os.utime(stopping, (0, 0))
    assert server.stop() == 0

    server.start_again()
    stopping.touch()
    server.process.send_signal(signal.SIGTERM)
    serves_on(server, seconds=1)
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=30) == 0
    assert stopping.exists()


def test_a_running_upload_is_finished_before_the_server_exits(serve: Callable[..., Server]) -> None:
    """systemd and Docker send SIGTERM: a running upload must not be lost."""
    server = serve(warm=False)
    name, content = wheels.wheel("slow", "1.0", files={"noise": os.urandom(300_000)})
    prepared = requests.Request(
        "POST",
        server.url + "/",
        files={"content": (name, content)},
        data={":action": "file_upload"},
        auth=server.auth,
    ).prepare()
    assert isinstance(prepared.body, bytes)
    half = len(prepared.body) // 2
    head = "".join(f"{key}: {value}\r\n" for key, value in prepared.headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + prepared.body[:half])
        incoming = server.root / "incoming"
        until = time.monotonic() + 30
        while not has_arrived(incoming):
            assert time.monotonic() < until, "the upload never began to arrive"
        ended = threading.Thread(target=server.stop)
        ended.start()
        while is_served(server.url):  # while it accepts connections, it may not have seen the signal
            assert time.monotonic() < until
        connection.sendall(prepared.body[half:])
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    ended.join()
    assert (server.root / "packages" / "slow" / name).read_bytes() == content


def test_a_killed_worker_is_replaced(serve: Callable[..., Server]) -> None:
    """Only the worker is killed: its master starts another, which repairs and serves."""
    server = serve("--upstream", "none", warm=False)
    assert server.upload(wheels.wheel("x", "1.0")).status_code == 200
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    until = time.monotonic() + 60
    while True:
        assert time.monotonic() < until
        try:
            if server.filenames("x") == {"x-1.0-py3-none-any.whl"}:
                break
        except requests.ConnectionError:
            continue
    assert server.upload(wheels.wheel("x", "2.0")).status_code == 200
