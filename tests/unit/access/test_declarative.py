"""Declared lists of users and tokens: what they create, change and leave alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ppmctl.access import accounts, declarative, first_admin
from ppmctl.access.account import Actor
from ppmctl.access.credential_files import Credentials
from ppmctl.access.declarative import DECLARED
from ppmctl.cli import commands
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume

pytestmark = pytest.mark.usefixtures("few_parts")

ME = Actor(name="unix:ada", origin="here")
SECRET, OTHER = "s" * 40, "o" * 40
LIST = f"""
users:
  - {{name: ann, role: publisher, projects: [Acme_*], email: ann@example.com}}
  - {{name: ci, role: publisher, secret: {SECRET}}}
tokens:
  - {{name: ci+deploy, role: publisher, projects: [acme-web], expires: 2999-01-31, secret: {OTHER}}}
"""


def apply(volume: Volume, text: str, **options: bool) -> dict[str, str]:
    done = declarative.apply(volume, ME, declarative.parse(text), **options)
    return {each.name: each.what for each in done}


def state(volume: Volume) -> dict[Path, tuple[int, int]]:
    """Return what a write would change of each file and folder."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(volume.root.rglob("*"))}


def works(volume: Volume, name: str, secret: str) -> bool:
    access = Credentials(volume).authenticate(name, secret)
    return access is not None and access.is_live()


def test_a_list_creates_credentials_and_the_second_run_changes_nothing(volume: Volume) -> None:
    assert apply(volume, LIST) == {"ann": "made", "ci": "made", "ci+deploy": "made"}
    ann, ci, token = accounts.accounts(volume)
    assert (ann.state, ann.access.projects, ann.access.email) == ("no secret", ("acme-*",), "ann@example.com")
    assert (ci.state, ci.access.by) == ("active", DECLARED)
    assert (token.access.projects, token.access.expires) == (("acme-web",), "2999-01-31T00:00:00Z")
    assert works(volume, "ci", SECRET)
    assert works(volume, "ci+deploy", OTHER)
    before = state(volume)
    assert apply(volume, LIST) == {}
    assert state(volume) == before, "not a byte is written"


def test_a_declared_reader_reads_its_projects(volume: Volume) -> None:
    """And a publisher's `reads` are what it reads; an invalid list is refused."""
    users = "users: [{name: bob, role: reader, projects: [Acme_*]}, {name: eve, role: publisher, reads: [salt]}]"
    assert apply(volume, users) == {"bob": "made", "eve": "made"}
    bob, eve = accounts.accounts(volume)
    assert (bob.access.projects, bob.access.reads, eve.access.reads) == ((), ("acme-*",), ("salt",))
    assert apply(volume, users) == {}
    assert apply(volume, users.replace(", reads: [salt]", "")) == {"eve": "reads"}
    for wrong in ("role: reader, projects: [a], reads: [a]", "role: admin, reads: [a]", "role: reader, reads: a"):
        with pytest.raises(UsageError, match=r"users, number 1 \(x\)"):
            declarative.parse(f"users: [{{name: x, {wrong}}}]")


def test_a_dry_run_reports_changes_and_writes_nothing(volume: Volume) -> None:
    before = {path: moment for path, moment in state(volume).items() if path != volume.locks}
    assert apply(volume, LIST, dry_run=True) == {"ann": "made", "ci": "made", "ci+deploy": "made"}
    after = state(volume)
    assert {path: after[path] for path in before} == before
    assert accounts.accounts(volume) == ()


def test_only_values_that_differ_are_changed(volume: Volume) -> None:
    apply(volume, LIST)
    changed = LIST.replace("role: publisher, projects: [Acme_*]", "role: reader").replace(OTHER, "n" * 40)
    assert apply(volume, changed) == {"ann": "role, projects", "ci+deploy": "secret"}
    assert not works(volume, "ci+deploy", OTHER)
    assert works(volume, "ci+deploy", "n" * 40)
    assert works(volume, "ci", SECRET)


