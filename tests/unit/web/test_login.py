"""Tests of sessions: how they begin, what ends them, and what a guesser or a foreign page can do."""

from __future__ import annotations

import os
import time

import pytest
from support.pages import Visitor

from ppmctl.access import accounts, credential_files, htpasswd
from ppmctl.access.account import SERVER
from ppmctl.errors import Refused
from ppmctl.web import sessions
from ppmctl.web.login_limit import Attempts


def new_link(visitor: Visitor, name: str, secret: str, **headers: str) -> str:
    answer = visitor.client.post("/api/web-login", base_url=visitor.base, auth=(name, secret), headers=headers)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    path = answer.get_json()["path"]
    assert isinstance(path, str)
    return path


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
    """Also guesses at the same time: each counts when it begins."""
    now = 0.0
    attempts = Attempts(clock=lambda: now)
    for _ in range(5):
        attempts.begin("ann", "192.0.2.1")
    with pytest.raises(Refused, match="try again in 2 seconds"):
        attempts.begin("ann", "192.0.2.1")
    attempts.begin("bob", "192.0.2.1")
    attempts.begin("ann", "192.0.2.2")
    now = 1.5
    attempts.begin("ann", "192.0.2.1")
    now = 3000.0
    for number in range(20):
        attempts.begin(f"name{number}", "192.0.2.1")
    with pytest.raises(Refused):
        attempts.begin("another", "192.0.2.1")


def test_right_logins_are_not_slowed_down() -> None:
    attempts = Attempts(clock=lambda: 0.0)
    for number in range(100):
        attempts.begin("ann", "192.0.2.1")
        attempts.succeed("ann", "192.0.2.1")
        attempts.begin(f"name{number}", "192.0.2.1")
        attempts.succeed(f"name{number}", "192.0.2.1")


def test_a_wrong_login_is_in_the_audit_without_its_secret(visitor: Visitor) -> None:
    visitor.as_user("ann")
    page = visitor.another().log_in("ann", "wrong-secret")
    assert (page.status, "is wrong" in page.text) == (401, True)
    text = visitor.store.volume.audit.read_text()
    assert '"action": "login", "by": "ann"' in text
    assert "wrong-secret" not in text


def test_a_link_logs_a_browser_in_once(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    link, other = new_link(visitor, "ann", secret), visitor.another()
    head = other.client.head(link, base_url=visitor.base)
    assert head.status_code == 200, "a preview does not use it up"
    assert other.get(f"{link}?next=/project/x/").location == "../project/x/"
    assert is_logged_in(other)
    late = visitor.another()
    page = late.get(link)
    assert (page.status, "This link does not work" in page.text) == (403, True)
    assert not is_logged_in(late)
    assert late.get(f"{new_link(visitor, 'ann', secret)}?next=//evil.test").location == "../"


def test_a_link_ends_with_its_credential(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    link = new_link(visitor, "ann", secret)
    accounts.rotate(visitor.store.volume, SERVER, "ann")
    assert visitor.another().get(link).status == 403


def test_a_page_of_another_site_cannot_log_a_browser_in(visitor: Visitor) -> None:
    """Neither as its own user: nothing happens before the visitor agrees."""
    secret = visitor.as_user("mallory")
    victim = visitor.another()
    victim.as_user("ann")
    link = new_link(visitor, "mallory", secret)
    question = victim.get(f"{link}?next=/project/x/", **{"Sec-Fetch-Site": "cross-site"})
    assert (question.status, "Go on only if that was you" in question.text) == (200, True)
    assert ">ann</a>" in victim.get("/").html
    assert victim.send(link, form_token=question.fields["form_token"], next=question.fields["next"]).location == (
        "../project/x/"
    )
    assert ">mallory</a>" in victim.get("/").html


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({"Authorization": "Basic YW5uOng="}, 401), ({"Origin": "https://evil.test"}, 401)],
)
def test_a_link_needs_a_credential(visitor: Visitor, headers: dict[str, str], status: int) -> None:
    secret = visitor.as_user("ann")
    answer = visitor.client.post("/api/web-login", base_url=visitor.base, headers=headers)
    assert answer.status_code == status
    answer = visitor.client.get("/api/web-login", base_url=visitor.base, auth=("ann", secret))
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    evil = {"Origin": "https://evil.test"}
    answer = visitor.client.post("/api/web-login", base_url=visitor.base, auth=("ann", secret), headers=evil)
    assert answer.status_code == 403


