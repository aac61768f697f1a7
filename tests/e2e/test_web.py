"""Tests of the web pages with a real server and real clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.clients import Machine, machine
from support.servers import Server, ppmctl

HTML = {"Accept": "text/html"}


@pytest.fixture
def desk(index: Server, tmp_path: Path) -> Machine:
    """Return the computer of a user without a browser, who has a credential for the index."""
    made = machine(tmp_path / "home", index)
    environ = {
        name: value for name, value in made.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    }
    return Machine(home=made.home, environ={**environ, "PPMCTL_INDEX": index.url})


def web(desk: Machine, *options: str, expect: int = 0) -> tuple[str, str]:
    done = ppmctl("web", *options, expect=expect, env=dict(desk.environ), cwd=desk.home)
    return done.stdout.strip(), done.stderr


def test_ppmctl_web_logs_a_browser_in_once(index: Server, desk: Machine, serve: Callable[..., Server]) -> None:
    """Of many browsers at the same time, at two servers of the same volume, one gets in."""
    link, notes = web(desk, "--print", "/account/")
    assert link.startswith(f"{index.url}/login/")
    assert "It works once, until 20" in notes
    with requests.Session() as browser:
        page = browser.get(link, headers=HTML, timeout=60)
        assert (page.url, page.status_code) == (f"{index.url}/account/", 200)
        assert f"<dd>{index.user}</dd>" in page.text
    assert requests.get(link, headers=HTML, timeout=60).status_code == 403
    values = json.loads(web(desk, "--json")[0])
    assert (values["index"], values["is_opened"]) == (index.url, False), "no browser is here"
    path = values["url"].removeprefix(index.url)
    urls = [server.url + path for server in (index, serve(root=index.root)) for _ in range(3)]
    with ThreadPoolExecutor(len(urls)) as pool:
        answers = pool.map(lambda url: requests.get(url, headers=HTML, timeout=60, allow_redirects=False), urls)
    assert sorted(answer.status_code for answer in answers) == [303, *[403] * 5]
    code = path.rpartition("/")[2]
    assert code not in (index.root / "audit.jsonl").read_text()
