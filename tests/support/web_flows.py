"""What people do on the web pages, from login to logout; for any running index that `browsed.fill` has filled."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Browser, Locator

from support import wheels
from support.browser import Tab, tab
from support.servers import Server


def copied(opened: Tab, number: int = 0) -> str:
    """Return the text of one of the page's boxes that have a button to copy it."""
    return opened.page.locator("main .copied code").nth(number).inner_text()


def press(opened: Tab, name: str) -> None:
    """Press the button with exactly this label in the page's main part, and wait for the next page."""
    opened.follow(button(opened, name))


def button(opened: Tab, name: str) -> Locator:
    """Return the button with exactly this label in the page's main part."""
    return opened.page.locator("main").get_by_role("button", name=name, exact=True)


def follow(opened: Tab, name: str) -> None:
    """Follow the link with exactly this text in the page's main part."""
    opened.follow(opened.page.locator("main").get_by_role("link", name=name, exact=True))


def environments(browser: Browser, index: Server, who: str, **options: Any) -> None:
    """Join by an invite, log in, make environments, see packages on one line, delete all, and log out."""
    with tab(browser, index.url, **options) as admin, tab(browser, index.url, **options) as user:
        admin.log_in(*index.auth)
        admin.open("/admin/users/")
        admin.page.fill("#name", who)
        admin.page.select_option("#role", "publisher")
        press(admin, "Invite")
        link, _, code = copied(admin).partition("#")
        assert link == f"{index.url}/join"

        user.page.goto(f"{link}#{code}")
        if options.get("java_script_enabled", True):
            assert user.page.input_value("#code") == code
            assert code not in user.page.url
        user.page.fill("#code", code)
        press(user, "Join")
        secret = copied(user)
        assert secret.startswith("ppm_")
        user.log_out()

        user.log_in(f"{who}+laptop", secret)
        for name in (f"{who}-web", f"{who}-maps"):
            user.open("/environments/")
            user.page.fill("#name", name)
            press(user, "Create")
            assert user.path == f"/environment/{name}/"
        user.open(f"/environment/{who}-web/")
        user.page.fill("#packages", "flask passlib flask-login")
        press(user, "Add")
        line = copied(user)
        assert sorted(line.split(" ")) == ["flask", "flask-login", "passlib"]

        user.open("/environments/")
        follow(user, "Delete all of mine …")
        for name in (f"{who}-web", f"{who}-maps"):
            assert name in user.text
        press(user, "Delete all of these")
        user.open("/environments/")
        assert "You have no environments" in user.text
        user.log_out()
        user.open("/environments/")
        assert user.path.startswith("/login?next=")


def browse(browser: Browser, index: Server, **options: Any) -> None:
    """Browse projects, follow dependencies, and search, as a reader who logs in and out."""
    with tab(browser, index.url, **options) as opened:
        opened.open("/projects/")
        assert opened.path == "/login?next=/projects/"
        opened.page.fill("[name=username]", index.user)
        opened.page.fill("[name=password]", index.secret)
        press(opened, "Log in")
        assert opened.path == "/projects/"
        follow(opened, "sea-maps")
        assert opened.page.locator("h1").inner_text() == "sea-maps 2.0"
        assert "Draws maps of the sea" in opened.text
        assert "pip install" in opened.text
        follow(opened, "1.1")
        assert "draws Atlantis" in opened.text
        follow(opened, "tide-tables>=1")
        assert opened.path == "/project/tide-tables/"
        opened.page.fill("[name=q]", "tide")
        opened.page.keyboard.press("Enter")
        opened.page.wait_for_url("**/search?q=tide")
        found = opened.page.locator("main .listed a").all_inner_texts()
        assert found[0] == "tide-tables", "the name counts most"
        assert "sea-maps" in found, "and its keywords too"
        opened.log_out()


def administer(browser: Browser, index: Server, who: str, **options: Any) -> None:
    """Create a user, change and disable it; upload, yank, set a status, remove; read the audit and statistics."""
    project = f"{who}-tools"
    with tab(browser, index.url, **options) as opened, tab(browser, index.url, **options) as user:
        opened.log_in(*index.auth)
        opened.open("/admin/users/")
        opened.page.fill("#name", who)
        opened.page.select_option("#role", "reader")
        press(opened, "Create with a secret")
        user.log_in(who, copied(opened, 1))
        user.open("/admin/", status=403)
        follow(opened, f"Go to {who}")
        opened.page.select_option("#role", "publisher")
        press(opened, "Change")
        user.open("/projects/")
        assert user.path.startswith("/login"), "a session ends with a change of the rights"
        follow(opened, "Disable…")
        press(opened, f"Disable {who}")
        assert "disabled" in opened.text

        opened.open("/upload/")
        made = wheels.wheel(project, "1.0"), wheels.wheel(project, "1.1"), ("nothing.txt", b"no package")
        opened.expected.add(400)
        opened.page.set_input_files(
            "#files", [{"name": name, "mimeType": "application/zip", "buffer": content} for name, content in made]
        )
        button(opened, "Upload").click()
        results = opened.page.locator("#results li")
        results.nth(2).wait_for()
        opened.page.wait_for_function("document.querySelectorAll('#results .published').length == 2") if options.get(
            "java_script_enabled", True
        ) else None
        assert opened.page.locator("#results .published").count() == 2
        assert opened.page.locator("#results .refused").count() == 1

        opened.open(f"/project/{project}/manage")
        opened.page.get_by_label("Reason to yank 1.0").fill("too early")
        press(opened, "Yank 1.0")
        assert "yanked: too early" in opened.text
        opened.page.select_option("#status", "deprecated")
        opened.page.fill("#reason", "use another")
        press(opened, "Set the status")
        assert "deprecated: use another" in opened.text
        follow(opened, "Remove 1.1")
        opened.page.fill("#confirm", project)
        press(opened, "Remove")
        assert index.filenames(project) == {f"{who}_tools-1.0-py3-none-any.whl"}

        opened.open(f"/admin/audit?project={project}")
        for action in ("publish", "yank", "status", "remove"):
            assert re.search(rf"\b{action}\b", opened.text), action
        opened.open("/admin/statistics/")
        assert opened.page.locator("svg").count() >= 1
        opened.open("/admin/")
        opened.log_out()
