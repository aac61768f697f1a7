"""Secrets that come without a name: which hashes are compared, and how many requests may wait."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from passlib.hash import bcrypt, ldap_sha1

from ppmctl.access import htpasswd, secret_lookup
from ppmctl.access.secret_check import MOST_WAITING, Busy
from ppmctl.access.secret_lookup import SecretLookup

SECRETS = {f"user{number}": htpasswd.new_secret() for number in range(5)}
HASHES = {
    "imported": bcrypt.using(rounds=4).hash("swordfish"),
    "sha": ldap_sha1.hash("swordfish"),
    **{name: htpasswd.hash_of(secret) for name, secret in SECRETS.items()},
}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the hashes that are computed from now on."""
    made: list[bytes] = []
    real = hashlib.sha1

    def counted(text: bytes, **options: bool) -> object:
        made.append(text)
        return real(text, **options)

    monkeypatch.setattr(secret_lookup.hashlib, "sha1", counted)
    return made


def test_a_secret_is_compared_with_all_fast_hashes_until_it_is_known(compared: list[bytes]) -> None:
    """So a right and a wrong one take equally long at first, and no slow hash is computed."""
    lookup = SecretLookup()
    lookup.use(HASHES)
    for name, secret in SECRETS.items():
        assert lookup.name_of(secret) == name
        assert len(compared) == len(SECRETS)
        assert lookup.name_of(secret) == name
        assert len(compared) == len(SECRETS), "it is remembered"
        compared.clear()
    for _twice in range(2):
        assert lookup.name_of(htpasswd.new_secret()) is None
        assert len(compared) == len(SECRETS), "a wrong one is not remembered"
        compared.clear()
    for chosen in ("swordfish", "", "ppm_", SECRETS["user0"] + "\n"):
        assert lookup.name_of(chosen) is None
    assert compared == []


def test_a_changed_file_is_compared_again() -> None:
    lookup = SecretLookup()
    lookup.use(HASHES)
    assert lookup.name_of(SECRETS["user1"]) == "user1"
    lookup.use({name: stored for name, stored in HASHES.items() if name != "user1"})
    assert lookup.name_of(SECRETS["user1"]) is None
    assert lookup.name_of(SECRETS["user2"]) == "user2"


def test_only_so_many_requests_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers with wrong secrets keep one thread busy, and a few waiting; known secrets don't wait."""
    lookup, gate, waiting = SecretLookup(), threading.Event(), threading.Semaphore(0)
    lookup.use(HASHES)
    assert lookup.name_of(SECRETS["user0"]) == "user0"
    real = lookup._waiting.acquire

    def acquire(**options: bool) -> bool:
        is_taken = real(**options)
        waiting.release()
        return is_taken

    monkeypatch.setattr(lookup._waiting, "acquire", acquire)
    monkeypatch.setattr(lookup, "_compared", lambda _secret: gate.wait(60) and None)
    with ThreadPoolExecutor(MOST_WAITING) as pool:
        strangers = [pool.submit(lookup.name_of, htpasswd.new_secret()) for _number in range(MOST_WAITING)]
        for _stranger in strangers:
            assert waiting.acquire(timeout=60)
        with pytest.raises(Busy):
            lookup.name_of(htpasswd.new_secret())
        assert lookup.name_of(SECRETS["user0"]) == "user0"
        gate.set()
        assert [stranger.result() for stranger in strangers] == [None] * MOST_WAITING
