"""Users and tokens: changes include dependent tokens, and the audit log has each."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ppmctl import files
from ppmctl.access import (
    accounts,
    audit_query,
    credential_files,
    declarative,
    import_htpasswd,
    invite_exchange,
    rights,
)
from ppmctl.access import rules as access_rules
from ppmctl.access.account import Actor, NotAllowed, Taken
from ppmctl.access.credential_files import Credentials
from ppmctl.access.rules import TooManyTokens
from ppmctl.cli import commands
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume

pytestmark = pytest.mark.usefixtures("few_parts")

ME = Actor(name="unix:ada", origin="here")


def audited(volume: Volume) -> list[str]:
    lines = [json.loads(line) for line in volume.audit.read_text().splitlines()]
    return [f"{line['action']}: {line['what']}" for line in lines]


@pytest.fixture
def secrets(volume: Volume) -> dict[str, str]:
    """Create ann, a publisher of acme-*, with two tokens, and a token that one of them created."""
    made = [accounts.create_user(volume, ME, "ann", role="publisher", projects=["acme-*"])]
    made += [accounts.create_token(volume, ME, f"ann+{name}", role="publisher") for name in ("laptop", "ci")]
    laptop = Credentials(volume).authenticate("ann+laptop", made[1].secret.reveal())
    her = Actor(name="ann+laptop", origin="192.0.2.1", access=laptop)
    made.append(accounts.create_token(volume, her, "ann+child", role="reader"))
    volume.audit.unlink()
    return {each.account.access.name: each.secret.reveal() for each in made}


def working(volume: Volume, secrets: dict[str, str]) -> set[str]:
    known = Credentials(volume)
    return {name for name, secret in secrets.items() if known.authenticate(name, secret)}


def test_an_owner_may_have_the_patterns_of_many_tokens(volume: Volume) -> None:
    """The limit is one of each list that somebody writes, not of those together; older versions wrote more."""
    for number in range(52):
        made = accounts.create_token(volume, ME, f"ci+{number}", role="publisher", projects=[f"a{number}-*"])
    assert Credentials(volume).authenticate("ci+51", made.secret.reveal())
    with pytest.raises(UsageError, match="51 patterns"):
        accounts.create_token(
            volume, ME, "ci+more", role="publisher", projects=[f"b{number}-*" for number in range(51)]
        )


def test_only_so_many_tokens_make_each_other(volume: Volume, secrets: dict[str, str]) -> None:
    """Each request with the last one is compared with the patterns of all."""
    name, secret = "ann+laptop", secrets["ann+laptop"]
    for number in range(access_rules.MAX_CHAIN - 2):
        maker = Actor(name=name, origin="192.0.2.1", access=Credentials(volume).authenticate(name, secret))
        name = f"ann+{number}"
        secret = accounts.create_token(volume, maker, name, role="publisher").secret.reveal()
    maker = Actor(name=name, origin="192.0.2.1", access=Credentials(volume).authenticate(name, secret))
    with pytest.raises(NotAllowed, match="last of 10"):
        accounts.create_token(volume, maker, "ann+end", role="publisher")


def test_disabling_enabling_and_removing_includes_dependent_tokens(volume: Volume, secrets: dict[str, str]) -> None:
    assert accounts.disable(volume, ME, "ann") == ("ann", "ann+child", "ann+ci", "ann+laptop")
    assert working(volume, secrets) == set()
    accounts.enable(volume, ME, "ann")
    assert working(volume, secrets) == set(secrets)
    assert accounts.remove(volume, ME, "ann+laptop") == ("ann+child", "ann+laptop")
    assert working(volume, secrets) == {"ann", "ann+ci"}
    accounts.change(volume, ME, "ann", role="reader")
    ci = Credentials(volume).authenticate("ann+ci", secrets["ann+ci"])
    assert ci is not None
    assert not ci.may("publish", "acme-x")
    assert accounts.remove(volume, ME, "ann") == ("ann", "ann+ci")
    assert working(volume, secrets) == set()
    assert audited(volume) == [
        *("user disable: ann", "token disable: ann+child with ann"),
        *("token disable: ann+ci with ann", "token disable: ann+laptop with ann", "user enable: ann"),
        *("token revoke: ann+laptop", "token revoke: ann+child with ann+laptop", "user change: ann to reader"),
        *("user remove: ann", "token revoke: ann+ci with ann"),
    ]
    assert len(audit_query.read(volume, user="ann").entries) == 10


def test_the_projects_of_a_reader_limit_what_it_reads(volume: Volume) -> None:
    """Also after it becomes a publisher; and a publisher's own limit of reads limits what it publishes."""
    bob = accounts.create_user(volume, ME, "bob", role="reader", projects=["Acme_*"]).account.access
    assert (bob.projects, bob.reads) == ((), ("acme-*",))
    assert audited(volume)[-1] == "user add: bob as reader of Acme_*"
    bob = accounts.change(volume, ME, "bob", role="publisher").access
    assert (bob.may("publish", "acme-x"), bob.may("publish", "other"), bob.may("read", "other")) == (
        True,
        False,
        False,
    )
    with pytest.raises(UsageError, match=r"bob could not publish other: it may read only acme-\*"):
        accounts.change(volume, ME, "bob", projects=["acme-x", "other"])
    assert accounts.change(volume, ME, "bob", projects=["acme-x"]).access.reads == ("acme-*",)
    bob = accounts.change(volume, ME, "bob", reads=[]).access
    assert (bob.projects, bob.may("read", "other"), bob.may("publish", "acme-y")) == (("acme-x",), True, False)
    bob = accounts.change(volume, ME, "bob", role="reader", projects=["salt"]).access
    assert (bob.projects, bob.reads) == ((), ("salt",))
    assert accounts.change(volume, ME, "bob", projects=[]).access.may("read", "other")
    wrong: dict[str, Any]
    for wrong in ({"role": "admin", "reads": ["x"]}, {"projects": ["x"], "reads": ["x"]}):
        with pytest.raises(UsageError):
            accounts.change(volume, ME, "bob", **wrong)


