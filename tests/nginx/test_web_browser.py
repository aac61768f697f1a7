"""The web pages behind the deployed nginx, in a real browser; tests/e2e has the same for the embedded server."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser
from support import browsed, debian, web_flows, wheels
from support.browser import tab
from support.webserver import Site

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def filled(new_sites: Callable[..., Site]) -> Site:
    site = new_sites(ppm_upstream="none")
    browsed.fill(site)
    return site


@debian.with_each("javascript", {12: [True], 13: [False]})
def test_from_login_to_logout(browser: Browser, filled: Site, javascript: bool) -> None:
    """All that people do on the pages, with TLS and the cookies that it allows."""
    web_flows.environments(browser, filled, "zoe", java_script_enabled=javascript)
    web_flows.browse(browser, filled, java_script_enabled=javascript)
    web_flows.administer(browser, filled, "max", java_script_enabled=javascript)


def test_each_page_is_loaded_without_a_problem(browser: Browser, filled: Site) -> None:
    with tab(browser, filled.url) as opened:
        opened.log_in(*filled.auth)
        for path in browsed.PAGES:
            opened.open(path)
        (cookie,) = [cookie for cookie in opened.page.context.cookies() if "session" in str(cookie.get("name"))]
        assert str(cookie.get("name")).startswith("__Host-ppm-session")
        assert cookie.get("secure") is True
        assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")


def test_a_large_file_is_uploaded_from_a_browser(browser: Browser, filled: Site) -> None:
    """Forms have 64 KB at most, but files may be as large as an upload; nginx stores none."""
    name, content = wheels.wheel("heavy", "1.0", files={"heavy.bin": random.Random(1).randbytes(3 << 20)})
    with tab(browser, filled.url) as opened:
        opened.log_in(*filled.auth)
        opened.open("/upload/")
        opened.page.set_input_files("#files", {"name": name, "mimeType": "application/zip", "buffer": content})
        web_flows.button(opened, "Upload").click()
        opened.page.locator("#results .published").wait_for()
    assert filled.filenames("heavy") == {name}
    assert filled.bodies() == []
