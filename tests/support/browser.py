"""Debian's Chromium on the web pages of an index: it notes everything that a page must not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Locator, Page, Request, Response, sync_playwright

WIDTHS = {"a phone": (360, 640), "a laptop": (1280, 800), "4K": (3840, 2160)}
_AXE = Axe()
_WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser. The tests of a module share one; each has its own context, with its own cookies."""
    with sync_playwright() as playwright:
        program = Path(__file__).with_name("quiet_chromium.py")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass(kw_only=True)
class Tab:
    """A tab of a new browser at the index `url`. `problems` is what went wrong on its pages."""

    page: Page
    url: str
    problems: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=lambda: {200, 303, 304})

    def open(self, path: str, *, status: int = 200) -> None:
        """Load a page of the index."""
        self.expected.add(status)
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == status, f"{path}: {answer.status} {self.text[:500]}"

    @property
    def path(self) -> str:
        """Return the path and query of the shown page."""
        return self.page.url.removeprefix(self.url)

    @property
    def text(self) -> str:
        """Return the words of the page's main part, as a reader sees them."""
        return self.page.locator("main").inner_text()

    def follow(self, link: Locator) -> None:
        """Click a link, or the button of a form, and wait for the page to which it leads."""
        with self.page.expect_navigation():
            link.click()

    def log_in(self, name: str, secret: str) -> None:
        self.open("/login")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", secret)
        self.follow(self.page.locator("main button"))
        assert self.page.locator("header .account").inner_text().startswith(name), self.text

    def log_out(self) -> None:
        self.follow(self.page.get_by_role("button", name="Log out"))
        assert self.path == "/login"

    def cookies(self) -> dict[str, Any]:
        """Return the browser's cookies, by name."""
        return {str(cookie.get("name")): cookie for cookie in self.page.context.cookies()}

    # what a page must not do

    def watch(self) -> None:
        """Note each script error, dialog, failed request, and request to another server."""
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.path}: error {error}"))
        self.page.on("console", self._console)
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # a status that the test expects is in the console too
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"{self.path}: console {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"{self.path}: dialog {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        parts, own = urlsplit(request.url), urlsplit(self.url)
        if parts.scheme != "data" and (parts.scheme, parts.netloc) != (own.scheme, own.netloc):
            self.problems.append(f"{self.path}: request to {request.url}")

    def _response(self, response: Response) -> None:
        if response.status not in self.expected:
            self.problems.append(f"{response.url}: {response.status}")

    def violations(self, *rules: str) -> list[str]:
        """Return what axe-core finds on the page, by all its rules or these."""
        options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
        found = _AXE.run(self.page, options={**options, "resultTypes": ["violations"]})
        return [
            f"{self.path}: {each['help']}: {[node['html'] for node in each['nodes']][:3]}"
            for each in found.response["violations"]
        ]

    def too_wide(self) -> list[str]:
        """Return the widths of a window at which the whole page scrolls sideways."""
        wide = []
        for name, (width, height) in WIDTHS.items():
            self.page.set_viewport_size({"width": width, "height": height})
            if (pixels := self.page.evaluate(_WIDER)) > 0:
                wide.append(f"{self.path}: {pixels} pixels too wide on {name}")
        return wide


@contextmanager
def tab(browser: Browser, url: str, **options: Any) -> Iterator[Tab]:
    """Open a new browser window; `options` are those of Playwright's contexts, such as java_script_enabled.

    Fail at the end if a page did something that none may do.
    """
    context = browser.new_context(ignore_https_errors=True, **options)
    context.set_default_timeout(120_000)  # a busy machine is no fault
    opened = Tab(page=context.new_page(), url=url)
    opened.watch()
    yield opened
    context.close()
    assert not opened.problems, "\n".join(opened.problems)