def test_the_list_undoes_changes_by_hand_to_its_credentials(volume: Volume) -> None:
    apply(volume, LIST)
    given = accounts.rotate(volume, ME, "ann").secret.reveal()
    accounts.rotate(volume, ME, "ci")
    accounts.change(volume, ME, "ann", role="reader")
    accounts.disable(volume, ME, "ci")
    assert not works(volume, "ci+deploy", OTHER)
    assert apply(volume, LIST) == {"ann": "role", "ci": "enabled, secret"}
    assert works(volume, "ann", given), "one without a secret in the list keeps the one it was given"
    assert works(volume, "ci", SECRET)
    assert works(volume, "ci+deploy", OTHER)


def test_a_disabled_credential_is_enabled_with_the_same_secret(volume: Volume) -> None:
    apply(volume, LIST)
    disabled = LIST.replace("name: ci,", "name: ci, state: disabled,")
    assert apply(volume, disabled) == {"ci": "disabled"}
    for name, secret in (("ci", SECRET), ("ci+deploy", OTHER)):
        assert not works(volume, name, secret)
        assert f"{name}:" not in volume.htpasswd.read_text()
    assert apply(volume, disabled) == {}
    assert apply(volume, LIST) == {"ci": "enabled"}
    for name, secret in (("ci", SECRET), ("ci+deploy", OTHER)):
        assert works(volume, name, secret)


