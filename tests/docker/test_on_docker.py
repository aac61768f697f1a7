"""`--on docker://…`: the same command beside the volume of a container; what it says, takes, and leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.composed import Composed
from support.servers import PPMCTL, clean_environment
from support.terminals import interrupt, on_a_terminal, read_until

from testbed import compose, packages, place
from testbed.container import Container

SECRET = re.compile(r"ppm_[\w-]{40,}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:]+Z?")


def name_of(box: Container) -> str:
    """What the engine calls it."""
    return str(box.engine.api.containers.get(box.id).name)


@cache
def programs() -> str:
    """The folder with the command `docker`: this machine's, or Debian 13's, unpacked."""
    found = shutil.which("docker")
    if found is None:
        root = packages.unpacked(13, ("docker-cli",), below=place.cache() / "packages")
        found = str(root / "usr/bin/docker")
    return str(Path(found).parent)


def environ(index: Composed, folder: Path, **more: str) -> dict[str, str]:
    found = clean_environment(folder / "home")
    path = os.pathsep.join([found["PATH"], programs()])
    return found | {"DOCKER_HOST": index.compose.engine.url, "PATH": path} | more


def on(
    index: Composed, folder: Path, target: str, *arguments: str, given: str = "", expect: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl` in a container, from here; fail, with all it said, unless it exits with `expect`."""
    command = [*PPMCTL, *arguments, "--on", f"docker://{target}"]
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, env=environ(index, folder, **more), timeout=120
    )
    assert done.returncode == expect, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def test_it_says_and_does_what_it_would_there(composed: Composed, tmp_path: Path) -> None:
    """Output on both streams and exit code are those of the command run in the container."""
    box = composed.application
    for arguments in (
        ["user", "list"],
        ["user", "list", "--json"],
        ["index", "check", "--quick"],
        ["user", "remove", "who"],
        ["package", "yank", "nothing", "1.0", "--reason", "don't 'use' $it"],
        ["user", "add", "x", "--role", "king"],
    ):
        api = box.engine.api.api
        made = api.exec_create(box.id, ["ppmctl", *arguments])["Id"]
        out, err = api.exec_start(made, demux=True)
        code = api.exec_inspect(made)["ExitCode"]
        done = on(composed, tmp_path, name_of(box), *arguments, expect=code)
        for theirs, ours in ((out, done.stdout), (err, done.stderr)):
            assert TIME.sub("TIME", ours) == TIME.sub("TIME", (theirs or b"").decode())


def test_users_and_tokens_by_files(composed: Composed, tmp_path: Path) -> None:
    """The container's file system is read-only and closed to the engine's copying; the secret lets somebody in."""
    target = name_of(composed.application)
    file = tmp_path / "a token"
    made = on(composed, tmp_path, target, "token", "create", "on+ci", "--role", "reader", "--output", str(file))
    try:
        assert made.stdout == ""
        assert f"The secret is in {file}" in made.stderr
        assert file.stat().st_mode & 0o777 == 0o600
        user, _, secret = file.read_text().strip().partition(":")
        session = composed.new_session()
        assert session.get(composed.simple, auth=(user, secret), timeout=30).status_code == 200
        audit = composed.look("tail -n 1 audit.jsonl")
        assert "@" in json.loads(audit)["from"]
        given = tmp_path / "htpasswd"
        given.write_text("on-carl:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
        assert "on-carl" in on(composed, tmp_path, target, "user", "import", str(given)).stdout
    finally:
        on(composed, tmp_path, target, "token", "revoke", "on+ci")
    on(composed, tmp_path, target, "user", "remove", "on-carl")
    assert session.get(composed.simple, auth=(user, secret), timeout=30).status_code == 401
    assert composed.look("ls -A /tmp") == ""


def test_a_volume_of_the_containers_is_meant(composed: Composed, tmp_path: Path) -> None:
    target = name_of(composed.application)
    on(composed, tmp_path, target, "user", "add", "on-eve", "--role", "reader", PPM_ROOT=str(tmp_path / "mine"))
    try:
        assert "on-eve:" in composed.look("cat credentials/htpasswd")
        assert not (tmp_path / "mine").exists()
        none = on(composed, tmp_path, target, "user", "list", "--root", "/tmp/other", expect=1)
        assert "There is no volume at /tmp/other." in none.stderr
    finally:
        on(composed, tmp_path, target, "user", "remove", "on-eve")


def test_questions_are_asked_and_answered(composed: Composed, tmp_path: Path) -> None:
    """By a pipe and by a terminal; Ctrl-C at one changes nothing."""
    target = name_of(composed.application)
    arguments = ["package", "remove", "x", "1.0"]
    assert "another name" in on(composed, tmp_path, target, *arguments, given="y\n", expect=1).stderr
    command = [*PPMCTL, *arguments, "--on", f"docker://{target}"]
    with on_a_terminal(command, environ(composed, tmp_path)) as (process, terminal):
        read_until(terminal, b"to go on: ")
        os.write(terminal, b"y\x7fother\r")
        assert read_until(terminal, b"").endswith(b"ppmctl: That is another name; nothing was removed.\r\n")
        assert process.wait(timeout=60) == 1
    with on_a_terminal(command, environ(composed, tmp_path)) as (process, terminal):
        read_until(terminal, b"to go on: ")
        assert interrupt(terminal).endswith(b"Interrupted.\r\n")
        assert process.wait(timeout=60) == 130


@pytest.mark.parametrize("way", ["signal", "key"])
def test_ctrl_c_ends_what_runs_there(way: str, composed: Composed, tmp_path: Path) -> None:
    """What the engine alone does not do: a command in a container outlives whoever asked for it."""
    box = composed.application
    arguments = ["serve", "--root", "/tmp/served", "--host", "unix:/tmp/served.sock"]
    command = [*PPMCTL, *arguments, "--on", f"docker://{name_of(box)}"]
    if way == "key":
        with on_a_terminal(command, environ(composed, tmp_path)) as (process, terminal):
            listens(box)
            interrupt(terminal)
            assert process.wait(timeout=60) == 0
    else:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ(composed, tmp_path)
        ) as process:
            listens(box)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        assert process.returncode == 0
    assert box.run("test -S /tmp/served.sock", check=False, user="").code == 1
    box.run("rm -r /tmp/served*", user="")


