"""The lines of htpasswd: parsing them, checking secrets, and what a check costs."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import pytest
from passlib.hash import (
    apr_md5_crypt,
    bcrypt,
    des_crypt,
    ldap_salted_sha1,
    ldap_sha1,
    md5_crypt,
    sha256_crypt,
    sha512_crypt,
)

from ppmctl.access import htpasswd

MADE = {
    "{SSHA}": ldap_salted_sha1,
    "{SHA}": ldap_sha1,
    "apr1": apr_md5_crypt,
    "md5-crypt": md5_crypt,
    "sha512-crypt": sha512_crypt.using(rounds=5000),
    "sha256-crypt": sha256_crypt.using(rounds=1500),
    "bcrypt": bcrypt.using(rounds=4),
    "crypt (DES)": des_crypt,
}


@pytest.mark.parametrize("kind", MADE)
def test_each_kind_of_hash_is_recognised_and_verified(kind: str) -> None:
    handler: Any = MADE[kind]
    for secret in ("swordfish", "", "ü", "x" * 71):
        stored = handler.hash(secret)
        line = htpasswd.parse(f"ada:{stored}")
        assert line.kind is not None, stored
        assert (line.name, line.stored, line.kind.name) == ("ada", stored, kind)
        assert htpasswd.is_secret_of(secret, stored)
        assert not htpasswd.is_secret_of(f"no{secret}", stored)


@pytest.mark.parametrize("size", range(4, 17))
def test_ssha_salts_of_4_to_16_bytes_work(size: int) -> None:
    stored = ldap_salted_sha1.using(salt_size=size).hash("x")
    assert htpasswd.kind_of(stored) is not None
    assert htpasswd.is_secret_of("x", stored)


def test_hashes_of_openssl_and_the_c_library_work() -> None:
    """Made by `openssl passwd` and the C library from the password `swordfish`."""
    for stored in (
        "$6$abcdefgh$nXozMQ7eIF4OiwaKAhepst9mtOKKwNBYsZ.fglGECyVpFcHnUxZl1rg3LFqBimZ7VM0sJWgFd.52RjaQ/cpR90",
        "$5$abcdefgh$d/fp9F/9FMsPZv93TvMmxGes5y/wAcPyrKCjoa0sA7B",
        "$apr1$abcdefgh$zA74VGoqbkayW1QEvcnUk1",
        "$1$abcdefgh$yyGbRQZVDnToZkGA5MzNJ1",
        "{SHA}T1cYHcqt6YBVXyzmdVykJfAGWL4=",
        "abIudS3O2Umpc",
        "$2y$05$abcdefghijklmnopqrstuupWDwJQeCHYIBQy8WvkVB6ImhZ476YYy",
    ):
        assert htpasswd.kind_of(stored) is not None
        assert htpasswd.is_secret_of("swordfish", stored)


@pytest.mark.parametrize(
    "stored",
    [
        *("", "x", "secret", "{PLAIN}x", "{SHA}x", "{SSHA}", "{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=:x"),
        # fewer and more rounds than bcrypt knows; a salt, and a digest, whose unused bits are set
        *("$2y$10$short", "$2y$03$" + "." * 53, "$2y$32$" + "." * 53, "$2y$05$" + "." * 21 + "a" + "." * 31),
        *("$2y$05$" + "." * 52 + "b", "$2y$05$" + "a" * 53),
        *("$y$j9T$abc$def", "$argon2id$v=19$m=1,t=1,p=1$YWJj$YWJj", "*0", "!", "$6$rounds=10$a$" + "a" * 86),
        *("$apr1$12345678$" + "a" * 22 + "\n", "$apr1$12345678$" + "a" * 22 + "\r"),
    ],
)  # fmt: skip
def test_an_invalid_hash_never_matches(stored: str) -> None:
    assert htpasswd.kind_of(stored) is None
    assert not htpasswd.is_secret_of("x", stored)


@pytest.mark.parametrize(
    "text", ["", "   ", "# a:b", "#a:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=", "no colon", ":x", "\u2028"]
)
def test_comments_and_lines_without_a_name_have_no_credential(text: str) -> None:
    assert htpasswd.parse(text) == htpasswd.Line(text=text)


@pytest.mark.parametrize("name", [" ada", "ada ", "a\tb", "a\u200bb"])
def test_a_name_with_spaces_or_unprintable_characters_is_no_credential(name: str) -> None:
    stored = ldap_sha1.hash("x")
    assert htpasswd.parse(f"{name}:{stored}") == htpasswd.Line(text=f"{name}:{stored}", name=name, stored=stored)


def test_the_hash_starts_after_the_first_colon() -> None:
    line = htpasswd.parse("ada:x:y")
    assert (line.name, line.stored, line.is_credential) == ("ada", "x:y", False)


def test_load_works_without_passlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher's computer has no passlib."""
    htpasswd._hashes.cache_clear()
    with monkeypatch.context() as lacks:
        lacks.setitem(sys.modules, "passlib.context", None)
        htpasswd.load()
        with pytest.raises(ModuleNotFoundError):
            htpasswd.hash_of("x")
    htpasswd.load()
    monkeypatch.setitem(sys.modules, "passlib.context", None)
    assert htpasswd.is_secret_of("x", htpasswd.hash_of("x")), "it was loaded before"


def test_the_cost_of_a_slow_hash_is_computed_without_running_it() -> None:
    """bcrypt with cost 31 would take days."""
    htpasswd._sample.cache_clear()
    start = time.monotonic()
    cheap = htpasswd.parse(f"a:{bcrypt.using(rounds=4).hash('x')}")
    slow = htpasswd.parse(re.sub(r"\$04\$", "$31$", cheap.text))
    assert htpasswd.cost(slow) == pytest.approx(htpasswd.cost(cheap) * 2**27)
    endless = htpasswd.parse("a:$6$rounds=999999999$salt$" + "a" * 86)
    assert htpasswd.cost(endless) == pytest.approx(
        htpasswd.cost(htpasswd.parse("a:$6$salt$" + "a" * 86)) * 199999.9998
    )
    assert time.monotonic() - start < 60


def test_issued_secrets_are_cheap_to_check() -> None:
    costs = {kind: htpasswd.cost(htpasswd.parse(f"a:{handler.hash('x')}")) for kind, handler in MADE.items()}
    assert costs["{SSHA}"] * 10 < min(costs[kind] for kind in costs if not kind.startswith("{"))
    assert htpasswd.cost(htpasswd.parse("a:nothing")) == 0.0


def test_an_issued_secret_is_random_and_has_a_prefix_for_scanners() -> None:
    secrets = {htpasswd.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(re.fullmatch(r"ppm_[A-Za-z0-9_-]{43}", secret) for secret in secrets)
