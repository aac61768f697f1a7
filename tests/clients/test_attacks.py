"""Attacks that need more than one request, on every index: names, clocks, times, races, and names of other people.

The others are in the tables of `support/attacks`, which tests/e2e, tests/hosts and tests/docker send.
"""

from __future__ import annotations

import re
import shlex
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import passlib.hash
import pytest
import requests
from support import shifted
from support.composed import Composed
from support.served import Embedded, Served
from support.wheels import wheel

from testbed.errors import BedError

RESERVED = ("drop", "ppm", "anonymous", "adopt", "rebuild", "Drop", "__token__")
_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')
IMPORTED, TRIES = 3, 3  # users, and wrong passwords for each: after five of a name, or 20 in all, the login is slower
ROUNDS = 50_000  # of sha512-crypt: some 30 ms, ten times as long as the rest of the answer
YEAR = 365 * 86400


class Browser:
    """A browser at the web pages, with its cookies."""

    def __init__(self, index: Served) -> None:
        self._index, self._session = index, index.new_session()

    def send(self, path: str, **fields: str) -> requests.Response:
        """Send the form of a page."""
        page = self._session.get(self._index.url + path, timeout=60).text
        sent = {"form_token": _TOKEN.findall(page)[0], **fields}
        return self._session.post(self._index.url + path, data=sent, timeout=60, allow_redirects=False)

    def log_in(self, name: str, secret: str) -> requests.Response:
        return self.send("/login", username=name, password=secret)

    def seconds(self, name: str) -> float:
        """Return how long the answer to a wrong password takes, without the pauses that the login asks for."""
        while True:
            began = time.perf_counter()
            answer = self.log_in(name, "a wrong password")
            taken = time.perf_counter() - began
            if answer.status_code == 401:
                return taken
            assert answer.status_code == 429, answer.text
            time.sleep(int(re.findall(r"again in ([0-9]+) seconds", answer.text)[0]))


@pytest.fixture
def publisher(index: Served) -> Iterator[tuple[str, str]]:
    yield "hired", index.ppmctl("user add hired --role publisher").split()[-1]
    index.ppmctl("user remove hired")


def refused(index: Served, command: str) -> str:
    """Run a command that must fail; return what it prints."""
    with pytest.raises((AssertionError, BedError)) as caught:
        index.ppmctl(command)
    return f"{caught.value} {getattr(caught.value, 'hint', '')}"


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_the_index_itself_are_no_users(index: Served, name: str) -> None:
    """On the command line, on the pages for administrators, and as a token's owner over HTTP."""
    for command in (f"user add {name} --role reader", f"user invite {name} --role reader"):
        assert name in refused(index, command), command
    browser = Browser(index)
    assert browser.log_in(*index.auth).status_code == 303
    for how in ("", "invite"):
        answer = browser.send("/admin/users/", name=name, role="reader", how=how)
        assert answer.status_code in (400, 403), answer.text
    body = {"name": f"{name}+ci", "role": "reader"}
    assert index.ask("POST", "/api/tokens", json=body).status_code in (400, 403, 404)
    assert f" {name} " not in index.ppmctl("user list")


def test_imported_users_are_not_told_by_time(index: Served) -> None:
    """A wrong password takes as long for a name that has a slow hash as for a name that nobody has.

    The login of the pages is the application's; nginx, which checks other requests, knows no equal times
    (docs/security.md). The tries alternate, so that other work on the machine slows both, and only the ratio counts.
    """
    line = passlib.hash.sha512_crypt.using(rounds=ROUNDS).hash("a long password of somebody")
    names = [f"imported{number}" for number in range(IMPORTED)]
    index.look(f"printf %s {shlex.quote(''.join(f'{name}:{line}' + chr(10) for name in names))} > old.htpasswd")
    ours = f"{index.server.root}/" if isinstance(index, Embedded) else "/srv/ppm/"
    index.ppmctl(f"user import {ours}old.htpasswd --role reader --force")
    browser = Browser(index)
    times: dict[str, list[float]] = {"imported": [], "unknown": []}
    try:
        for _try in range(TRIES):
            for number in range(IMPORTED):
                for prefix, taken in times.items():
                    taken.append(browser.seconds(f"{prefix}{number}"))
    finally:
        index.look("rm old.htpasswd")
        for name in names:
            index.ppmctl(f"user remove {name}")
    imported, unknown = (statistics.median(taken) for taken in times.values())
    # without equal times one is more than ten times the other; moments of a busy machine are far from four
    assert 0.25 < imported / unknown < 4, times


def test_a_clock_that_jumps_forward_and_back_disables_nothing(index: Served, publisher: tuple[str, str]) -> None:
    """What takes out expired credentials runs with a clock that is a year ahead, and then with the right one."""
    name, secret = publisher
    made = index.ask(
        "POST", "/api/tokens", json={"name": f"{name}+ci", "role": "reader", "expires": "90d"}, auth=publisher
    )
    assert made.status_code == 201, made.text
    token = made.json()["name"], made.json()["secret"]

    def reads(auth: tuple[str, str]) -> set[int]:
        paths = ("/simple/", "/api/whoami")  # where there is a web server, it answers the first itself
        return {index.get(path, auth=auth).status_code for path in paths}

    assert reads(token) == {200}
    assert f"{name}+ci" in pruned(index, YEAR)
    assert reads((name, secret)) == {200}, "a user without an end"
    pruned(index, 0)
    assert reads(token) == {200}


def pruned(index: Served, ahead: int) -> str:
    """Run `token prune` with a clock that is so many seconds ahead; return what it prints."""
    python = "runuser -u ppm -- /opt/ppm/current/venv/bin/python"
    if isinstance(index, Embedded | Composed):
        python = shlex.quote(sys.executable) if isinstance(index, Embedded) else "/opt/ppm/bin/python"
    script = shlex.quote(Path(shifted.__file__).read_text())
    clock = f"echo {ahead} > clock && chmod a+r clock"
    return index.look(f"{clock} && printf %s {script} | {python} - clock token prune --root . ; rm clock")


def test_a_public_name_needs_an_admin(index: Served, publisher: tuple[str, str]) -> None:
    """A publisher without a scope can't publish what everyone would then get instead of the public project."""
    for name in ("requests", "Requests", "setuptools"):
        answer = index.upload(wheel(name, "999.0"), auth=publisher)
        assert (answer.status_code, "ppmctl package claim" in answer.text) == (403, True), answer.text
    assert index.get("/simple/requests/").status_code != 200


def test_a_race_gets_no_more_tokens_than_the_limit(index: Served, publisher: tuple[str, str]) -> None:
    """100 for a user, however many requests come at the same time."""

    def create(number: int) -> int:
        body = {"name": f"hired+race{number}", "role": "reader"}
        return index.new_session().post(f"{index.url}/api/tokens", json=body, auth=publisher, timeout=300).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(create, range(112)))
    assert statuses.count(201) == 100
    listed = index.ask("GET", "/api/tokens", auth=publisher).json()["tokens"]
    assert len([each for each in listed if each["name"] != "hired"]) == 100
