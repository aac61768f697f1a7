"""Attacks on the web pages in a real browser: markup in every field, other sites, and other users' pages."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from support import faulty, markup, wheels
from support.browser import Tab, tab
from support.environments import revision
from support.servers import Server, ppmctl

from ppmctl.web import site

pytestmark = pytest.mark.timeout(600)

_FIELDS = (
    *("summary", "author", "author_email", "maintainer", "maintainer_email", "license", "keywords", "home_page"),
    *("download_url", "platform", "supported_platform", "requires_external"),
)
# what a text may not add to a page: elements that load, run, or are filled in, and event handlers
_ELEMENTS = """() => {
    const tags = ["script", "iframe", "object", "embed", "base", "link", "meta", "style", "form", "input", "button"];
    tags.push("img", "svg", "math", "video", "audio", "template", "main");
    const known = /^(https?:|mailto:|[.#?/]|[\\w-]+[/?#]|$)/;
    const found = [...document.querySelectorAll(tags.join())].map(element => element.localName);
    for (const element of document.querySelectorAll("*")) {
        for (const {name, value} of element.attributes) {
            if (/^on|^style$|^srcdoc$/.test(name)) found.push(`${element.localName} ${name}`);
            if (["href", "src", "action", "formaction"].includes(name) && !known.test(value)) {
                found.push(`${element.localName} ${name}=${value}`);
            }
        }
    }
    if (window.pwned) found.push("a script ran");
    return found;
}"""


@pytest.fixture(scope="module")
def hostile(index: Server) -> Server:
    """Return an index whose projects have the tricks in every field that accepts them."""
    place = ("--root", str(index.root))
    accepted = 0
    for number, trick in enumerate(markup.TRICKS.values()):
        name = f"trick-{number}"
        lines = [f"{field.replace('_', '-').title()}: {trick}" for field in _FIELDS]
        lines += [f"Project-Url: {trick}, {trick}", f"Project-Url: Home, {trick}", f"Classifier: {trick}"]
        text = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines]) + f"\n\n{trick}\n"
        answer = index.upload(wheels.wheel(name, "1.0", meta=text.encode()))
        assert answer.status_code in (200, 400), answer.text
        accepted += answer.status_code == 200
        if answer.status_code == 200 and number % 6 == 0 and trick.isprintable():  # a command each
            ppmctl("package", "yank", name, "1.0", "--reason", trick, *place)
            ppmctl("package", "status", name, "deprecated", "--reason", trick, *place)
    assert accepted > 45
    for number, (kind, text) in enumerate(markup.READMES.items()):
        lines = ["Metadata-Version: 2.1", f"Name: readme-{number}", "Version: 1.0"]
        lines += [f"Description-Content-Type: {kind}"] if kind else []
        meta = "\n".join(lines) + f"\n\n{text}"
        assert index.upload(wheels.wheel(f"readme-{number}", "1.0", meta=meta.encode())).status_code == 200
    assert index.upload(wheels.wheel("plain", "1.0", summary="plain", keywords="plain")).status_code == 200
    for number, trick in enumerate(list(markup.TRICKS.values())[:8], 1):
        assert index.upload(revision("tricky", number, "plain", change=trick)).status_code == 200
    ppmctl("user", "add", "ann", "--role", "publisher", *place)
    return index


def elements(opened: Tab) -> Counter[str]:
    return Counter(opened.page.evaluate(_ELEMENTS))


def shown(opened: Tab, path: str) -> str:
    """Return what is wrong with a page that may show a trick, in words."""
    opened.open(path)
    odd = {name: number for name, number in elements(opened).items() if " " in name}
    heads = {name for name in ("base", "style", "iframe", "object", "embed") if elements(opened)[name]}
    return f"{path}: {odd} {heads}" if odd or heads or elements(opened)["main"] != 1 else ""


def test_no_field_of_a_package_adds_anything_to_a_page(browser: Browser, hostile: Server) -> None:
    """No script runs, no dialog opens, nothing is loaded from elsewhere (`tab` fails then), and no element is new."""
    with tab(browser, hostile.url) as opened:
        opened.log_in(*hostile.auth)
        opened.open("/project/plain/")
        usual = elements(opened)
        wrong = []
        for number, (name, trick) in enumerate(markup.TRICKS.items()):
            if hostile.get(f"/simple/trick-{number}/").status_code != 200:
                continue
            opened.open(f"/project/trick-{number}/")
            more = elements(opened) - usual
            # a long description or list has its own parts, but none that a text could choose
            if more:
                wrong.append(f"{name}: {dict(more)}")
            words = re.sub(r"\s+", " ", trick.strip())
            if name.startswith(("script", "event", "attribute")) and words not in re.sub(r"\s+", " ", opened.text):
                wrong.append(f"{name}: it is not shown as it is")
        for number in range(len(markup.READMES)):
            opened.open(f"/project/readme-{number}/")
            if more := elements(opened) - usual:
                wrong.append(f"readme {number}: {dict(more)}")
            for link in opened.page.locator("main a").all():
                href = link.get_attribute("href") or ""
                is_outside = markup.OUTSIDE in href
                assert not is_outside or "nofollow" in (link.get_attribute("rel") or ""), href
        assert not wrong, "\n".join(wrong)


def test_no_text_that_someone_chose_adds_anything_to_other_pages(browser: Browser, hostile: Server) -> None:
    """Searches, lists, environments, the audit, errors and the login form show them as text."""
    some = list(markup.TRICKS.values())[::4]
    with tab(browser, hostile.url) as opened, tab(browser, hostile.url) as stranger:
        stranger.expected |= {401, 429}
        for trick in some[:4]:
            stranger.open("/login")
            stranger.page.fill("[name=username]", trick[:150])
            stranger.page.fill("[name=password]", trick[:150])
            stranger.follow(stranger.page.locator("main button"))
            assert not {name for name in elements(stranger) if " " in name}
        opened.log_in(*hostile.auth)
        paths = ["/", "/projects/", "/environments/", "/environment/tricky/", "/admin/", "/admin/audit", "/account/"]
        paths += ["/search?q=script", "/project/trick-0/manage", "/project/ppm-env-tricky/", "/admin/statistics/"]
        wrong = [shown(opened, path) for path in paths]
        for trick in some:
            opened.page.goto(f"{hostile.url}/projects/")
            opened.expected |= {400, 404}
            opened.page.fill("[name=q]", trick[:150])
            with opened.page.expect_navigation():
                opened.page.press("[name=q]", "Enter")
            wrong += [f"search {trick}: {name}" for name in elements(opened) if " " in name]
        assert not any(wrong), "\n".join(filter(None, wrong))


# other sites


@pytest.fixture
def foreign() -> Iterator[int]:
    """Serve another web site; yield its port."""
    body = b"<!DOCTYPE html><title>foreign</title><body>Look at this cat."
    with faulty.index({"/": faulty.Response(body=body, headers={"Content-Type": "text/html"})}) as port:
        yield port


_SUBMIT = """([url, fields, kind]) => {
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: url, enctype: kind});
    for (const [name, value] of Object.entries(fields)) {
        const input = document.createElement("input");
        input.setAttribute("name", name);
        input.value = value;
        form.append(input);
    }
    document.body.append(form);
    form.submit();
}"""
_FETCH = """([url, fields]) => fetch(url, {
    method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams(fields),
}).catch(() => 0)"""
_READ = """url => fetch(url, {credentials: "include"}).then(answer => answer.text(), () => "blocked")"""
FIELDS = {
    **dict.fromkeys(("name", "username", "reason", "code", "email"), "planted"),
    **dict.fromkeys(("packages", "requirement", "confirm"), "plain"),
    **dict.fromkeys(("days", "projects", "reads", "purpose"), ""),
    "role": "admin",
    "how": "create",
    "release": "1.0",
    "status": "quarantined",
    "shared": "yes",
    "to": "1",
    "revision": "8",
    "confirmed": "tricky 8",
}


def posts() -> list[str]:
    """Return a path of each route that accepts a form."""
    paths = [route.path for route in site.ROUTES if route.method == "POST"]
    values = {"project": "plain", "environment": "tricky", "admin": "ann"}
    return [re.sub(r"<[^>]+>", values.get(path.split("/")[1], "x"), path) for path in paths]


def content(root: Path) -> dict[str, Any]:
    """Return what a change would change: files, their content if they are small, and what else users see."""
    left_out = {"audit.jsonl", "sessions", "locks", "bodies", "incoming", "search", "requests", "stats"}
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not left_out & set(path.relative_to(root).parts) and not path.name.startswith("search")
    }


def test_other_sites_change_nothing(browser: Browser, hostile: Server, foreign: int) -> None:
    """Each form, as another site or another port of the same host sends it; that one has the session's cookie."""
    with tab(browser, hostile.url) as opened:
        opened.log_in(*hostile.auth)
        before = content(hostile.root)
        statuses: Counter[int] = Counter()
        hidden: list[str] = []  # by Cross-Origin-Resource-Policy, after the index has answered
        for host in ("localhost", "127.0.0.1"):
            other = opened.page.context.new_page()
            other.on(
                "response",
                lambda answer: statuses.update([answer.status] if answer.request.method == "POST" else []),
            )
            other.on("requestfailed", lambda request: hidden.append(request.url))
            for path in posts():
                other.goto(f"http://{host}:{foreign}/")
                other.evaluate(_FETCH, [hostile.url + path, FIELDS])
                kind = "multipart/form-data" if path == "/upload/files" else "application/x-www-form-urlencoded"
                with other.expect_navigation():
                    other.evaluate(_SUBMIT, [hostile.url + path, FIELDS, kind])
            other.goto(f"http://{host}:{foreign}/")
            assert other.evaluate(_READ, f"{hostile.url}/account/") == "blocked"
        assert set(statuses) == {403}, statuses
        assert sum(statuses.values()) + len(hidden) >= 4 * len(posts()) > 80
        assert content(hostile.root) == before
        opened.open("/account/")