def test_a_token_of_a_limited_user_reads_no_more(volume: Volume) -> None:
    """It gets the user's limit, also later; a wider one is refused. A user with tokens only reads what they do."""
    ann = accounts.create_user(volume, ME, "ann", role="publisher", reads=["acme-*"]).account.access
    her = Actor(name="ann", origin="192.0.2.1", access=ann)
    assert accounts.create_token(volume, her, "ann+a", role="reader").account.access.reads == ("acme-*",)
    made = accounts.create_token(volume, her, "ann+b", role="reader", projects=["acme-x"]).account.access
    assert (made.reads, made.projects) == (("acme-x",), ())
    narrow = Actor(name="ann+b", origin="192.0.2.1", access=made)
    assert accounts.create_token(volume, narrow, "ann+child", role="reader").account.access.reads == ("acme-x",)
    more: dict[str, Any]
    for more in ({"role": "reader", "projects": ["other"]}, {"role": "publisher", "reads": ["*"]}):
        with pytest.raises(NotAllowed, match=r"ann may read acme-\*"):
            accounts.create_token(volume, her, "ann+c", **more)
    accounts.change(volume, ME, "ann", reads=["acme-x"])
    assert not accounts.account(volume, "ann+a").access.may("read", "acme-y")
    accounts.change(volume, ME, "ann", reads=[])
    accounts.create_token(volume, ME, "ann+all", role="reader")
    accounts.change(volume, ME, "ann", reads=["acme-*"])
    assert accounts.change(volume, ME, "ann+all", role="publisher").access.reads == ("acme-*",)
    accounts.create_token(volume, ME, "ops+a", role="reader", projects=["acme-x"])
    accounts.create_token(volume, ME, "ops+b", role="reader", projects=["salt"])
    assert accounts.account(volume, "ops").access.reads == ("acme-x", "salt")
    accounts.create_token(volume, ME, "ops+c", role="reader")
    assert accounts.account(volume, "ops").access.reads == ()
    assert not accounts.account(volume, "ops+a").access.may("read", "salt")