def test_changing_a_declared_credential_by_hand_prints_a_warning(
    volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    apply(volume, LIST)
    accounts.create_user(volume, ME, "bob", role="reader")
    for command, is_warned in (
        (["user", "disable", "ann"], True),
        (["token", "revoke", "ci+deploy"], True),
        (["user", "remove", "ann"], True),
        (["user", "disable", "bob"], False),
        (["user", "remove", "bob"], False),
    ):
        assert commands.run([*command, "--root", str(volume.root)]) == 0
        assert (f"{command[2]} is declared by a list" in capsys.readouterr().err) == is_warned


def test_the_first_admin_can_be_declared(volume: Volume) -> None:
    """If it is declared with a secret, no other is created; without one it gets the secret of the first admin."""
    admin = "users: [{name: admin, role: admin}]"
    apply(volume, admin)
    assert first_admin.make(volume, ME)
    assert apply(volume, admin) == {}
    name, _, secret = volume.first_credential.read_text().strip().partition(":")
    assert works(volume, name, secret)
    assert not first_admin.make(volume, ME)
    apply(volume, "users: [{name: admin, state: absent}]")
    apply(volume, f"users: [{{name: root, role: admin, secret: {SECRET}}}]")
    assert not first_admin.make(volume, ME)


def test_an_absent_user_is_removed_with_its_tokens(volume: Volume) -> None:
    apply(volume, LIST)
    made = accounts.create_token(volume, ME, "ci+mine", role="reader").secret.reveal()
    absent = "users: [{name: ci, state: absent}, {name: nobody, state: absent}]"
    assert apply(volume, absent) == {"ci": "removed", "ci+deploy": "removed", "ci+mine": "removed"}
    assert not works(volume, "ci+mine", made)
    assert [each.access.name for each in accounts.accounts(volume)] == ["ann"]
    assert apply(volume, absent) == {}


def test_credentials_created_by_hand_are_never_changed(volume: Volume) -> None:
    secret = accounts.create_user(volume, ME, "bob", role="reader").secret.reveal()
    token = accounts.create_token(volume, ME, "bob+x", role="reader").secret.reveal()
    volume.htpasswd.write_text(f"{volume.htpasswd.read_text()}stray:{{SHA}}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n")
    before = volume.htpasswd.read_text(), volume.access.read_text()
    for written in ("{name: bob, role: admin}", "{name: bob, state: absent}", "{name: stray, role: reader}"):
        with pytest.raises(PpmError, match=r"was made by unix:ada|no valid entry in access\.yml"):
            apply(volume, f"users: [{{name: new, role: reader}}, {written}]")
    with pytest.raises(PpmError, match=r"bob\+x was made by unix:ada"):
        apply(volume, "tokens: [{name: bob+x, role: reader, state: disabled}]")
    assert (volume.htpasswd.read_text(), volume.access.read_text()) == before, "all of a list or none"
    assert apply(volume, LIST) != {}
    assert works(volume, "bob", secret)
    assert works(volume, "bob+x", token)


def test_a_declared_token_has_no_more_rights_than_its_owner(volume: Volume) -> None:
    apply(volume, "users: [{name: ci, role: publisher, projects: [acme-*], expires: 2999-01-01}]")
    for more in ("role: admin", "role: publisher, projects: [other]", "role: reader, expires: 2999-01-02"):
        with pytest.raises(PpmError, match="would have more rights"):
            apply(volume, f"tokens: [{{name: ci+x, {more}}}]")
    apply(volume, "tokens: [{name: ci+x, role: publisher}]")
    assert accounts.account(volume, "ci+x").access.projects == ("acme-*",)
    with pytest.raises(UsageError, match="there is no user nobody"):
        apply(volume, "tokens: [{name: nobody+x, role: reader}]")


def test_the_audit_log_has_every_change_and_no_secret(volume: Volume) -> None:
    apply(volume, LIST)
    apply(volume, LIST)
    lines = [json.loads(line) for line in (volume.root / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["what"], line["result"]) for line in lines] == [
        ("user apply", "ann: made", "done"),
        ("user apply", "ci: made", "done"),
        ("token apply", "ci+deploy: made", "done"),
    ]
    everything = b"".join(path.read_bytes() for path in volume.root.rglob("*") if path.is_file())
    assert SECRET.encode() not in everything
    assert OTHER.encode() not in everything


def user(**values: Any) -> str:
    return json.dumps({"users": [{"name": "ann", "role": "reader"} | values]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: [", "The list, line 1: a [ or { before the end is not closed"),
        (f"users: {{{SECRET}", "The list, line 1: the { of line 1 is not closed"),
        (
            f"users: [{{name: ann, role: reader, secret: {SECRET}, expires: 2026-99-99}}]",
            "The list, line 1: a value has",
        ),
        (f"users: []\nusers: [{SECRET}]", "The list, line 2: the name 'users' is also in line 1"),
        (f"users: [{{name: ann, role: reader, secret: *{SECRET}}}]", "put a text that starts with * in quotes"),
        ("[]", "not a mapping with users and tokens"),
        ("user: []", "not a mapping with users and tokens"),
        ("users: {ann: x}", "users is not a list"),
        ("users: [ann]", "users, number 1: it is not a mapping"),
        (user(password=SECRET), "users, number 1 (ann): the key password is unknown"),
        (user(name="a b"), "'a b' can't be the name of a credential"),
        (user(name="ann+x"), "the name of a user has no +"),
        (user(name=7), "its name is not text"),
        (user(role=None), "its role is missing"),
        (user(role="king"), "'king' is not a role"),
        (user(role="admin", projects=["x"]), "An admin manages the whole index"),
        (user(projects="acme-*"), "its projects are not a list"),
        (user(projects=["ü"]), "is not a name of projects"),
        (user(email="x"), "is not an e-mail address"),
        (user(state="gone"), "its state is not one of present, disabled, absent"),
        (user(expires="90d"), "its expires is not a date or time"),
        (user(expires=7), "its expires is not a date or time"),
        (user(secret="short"), "its secret is not 32 to 200"),
        (user(secret=7), "its secret is not text"),
        (user(secret=SECRET + " "), "its secret is not 32 to 200"),
        ("users: [{name: a, role: reader}, {name: a, role: reader}]", "a is listed twice"),
        ("tokens: [{name: ann, role: reader}]", "the name of a token is OWNER+PURPOSE"),
        ("tokens: [{name: a+b, role: reader, email: a@b}]", "the key email is unknown"),
    ],
)
def test_an_invalid_list_is_refused_without_printing_a_secret(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        declarative.parse(text)
    assert message in refused.value.message
    assert SECRET not in refused.value.message + refused.value.hint
    assert "short" not in refused.value.message


def test_an_empty_list_is_valid() -> None:
    assert declarative.parse("") == declarative.parse("{}") == declarative.parse("users:\ntokens: []\n") == ()
