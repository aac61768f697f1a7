"""Expired credentials are taken out of htpasswd, and come back when they are valid, also after a wrong clock."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from ppmctl import files
from ppmctl.access import (
    accounts,
    credential_change,
    credential_files,
    expiry,
    invite_exchange,
    invites,
    rights,
    rules,
)
from ppmctl.access.account import Actor
from ppmctl.access.credential_files import Credentials
from ppmctl.access.expiry import Pruner
from ppmctl.index.layout import Volume

pytestmark = pytest.mark.usefixtures("few_parts")

ME = Actor(name="unix:ada", origin="here")
YEAR = timedelta(days=365)

SetClock = Callable[[timedelta], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Set this process's clock ahead of the true time; negative: behind it."""
    ahead = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(datetime.now(tz).timestamp(), tz) + ahead

    for module in (credential_change, expiry, invites, rights, rules):
        monkeypatch.setattr(module, "datetime", Clock)

    def change(by: timedelta) -> None:
        nonlocal ahead
        ahead = by

    return change


def create(volume: Volume, name: str, *, expires: str | None = None) -> tuple[str, str]:
    ends = rights.expiry(expires) if expires else None
    return name, accounts.create_token(volume, ME, name, role="reader", expires=ends).secret.reveal()


def lines(volume: Volume) -> set[str]:
    """Return the names with a line that nginx reads; it is the same as in htpasswd."""
    names = {line.partition(":")[0] for part in volume.parts.iterdir() for line in part.read_text().splitlines()}
    assert names == set(credential_files.read_htpasswd(volume.htpasswd))
    return names


def test_credentials_work_again_after_the_clock_was_ahead(volume: Volume, set_clock: SetClock) -> None:
    """A clock that jumps forward and back must not disable tokens for good."""
    made = dict([create(volume, "ops+ci", expires="90d"), create(volume, "ops+ever")])
    made |= dict([create(volume, "eve+off", expires="90d")])
    accounts.disable(volume, ME, "eve+off")
    pruner, known = Pruner(volume), Credentials(volume)
    assert pruner.prune() == ()
    set_clock(YEAR)
    assert pruner.prune() == ("ops+ci",)
    assert lines(volume) == {"ops+ever"}
    set_clock(timedelta(seconds=1))
    assert pruner.prune() == ()
    assert lines(volume) == {"ops+ci", "ops+ever"}
    for name in ("ops+ci", "ops+ever"):
        access = known.authenticate(name, made[name])
        assert access is not None
        assert access.may("read")
    assert known.authenticate("eve+off", made["eve+off"]) is None, "it was disabled on purpose"
    audited = [json.loads(line) for line in volume.audit.read_text().splitlines()]
    assert [(line["action"], line["what"]) for line in audited[-2:]] == [("prune", "ops+ci"), ("restore", "ops+ci")]
    assert pruner.prune() == ()


def test_a_new_pruner_and_other_changes_restore_them_too(volume: Volume, set_clock: SetClock) -> None:
    """The timer of a host starts a process each time, which has not seen the wrong clock."""
    create(volume, "ops+ci", expires="90d")
    for repair in (lambda: Pruner(volume).prune(), lambda: create(volume, "ops+other", expires="90d")):
        set_clock(YEAR)
        Pruner(volume).prune()
        assert "ops+ci" not in lines(volume)
        set_clock(timedelta())
        repair()
        assert "ops+ci" in lines(volume)


def test_an_expired_credential_is_told_apart_from_a_wrong_one(volume: Volume, set_clock: SetClock) -> None:
    """Also after it was taken out of htpasswd, so that its owner is told why it does not work."""
    made = dict([create(volume, "ops+ci", expires="90d"), create(volume, "eve+off", expires="90d")])
    accounts.disable(volume, ME, "eve+off")
    set_clock(YEAR)
    for is_taken_out in (False, True):
        if is_taken_out:
            assert Pruner(volume).prune() == ("ops+ci",)
        known = Credentials(volume)
        for name in ("ops+ci", rights.SECRET_ALONE):
            access = known.authenticate(name, made["ops+ci"])
            assert access is not None
            assert not access.is_live()
        assert known.authenticate("ops+ci", made["eve+off"]) is None
        assert known.authenticate("eve+off", made["eve+off"]) is None, "it is disabled"
        assert known.current("ops+ci") is None


def test_a_token_whose_owner_expires_is_restored_with_the_owner(volume: Volume, set_clock: SetClock) -> None:
    accounts.create_user(volume, ME, "ann", role="reader", expires=rights.expiry("30d"))
    create(volume, "ann+laptop")
    set_clock(YEAR)
    assert set(Pruner(volume).prune()) == {"ann", "ann+laptop"}
    set_clock(-YEAR)
    Pruner(volume).prune()
    assert lines(volume) == {"ann", "ann+laptop"}


def test_expired_and_invalid_lines_stay_out(volume: Volume, set_clock: SetClock) -> None:
    create(volume, "ops+ci", expires="1h")
    create(volume, "ops+ever")
    set_clock(timedelta(hours=2))
    pruner = Pruner(volume)
    pruner.prune()
    volume.disabled.write_text(
        volume.disabled.read_text() + "ops+ci:{PLAIN}x\nnobody:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n"
    )
    set_clock(timedelta(hours=1, minutes=30))
    assert pruner.prune() == ()
    assert lines(volume) == {"ops+ever"}
    set_clock(timedelta())
    assert pruner.prune() == ()
    assert lines(volume) == {"ops+ci", "ops+ever"}
    assert "{PLAIN}" not in volume.htpasswd.read_text()


def test_an_unchanged_volume_is_not_read(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    create(volume, "ops+ci", expires="90d")
    pruner = Pruner(volume)
    pruner.prune()
    monkeypatch.setattr(accounts, "prune", lambda _volume: pytest.fail("nothing has changed"))
    pruner.prune()


@pytest.mark.parametrize("reads", [[], ["acme-*"]])
@pytest.mark.parametrize(
    ("change", "full"),
    [(accounts.rotate, "htpasswd"), (accounts.disable, "disabled"), (accounts.disable, "htpasswd")],
)
def test_nginx_accepts_what_works_again_after_a_change_that_failed(
    volume: Volume, change: Callable[..., object], full: str, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change writes nginx's copy first: a disk that is full after that leaves all other files as they were."""
    secret = accounts.create_user(volume, ME, "ann", role="reader", reads=reads).secret.reveal()
    copies = [folder for folder in (volume.parts, volume.limited) if folder.is_dir()]

    def copied() -> set[str]:
        texts = {path.read_text() for folder in copies for path in folder.iterdir()}
        return {line for text in texts for line in text.splitlines()}

    for folder in copies:
        os.utime(folder, (0, 0))  # written long ago
    pruner, before, write = Pruner(volume), copied(), files.write_atomic
    pruner.prune()

    def fail(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", fail)
        with pytest.raises(OSError, match="No space left"):
            change(volume, ME, "ann")
    pruner.prune()
    assert copied() == before
    assert Credentials(volume).authenticate("ann", secret)


def test_an_invite_works_after_the_clock_was_ahead(volume: Volume, set_clock: SetClock) -> None:
    _invite, code = invite_exchange.invite(volume, ME, "ann", role="reader")
    set_clock(timedelta(days=7))
    accounts.prune(volume)
    set_clock(timedelta())
    assert (
        invite_exchange.join(volume, "192.0.2.1", code.reveal(), purpose="laptop").account.access.name == "ann+laptop"
    )