def test_no_page_is_shown_in_a_frame(browser: Browser, hostile: Server, foreign: int) -> None:
    """Otherwise another site could lay something over it, and let the user click on a button below."""
    with tab(browser, hostile.url) as opened:
        opened.log_in(*hostile.auth)
        other = opened.page.context.new_page()
        other.goto(f"http://127.0.0.1:{foreign}/")
        other.evaluate(
            "url => document.body.append(Object.assign(document.createElement('iframe'), {src: url}))", hostile.url
        )
        other.wait_for_load_state("networkidle")
        assert all(frame.url != f"{hostile.url}/" for frame in other.frames)


def test_a_reader_changes_nothing_of_others(browser: Browser, hostile: Server) -> None:
    """With a session and form tokens of their own, each form is refused, and others' pages show no form or secret."""
    place = ("--root", str(hostile.root))
    secret = ppmctl("user", "add", "mallory", "--role", "reader", *place).stdout.strip()
    with tab(browser, hostile.url) as opened:
        opened.log_in("mallory", secret)
        token = opened.page.locator("[name=form_token]").first.input_value()
        before = content(hostile.root)
        own = {"/login", "/logout", "/account/tokens", "/login/x"}
        for path in (path for path in posts() if path not in own):
            answer = opened.page.request.post(
                hostile.url + path, form={**FIELDS, "form_token": token, "name": "ann"}, max_redirects=0
            )
            assert answer.status in (400, 403, 404, 409), f"{path}: {answer.status}"
            assert re.search(r"ppm_[A-Za-z0-9_-]{32}", answer.text()) is None, path
        assert content(hostile.root) == before
        for path in ("/admin/", "/admin/users/ann/", "/admin/audit", "/project/plain/manage", "/upload/"):
            opened.open(path, status=403)
        opened.open("/environment/tricky/")
        assert opened.page.locator("main form").count() == 0
    lines = [json.loads(line) for line in (hostile.root / "audit.jsonl").read_text().splitlines()]
    assert {line["by"] for line in lines if line.get("status") == 403} >= {"mallory"}
