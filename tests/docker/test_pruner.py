"""What goes on while the application is stopped: the service pruner, and the log that downloads are counted from."""

from __future__ import annotations

import json
import time

from support.composed import APPLICATION, Composed
from support.deployed import eventually
from support.wheels import wheel

PRUNER = "pruner"


def status(index: Composed, auth: tuple[str, str]) -> int:
    return index.get("/simple/", auth=auth).status_code


def test_expired_tokens_can_not_read_while_the_application_is_stopped(composed: Composed) -> None:
    often = composed.compose.but(PPM_PRUNE_EVERY="1s")
    create = "ppmctl token create admin+brief --role reader --expires 6s 2>/dev/null"
    try:
        often.up("--no-deps", PRUNER)
        composed.compose.stop(APPLICATION)
        secret = often.container(PRUNER).run(create, user="").out.strip()
        assert status(composed, ("admin+brief", secret)) == 200
        eventually(lambda: status(composed, ("admin+brief", secret)), lambda code: code == 401)
        assert status(composed, composed.auth) == 200
        eventually(often.container(PRUNER).logs, lambda log: "admin+brief" in log)
    finally:
        composed.compose.start(APPLICATION)
        composed.compose.up("--no-deps", PRUNER)
        composed.ppmctl("token revoke admin+brief || true")


def test_downloads_through_nginx_are_counted(composed: Composed) -> None:
    """nginx writes its log of requests to the volume, also while the application is stopped."""
    made = wheel("counted", "1.0")
    assert composed.upload(made).status_code in (200, 409)
    with composed.reads_alone():
        assert composed.get(f"/packages/counted/{made[0]}", headers={"User-Agent": "uv/0.11.4"}).status_code == 200
    counts = {}

    def count() -> dict[str, int]:
        composed.ppmctl("stats count")
        counts.update(json.loads(composed.ppmctl("stats downloads counted --json")))
        return dict(counts["by_client"])

    assert eventually(count, lambda clients: clients != {}) == {"uv": 1}
    assert composed.get("/api/stats/downloads?project=counted").json() == counts


def test_the_pruner_is_confined_and_stops_at_once(composed: Composed) -> None:
    box = composed.compose.container(PRUNER)
    attributes = box.engine.api.containers.get(box.id).attrs
    assert attributes["HostConfig"]["NetworkMode"] == "none"
    assert attributes["HostConfig"]["ReadonlyRootfs"]
    assert attributes["HostConfig"]["CapDrop"] == ["ALL"]
    assert [mount["Destination"] for mount in attributes["Mounts"]] == ["/srv/ppm"]
    assert attributes["Config"]["Cmd"][-1] == "30s"
    began = time.monotonic()
    composed.compose.stop(PRUNER)
    try:
        state = box.engine.api.containers.get(box.id).attrs["State"]
        assert state["ExitCode"] == 0
        assert time.monotonic() - began < 9, "not by the kill that comes after ten seconds"
    finally:
        composed.compose.start(PRUNER)