def listens(box: Container) -> None:
    until = time.monotonic() + 60
    while box.run("ppmctl health --root /tmp/served --host unix:/tmp/served.sock", check=False, user="").code:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_megabytes_go_through(composed: Composed, tmp_path: Path) -> None:
    """What is not read is no hindrance, and a long answer comes whole."""
    target = name_of(composed.application)
    done = on(composed, tmp_path, target, "serve", "--help", given="x" * (8 << 20))
    assert done.stdout == on(composed, tmp_path, target, "serve", "--help").stdout
    seen = on(composed, tmp_path, target, "user", "list", "--json", given="x" * (8 << 20))
    assert isinstance(json.loads(seen.stdout), list)


def test_no_secret_is_in_an_argument_or_a_log(composed: Composed, tmp_path: Path) -> None:
    """The engine keeps the arguments of commands; neither they nor a container's log has a secret."""
    box = composed.application
    made = on(composed, tmp_path, name_of(box), "user", "add", "on-ann", "--role", "reader")
    try:
        secret = made.stdout.strip()
        assert SECRET.fullmatch(secret)
        api = box.engine.api.api
        ids = api.inspect_container(box.id)["ExecIDs"] or []
        for identity in ids:
            assert secret not in json.dumps(api.exec_inspect(identity))
        assert secret not in box.logs() + composed.web.logs()
        assert secret not in composed.look("cat audit.jsonl")
    finally:
        on(composed, tmp_path, name_of(box), "user", "remove", "on-ann")


def test_a_service_of_compose_is_found_by_its_name(
    composed: Composed, new_compose: Callable[..., Composed], tmp_path: Path
) -> None:
    """If one container alone is meant; more are named, and nothing is done."""
    lone = f"lone-{os.getpid()}"
    more = tmp_path / "more.yml"
    more.write_text(
        f'services:\n  {lone}:\n    image: "ppm-pypiserver:${{PPM_TAG}}"\n    command: [sleep, infinity]\n'
        "    volumes: [lone:/srv/ppm]\n    init: true\n    healthcheck: {disable: true}\nvolumes:\n  lone:\n"
    )
    index = new_compose(files=(compose.FILE, more), up=False)
    index.compose.up("--no-deps", "pypiserver", lone)
    none = on(index, tmp_path, lone, "user", "list", "--json", expect=1)
    assert "There is no volume at /srv/ppm." in none.stdout
    ambiguous = on(index, tmp_path, "pypiserver", "user", "list", expect=1)
    assert "The compose service 'pypiserver' has" in ambiguous.stderr
    for each in (composed, index):
        assert name_of(each.application) in ambiguous.stderr
    index.compose.stop(lone)
    stopped = on(index, tmp_path, lone, "user", "list", expect=1).stderr
    assert "is not running: it is exited." in stopped
    assert f"docker start {name_of(index.compose.container(lone))}" in stopped


def test_what_is_no_place_for_it(composed: Composed, tmp_path: Path) -> None:
    assert "There is no container 'nobody'" in on(composed, tmp_path, "nobody", "user", "list", expect=1).stderr
    web = on(composed, tmp_path, name_of(composed.web), "user", "list", expect=1).stderr
    assert f"ppmctl can't be run on the container {name_of(composed.web)}: not on the PATH" in web
    assert "docker://pypiserver" in web
    nobody = f"unix://{tmp_path}/docker.sock"
    said = on(composed, tmp_path, "x", "user", "list", expect=1, DOCKER_HOST=nobody).stderr
    assert said.startswith(f"ppmctl: Docker lists no containers: Cannot connect to the Docker daemon at {nobody}.")
    assert "DOCKER_HOST selects the engine" in said
