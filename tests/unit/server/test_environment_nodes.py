"""Shared environments at a node that has not read what another node published of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import wheels
from support.environments import revision
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from ppmctl.access.account import Actor
from ppmctl.access.rights import Access
from ppmctl.distributions import distribution, inspection
from ppmctl.distributions.distribution import Dist
from ppmctl.errors import Refused
from ppmctl.index.store import Store
from ppmctl.server import json_api, node_follower, package_changes, uploads
from ppmctl.server.environment_api import EnvironmentApi
from ppmctl.server.package_api import PackageApi
from ppmctl.server.public_names import PublicNames
from ppmctl.storage.bucket import Unavailable

ALICE, MALLORY, ADMIN = (
    Access(name=name, role=role, created="2026-01-01T00:00:00Z")
    for name, role in (("alice", "publisher"), ("mallory", "publisher"), ("root", "admin"))
)


def publish(store: Store, number: int, *, shared: bool, by: str = "alice") -> None:
    filename, content = revision("ml", number, "numpy", shared=shared)
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        store.put(received, distribution.inspect(received.path, filename), by=by)


def ask(store: Store, method: str, path: str, by: Access, **body: str) -> Response:
    request = Request(EnvironBuilder(path=path, method=method, json=body if method == "PUT" else None).get_environ())
    apis = (PackageApi(store), EnvironmentApi(store, PublicNames()))
    answer = next(answer for api in apis if (answer := api.answer(request, by)) is not None)
    assert isinstance(answer, Response)
    return answer


REQUESTS: list[tuple[str, str, dict[str, str]]] = [
    ("PUT", "/1/yank", {}),
    ("DELETE", "/1/yank", {}),
    ("PUT", "/status", {"status": "archived"}),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
@pytest.mark.parametrize("knows", ["nothing", "that it was shared"])
def test_only_the_owner_changes_an_environment_that_another_node_published(
    method: str, path: str, body: dict[str, str], knows: str, here: Store, other: Store
) -> None:
    publish(other, 1, shared=knows != "nothing")
    if knows != "nothing":
        here.pull("ppm-env-ml")
        publish(other, 2, shared=False)
    with pytest.raises(Refused, match="belongs to alice") as refused:
        ask(here, method, f"/api/packages/ppm-env-ml{path}", MALLORY, **body)
    assert refused.value.status == 403
    assert ask(here, method, f"/api/packages/ppm-env-ml{path}", ALICE, **body).status_code == 200


CHANGES: list[Callable[[Store, Actor], object]] = [
    lambda store, actor: package_changes.yank(store, actor, "ppm-env-ml", "1", "why"),
    lambda store, actor: package_changes.unyank(store, actor, "ppm-env-ml", "1"),
    lambda store, actor: package_changes.set_status(store, actor, "ppm-env-ml", "archived", ""),
]


@pytest.mark.parametrize("change", CHANGES, ids=["yank", "unyank", "status"])
def test_a_form_needs_the_same_right(change: Callable[[Store, Actor], object], here: Store, other: Store) -> None:
    publish(other, 1, shared=False)
    with pytest.raises(Refused, match="belongs to alice"):
        change(here, Actor(name="mallory", origin="here", access=MALLORY))
    change(here, Actor(name="alice", origin="here", access=ALICE))


def test_a_user_with_whom_another_node_shared_it_may_change_it(here: Store, other: Store) -> None:
    publish(other, 1, shared=False)
    here.pull("ppm-env-ml")
    publish(other, 2, shared=True)
    assert ask(here, "PUT", "/api/packages/ppm-env-ml/1/yank", MALLORY).status_code == 200


def test_an_environment_is_read_as_another_node_published_it(here: Store, other: Store) -> None:
    publish(other, 1, shared=True)
    first = ask(here, "GET", "/api/environments/ml", MALLORY)
    assert (first.status_code, first.get_etag()) == (200, ("1", False))
    publish(other, 2, shared=True)
    assert here.cache.freshness is not None
    here.cache.freshness._compared.clear()
    assert ask(here, "GET", "/api/environments/ml", MALLORY).get_etag() == ("2", False)


def upload(store: Store, by: Access, number: int, *requirements: str, **about: Any) -> bool:
    filename, content = revision("ml", number, *requirements, **about)
    actor = Actor(name=by.name, origin="here", access=by)
    sent = uploads.Upload(by=by, actor=actor, filename=filename, content=store.area.new_file())
    assert sent.content is not None
    sent.content.write(content)
    try:
        return uploads.publish(store, sent, PublicNames())
    finally:
        sent.close()


def meanwhile(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Have `change` made while the next upload is inspected, before it waits for the project's lock."""
    inspect, changes = inspection.inspect, [change]

    def slow(path: Path, filename: str) -> Dist:
        if changes:
            changes.pop()()
        return inspect(path, filename)

    monkeypatch.setattr(inspection, "inspect", slow)


