"""The table of attacks on a host that site.yml made; `pytest -s` prints it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from support import attacks, wheels
from support.deployed import Deployed
from support.raw import Target

WHEEL = wheels.wheel("attacked", "1.0")
WITHIN = 200  # seconds for slow clients, which would hold a connection as long as they want
PLANTED = ("drop/.planted", "bodies/0000000001", "packages/attacked/.attacked.tmp", "index/pending/.planted")


@pytest.fixture(scope="module")
def attacked(deployed: Callable[[int], Deployed]) -> Deployed:
    """Publish a project with all kinds of side files, and plant files in every folder of the volume."""
    index = deployed(13)
    for version in ("1.0", "2.0", "3.0"):
        answer = index.upload(wheels.wheel("attacked", version))
        assert answer.status_code in (200, 409), answer.text
    assert index.upload(attacks.QUARANTINED).status_code in (200, 403)
    index.host.run(f"ppmctl package status {attacks.QUARANTINED_PROJECT} quarantined")
    for command in ("yank attacked 2.0 --reason planted", "remove attacked 3.0 --yes", "status attacked deprecated"):
        index.host.run(f"ppmctl package {command}")
    for path in PLANTED:
        index.host.run(f"echo planted in {path} > /srv/ppm/{path}")
    return index


def target_of(attacked: Deployed, *never: bytes, limited: tuple[str, str] | None = None) -> Target:
    return Target(
        address=attacked.host.address,
        name=attacked.domain,
        user=attacked.user,
        secret=attacked.secret,
        project="attacked",
        file=WHEEL[0],
        ca=attacked.ca,
        never=(*never, b"root:x:", b"planted in"),
        limited=limited,
    )


def test_every_attack_is_refused(attacked: Deployed) -> None:
    """A missing credential always gets a 401, and no secret that an attack sent is in a log."""
    files = "$(find credentials -type f) audit.jsonl packages/attacked/.status packages/attacked/*.upload"
    hidden = attacked.host.run(f"cd /srv/ppm && head -qn 3 {files}").out
    lines = (line.encode() for line in hidden.splitlines() if len(line) > 20)
    secret = attacked.ppmctl("user add limited --role reader --project 'other-*'").split()[-1]
    target = target_of(attacked, *lines, limited=("limited", secret))
    try:
        outcomes = attacks.run(target)
        print(attacks.table(outcomes))
        wrong = attacks.wrong(outcomes)
        assert not wrong, attacks.table(wrong)
        assert len(outcomes) > 1000
        logs = attacked.host.run("cat /var/log/nginx/access.log /var/log/nginx/error.log; journalctl -u ppm").out
        for secret in attacks.secrets_sent(target):
            assert secret not in logs
    finally:
        attacked.ppmctl("user remove limited")
        for path in PLANTED:
            with contextlib.suppress(Exception):
                attacked.host.run(f"rm -f /srv/ppm/{path}")


def test_slow_clients_are_disconnected(attacked: Deployed) -> None:
    """Whatever they send. The longest limit is that of an idle connection after an answer, 75 seconds."""
    outcomes = attacks.slow_clients(target_of(attacked), within=WITHIN)
    print(attacks.table(outcomes))
    assert not attacks.wrong(outcomes), attacks.table(attacks.wrong(outcomes))
    assert attacked.get("/simple/attacked/").status_code == 200
