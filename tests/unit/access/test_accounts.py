"""Users and tokens: changes include dependent tokens, and the audit log has each."""

from __future__ import annotations

import json

import pytest

from ppmctl.access import accounts, audit_query, import_htpasswd, rights
from ppmctl.access.account import Actor, NotAllowed
from ppmctl.access.credential_files import Credentials
from ppmctl.cli import commands
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
