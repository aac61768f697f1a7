"""The table of attacks on the compose deployment; `pytest -s` prints it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import attacks, wheels
from support.composed import APPLICATION, WEB, Composed
from support.evidence import until
from support.raw import Target
from support.secured import Secured

WHEEL = wheels.wheel("attacked", "1.0")
WITHIN = 200  # seconds for slow clients, which would hold a connection as long as they want
PLANTED = ("drop/.planted", "bodies/0000000001", "packages/attacked/.attacked.tmp", "index/pending/.planted")
LARGE = {"traversal", "strangers", "limited", "poison", "web pages"}
HIDDEN = "head -qn 3 $(find credentials -type f) audit.jsonl packages/attacked/.status packages/attacked/*.upload"


@pytest.fixture(scope="module", params=["composed", "secured"])
def attacked_index(request: pytest.FixtureRequest) -> Iterator[tuple[Composed, tuple[str, str]]]:
    """Publish a project with all kinds of side files, and plant files in every folder of the volume.

    The deployment is that of compose.yml, and one with a domain and TLS.
    """
    composed: Composed = request.getfixturevalue(request.param)
    for version in ("1.0", "2.0", "3.0"):
        answer = composed.upload(wheels.wheel("attacked", version))
        assert answer.status_code in (200, 409), answer.text
    assert composed.upload(attacks.QUARANTINED).status_code in (200, 403)
    composed.ppmctl(f"package status {attacks.QUARANTINED_PROJECT} quarantined")
    for command in ("yank attacked 2.0 --reason planted", "remove attacked 3.0 --yes", "status attacked deprecated"):
        composed.ppmctl(f"package {command}")
    secret = composed.ppmctl("user add limited --role reader --project 'other-*'").split()[-1]
    composed.look("; ".join(f"echo planted in {path} > {path}" for path in PLANTED))
    yield composed, ("limited", secret)
    composed.ppmctl("user remove limited")
    composed.look(f"rm -f {' '.join(PLANTED)}")


def target_of(attacked: Composed, limited: tuple[str, str]) -> Target:
    """Return the index. Without a domain it answers under any name, with the same pages."""
    secured = attacked if isinstance(attacked, Secured) else None
    hidden = attacked.look(HIDDEN).splitlines()
    return Target(
        address="127.0.0.1",
        name="localhost",
        user=attacked.user,
        secret=attacked.secret,
        project="attacked",
        file=WHEEL[0],
        port=secured.tls_port if secured else attacked.port,
        plain_port=attacked.port,
        has_tls=secured is not None,
        ca=secured.ca if secured else None,
        any_name=secured is None,
        never=(*(line.encode() for line in hidden if len(line) > 20), b"root:x:", b"planted in"),
        limited=limited,
    )


def test_every_attack_is_refused(attacked_index: tuple[Composed, tuple[str, str]]) -> None:
    """A missing credential always gets a 401, and no secret that an attack sent is in a log.

    Hosts and containers have the same nginx configuration: tests/nginx sends all rows of the largest groups, and here
    one row in eleven is enough.
    """
    attacked, limited = attacked_index
    target = target_of(attacked, limited)
    assert len(target.never) > 5
    rows = [row for number, row in enumerate(attacks.every(target)) if row.group not in LARGE or number % 11 == 0]
    outcomes = attacks.run(target, rows)
    print(attacks.table(outcomes))
    wrong = attacks.wrong(outcomes)
    assert not wrong, attacks.table(wrong)
    assert len(outcomes) > 500
    assert {outcome.attack.group for outcome in outcomes} >= LARGE
    # wait until the log has the last request
    last = "/the-last-of-the-attacks"
    attacked.get(last)
    until(lambda: last in attacked.compose.logs(WEB), "the end of the log", seconds=20)
    for service in (WEB, APPLICATION):
        logs = attacked.compose.logs(service)
        for secret in attacks.secrets_sent(target):
            lines = [line for line in logs.splitlines() if secret in line]
            assert not lines, lines[:3]
    assert attacked.compose.logs(WEB).count('"path"') > 500, "there is something that they could be in"


@pytest.mark.parametrize("attacked_index", ["secured"], indirect=True)
def test_slow_clients_are_disconnected(attacked_index: tuple[Composed, tuple[str, str]]) -> None:
    """Whatever they send. The longest limit is that of an idle connection after an answer, 75 seconds."""
    attacked, limited = attacked_index
    outcomes = attacks.slow_clients(target_of(attacked, limited), within=WITHIN)
    print(attacks.table(outcomes))
    assert not attacks.wrong(outcomes), attacks.table(attacks.wrong(outcomes))
    assert attacked.get("/simple/attacked/").status_code == 200
