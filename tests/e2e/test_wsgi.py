"""Tests of the WSGI entry under a gunicorn of one's own, with its stock workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import requests
from support import wheels
from support.evidence import until
from support.servers import JSON, free_port, ppmctl

APP = 'ppmctl.web.wsgi:app(root="{root}", upstream="none")'


def is_served(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=20).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def test_a_gunicorn_of_ones_own_serves_the_index(tmp_path: Path) -> None:
    """Two stock workers: uploads, pages, drop/, health, and an end that leaves nothing."""
    root, url = tmp_path / "root", f"http://127.0.0.1:{(port := free_port())}"
    options = ["--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "4", "--forwarder-headers", ""]
    options += ["--no-control-socket"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, APP.format(root=root)], stderr=output, start_new_session=True
        )
    try:
        until(lambda: process.poll() is not None or is_served(url), "an answer")
        assert process.poll() is None, log.read_text()
        secret = ppmctl("user", "add", "ann", "--role", "admin", "--root", str(root)).stdout.strip()
        auth = ("ann", secret)
        sent = requests.post(f"{url}/legacy/", files={"content": wheels.wheel("x", "1.0")}, auth=auth, timeout=60)
        assert sent.status_code == 200, sent.text
        wheels.write(root / "drop", wheels.wheel("y", "1.0"))

        def names() -> set[str]:
            answer = requests.get(f"{url}/simple/", headers={"Accept": JSON}, auth=auth, timeout=60)
            return {project["name"] for project in answer.json()["projects"]}

        until(lambda: names() == {"x", "y"}, "the dropped file and the list of projects")
        assert requests.get(f"{url}/simple/z/", auth=auth, timeout=60).status_code == 404, "its settings count"
        assert requests.get(f"{url}/simple/x/", timeout=60).status_code == 401
        assert "answers" in ppmctl("health", "--root", str(root)).stdout
        findings = json.loads(ppmctl("doctor", "--root", str(root), "--json").stdout)["findings"]
        assert "servers" not in {each["check"] for each in findings}, "its workers are one server"
    finally:
        process.terminate()
        code = process.wait(timeout=60)
        if code != 0:
            os.killpg(process.pid, signal.SIGKILL)
    assert (code, "Traceback" in log.read_text()) == (0, False)
    assert [*(root / "incoming").iterdir(), *(root / "servers").iterdir()] == []
    ppmctl("index", "check", "--root", str(root))


def test_a_mistake_is_reported_before_it_serves(tmp_path: Path) -> None:
    for call, message in (
        (f'ppmctl.web.wsgi:app(root="{tmp_path}/root", reads="public")', "reads is not a setting"),
        ("ppmctl.web.wsgi:app()", "The folder of the index is missing"),
    ):
        command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{free_port()}", call]
        environ = {name: value for name, value in os.environ.items() if name != "PPM_ROOT"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)
        assert done.returncode != 0
        assert message in done.stderr
