"""The compose profile `backup`: backups to a folder, drills, and a new deployment that continues with the data."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import backups, composed, planted, readme, wheels
from support.composed import Composed
from support.deployed import eventually

from testbed.bed import Bed
from testbed.hosts import Host

SERVICE = "backup"
PASSWORD = "correct horse battery staple"
REMOVED = wheels.wheel("withdrawn", "1.0")


def settings(folder: Path, *, uid: int, gid: int) -> dict[str, str]:
    """Return the variables of docker/.env for a repository in a folder; the containers run as its owner."""
    repository, password = folder / "repository", folder / "password"
    repository.mkdir(mode=0o700)
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    for path in (repository, password):
        os.chown(path, uid, gid)
    return {
        "COMPOSE_PROFILES": SERVICE,
        "PPM_BACKUP_FOLDER": str(repository),
        "PPM_BACKUP_PASSWORD_FILE": str(password),
    }


def operations(index: Composed) -> dict[str, dict[str, object]]:
    listed = json.loads(index.ppmctl("operation list --json"))["operations"]
    return {each["name"]: each for each in listed}


@pytest.mark.timeout(1800)  # in a new session it also makes the images
def test_a_lost_deployment_is_restored_in_a_new_one(new_compose: Callable[..., Composed], tmp_path: Path) -> None:
    first_volume = composed.settings_of(tmp_path / "first")
    owner = {"uid": int(first_volume["PPM_UID"]), "gid": int(first_volume["PPM_GID"])}
    backups = settings(tmp_path, **owner)
    first = new_compose(environment=first_volume)
    planted.plant(first)
    assert first.upload(REMOVED).status_code == 200
    first.ppmctl("package remove withdrawn 1.0 --yes")
    listed = first.page(planted.PROJECT)["files"]

    on = first.compose.but(**backups)
    on.up("--no-deps", SERVICE)
    results = eventually(lambda: operations(first), lambda found: {"backup", "drill"} <= found.keys(), seconds=180)
    assert {name: each["succeeded"] for name, each in results.items()} == {"backup": True, "drill": True}, results
    attributes = json.dumps(on.engine.api.containers.get(on.container(SERVICE).id).attrs)
    assert PASSWORD not in attributes

    # a backup that fails makes the container unhealthy
    (tmp_path / "repository" / "config").rename(tmp_path / "config")
    failed = on.exec(SERVICE, "start", "ppmctl", "backup", "create", check=False)
    assert failed.code == 1, failed.err
    check = ("python3", "/usr/local/lib/ppm/repeat.py", "--check")
    assert "The last backup failed: " in on.exec(SERVICE, *check, check=False).out
    (tmp_path / "config").rename(tmp_path / "repository" / "config")
    for _ in range(2):  # the second one stores that the first one succeeded
        on.exec(SERVICE, "start", "ppmctl", "backup", "create")
    assert on.exec(SERVICE, *check).out == "ok\n"
    on.down(volumes=True)

    second = new_compose(environment=composed.settings_of(tmp_path / "second") | backups, up=False)
    second.compose.run(SERVICE, "ppmctl", "backup", "restore", options=("--no-deps",))
    second.secret = first.secret
    second.up()
    assert second.page(planted.PROJECT)["files"] == listed
    assert second.get("/packages/withdrawn/" + REMOVED[0]).status_code == 404
    assert second.upload(REMOVED).status_code in (400, 409)
    assert second.upload(planted.fresh(planted.PROJECT).file).status_code == 200
    second.ppmctl("index check")


def test_what_is_missing_is_named(new_compose: Callable[..., Composed], tmp_path: Path) -> None:
    index = new_compose(up=False, environment={"COMPOSE_PROFILES": SERVICE})
    done = index.compose.run(SERVICE, "ppmctl", "backup", "list", options=("--no-deps",), check=False)
    assert done.code == 2
    assert "Set PPM_BACKUP_PASSWORD_FILE in docker/.env" in done.err
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    given = index.compose.but(PPM_BACKUP_PASSWORD_FILE=str(password))
    done = given.run(SERVICE, "ppmctl", "backup", "list", options=("--no-deps",), check=False)
    assert done.code == 2
    assert "Set PPM_BACKUP_FOLDER in docker/.env" in done.err


def test_backups_over_sftp(
    new_compose: Callable[..., Composed], new_host: Callable[..., Host], bed: Bed, tmp_path: Path
) -> None:
    """The volume and the secrets belong to the images' own user, as SSH needs a user with a name."""
    keeper, key = new_host(), tmp_path / "key"
    readme.paste(f"ssh-keygen -q -t ed25519 -N '' -f {key}", tmp_path, os.environ)
    backups.make_account(keeper, key)
    known = tmp_path / "known_hosts"
    known.write_text("keeper " + keeper.run("cat /etc/ssh/ssh_host_ed25519_key.pub").out)
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    for path in (key, known, password):
        path.chmod(0o600)
        os.chown(path, 10001, 10001)
    over_sftp = {
        "COMPOSE_PROFILES": SERVICE,
        "PPM_BACKUP_REPOSITORY": "sftp:keeper@keeper:ppm",
        "PPM_BACKUP_PASSWORD_FILE": str(password),
        "PPM_BACKUP_SSH_KEY": str(key),
        "PPM_BACKUP_KNOWN_HOSTS": str(known),
    }
    listed = None
    for turn in ("back up", "restore"):
        index = new_compose(up=False, environment=over_sftp)
        index.compose.call("create", "--no-build")
        network = bed.engine.api.networks.get(f"{index.compose.project}_default")
        network.connect(keeper.box.id, aliases=["keeper"])
        try:
            if turn == "back up":
                index.up()
                eventually(partial(operations, index), lambda found: "backup" in found, seconds=180)
                assert operations(index)["backup"]["succeeded"], operations(index)
                planted.plant(index)
                listed, secret = index.page(planted.PROJECT)["files"], index.secret
                index.compose.exec(SERVICE, "start", "ppmctl", "backup", "create")
                assert "backup" in index.compose.exec(SERVICE, "start", "ppmctl", "backup", "list").out
            else:
                index.compose.run(SERVICE, "ppmctl", "backup", "restore", options=("--no-deps",))
                index.secret = secret
                index.up()
                assert index.page(planted.PROJECT)["files"] == listed
        finally:
            network.disconnect(keeper.box.id)
            index.compose.down(volumes=True)
