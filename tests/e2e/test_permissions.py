"""Tests of file permissions, and of the user that commands run as."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import wheels
from support.servers import PPMCTL, Server, ppmctl
from support.volumes import reachable

from ppmctl.index.layout import Volume


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_a_web_server_can_read_packages_and_only_the_owner_secrets(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """Guards against a strict umask, with which nginx could serve nothing, and against a lax one."""
    for number, umask in enumerate(("0077", "0000")):
        command = ("sh", "-c", f'umask {umask}; exec {shlex.join(PPMCTL)} "$@"', "sh")
        root = tmp_path / f"root-{number}"
        server = serve(root=root, command=command)
        assert server.upload(wheels.wheel("x", "1.0"), fields={"attestations": "[]"}).status_code == 200
        readable = [*(root / "packages").rglob("*"), *(root / "index" / "simple").rglob("*")]
        assert {mode(path) for path in readable if path.is_file()} == {"0o644"}
        assert {mode(path) for path in readable if path.is_dir()} == {"0o755"}
        assert mode(root / "first-credential") == mode(root / "netrc") == "0o600"
        assert mode(root / "credentials" / "htpasswd") == mode(root / "credentials" / "access.yml") == "0o640"
        assert mode(root / "credentials") == "0o750"


def test_root_acts_as_the_owner_of_the_volume(tmp_path: Path) -> None:
    """`sudo ppmctl user add` on a server: files owned by root would be unreadable for the server."""
    if os.geteuid() != 0:
        # an ordinary user can't change the owner: the command must not try
        ppmctl("init", "--root", str(tmp_path / "root"))
        ppmctl("user", "add", "eve", "--role", "reader", "--root", str(tmp_path / "root"))
        assert (tmp_path / "root" / "credentials" / "htpasswd").stat().st_uid == os.geteuid()
        return
    nobody = pwd.getpwnam("nobody")
    reachable(tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    os.chown(root, nobody.pw_uid, nobody.pw_gid)
    ppmctl("init", "--root", str(root))
    ppmctl("user", "add", "eve", "--role", "reader", "--root", str(root))
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in root.rglob("*")}
    assert owners == {(nobody.pw_uid, nobody.pw_gid)}


def test_the_folder_of_a_web_server_is_not_changed(serve: Callable[..., Server], tmp_path: Path) -> None:
    """nginx stores incoming uploads below the volume; only nginx can read them."""
    root, unprivileged = tmp_path / "root", ()
    bodies = Volume(root=root).bodies
    bodies.mkdir(parents=True)
    (bodies / "0000000001").write_bytes(b"half an upload")
    bodies.chmod(0)
    if os.geteuid() == 0:  # root may read anything, unless a capability is dropped
        unprivileged = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")
    looked = subprocess.run([*unprivileged, "ls", str(bodies)], capture_output=True, text=True, timeout=60)
    assert "Permission denied" in looked.stderr
    server = serve(root=root, command=(*unprivileged, *PPMCTL))
    assert server.upload(wheels.wheel("x", "1.0")).status_code == 200
    for command in (("index", "check"), ("index", "rebuild"), ("user", "list")):
        subprocess.run([*server.command, *command, "--root", str(root)], check=True, timeout=60)
    server.kill()
    server.start_again()
    assert server.filenames("x") == {"x-1.0-py3-none-any.whl"}
    assert server.stop() == 0
    assert mode(bodies) == "0o0"
    bodies.chmod(0o700)
    assert [path.read_bytes() for path in bodies.iterdir()] == [b"half an upload"]


def test_a_volume_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """An unwritable volume gives one line with the cause and the remedy, not a traceback."""
    root = tmp_path / "root"
    root.mkdir(mode=0o555)
    if os.geteuid() == 0:  # root may write anywhere: use a file instead of a folder
        root.rmdir()
        root.write_text("a file")
    command = [*PPMCTL, "init", "--root", str(root / "deeper")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "can't be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("foreign", [".", "packages", "locks/root", "credentials/htpasswd", "audit.jsonl", "ppm.yml"])
def test_a_volume_of_another_user_is_refused_in_one_line(foreign: str, tmp_path: Path) -> None:
    """Guards against an index that starts, and fails at the first upload or login.

    The error has the folder's owner, the process's user, and two remedies. Nothing is created or changed.
    (The test gives files away, so it needs root.)
    """
    reachable(tmp_path)
    root = tmp_path / "root"
    Volume(root=root).prepare()
    (root / foreign).touch()
    give(root, 10001)
    give(root / foreign, 4321)
    (root / foreign).chmod(0o700)
    (root / "index" / "pending").rmdir()
    before = {path: (path.stat().st_uid, path.stat().st_mode) for path in [root, *root.rglob("*")]}
    as_user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "--"]
    done = subprocess.run(
        [*as_user, *PPMCTL, "serve", "--root", str(root), "--host", f"unix:{tmp_path}/s"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"ppmctl: The volume {root} can't be used: {root / foreign} belongs to uid 4321, gid 4321;"
    )
    assert "this process is uid 10001, gid 10001" in line
    assert f"`sudo chown -R 10001:10001 {root}`" in line
    assert "PPM_UID=4321 and PPM_GID=4321 in docker/.env" in line
    assert {path: (path.stat().st_uid, path.stat().st_mode) for path in [root, *root.rglob("*")]} == before


def give(path: Path, owner: int) -> None:
    for one in [path, *path.rglob("*")]:
        os.chown(one, owner, owner)
