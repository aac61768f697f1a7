"""The messages for a process that may not use a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppmctl.cli import volume
from ppmctl.errors import PpmError
from ppmctl.index.ownership import Process, host_id, refusal, this_process

ROOT = Path("/srv/ppm")
SERVER = Process(uid=10001, gid=10001)
ROOTLESS = ((0, 1000, 1), (1, 100000, 65536))


def folder(uid: int, gid: int, mode: int = 0o755) -> os.stat_result:
    return os.stat_result((0o40000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def test_the_refusal_suggests_chown_or_another_user() -> None:
    message = refusal(ROOT / "packages", folder(1000, 100), SERVER, root=ROOT)
    assert message.startswith("/srv/ppm/packages belongs to uid 1000, gid 100; this process is uid 10001, gid 10001")
    assert "`sudo chown -R 10001:10001 /srv/ppm`" in message
    assert "PPM_UID=1000 and PPM_GID=100 in docker/.env" in message
    assert "\n" not in message


def test_the_refusal_never_suggests_to_serve_as_root() -> None:
    """A folder that Docker created for a mount belongs to root."""
    message = refusal(ROOT, folder(0, 0), SERVER, root=ROOT)
    assert "`sudo chown -R 10001:10001 /srv/ppm`" in message
    assert "PPM_UID" not in message


def test_a_mode_without_access_for_the_owner_suggests_chmod() -> None:
    message = refusal(ROOT, folder(10001, 0, 0o555), SERVER, root=ROOT)
    assert "its mode is 0555: `chmod -R u+rwX /srv/ppm`" in message
    assert "chown" not in message


def test_in_a_rootless_container_chown_gets_the_ids_of_the_host() -> None:
    """There uid 0 is the user who started Docker, so running as it is harmless; other ids are in the user's range."""
    process = Process(uid=10001, gid=0, uids=ROOTLESS, gids=ROOTLESS)
    message = refusal(ROOT, folder(0, 0), process, root=ROOT)
    assert "`sudo chown -R 110000:1000 /srv/ppm`" in message
    assert "PPM_UID=0 and PPM_GID=0" in message


@pytest.mark.parametrize(("inside", "outside"), [(0, 1000), (1, 100000), (65536, 165535), (65537, 65537)])
def test_an_id_is_mapped_to_the_host(inside: int, outside: int) -> None:
    assert host_id(inside, ROOTLESS) == outside


def test_this_process_has_its_uid_and_gid() -> None:
    process = this_process()
    assert (process.uid, process.gid) == (os.getuid(), os.getgid())
    assert str(process) == f"uid {os.getuid()}, gid {os.getgid()}"
    assert host_id(4242, process.uids) >= 0


def test_root_that_can_t_become_the_owner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker compose exec --user root` lacks that right, and files of root would lock the server out."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("initgroups", "setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(PpmError, match="--user 4321:100"):
        volume._become(folder(4321, 100))
