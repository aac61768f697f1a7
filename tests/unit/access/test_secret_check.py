"""Checks of secrets: the same hashes are computed whatever the name, and only so many at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from passlib.hash import bcrypt, ldap_sha1, sha512_crypt
from support.evidence import until

from ppmctl.access import htpasswd, secret_check
from ppmctl.access.secret_check import Busy, SecretCheck

SECRET = htpasswd.new_secret()
STORED = {
    "ann+token": htpasswd.hash_of(SECRET),
    "old": bcrypt.using(rounds=4).hash("swordfish"),
    "older": bcrypt.using(rounds=5).hash("swordfish"),
    "unix": sha512_crypt.using(rounds=1000).hash("swordfish"),
    "sha": ldap_sha1.hash("swordfish"),
}


class Checks:
    """The hashes that were computed, by their cost; `gate` holds them back while it is closed."""

    def __init__(self) -> None:
        self.made: Counter[htpasswd.Cost | None] = Counter()
        self.gate = threading.Event()
        self.gate.set()

    def pop(self) -> Counter[htpasswd.Cost | None]:
        made, self.made = self.made, Counter()
        return made


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checks]:
    made, real = Checks(), htpasswd.is_secret_of

    def counted(secret: str, stored: str) -> bool:
        cost = htpasswd.cost_of(stored)
        made.made[cost] += 1
        assert cost is not None
        assert cost.is_fast or made.gate.wait(60)
        return real(secret, stored)

    monkeypatch.setattr(htpasswd, "is_secret_of", counted)
    yield made
    made.gate.set()


@pytest.fixture
def check() -> SecretCheck:
    made = SecretCheck()
    made.use(STORED.values())
    return made


def test_right_secrets_are_right_and_wrong_ones_wrong(check: SecretCheck) -> None:
    for name, stored in STORED.items():
        right = SECRET if "+" in name else "swordfish"
        for _twice in range(2):
            assert check.is_right(name, right, stored)
            for wrong in ("", right[:-1], "\0", "x" * 5000, "\udcff"):
                assert not check.is_right(name, wrong, stored)
        assert not check.is_right(name, right, None)
        assert not check.is_right(name, right, "{PLAIN}x")


def test_a_wrong_secret_costs_the_same_for_every_name(check: SecretCheck, checks: Checks) -> None:
    """Otherwise the time of an answer tells which names exist, and which of them were imported."""
    costs = {htpasswd.cost_of(stored): 1 for stored in STORED.values()}
    assert len(costs) == 5
    for number, stored in enumerate([None, "{PLAIN}x", *STORED.values()]):
        assert not check.is_right(f"name{number}", "wrong", stored)
        assert checks.pop() == costs


def test_a_volume_without_imported_users_computes_no_slow_hash(checks: Checks) -> None:
    check = SecretCheck()
    check.use([STORED["ann+token"]])
    for stored in (None, STORED["ann+token"]):
        assert not check.is_right("name", "wrong", stored)
        assert [cost.kind for cost in checks.pop() if cost] == ["{SSHA}"]


def test_a_right_password_is_slow_only_once(check: SecretCheck, checks: Checks) -> None:
    def slow() -> list[str]:
        return [cost.kind for cost in checks.pop() if cost and not cost.is_fast]

    assert check.is_right("old", "swordfish", STORED["old"])
    assert slow() == ["bcrypt"]
    assert check.is_right("old", "swordfish", STORED["old"])
    assert slow() == []
    assert check.is_right("old", "swordfish", STORED["older"]), "another hash is checked, however it matches"
    assert slow() == ["bcrypt"]


def test_a_secret_that_was_right_is_known_without_a_hash(check: SecretCheck, checks: Checks) -> None:
    for name, secret in (("ann+token", SECRET), ("old", "swordfish")):
        assert not check.is_known(name, secret, STORED[name])
        assert checks.pop() == {}
        assert not check.is_right(name, "wrong", STORED[name])
        assert not check.is_known(name, "wrong", STORED[name])
        assert check.is_right(name, secret, STORED[name])
        checks.pop()
        assert check.is_known(name, secret, STORED[name])
        for other in (None, STORED["sha"]):
            assert not check.is_known(name, secret, other), "it was revoked or replaced"
        assert not check.is_known("else", secret, STORED[name])
        assert check.is_right(name, secret, STORED[name])
        assert checks.pop() == {}


def test_wrong_secrets_can_not_occupy_all_threads(check: SecretCheck, checks: Checks) -> None:
    """Strangers get a 503 beyond so many at the same time; issued secrets, and known passwords, still work."""

    def slow() -> Counter[htpasswd.Cost | None]:
        return Counter({cost: number for cost, number in checks.made.items() if cost and not cost.is_fast})

    assert check.is_right("old", "swordfish", STORED["old"])
    checks.gate.clear()
    guesses = [
        threading.Thread(target=check.is_right, args=(f"name{number}", "wrong", None))
        for number in range(secret_check.MOST_WAITING)
    ]
    for guess in guesses:
        guess.start()
    until(
        lambda: len(check._running) == len(guesses) and sum(slow().values()) == 2, "a slow check, and others waiting"
    )
    for name, stored in (("one-more", None), ("unix", STORED["unix"])):
        with pytest.raises(Busy):
            check.is_right(name, "wrong", stored)
    assert sum(slow().values()) == 2, "that of the first line, and only one more at a time"
    assert check.is_right("ann+token", SECRET, STORED["ann+token"])
    assert check.is_right("old", "swordfish", STORED["old"])
    checks.gate.set()
    for guess in guesses:
        guess.join()
    assert check.is_right("unix", "swordfish", STORED["unix"])


def test_equal_requests_share_a_check(check: SecretCheck, checks: Checks) -> None:
    """An installer's first requests come at the same time."""
    checks.gate.clear()
    right: list[bool] = []
    requests = [
        threading.Thread(target=lambda: right.append(check.is_right("old", "swordfish", STORED["old"])))
        for _ in range(secret_check.MOST_WAITING * 3)
    ]
    for request in requests:
        request.start()
    # two fast ones each, and the slow one
    until(lambda: sum(checks.made.values()) == 2 * len(requests) + 1, "requests that wait")
    checks.gate.set()
    for request in requests:
        request.join()
    assert right == [True] * len(requests)
