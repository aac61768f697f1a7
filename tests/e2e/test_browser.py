"""What a web page can do with the credential that a browser remembers, in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Response
from support import faulty, wheels
from support.browser import chromium
from support.servers import Server

pytestmark = pytest.mark.timeout(180)  # a browser that hangs must not hold up the other tests

# What a page can send without asking the index first (CORS): its answer can't be read, but the change would be made.
CHANGES = {
    "a form": """url => {
        const form = document.createElement("form");
        Object.assign(form, {method: "POST", action: url + "/"});
        for (const [name, value] of [[":action", "remove_pkg"], ["name", "kept"], ["version", "1.0"]]) {
            form.append(Object.assign(document.createElement("input"), {name, value}));
        }
        document.body.append(form);
        form.submit();
    }""",
    "a form in a sandbox": """url => {
        const frame = document.createElement("iframe");
        frame.sandbox = "allow-forms allow-scripts";
        frame.srcdoc = `<form method=POST action="${url}/"><input name=":action" value="remove_pkg">
            <input name="name" value="kept"><input name="version" value="1.0"></form>
            <script>document.forms[0].submit()</script>`;
        document.body.append(frame);
    }""",
    "an upload": """url => {
        const form = new FormData();
        form.set(":action", "file_upload");
        form.set("content", new File(["x"], "planted-1.0.tar.gz"));
        fetch(url + "/", {method: "POST", mode: "no-cors", credentials: "include", body: form}).catch(() => 0);
    }""",
    "JSON as text": """url => {
        const body = JSON.stringify({name: "planted", role: "admin"});
        fetch(url + "/api/tokens", {method: "POST", mode: "no-cors", credentials: "include", body}).catch(() => 0);
    }""",
    "a beacon": """url => {
        navigator.sendBeacon(url + "/api/tokens", JSON.stringify({name: "planted", role: "admin"}));
    }""",
}
PREFLIGHTED = """url => fetch(url, {method: "DELETE", credentials: "include"}).then(a => a.status, () => "blocked")"""
OWN_REMOVAL = """() => {
    const form = new FormData();
    const fields = {":action": "remove_pkg", name: "ours", version: "1.0"};
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    return fetch("/", {method: "POST", body: form}).then(answer => answer.status);
}"""
OWN_TOKEN = """type => fetch("/api/tokens", {
    method: "POST", headers: {"Content-Type": type}, body: JSON.stringify({name: "ours", role: "reader"}),
}).then(answer => answer.status)"""


@pytest.fixture(scope="module")
def browser(index: Server) -> Iterator[BrowserContext]:
    """Yield a browser that has asked the index with a credential."""
    with chromium() as browser:
        context = browser.new_context()
        # what asks for a credential: pages for people have a login of their own
        context.new_page().goto(f"http://{index.user}:{index.secret}@127.0.0.1:{index.port}/simple/")
        yield context  # pages stay open: to close one that still loads can take for ever


@pytest.fixture
def foreign() -> Iterator[int]:
    """Serve another web site; yield its port."""
    body = b"<!DOCTYPE html><title>foreign</title><body>Look at this cat."
    with faulty.index({"/": faulty.Response(body=body, headers={"Content-Type": "text/html"})}) as port:
        yield port


def answered(browser: BrowserContext, site: str, index: Server, script: str) -> int:
    """Run a script in a site's page; return the status of the index's answer to the POST that it sends."""

    def is_it(answer: Response) -> bool:
        return answer.url.startswith(index.url) and answer.request.method == "POST"

    page = browser.new_page()
    page.goto(site)
    with page.expect_response(is_it) as answer:
        page.evaluate(script, index.url)
    return answer.value.status


def test_foreign_pages_change_nothing(browser: BrowserContext, index: Server, foreign: int) -> None:
    """The browser sends the credential with their requests, so the index has to look at where they come from."""
    assert index.upload(wheels.wheel("kept", "1.0")).status_code == 200
    for host in ("localhost", "127.0.0.1"):  # another site, and another port of the same one
        site = f"http://{host}:{foreign}/"
        for what, script in CHANGES.items():
            assert answered(browser, site, index, script) == 403, f"{what} of {host}"
        page = browser.new_page()
        page.goto(site)
        assert page.evaluate(PREFLIGHTED, f"{index.url}/api/packages/kept/1.0") == "blocked"
    assert index.filenames("kept") == {"kept-1.0-py3-none-any.whl"}
    assert index.get("/simple/planted/").status_code == 404
    assert [token["name"] for token in index.get("/api/tokens").json()["tokens"]] == [index.user]
    lines = [json.loads(line) for line in (index.root / "audit.jsonl").read_text().splitlines()]
    refused = [line["by"] for line in lines if line.get("status") == 403]
    assert refused == [index.user] * 2 * len(CHANGES), "each had the credential that the browser remembers"


def test_pages_of_the_index_may_change_it(browser: BrowserContext, index: Server) -> None:
    """Here the login; JSON has to be marked as such also there."""
    assert index.upload(wheels.wheel("ours", "1.0")).status_code == 200
    page = browser.new_page()
    page.goto(f"{index.url}/")
    assert page.evaluate(OWN_TOKEN, "text/plain") == 415
    assert page.evaluate(OWN_TOKEN, "application/json") == 201
    assert page.evaluate(OWN_REMOVAL) == 200
    assert not index.filenames("ours")