def test_codes_of_links_can_not_be_guessed_quickly(visitor: Visitor) -> None:
    for _ in range(5):
        assert visitor.get("/login/x").status == 403
    assert visitor.get("/login/x").status == 429


def test_a_secret_alone_logs_in_and_white_space_around_a_pasted_one_is_ignored(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    assert visitor.another().log_in("__token__", secret).status == 303
    assert visitor.another().log_in(" ann ", f" {secret}\n").status == 303
    stored = htpasswd.hash_of(" my own ")
    with credential_files.changing(visitor.store.volume) as change:
        change.put_hash("ann", stored)
    assert visitor.another().log_in("ann", " my own ").status == 303
    assert visitor.another().log_in("ann", "my own").status == 401


def test_the_login_of_a_browser_that_is_logged_in_leads_on(visitor: Visitor) -> None:
    visitor.as_user("ann")
    assert visitor.get("/login?next=/account/").location == "./account/"
    assert visitor.another().get("/?a=\u65e5").location == "./login?next=/%3Fa%3D%E6%97%A5"
    for wanted in ("/\u65e5\u672c/", "/search?q=\u00e9"):
        assert visitor.client.get("/login", base_url=visitor.base, query_string={"next": wanted}).status_code == 303


def test_a_session_wins_over_an_old_credential_that_the_browser_remembers(visitor: Visitor) -> None:
    """A browser sends a Basic credential that it once asked for with every request."""
    secret = visitor.as_user("ann")
    old = {"Authorization": "Basic YW5uOnJvdGF0ZWQ="}
    assert visitor.get("/", **old).status == 200
    other = visitor.another()
    assert other.get("/", **old).status == 401
    login = other.get("/login", **old)
    assert login.status == 200
    token = login.fields["form_token"]
    assert other.send("/login", form_token=token, username="ann", password=secret, headers=old).status == 303
    assert other.get("/", **old).status == 200


def test_two_indexes_on_one_host_log_nobody_out(visitor: Visitor) -> None:
    """A browser sends a cookie to every port of a host."""
    visitor.base = "http://localhost:8081"
    visitor.as_user("ann")
    assert visitor.client.get_cookie("ppm-session-8081", domain="localhost") is not None
    visitor.base = "http://localhost:8080"
    assert not is_logged_in(visitor)
    visitor.as_user("bob")
    assert is_logged_in(visitor)
    visitor.base = "http://localhost:8081"
    assert ">ann</a>" in visitor.get("/").html


def test_a_method_that_a_page_does_not_have_is_refused_with_those_that_it_has(visitor: Visitor) -> None:
    page = visitor.send("/account/")
    assert (page.status, page.headers["Allow"]) == (405, "GET, HEAD")
    page = visitor.get("/logout")
    assert (page.status, page.headers["Allow"]) == (405, "POST")


def test_neighbours_behind_one_address_wait_a_few_seconds_at_most() -> None:
    now = 0.0
    attempts = Attempts(clock=lambda: now)
    for number in range(100):
        now += 4.0
        attempts.begin(f"name{number}", "192.0.2.1")
    with pytest.raises(Refused):
        attempts.begin("ann", "192.0.2.1")
    now += 4.0
    attempts.begin("ann", "192.0.2.1")


def test_a_url_without_its_last_slash_leads_to_the_page(visitor: Visitor) -> None:
    visitor.as_user("ann")
    assert visitor.get("/account").location == "./account/"
    assert visitor.get("/account?a=b").location == "./account/?a=b"
    assert visitor.send("/account").status == 404