def test_a_reader_of_an_older_release_reads_everything(volume: Volume) -> None:
    """Its `projects` never limited what it reads; a change of something else does not start that."""
    volume.access.write_text("bob: {role: reader, projects: [acme-*]}\n")
    assert accounts.account(volume, "bob").access.may("read", "other")
    bob = accounts.change(volume, ME, "bob", email="bob@example.org").access
    assert (bob.projects, bob.reads) == (("acme-*",), ())
    bob = accounts.change(volume, ME, "bob", projects=["acme-*"]).access
    assert (bob.projects, bob.reads) == ((), ("acme-*",))


def test_the_audit_log_has_the_granted_rights(volume: Volume, secrets: dict[str, str]) -> None:
    """Also rights that a token gets from its owner, and those of imported users."""
    accounts.create_token(volume, ME, "ann+vm", role="publisher")
    lines = [(1, import_htpasswd.htpasswd.parse("old:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="))]
    import_htpasswd.import_users(volume, ME, lines, role="publisher", projects=["old-*"], limit=25.0)
    accounts.change(volume, ME, "ann", projects=["acme-a"], email="ann@example.com")
    assert audited(volume) == [
        "token create: ann+vm as publisher of acme-*",
        "user import: old as publisher of old-*, {SHA}",
        "user change: ann to projects acme-a, ann@example.com",
    ]
    assert "ann+vm" in {entry.what.split()[0] for entry in audit_query.read(volume, user="ann").entries}


def test_a_token_cannot_remove_one_with_more_rights(volume: Volume, secrets: dict[str, str]) -> None:
    """A stolen token with few rights must not lock its user out."""
    made = {
        "brief": accounts.create_token(volume, ME, "ann+brief", role="publisher", expires=rights.expiry("1h")),
        "narrow": accounts.create_token(volume, ME, "ann+narrow", role="publisher", projects=["acme-a"]),
    }
    for name, issued in made.items():
        actor = Actor(
            name=f"ann+{name}",
            origin="192.0.2.1",
            access=Credentials(volume).authenticate(f"ann+{name}", issued.secret.reveal()),
        )
        for stronger in ("ann", "ann+laptop", "ann+ci"):
            with pytest.raises(NotAllowed):
                accounts.remove(volume, actor, stronger)
        accounts.remove(volume, actor, f"ann+{name}")
    assert working(volume, secrets) == set(secrets)


