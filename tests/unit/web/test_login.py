"""Tests of sessions: how they begin, what ends them, and what a guesser or a foreign page can do."""

from __future__ import annotations

import os
import time

import pytest
from support.pages import Visitor

from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.errors import Refused
from ppmctl.web import sessions
from ppmctl.web.login_limit import Attempts


def is_logged_in(visitor: Visitor) -> bool:
    return visitor.get("/").status == 200


def test_a_visitor_without_a_credential_gets_the_login_and_then_the_page(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    stranger = visitor.another()
    sent = stranger.get("/?a=b")
    assert (sent.status, sent.location) == (303, "./login?next=/%3Fa%3Db")
    assert stranger.get(sent.location.removeprefix(".")).fields["next"] == "/?a=b"
    assert stranger.log_in("ann", secret, next="/?a=b").location == "./?a=b"
    assert is_logged_in(stranger)
    assert visitor.post("/logout", at="/").location == "./login"
    assert not is_logged_in(visitor)
    assert is_logged_in(stranger), "the other browser stays logged in"


@pytest.mark.parametrize("wanted", ["//evil.test/", "https://evil.test/", "/\\evil.test", "x", "/\r\nX: y"])
def test_a_login_leads_to_no_other_site(visitor: Visitor, wanted: str) -> None:
    secret = visitor.as_user("ann")
    assert visitor.another().log_in("ann", secret, next=wanted).location == "./"


def test_cookies_have_every_protection(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    for https, name, ending in (
        (False, "ppm-session", "HttpOnly; Path=/; SameSite=Strict"),
        (True, "__Host-ppm-session", "Secure; HttpOnly; Path=/; SameSite=Strict"),
    ):
        browser = Visitor(visitor.store, https=https)
        cookie = browser.log_in("ann", secret).headers["Set-Cookie"]
        assert cookie.startswith(f"{name}=")
        assert cookie.endswith(ending)


def test_the_volume_has_nothing_that_a_browser_could_send(visitor: Visitor) -> None:
    visitor.as_user("ann")
    cookie = visitor.client.get_cookie("ppm-session", domain="index.test")
    assert cookie is not None
    folder = visitor.store.volume.sessions
    (path,) = folder.iterdir()
    assert cookie.value not in path.name + path.read_text()
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_session_ends_with_its_credential_and_its_time(visitor: Visitor) -> None:
    volume = visitor.store.volume

    def ends(change: object, name: str) -> None:
        browser = visitor.another()
        browser.as_user(name, "publisher")
        assert is_logged_in(browser)
        assert callable(change)
        change()
        assert not is_logged_in(browser), name

    def age(seconds: float) -> None:
        for path in volume.sessions.iterdir():
            os.utime(path, (time.time() - seconds,) * 2)

    ends(lambda: accounts.rotate(volume, SERVER, "a"), "a")
    ends(lambda: accounts.disable(volume, SERVER, "b"), "b")
    ends(lambda: accounts.remove(volume, SERVER, "c"), "c")
    ends(lambda: accounts.change(volume, SERVER, "d", role="reader"), "d")
    ends(lambda: age(sessions.IDLE + 1), "e")


def test_no_more_than_a_number_of_sessions_for_one_credential(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_MOST", 3)
    secret = visitor.as_user("ann")
    for path in visitor.store.volume.sessions.iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    others = [visitor.another() for _ in range(3)]
    for other in others:
        assert other.log_in("ann", secret).status == 303
    assert all(map(is_logged_in, others))
    assert not is_logged_in(visitor), "the oldest has ended"


def test_forms_need_the_token_of_the_browsers_own_page(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    other = visitor.another()
    foreign = other.get("/login").fields["form_token"]
    for token in ("", "x", foreign):
        assert visitor.send("/logout", form_token=token).status == 403
    assert is_logged_in(visitor)
    own = visitor.get("/").fields["form_token"]
    assert visitor.send("/logout", form_token=own, headers={"Origin": "https://evil.test"}).status == 403
    assert other.send("/login", form_token=own, username="ann", password=secret).status == 403
    assert visitor.send("/logout", form_token=own).status == 303


def test_guesses_are_slowed_down_for_one_name_and_address_alone() -> None:
    now = 0.0
    attempts = Attempts(clock=lambda: now)
    for _ in range(5):
        attempts.require_turn("ann", "192.0.2.1")
        attempts.add("ann", "192.0.2.1")
    with pytest.raises(Refused, match="try again in 2 seconds"):
        attempts.require_turn("ann", "192.0.2.1")
    attempts.require_turn("bob", "192.0.2.1")
    attempts.require_turn("ann", "192.0.2.2")
    now = 1.5
    attempts.require_turn("ann", "192.0.2.1")
    for number in range(20):
        attempts.add(f"name{number}", "192.0.2.1")
    with pytest.raises(Refused):
        attempts.require_turn("another", "192.0.2.1")
    now = 3000.0
    attempts.require_turn("ann", "192.0.2.1")
    attempts.forget("ann", "192.0.2.1")


def test_a_wrong_login_is_in_the_audit_without_its_secret(visitor: Visitor) -> None:
    visitor.as_user("ann")
    page = visitor.another().log_in("ann", "wrong-secret")
    assert (page.status, "is wrong" in page.text) == (401, True)
    text = visitor.store.volume.audit.read_text()
    assert '"action": "login", "by": "ann"' in text
    assert "wrong-secret" not in text
