"""nginx looks for a user name in the file where ppmctl writes it."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import requests
from support.webserver import Site

from ppmctl.access import htpasswd, nginx_htpasswd
from ppmctl.index.layout import Volume

NAMES = 400


def test_nginx_finds_every_name(new_site: Callable[..., Site]) -> None:
    """Names of any length, with and without a purpose, in every part; after the removal they are refused again."""
    site = new_site()
    dice = random.Random(2)
    letters = string.ascii_letters + string.digits
    names = ["".join(dice.choices(letters + "._@-", k=dice.randint(0, 63))) for _ in range(NAMES)]
    names = [f"a{name}{dice.choice(['', '+' + name[:20] + 'x'])}" for name in names]
    assert len({nginx_htpasswd.part_of(name) for name in names}) > 90
    stored = htpasswd.hash_of("secret")
    volume = Volume(root=site.root)
    before = [path.read_text() for path in sorted(volume.parts.iterdir())]
    given = nginx_htpasswd.split(htpasswd.parse(f"{name}:{stored}") for name in names)
    nginx_htpasswd.write(volume, [old + new for old, new in zip(before, given, strict=True)])
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(site.ca)

        def ask(name: str) -> int:
            return session.get(f"{site.url}/simple/", auth=(name, "secret"), timeout=20).status_code

        assert [name for name in names if ask(name) != 200] == []
        assert ask("nobody") == ask(names[0] + "x") == 401
        nginx_htpasswd.write(volume, before)
        assert ask(names[0]) == 401