@pytest.mark.parametrize(
    "command", [["user", "add", "bob"], ["token", "create", "bob+ci"], ["user", "invite", "bob"]]
)
@pytest.mark.parametrize("duration", ["", " ", "0d", "90x", "1.5h"])
def test_an_invalid_duration_creates_no_credential(
    command: list[str], duration: str, volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    """For example an empty one, from a shell variable that is not set."""
    done = commands.run([*command, "--role", "reader", "--expires", duration, "--root", str(volume.root)])
    assert done == 2
    assert f"{duration!r} is not a duration" in capsys.readouterr().err
    assert accounts.accounts(volume) == ()


def test_the_limit_of_tokens_holds_when_many_are_created_at_the_same_time(
    volume: Volume, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP; the server host has no limit. ann has three tokens already."""
    monkeypatch.setattr(access_rules, "MAX_TOKENS", 6)
    ann = Actor(name="ann", origin="192.0.2.1", access=Credentials(volume).authenticate("ann", secrets["ann"]))
    start, results = threading.Barrier(12), []

    def create(number: int) -> None:
        start.wait()
        try:
            accounts.create_token(volume, ann, f"ann+t{number}", role="reader")
            results.append("")
        except TooManyTokens as exc:
            results.append(exc.message)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [""] * 3 + ["ann has 6 tokens; revoke one first."] * 9
    assert len(accounts.accounts(volume, owner="ann")) == 1 + 6
    accounts.create_token(volume, ME, "ann+from-the-host", role="reader")


def test_a_token_whose_creation_failed_can_be_created_again(
    volume: Volume, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full after its entry was written. It counts once, and is not created again after that."""
    monkeypatch.setattr(access_rules, "MAX_TOKENS", 4)
    ann = Actor(name="ann", origin="192.0.2.1", access=Credentials(volume).authenticate("ann", secrets["ann"]))
    write = files.write_atomic

    def fail(path: Path, *arguments: Any, **options: Any) -> None:
        if path == volume.htpasswd:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", fail)
        with pytest.raises(OSError, match="No space left"):
            accounts.create_token(volume, ann, "ann+vm", role="publisher")
    secret = accounts.create_token(volume, ann, "ann+vm", role="reader").secret.reveal()
    access = Credentials(volume).authenticate("ann+vm", secret)
    assert access is not None
    assert access.role == "reader"
    with pytest.raises(Taken):
        accounts.create_token(volume, ann, "ann+vm", role="reader")
    accounts.disable(volume, ME, "ann+vm")
    with pytest.raises(Taken):
        accounts.create_token(volume, ann, "ann+vm", role="reader")


def test_an_invite_makes_no_token_over_the_limit_and_still_works(
    volume: Volume, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_rules, "MAX_TOKENS", 3)
    _invite, code = invite_exchange.invite(volume, ME, "ann")
    with pytest.raises(TooManyTokens):
        invite_exchange.join(volume, "192.0.2.1", code.reveal(), purpose="phone")
    accounts.remove(volume, ME, "ann+ci")
    assert (
        invite_exchange.join(volume, "192.0.2.1", code.reveal(), purpose="phone").account.access.name == "ann+phone"
    )


LINE = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="


def test_no_way_makes_a_user_with_a_reserved_name(volume: Volume) -> None:
    """The audit log could not tell such a user from the index itself."""
    listed = declarative.parse
    for name in ("drop", "ppm", "Adopt", "anonymous"):
        for create in (
            lambda name: accounts.create_user(volume, ME, name, role="reader"),
            lambda name: accounts.create_token(volume, ME, f"{name}+ci", role="reader"),
            lambda name: invite_exchange.invite(volume, ME, name, role="reader"),
            lambda name: listed(f"users: [{{name: {name}, role: reader}}]"),
            lambda name: listed(f"tokens: [{{name: {name}+ci, role: reader}}]"),
        ):
            with pytest.raises(UsageError, match="the index uses it itself"):
                create(name)
        lines = import_htpasswd.parse(f"{name}:{LINE}")
        (result,) = import_htpasswd.import_users(volume, ME, lines, role="reader", limit=25.0)
        assert "the index uses it itself" in result.refused
    assert accounts.accounts(volume) == ()
    listed("users: [{name: drop, state: absent}]")


def test_an_old_user_with_a_reserved_name_works_and_is_reported(
    volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    with credential_files.changing(volume) as change:
        change.put(rights.Access(name="drop", role="publisher", created=""))
        change.put_hash("drop", LINE)
    assert accounts.account(volume, "drop").state == "active"
    secret = accounts.rotate(volume, ME, "drop").secret.reveal()
    assert Credentials(volume).authenticate("drop", secret)
    with pytest.raises(PpmError, match="the index uses it itself"):
        invite_exchange.invite(volume, ME, "drop")
    assert commands.run(["user", "list", "--root", str(volume.root)]) == 0
    assert "so its audit log does not tell who did something: drop." in capsys.readouterr().err
    accounts.remove(volume, ME, "drop")
    assert commands.run(["user", "list", "--root", str(volume.root)]) == 0
    assert capsys.readouterr().err == ""
