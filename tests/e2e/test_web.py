"""Tests of the web pages with a real server and real clients."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support import wheels
from support.clients import Machine, machine
from support.evidence import until
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


def test_ppmctl_web_opens_the_browser_of_the_user(index: Server, desk: Machine) -> None:
    program, opened = desk.home / "browser", desk.home / "opened"
    program.write_text(f'#!/bin/sh\necho "$1" >{opened}\n')
    program.chmod(0o700)
    known = Machine(home=desk.home, environ={**desk.environ, "BROWSER": str(program)})
    printed, notes = web(known, "project/x/")
    assert (printed, f"{index.url}/ is open in the browser" in notes) == ("", True)
    url = opened.read_text().strip()
    assert url.endswith("?next=/project/x/")
    assert requests.get(url, headers=HTML, timeout=60, allow_redirects=False).headers["Location"] == "../project/x/"


def test_ppmctl_web_names_what_is_missing(index: Server, desk: Machine) -> None:
    stranger = Machine(home=desk.home, environ={**desk.environ, "NETRC": os.devnull})
    assert f"ppmctl login {index.url}/" in web(stranger, expect=4)[1]
    older = web(desk, "--index", f"{index.url}/older", expect=1)[1]
    assert "an index that ppm serves, of this version or a newer one" in older


def test_an_upload_appears_on_the_pages(index: Server) -> None:
    fields = {"summary": "Shown on pages", "description_content_type": "text/markdown"}
    meta = wheels.metadata("shown", "1.0", **fields) + b"# Its *title*\n"
    assert index.upload(wheels.wheel("shown", "1.0", meta=meta)).status_code == 200
    until(lambda: "Shown on pages" in index.get("/search?q=sho", headers=HTML).text, "the search finds it")
    assert "Shown on pages" in index.get("/", headers=HTML).text
    page = index.get("/project/shown/1.0/", headers=HTML)
    assert "Its <em>title</em>" in page.text
    assert f"pip install --extra-index-url {index.url}/simple/ shown<" in page.text


def test_a_description_that_takes_long_delays_no_other_page(index: Server) -> None:
    meta = wheels.metadata("slow", "1.0", description_content_type="text/x-rst") + b"- x\n\n" * 100_000
    assert index.upload(wheels.wheel("slow", "1.0", meta=meta)).status_code == 200
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(index.get, "/project/slow/", headers=HTML)
        for _time in range(3):
            assert index.get("/projects/", headers=HTML).status_code == 200
        assert not slow.done(), "the list was answered before"
        page = slow.result()
    assert (page.status_code, "It is shown as plain text: formatting it takes more than" in page.text) == (200, True)


def test_a_browser_uploads_several_files_in_one_form(index: Server) -> None:
    """A form in pieces, as a browser sends it; and one of a session that ended, whose body is not waited for."""
    made = [wheels.wheel(name, "1.0") for name in ("formone", "formtwo")]
    with requests.Session() as browser:
        page = browser.get(f"{index.url}/login", headers=HTML, timeout=60)
        fields = {"form_token": token_of(page.text), "username": index.user, "password": index.secret}
        assert browser.post(f"{index.url}/login", data=fields, headers=HTML, timeout=60).status_code == 200
        token = token_of(browser.get(f"{index.url}/upload/", headers=HTML, timeout=60).text)
        files = [("form_token", (None, token)), *(("files", each) for each in (*made, made[0]))]
        headers = {"Accept": "application/json", "Origin": index.url}
        answer = browser.post(f"{index.url}/upload/files", files=files, headers=headers, timeout=60)
        results = [each["result"] for each in answer.json()["files"]]
        assert (answer.status_code, results) == (200, ["published", "published", "identical"])
        assert (
            made[1][0]
            in browser.get(f"{index.url}/simple/formtwo/", auth=(index.user, index.secret), timeout=60).text
        )
    gone = requests.post(f"{index.url}/upload/files", files=files, headers=headers, timeout=60)
    assert (gone.status_code, "log in" in gone.json()["message"]) == (401, True)


def token_of(text: str) -> str:
    found = re.search(r'name="form_token" value="([^"]+)"', text)
    assert found is not None
    return found[1]
