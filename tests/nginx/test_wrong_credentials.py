"""The limit for wrong credentials (ppm_hardening) concerns those who send them, and nobody else at their address."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from support.webserver import Site


@pytest.fixture(scope="module")
def limited(new_sites: Callable[..., Site]) -> Site:
    return new_sites(ppm_hardening=True)


def ask(site: Site, auth: tuple[str, str] | None, count: int) -> list[int]:
    """Return the statuses of requests sent at the same time, from one address, each on its own connection."""

    def get(_: int) -> int:
        answer = requests.get(f"{site.url}/simple/", auth=auth, timeout=60, verify=str(site.ca))
        assert answer.status_code != 429 or (answer.headers["Retry-After"], answer.text[:9]) == ("60", "Too many ")
        return answer.status_code

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(get, range(count)))


def test_wrong_credentials_are_limited_and_good_clients_are_not(limited: Site) -> None:
    """Anonymous requests, which pip and uv send first, never count, nor does a good client at the same address."""
    assert set(ask(limited, None, 120)) == {401}
    assert limited.get("/simple/", auth=("nobody", "ppm_wrong")).status_code == 401, "none of those was counted"

    wrong = ask(limited, ("nobody", "ppm_wrong"), 100)
    assert wrong.count(429) >= 50
    assert set(wrong) == {401, 429}
    assert set(ask(limited, limited.auth, 50)) == {200}, "a right credential behind the same address"
    assert set(ask(limited, None, 50)) == {401}, "and the first, anonymous request of a client"
