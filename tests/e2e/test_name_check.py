"""A certificate's name is checked on a host whose port 80 a program has: a request to the name has to arrive there.

Runs in a network namespace of its own, so that port 80 is free and only the loopback exists.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support import namespaces

from testbed.place import CHECKOUT

# two servers that answer the same, of which one has port 80
PROGRAM = """
import http.server, json, sys, threading
from ansible_collections.ppm.index.plugins.module_utils import ppm_certificate as checks

class Server(http.server.ThreadingHTTPServer):
    address_family = checks.socket.AF_INET6

for port in (80, 8080):
    server = Server(("::", port), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
answers = {}
for name in ("localhost", "127.0.0.1", "[::1]", "localhost:8080", "[::1]:8080", "localhost:9"):
    try:
        checks.check_arrival("ppm-0123456789abcdef", name, ["an address"])
        answers[name] = "it arrives"
    except checks.NotIssued as exc:
        answers[name] = str(exc)
try:
    checks.check_name_without_server("localhost")
    answers["checked"] = "it arrives"
except checks.NotIssued as exc:
    answers["checked"] = str(exc)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    inside = namespaces.command("ip link set lo up", "--net")
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "collections")}
    done = subprocess.run(
        [*inside, sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "checked"])
def test_a_name_of_this_host_is_right_whatever_answers(answers: dict[str, str], name: str) -> None:
    assert answers[name] == "it arrives"


@pytest.mark.parametrize("name", ["localhost:8080", "[::1]:8080"])
def test_another_server_is_told_apart_though_it_answers_the_same(answers: dict[str, str], name: str) -> None:
    assert answers[name].startswith(
        f"{name} leads to an address, and another server answers there ('an answer of status 404')"
    )


def test_a_name_that_nothing_answers_at(answers: dict[str, str]) -> None:
    assert answers["localhost:9"].startswith("nothing answers at http://localhost:9/")
