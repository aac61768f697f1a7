"""The attacks that concern every way to serve an index, on the embedded server; `pytest -s` prints the table."""

from __future__ import annotations

from itertools import chain

import pytest
from support import attacks, wheels
from support.raw import Target
from support.servers import Server

WHEEL = wheels.wheel("attacked", "1.0")


@pytest.fixture(scope="module")
def target(index: Server) -> Target:
    assert index.upload(WHEEL).status_code == 200
    return Target(
        address="127.0.0.1",
        name="localhost",
        user=index.user,
        secret=index.secret,
        project="attacked",
        file=WHEEL[0],
        plain_port=index.port,
        has_tls=False,
        any_name=True,
        never=(b"Traceback", b"root:x:"),
        server=b"Server: gunicorn\r\n",
    )


def test_every_attack_is_refused(target: Target, index: Server) -> None:
    """Each has its answer, none costs more than it may, and none is a failure of the server."""
    rows = chain.from_iterable(group(target) for group in attacks.COSTLY)
    outcomes = attacks.run(target, rows)
    print(attacks.table(outcomes))
    assert not attacks.wrong(outcomes), attacks.table(attacks.wrong(outcomes))
    assert len(outcomes) > 500
    assert "Traceback" not in index.log.read_text()
    assert index.filenames("attacked") == {WHEEL[0]}


def test_refused_changes_of_foreign_pages_are_audited(target: Target, index: Server) -> None:
    """With the user whose browser it was."""
    answer = index.upload(wheels.wheel("foreign", "1.0"), headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    line = (index.root / "audit.jsonl").read_text().splitlines()[-1]
    assert f'"by": "{target.user}"' in line
    assert "Origin: https://evil.example" in line
    assert index.get("/simple/foreign/").status_code == 404
