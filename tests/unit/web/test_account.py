"""Tests of the account page: what it shows, and tokens that are created and revoked on it."""

from __future__ import annotations

import re

import pytest
from support.pages import Page, Visitor

from ppmctl.access import accounts
from ppmctl.access.account import SERVER, Account

CREATE, REVOKE = "/account/tokens", "/account/tokens/revoke"


def create(visitor: Visitor, name: str, **more: str) -> Page:
    return visitor.post(
        CREATE, at="/account/", **({"name": name, "role": "reader", "projects": "", "days": ""} | more)
    )


def revoke(visitor: Visitor, name: str, **more: str) -> Page:
    return visitor.post(REVOKE, at="/account/", name=name, **more)


def names(visitor: Visitor, owner: str) -> list[str]:
    return [account.access.name for account in owned(visitor, owner)]


def owned(visitor: Visitor, owner: str) -> tuple[Account, ...]:
    return accounts.accounts(visitor.store.volume, owner=owner)


def value_of(page: Page, field: str) -> str:
    found = re.search(rf'name="{field}" value="([^"]*)"', page.html)
    assert found is not None
    return found[1]


def test_the_page_shows_the_credential_and_its_tokens(visitor: Visitor) -> None:
    secret = visitor.as_user("ann", "publisher", projects=["acme-*"], expires="2100-01-01T00:00:00Z")
    accounts.create_token(visitor.store.volume, SERVER, "ann+ci", role="reader", reads=["acme-x"])
    accounts.create_user(visitor.store.volume, SERVER, "bob", role="reader")
    page = visitor.get("/account/")
    assert "Name ann Role publisher May publish acme-* May read all projects Expires 2100-01-01" in page.text
    assert "ann+ci reader acme-x" in page.text
    assert "bob" not in page.text
    assert "<option>admin" not in page.html, "no role above one's own"
    assert secret not in page.html
    assert visitor.another().get("/account/").location == "../login?next=/account/"


def test_a_token_is_created_its_secret_shown_once_and_it_is_revoked(visitor: Visitor) -> None:
    visitor.as_user("ann", "publisher")
    page = create(visitor, "laptop", role="publisher", projects="acme-*, billing", days="30")
    secret = page.secret
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    assert f"machine index.test login ann+laptop password {secret}" in page.text
    assert secret not in visitor.get("/account/").html
    made = visitor.credential("ann+laptop", secret)
    assert (made.role, made.projects, made.by) == ("publisher", ("acme-*", "billing"), "ann")
    assert made.expires is not None
    assert revoke(visitor, "ann+laptop").location == "../../account/"
    assert names(visitor, "ann") == ["ann"]
    audit = visitor.store.volume.audit.read_text()
    assert '"action": "token create", "by": "ann"' in audit
    assert '"action": "token revoke", "by": "ann"' in audit
    assert secret not in audit


@pytest.mark.parametrize(
    ("sent", "field", "message"),
    [
        ({"name": "a b"}, "name", "can't be the name"),
        ({"name": "ci"}, "name", "already"),
        ({"projects": "acme-["}, "projects", "is not a name of projects"),
        ({"days": "0"}, "days", "not a number of days"),
        ({"days": "-1"}, "days", "not a number of days"),
        ({"days": "90d"}, "days", "not a number of days"),
        ({"role": "admin", "projects": ""}, "", "more rights than ann"),
        ({"role": "root"}, "", "is not a role"),
        ({"projects": "other"}, "", "more rights than ann"),
        ({"name": "bob+x"}, "", "may only create tokens of ann"),
    ],
)
def test_a_wrong_form_comes_back_with_its_values_and_the_reason(
    visitor: Visitor, sent: dict[str, str], field: str, message: str
) -> None:
    """Nothing is created, and the audit has the reason."""
    visitor.as_user("ann", "publisher", projects=["acme-*"])
    accounts.create_token(visitor.store.volume, SERVER, "ann+ci", role="reader")
    values = {"name": "new", "role": "publisher", "projects": "acme-*", "days": "5"} | sent
    page = create(visitor, **values)
    assert page.status in (400, 403, 409)
    assert message in page.wrong(field)
    assert [value_of(page, name) for name in ("projects", "days")] == [values["projects"], values["days"]]
    assert values["name"] in page.html
    assert names(visitor, "ann") == ["ann", "ann+ci"]
    assert message in visitor.store.volume.audit.read_text().splitlines()[-1]


def test_only_the_credential_that_is_used_is_revoked_after_a_question(visitor: Visitor) -> None:
    visitor.as_user("ann")
    secret = create(visitor, "laptop").secret
    laptop = visitor.another()
    assert laptop.log_in("ann+laptop", secret).status == 303
    assert "ann+laptop (this one)" in laptop.get("/account/").text
    question = revoke(laptop, "laptop")
    assert (question.status, "Revoke ann+laptop?" in question.text) == (200, True)
    assert "ann+laptop" in names(visitor, "ann")
    assert revoke(laptop, "laptop", sure="yes").location == "../../login"
    assert laptop.get("/account/").status == 303
    assert names(visitor, "ann") == ["ann"]


def test_a_token_makes_tokens_within_its_rights_and_others_stay(visitor: Visitor) -> None:
    """A token's session may revoke only what has no more rights; nobody's tokens are found out."""
    secret = visitor.as_user("ann", "publisher")
    accounts.create_user(visitor.store.volume, SERVER, "bob", role="reader")
    accounts.create_token(visitor.store.volume, SERVER, "bob+x", role="reader")
    for name, role in (("strong", "publisher"), ("weak", "reader")):
        assert create(visitor, name, role=role).status == 200
    weak = visitor.another()
    issued = create(visitor, "session", role="reader").secret
    weak.log_in("ann+session", issued)
    page = weak.get("/account/")
    assert 'aria-label="Revoke ann+weak"' in page.html
    assert 'aria-label="Revoke ann+strong"' not in page.html
    assert create(weak, "more", role="publisher").status == 403
    assert create(weak, "more").status == 200
    assert revoke(weak, "strong").status == 403
    unknown, of_bob = revoke(weak, "zoe+x"), revoke(weak, "bob+x")
    assert (unknown.status, of_bob.status) == (404, 404)
    assert unknown.text.replace("zoe", "bob") == of_bob.text
    assert len(names(visitor, "ann")) == 5
    assert visitor.another().log_in("ann", secret).status == 303


def test_the_configuration_of_each_client_is_ready_to_copy(visitor: Visitor) -> None:
    """For the address that the browser uses, without a secret in any URL, as `ppmctl client-config` prints it."""
    visitor.as_user("ann", "publisher")
    page = visitor.get("/account/")
    for text in (
        "~/.config/pip/pip.conf [global] index-url = http://index.test/simple/",
        'name = "internal" url = "http://index.test/simple/" publish-url = "http://index.test/legacy/"',
        "repository = http://index.test/legacy/ username = ann",
        "ppmctl login http://index.test/ --netrc --username ann",
        "[[tool.poetry.source]]",
        "[[tool.pdm.source]]",
    ):
        assert text in page.text, page.text
    secure = Visitor(visitor.store, https=True, upstream="none")
    secure.as_user("bob", "reader")
    assert "extra-index-url = https://index.test/simple/" in secure.get("/account/").text
