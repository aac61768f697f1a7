"""The table of attacks on the embedded server; `pytest -s` prints it."""

from __future__ import annotations

import pytest
from support import attacks, wheels
from support.attacks import access, framing, lists, names, paths, web_pages
from support.attacks.model import Attack
from support.raw import Target
from support.servers import Server, ppmctl

WHEEL = wheels.wheel("attacked", "1.0")
PLANTED = ("drop/.planted", "bodies/0000000001", "packages/attacked/.attacked.tmp", "index/pending/.planted")
GROUPS = {
    "traversal": paths.traversal,
    "side files": paths.side_files,
    "quarantine": paths.quarantine,
    "smuggling": framing.smuggling,
    "oversized": framing.oversized,
    "lists": lists.lists,
    "globs": lists.globs,
    "strangers": access.strangers,
    "limited reads": access.limited_reads,
    "secrets in wrong places": access.stray_secrets,
    "names like secrets": access.no_secrets,
    "headers": names.poison,
    "hosts": names.hosts,
    "web pages": web_pages.web_pages,
    **{group.__name__: group for group in attacks.COSTLY},
}


@pytest.fixture(scope="module")
def target(index: Server) -> Target:
    assert index.upload(WHEEL).status_code == 200
    for version in ("2.0", "3.0"):
        assert index.upload(wheels.wheel("attacked", version)).status_code == 200
    assert index.upload(attacks.QUARANTINED).status_code == 200
    ppmctl("package", "status", attacks.QUARANTINED_PROJECT, "quarantined", "--root", str(index.root))
    ppmctl("package", "yank", "attacked", "2.0", "--reason", "planted reason", "--root", str(index.root))
    ppmctl("package", "remove", "attacked", "3.0", "--yes", "--root", str(index.root))
    for path in PLANTED:
        (index.root / path).parent.mkdir(exist_ok=True)
        (index.root / path).write_text(f"planted in {path}\n")
    made = ppmctl("user", "add", "limited", "--role", "reader", "--project", "other-*", "--root", str(index.root))
    return Target(
        address="127.0.0.1",
        name="localhost",
        user=index.user,
        secret=index.secret,
        project="attacked",
        file=WHEEL[0],
        port=index.port,
        plain_port=index.port,
        has_tls=False,
        any_name=True,
        never=(b"root:x:", b"{SSHA}", b"Traceback", b"planted in"),
        limited=("limited", made.stdout.strip()),
    )


@pytest.mark.parametrize("group", GROUPS)
def test_every_attack_is_refused(group: str, index: Server, target: Target) -> None:
    """Every attack is refused, and no secret that it sent is in a log."""
    rows: list[Attack] = list(GROUPS[group](target))
    outcomes = attacks.run(target, rows)
    print(attacks.table(outcomes))
    assert not attacks.wrong(outcomes), attacks.table(attacks.wrong(outcomes))
    for log in (index.log, index.root / "audit.jsonl"):
        text = log.read_text(errors="replace")
        for secret in attacks.secrets_sent(target):
            lines = [line for line in text.splitlines() if secret in line]
            assert not lines, lines[:3]
    assert "Traceback" not in index.log.read_text()


def test_refused_changes_of_foreign_pages_are_audited(target: Target, index: Server) -> None:
    """With the user whose browser it was."""
    answer = index.upload(wheels.wheel("foreign", "1.0"), headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    line = (index.root / "audit.jsonl").read_text().splitlines()[-1]
    assert f'"by": "{target.user}"' in line
    assert "Origin: https://evil.example" in line
    assert index.get("/simple/foreign/").status_code == 404
