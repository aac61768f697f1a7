"""The web pages in a real browser: each page, each flow, by keyboard, without JavaScript, and under attack."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from support import browsed, web_flows
from support.browser import tab
from support.servers import Server, ppmctl
from werkzeug.routing import Map, Rule

from ppmctl.web import site

pytestmark = pytest.mark.timeout(600)  # a browser that hangs must not hold up the other tests


@pytest.fixture(scope="module")
def filled(index: Server) -> Server:
    browsed.fill(index)
    return index


def test_the_list_of_pages_is_complete() -> None:
    routes = Map([Rule(route.path, endpoint=route.path) for route in site.ROUTES if route.method == "GET"]).bind("")
    listed = {routes.match(path.partition("?")[0])[0] for path in (*browsed.PAGES, *browsed.STRANGERS_PAGES)}
    others = {"/static/<name>", "/login/<code>", "/project/<name>/files/<filename>"}
    assert {route.path for route in site.ROUTES if route.method == "GET"} == listed | others


def test_each_page_is_accessible_and_fits_each_window(browser: Browser, filled: Server) -> None:
    """In both colour schemes; at 360 pixels and at 4K no page scrolls sideways."""
    found: list[str] = []
    with tab(browser, filled.url) as opened, tab(browser, filled.url, color_scheme="dark") as dark:
        for path in browsed.STRANGERS_PAGES:
            for one in (opened, dark):
                one.open(path)
                found += [*one.violations(), *one.too_wide()]
        for one in (opened, dark):
            one.log_in(*filled.auth)
        for path in browsed.PAGES:
            opened.open(path)
            found += [*opened.violations(), *opened.too_wide()]
            dark.open(path)
            found += dark.violations("color-contrast")
        opened.open("/project/nothing/", status=404)
        found += opened.violations()
    assert not found, "\n".join(found)


def test_login_and_search_by_keyboard_alone(browser: Browser, filled: Server) -> None:
    with tab(browser, filled.url) as opened:
        opened.open("/login")
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type(filled.user)
        page.keyboard.press("Tab")
        page.keyboard.type(filled.secret)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{filled.url}/")
        for _press in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.name") == "q":
                break
        page.keyboard.type("sea")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=sea")
        for _press in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('main a')"):
                break
        assert page.evaluate("document.activeElement.textContent") == "sea-maps", "the first result"
        page.keyboard.press("Enter")
        page.wait_for_url(f"{filled.url}/project/sea-maps/")


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_from_an_invite_to_environments(browser: Browser, filled: Server, javascript: bool) -> None:
    """The first of the documents that ppm was made from."""
    web_flows.environments(browser, filled, f"zoe{javascript:d}", java_script_enabled=javascript)


@pytest.mark.parametrize("javascript", [True, False], ids=["with JavaScript", "without"])
def test_browse_search_and_administer(browser: Browser, filled: Server, javascript: bool) -> None:
    """The second of the documents that ppm was made from."""
    web_flows.browse(browser, filled, java_script_enabled=javascript)
    web_flows.administer(browser, filled, f"max{javascript:d}", java_script_enabled=javascript)


def test_buttons_copy_and_times_are_those_of_the_reader(browser: Browser, filled: Server) -> None:
    with tab(browser, filled.url, timezone_id="Pacific/Auckland", locale="en-NZ") as opened:
        opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        opened.log_in(*filled.auth)
        opened.open("/project/sea-maps/")
        box = opened.page.locator("main .copied").first
        box.get_by_role("button").click()
        opened.page.get_by_role("button", name="Copied").wait_for()
        assert opened.page.evaluate("navigator.clipboard.readText()") == box.locator("code").inner_text()
        time = opened.page.locator("main time").first
        assert "NZ" in (time.get_attribute("title") or "")


def test_a_cookie_ends_with_the_session_and_with_the_credential(browser: Browser, filled: Server) -> None:
    place = ("--root", str(filled.root))
    secret = ppmctl("user", "add", "eve", "--role", "reader", *place).stdout.strip()
    with tab(browser, filled.url) as opened:
        for end in ("log out", "rotate", "disable", "remove"):
            opened.log_in("eve", secret)
            cookies = opened.page.context.cookies()
            if end == "log out":
                opened.log_out()
            else:
                done = ppmctl("user", end, "eve", *place)
                secret = done.stdout.strip() if end == "rotate" else secret
                if end == "disable":
                    opened.open("/projects/")
                    ppmctl("user", "enable", "eve", *place)
            opened.page.context.add_cookies([{**cookie} for cookie in cookies])
            for path in ("/projects/", "/account/", "/environments/"):
                opened.open(path)
                assert opened.path.startswith("/login?next="), f"{end}: {path}"
            opened.page.context.clear_cookies()
