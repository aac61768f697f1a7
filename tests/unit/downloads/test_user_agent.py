"""Tests of how clients are recognised by their User-Agent."""

from __future__ import annotations

import pytest

from ppmctl.downloads import user_agent
from ppmctl.downloads.user_agent import Client

PIP = (
    'pip/26.0.1 {"ci":null,"cpu":"x86_64","distro":{"name":"Debian"},"implementation":{"name":"CPython"},'
    '"installer":{"name":"pip","version":"26.0.1"},"python":"3.13.2","system":{"name":"Linux"}}'
)

AGENTS = {
    PIP: Client(name="pip", version="26.0", python="3.13"),
    PIP.replace("null", "true"): Client(name="pip", version="26.0", python="3.13", is_ci=True),
    PIP[:-3]: Client(name="pip", version="26.0"),
    "pip/20.0 {{{{": Client(name="pip", version="20.0"),
    "pip/1.0 " + "[" * 5_000: Client(name="pip", version="1.0"),
    'pip/24.0 {"python":["3"],"ci":"true"}': Client(name="pip", version="24.0"),
    'uv/0.11.4 {"installer":{"name":"uv","version":"0.11.4"},"python":"3.12.1","ci":true}': Client(
        name="uv", version="0.11", python="3.12", is_ci=True
    ),
    "uv/0.11.4": Client(name="uv", version="0.11"),
    "poetry/2.5.0 CPython/3.11.7 Linux/6.1": Client(name="poetry", version="2.5", python="3.11"),
    "pdm/2.29.1 CPython/3.11.7 Linux/6.1": Client(name="pdm", version="2.29", python="3.11"),
    'Hatch/1.17.0 {"python":"3.14.0"} HTTPX2/1.0': Client(name="hatch", version="1.17", python="3.14"),
    "twine/6.1.0 (requests 2.0) CPython/3.11.2": Client(name="twine", version="6.1", python="3.11"),
    "Python-urllib/3.10 setuptools/68.1.2": Client(name="setuptools", version="68.1", python="3.10"),
    "python-requests/2.32.3": Client(name="requests", version="2.32"),
    "curl/8.14.1": Client(name="curl", version="8.14"),
    "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0": Client(name="browser"),
    "bandersnatch/7.0.0 (cpython 3.12)": Client(name="bandersnatch", version="7.0"),
    "Nexus/3.70.1-02 (OSS; Linux)": Client(name="nexus", version="3.70"),
    "Artifactory/7.90.1 79001900": Client(name="artifactory", version="7.90"),
    "devpi-server/6.14.0 (py3.12; linux)": Client(name="devpi", version="6.14"),
    "": Client(name="other"),
    "-": Client(name="other"),
    "evil/1.0\nGET /x": Client(name="other"),
    "pipx/1.0": Client(name="other"),
    "pip/abc": Client(name="pip"),
    "pip/" + "9" * 50: Client(name="pip"),
    "\udcff\x00": Client(name="other"),
}


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: ascii(agent[:30]))
def test_known_clients_are_recognised_and_others_are_other(agent: str) -> None:
    assert user_agent.parse(agent) == AGENTS[agent]


def test_every_name_is_one_of_a_few() -> None:
    assert {client.name for client in AGENTS.values()} <= user_agent.NAMES
    assert user_agent.MIRRORS < user_agent.NAMES
    assert user_agent.parse("bandersnatch/7.0").is_mirror
    assert not user_agent.parse(PIP).is_mirror
