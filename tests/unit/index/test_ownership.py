"""What is said to somebody whose process may not use a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppmctl.cli import volume
from ppmctl.errors import PpmError
from ppmctl.index.ownership import Asker, outside, refusal, this_process

ROOT = Path("/srv/ppm")
SERVER = Asker(uid=10001, gid=10001)
ROOTLESS = ((0, 1000, 1), (1, 100000, 65536))


def folder(uid: int, gid: int, mode: int = 0o755) -> os.stat_result:
    return os.stat_result((0o40000 | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def test_both_ways_out_are_named() -> None:
    said = refusal(ROOT / "packages", folder(1000, 100), SERVER, root=ROOT)
    assert said.startswith("/srv/ppm/packages belongs to uid 1000, gid 100; this process is uid 10001, gid 10001")
    assert "`sudo chown -R 10001:10001 /srv/ppm`" in said
    assert "PPM_UID=1000 and PPM_GID=100 in docker/.env" in said
    assert "\n" not in said


def test_nobody_is_told_to_serve_as_root() -> None:
    """A folder that Docker made by itself, for a mount, is root's."""
    said = refusal(ROOT, folder(0, 0), SERVER, root=ROOT)
    assert "`sudo chown -R 10001:10001 /srv/ppm`" in said
    assert "PPM_UID" not in said


def test_a_mode_that_keeps_the_owner_out_is_no_matter_of_owners() -> None:
    said = refusal(ROOT, folder(10001, 0, 0o555), SERVER, root=ROOT)
    assert "its mode is 0555: `chmod -R u+rwX /srv/ppm`" in said
    assert "chown" not in said


def test_in_a_rootless_container_the_machine_s_numbers_are_what_chown_takes() -> None:
    """There uid 0 is the user who started Docker, so to run as it is no harm; other ids are of the user's range."""
    asker = Asker(uid=10001, gid=0, uids=ROOTLESS, gids=ROOTLESS)
    said = refusal(ROOT, folder(0, 0), asker, root=ROOT)
    assert "`sudo chown -R 110000:1000 /srv/ppm`" in said
    assert "PPM_UID=0 and PPM_GID=0" in said


@pytest.mark.parametrize(("inside", "there"), [(0, 1000), (1, 100000), (65536, 165535), (65537, 65537)])
def test_an_id_has_its_number_outside(inside: int, there: int) -> None:
    assert outside(inside, ROOTLESS) == there


def test_this_process_is_known() -> None:
    asker = this_process()
    assert (asker.uid, asker.gid) == (os.getuid(), os.getgid())
    assert outside(4242, asker.uids) >= 0


def test_root_that_can_t_become_the_owner_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker compose exec --user root` has no powers there: files of root's would lock the server out."""

    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("initgroups", "setgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(PpmError, match="--user 4321:100"):
        volume._become(folder(4321, 100))