@pytest.mark.parametrize("where", ["here", "another node"])
def test_a_change_is_compared_with_what_is_there_when_it_is_published(
    where: str, here: Store, other: Store, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user makes the environment, or restores a revision of it, meanwhile."""
    one, two = (store, store) if where == "here" else (here, other)
    meanwhile(monkeypatch, lambda: publish(two, 1, shared=False))
    with pytest.raises(Refused, match="belongs to alice"):
        upload(one, MALLORY, 2, "evil", base=1, shared=True)
    alice = Actor(name="alice", origin="here", access=ALICE)
    publish(one, 2, shared=True)
    package_changes.yank(one, alice, "ppm-env-ml", "2", "")
    meanwhile(monkeypatch, lambda: package_changes.unyank(two, alice, "ppm-env-ml", "2"))
    with pytest.raises(Refused, match="no change of revision 2"):
        upload(one, MALLORY, 3, "numpy", "scipy", base=1, shared=True)
    assert len(one.read("ppm-env-ml").files) == 2


def test_a_revision_that_comes_before_the_deletion_of_another_one_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, 1, shared=True)
    body = json_api.body

    def slow(request: Request, *fields: str) -> dict[str, Any]:
        publish(store, 2, shared=True)
        return body(request, *fields)

    monkeypatch.setattr(json_api, "body", slow)
    builder = EnvironBuilder(path="/api/environments/ml", method="DELETE", headers={"If-Match": '"1"'})
    with pytest.raises(Refused, match="it is at revision 2") as refused:
        EnvironmentApi(store, PublicNames()).answer(Request(builder.get_environ()), ALICE)
    assert refused.value.status == 412
    content = store.read("ppm-env-ml")
    assert (content.status.state, [file.yanked for file in content.files]) == ("active", [None, None])


def test_without_the_bucket_an_environment_that_is_not_on_the_disk_is_unknown(
    here: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_project: str) -> None:
        raise Unavailable("The bucket does not answer.")

    assert here.mirror is not None
    monkeypatch.setattr(here.mirror, "pull", fail)
    with pytest.raises(Unavailable) as refused:
        ask(here, "GET", "/api/environments/ml", MALLORY)
    assert refused.value.status == 503


def test_a_lost_wheel_of_an_environment_does_not_keep_a_new_node_from_other_projects(
    here: Store, other: Store, caplog: pytest.LogCaptureFixture
) -> None:
    publish(other, 1, shared=True)
    filename, content = wheels.wheel("zeta", "1.0")
    with other.area.new_file() as received:
        received.write(content)
        received.finish()
        other.put(received, distribution.inspect(received.path, filename), by="alice")
    assert other.mirror is not None
    lost = [key for key in other.mirror.bucket.keys("") if "ppm_env_ml" in key and not key.endswith(".metadata")]
    other.mirror.bucket.delete(*lost)
    node_follower.bring(here, None)
    assert here.has_project("zeta")
    assert "ppm-env-ml is not known here: The bucket does not have ppm_env_ml" in caplog.text
