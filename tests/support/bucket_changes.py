"""Changes of a project that tests of nodes make, each with the state after it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import requests

from support import streams
from support.servers import Server
from support.streams import Made

NOW, BEFORE = "1.0", "0.9"  # the versions of the file that a change is about, and of one that was there before


def dist(project: str, version: str = NOW) -> Made:
    return streams.dist(random.Random(), project, version)


def publish(server: Server, made: Made) -> None:
    answer = server.upload(made.file)
    assert answer.status_code == 200, answer.text


def shown(*made: Made) -> dict[str, object]:
    """Return the state of an active project with these files."""
    return {"status": "active", "files": {each.filename: (each.sha256, False) for each in made}}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a project: what there is before it, and the request that makes it."""

    name: str
    published: tuple[str, ...]  # versions, before the change
    make: Callable[[Server, Made], requests.Response]
    expected: Callable[[dict[str, Made]], dict[str, object]]  # the state after it, from all files by version
    is_yanked_before: bool = False


def api(server: Server, method: str, path: str, **values: str) -> requests.Response:
    """Make a request below /api/packages/ as the admin."""
    options = {"json": values} if values else {}
    return requests.request(method, f"{server.url}/api/packages/{path}", auth=server.auth, timeout=120, **options)


def _yanked(files: dict[str, Made]) -> dict[str, object]:
    made = files[NOW]
    return {"status": "active", "files": {made.filename: (made.sha256, "broken")}}


CHANGES = (
    Change(
        name="new",
        published=(),
        make=lambda server, made: server.upload(made.file),
        expected=lambda files: shown(files[NOW]),
    ),
    Change(
        name="known",
        published=(BEFORE,),
        make=lambda server, made: server.upload(made.file),
        expected=lambda files: shown(files[BEFORE], files[NOW]),
    ),
    Change(
        name="yank",
        published=(NOW,),
        make=lambda server, made: api(server, "PUT", f"{made.project}/{NOW}/yank", reason="broken"),
        expected=_yanked,
    ),
    Change(
        name="unyank",
        published=(NOW,),
        is_yanked_before=True,
        make=lambda server, made: api(server, "DELETE", f"{made.project}/{NOW}/yank"),
        expected=lambda files: shown(files[NOW]),
    ),
    Change(
        name="remove",
        published=(BEFORE, NOW),
        make=lambda server, made: api(server, "DELETE", f"{made.project}/{NOW}"),
        expected=lambda files: shown(files[BEFORE]),
    ),
    Change(
        name="quarantine",
        published=(NOW,),
        make=lambda server, made: api(
            server, "PUT", f"{made.project}/status", status="quarantined", reason="malware"
        ),
        expected=lambda _files: {"status": "quarantined", "files": {}},
    ),
)

each_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
# of the tests that need several servers for each request: those with most requests, and one of a head alone;
# BUCKET_CHANGES=all tries all
main_changes = pytest.mark.parametrize(
    "change",
    [change for change in CHANGES if change.name in ("new", "remove") or os.environ.get("BUCKET_CHANGES") == "all"],
    ids=lambda change: change.name,
)


def prepared(change: Change, server: Server, project: str) -> dict[str, Made]:
    """Make what there is before a change; return all of its files by version."""
    files = {version: dist(project, version) for version in {*change.published, NOW}}
    for version in change.published:
        publish(server, files[version])
    if change.is_yanked_before:
        assert api(server, "PUT", f"{project}/{NOW}/yank", reason="broken").ok
    return files
