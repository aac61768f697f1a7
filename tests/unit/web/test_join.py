"""Tests of joining: by an invite's code, or without one where the index is open to anyone."""

from __future__ import annotations

import pytest
from support.pages import Page, Visitor

from ppmctl.access import accounts, invite_exchange, rules
from ppmctl.access.account import SERVER
from ppmctl.errors import Refused
from ppmctl.index.store import Store
from ppmctl.web.login_limit import AN_HOUR, Registrations, network


def invited(visitor: Visitor, name: str, role: str = "publisher") -> str:
    return invite_exchange.invite(visitor.store.volume, SERVER, name, role=role)[1].reveal()


def register(visitor: Visitor, name: str) -> Page:
    return visitor.post("/join/account", at="/join", username=name)


@pytest.fixture
def open_index(store: Store, visitor: Visitor) -> Visitor:
    return Visitor(store, registration="open")


def test_a_code_makes_a_token_that_is_shown_once_and_logs_in(visitor: Visitor) -> None:
    code = invited(visitor, "ann")
    page = visitor.post("/join", code=f" http://index.test/join#{code}\n", purpose="desk")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    assert "Welcome, ann" in page.text
    assert "logged in as ann+desk" in page.text
    made = visitor.credential("ann+desk", page.secret)
    assert made.role == "publisher"
    assert "Name ann+desk" in visitor.get("/account/").text
    again = visitor.another().post("/join", code=code, purpose="desk")
    assert (again.status, "can be used once" in again.wrong("code")) == (403, True)
    assert code not in visitor.store.volume.audit.read_text()


def test_someone_who_is_logged_in_stays_who_they_are(visitor: Visitor) -> None:
    """A link that somebody else made can't make a browser act for another user."""
    visitor.as_user("bob")
    page = visitor.post("/join", code=invited(visitor, "ann"), purpose="desk")
    assert "still logged in as bob" in page.text
    assert "Name bob" in visitor.get("/account/").text


def test_a_wrong_purpose_keeps_the_code(visitor: Visitor) -> None:
    code = invited(visitor, "ann")
    page = visitor.post("/join", code=code, purpose="my desk")
    assert (page.status, "is not a purpose" in page.wrong("purpose")) == (400, True)
    assert f'value="{code}"' in page.html
    assert page.headers["Cache-Control"] == "no-store"
    assert visitor.post("/join", code=code, purpose="").status == 200


def test_guesses_of_codes_are_slowed_down(visitor: Visitor) -> None:
    code = invited(visitor, "ann")
    for _ in range(5):
        assert visitor.post("/join", code="ppm_join_x").status == 403
    assert visitor.post("/join", code=code).status == 429
    assert visitor.another().post("/login", username="x", password="y").status == 401


def test_nobody_gets_an_account_without_an_invite_by_default(visitor: Visitor) -> None:
    assert register(visitor, "ann").status == 404
    assert "Without an invitation" not in visitor.get("/join").text
    assert accounts.accounts(visitor.store.volume) == ()


def test_anyone_gets_a_readers_account_where_the_index_is_open(open_index: Visitor) -> None:
    assert "/join" in open_index.get("/login").html
    page = register(open_index, "ann")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    made = open_index.credential("ann", page.secret)
    assert (made.role, made.by) == ("reader", "anonymous")
    assert "Name ann Role reader" in open_index.get("/account/").text
    line = open_index.store.volume.audit.read_text().splitlines()[-1]
    assert '"action": "user register", "by": "anonymous"' in line
    assert '"what": "ann", "result": "done"' in line


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("bob", 409, "already"),
        ("BOB", 409, "already"),
        ("zoe", 409, "already"),
        ("", 400, "can't be the name"),
        ("a b", 400, "can't be the name"),
        ("anonymous", 400, "the index uses it itself"),
        ("ann+ci", 400, "is a token's name"),
        ("<script>", 400, "can't be the name"),
    ],
)
def test_a_name_that_can_not_be_had_is_refused(open_index: Visitor, name: str, status: int, message: str) -> None:
    """Also that of a user who was invited and has no secret yet; the form comes back with the name."""
    volume = open_index.store.volume
    before = accounts.create_user(volume, SERVER, "bob", role="publisher").account
    invite_exchange.invite(volume, SERVER, "zoe", role="admin")
    page = register(open_index, name)
    assert (page.status, message in page.wrong("username")) == (status, True)
    assert '<script>"' not in page.html
    assert [each.access.name for each in accounts.accounts(volume)] == ["bob", "zoe"]
    assert accounts.account(volume, "bob") == before
    assert message in volume.audit.read_text().splitlines()[-1]


def test_accounts_are_limited_for_each_address_and_in_all(
    open_index: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_REGISTRATIONS", AN_HOUR + 1)
    accounts.create_user(open_index.store.volume, SERVER, "bob", role="reader")
    for number in range(AN_HOUR):
        assert register(open_index.another(), f"a{number}").status == 200
    one_more = register(open_index.another(), "more")
    assert (one_more.status, "accounts an hour" in one_more.wrong("username")) == (429, True)
    others = Visitor(open_index.store, registration="open")  # a server that has started again
    assert register(others.another(), "more").status == 200
    last = register(others.another(), "last")
    assert (last.status, "in a day" in last.wrong("username")) == (429, True)


def test_an_account_that_is_not_created_does_not_count() -> None:
    now = 0.0
    registrations = Registrations(clock=lambda: now)
    for _ in range(AN_HOUR + 1):
        with pytest.raises(KeyError), registrations.one("2001:db8::1"):
            raise KeyError
    for number in range(AN_HOUR):
        with registrations.one(f"2001:db8::{number}"):
            now += 60
    with pytest.raises(Refused, match="try again in 56 minutes"), registrations.one("2001:db8::ffff"):
        pass
    with registrations.one("2001:db8:0:1::1"):
        pass
    now = 3601.0
    with registrations.one("2001:db8::1"):
        pass


def test_addresses_that_one_client_can_choose_from_count_as_one() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff:1") == "2001:db8::/64"
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("::ffff:192.0.2.1") != network("::ffff:192.0.2.2")
    assert network("") == ""
