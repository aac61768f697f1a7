"""What mirrors are told, so that they miss no change."""

from __future__ import annotations

import json
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
from support import volumes, wheels
from support.nodes import new_node
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from ppmctl.access import audit_follower, audit_log
from ppmctl.access.audit_follower import AuditFollower
from ppmctl.access.rights import ANYONE
from ppmctl.index.store import Store
from ppmctl.server import node_follower, same_origin
from ppmctl.server.mirror_api import MirrorApi, complete_until, reported
from ppmctl.storage.bucket import Unavailable


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Store, Store]:
    address = f"memory://{tmp_path.name}-mirrors"
    return new_node(tmp_path / "a", address), new_node(tmp_path / "b", address)


def ask(store: Store, path: str, body: str | None = None) -> Response:
    builder = EnvironBuilder(path, method="GET" if body is None else "POST", data=body)
    request = builder.get_request()
    request.environ[same_origin.HOST] = ""
    response = MirrorApi(store).answer(request, ANYONE)
    assert response is not None
    return response


def call(store: Store, method: str, *arguments: object) -> Any:
    answer = ask(store, "/pypi", xmlrpc.client.dumps(arguments, method))
    return xmlrpc.client.loads(answer.get_data())[0][0]


def follow(store: Store) -> None:
    """Read what other nodes changed; the audit is not written here, so all projects are compared."""
    store.volume.audit_seen.unlink(missing_ok=True)
    AuditFollower(store.volume, lambda projects: node_follower.bring(store, projects)).step()


def test_a_mirror_gets_no_serial_that_a_later_change_of_another_project_has(store: Store) -> None:
    """A page that changed often has a serial of the future; the other project's next one has that second's."""
    before = reported({"busy": 1100, "old": 900}, complete=995)
    assert before == {"busy": 995, "old": 900}
    after = reported({"busy": 1100, "old": 1000, "no page": 0}, complete=1005)
    assert {name for name, serial in after.items() if serial > max(before.values())} == {"busy", "old", "no page"}
    assert reported({"busy": 1100, "old": 1000}, complete=1995) == {"busy": 1100, "old": 1000}
    assert 0 < time.time() - complete_until(store.volume) < 10


@pytest.mark.parametrize("slow", [0, 600])
def test_a_mirror_of_one_node_misses_no_change_of_another(
    nodes: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, slow: int
) -> None:
    """It is told of the other node's change later than of this node's, which has a later serial."""
    here, other = nodes
    volumes.put(here, wheels.wheel("old", "1.0"))
    follow(here)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - slow)
    volumes.put(other, wheels.wheel("alpha", "1.0"))
    monkeypatch.undo()
    volumes.put(here, wheels.wheel("beta", "1.0"))
    last = max(call(here, "list_packages_with_serial").values())
    assert last == call(here, "changelog_last_serial") < time.time() - 800
    monkeypatch.setattr(time, "time", lambda: now() + 2)
    follow(here)
    assert "alpha" in [line[0] for line in call(here, "changelog_since_serial", last)]


def test_a_new_node_tells_mirrors_nothing_that_it_does_not_know(nodes: tuple[Store, Store]) -> None:
    here, other = nodes
    volumes.put(other, wheels.wheel("alpha", "1.0"))
    with pytest.raises(Unavailable, match="ask again in a minute"):
        call(here, "changelog_last_serial")
    serial = json.loads((other.volume.pages("alpha") / "index.json").read_text())["meta"]["_last-serial"]
    document = ask(here, "/pypi/alpha/json")
    assert json.loads(document.get_data())["last_serial"] == serial == int(document.headers["X-PyPI-Last-Serial"])
    follow(here)
    assert call(here, "list_packages") == ["alpha"]


def test_an_audit_that_was_not_read_to_its_end_is_no_complete_following(
    nodes: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = nodes
    follow(here)
    first = here.volume.followed.stat().st_mtime_ns
    follower = AuditFollower(here.volume, lambda _projects: None)
    follower.step()
    second = here.volume.followed.stat().st_mtime_ns
    assert second > first
    monkeypatch.setattr(audit_follower, "_MOST_LINES", 1)
    for _twice in range(2):
        audit_log.write(other.volume, action="yank", by="ann", origin="192.0.2.1", what="x-1.0", result="done")
    AuditFollower(here.volume, lambda _projects: None).step()
    assert here.volume.followed.stat().st_mtime_ns == second
