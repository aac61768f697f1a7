"""`--on docker://…`: the same command in a container; its input, output, files and traces."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import termios
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from support.composed import Composed
from support.evidence import until
from support.servers import PPMCTL, clean_environment
from support.terminals import interrupt, on_a_terminal, read_until

from testbed import compose, packages, place
from testbed.container import Container

SECRET = re.compile(r"ppm_[\w-]{40,}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:]+Z?")


def container_name(box: Container) -> str:
    """Return the container's name in the engine."""
    return str(box.engine.api.containers.get(box.id).name)


@cache
def programs() -> str:
    """Return the folder of the command `docker`: this machine's, or Debian 13's, unpacked."""
    docker = shutil.which("docker")
    if docker is None:
        root = packages.unpacked(13, ("docker-cli",), below=place.cache() / "packages")
        docker = str(root / "usr/bin/docker")
    return str(Path(docker).parent)


def environ(index: Composed, folder: Path, **more: str) -> dict[str, str]:
    variables = clean_environment(folder / "home")
    path = os.pathsep.join([variables["PATH"], programs()])
    return variables | {"DOCKER_HOST": index.compose.engine.url, "PATH": path} | more


def ppmctl_on(
    index: Composed, folder: Path, target: str, *arguments: str, given: str = "", expect: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl … --on docker://…`; fail with its output unless it exits with `expect`."""
    command = [*PPMCTL, *arguments, "--on", f"docker://{target}"]
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, env=environ(index, folder, **more), timeout=120
    )
    assert done.returncode == expect, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def test_output_and_exit_code_are_those_of_the_command_in_the_container(composed: Composed, tmp_path: Path) -> None:
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
        done = ppmctl_on(composed, tmp_path, container_name(box), *arguments, expect=code)
        for theirs, ours in ((out, done.stdout), (err, done.stderr)):
            assert TIME.sub("TIME", ours) == TIME.sub("TIME", (theirs or b"").decode())


def test_files_of_tokens_and_users_are_copied(composed: Composed, tmp_path: Path) -> None:
    """They work although the container's file system is read-only; the secret of the new token is valid."""
    target = container_name(composed.application)
    file = tmp_path / "a token"
    made = ppmctl_on(
        composed, tmp_path, target, "token", "create", "on+ci", "--role", "reader", "--output", str(file)
    )
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
        assert "on-carl" in ppmctl_on(composed, tmp_path, target, "user", "import", str(given)).stdout
    finally:
        ppmctl_on(composed, tmp_path, target, "token", "revoke", "on+ci")
    ppmctl_on(composed, tmp_path, target, "user", "remove", "on-carl")
    assert session.get(composed.simple, auth=(user, secret), timeout=30).status_code == 401
    assert composed.look("ls -A /tmp") == ""


def test_root_is_a_path_in_the_container(composed: Composed, tmp_path: Path) -> None:
    target = container_name(composed.application)
    ppmctl_on(
        composed, tmp_path, target, "user", "add", "on-eve", "--role", "reader", PPM_ROOT=str(tmp_path / "mine")
    )
    try:
        assert "on-eve:" in composed.look("cat credentials/htpasswd")
        assert not (tmp_path / "mine").exists()
        refused = ppmctl_on(composed, tmp_path, target, "user", "list", "--root", "/tmp/other", expect=1)
        assert "There is no volume at /tmp/other." in refused.stderr
    finally:
        ppmctl_on(composed, tmp_path, target, "user", "remove", "on-eve")


def test_questions_are_asked_and_answered(composed: Composed, tmp_path: Path) -> None:
    """They are answered through a pipe or a terminal; Ctrl-C at a question changes nothing."""
    target = container_name(composed.application)
    arguments = ["package", "remove", "x", "1.0"]
    assert "another name" in ppmctl_on(composed, tmp_path, target, *arguments, given="y\n", expect=1).stderr
    command = [*PPMCTL, *arguments, "--on", f"docker://{target}"]
    with on_a_terminal(command, environ(composed, tmp_path)) as (process, terminal):
        read_until(terminal, b"to confirm: ")
        os.write(terminal, b"y\x7fother\r")
        assert read_until(terminal, b"").endswith(b"ppmctl: That is another name; nothing was removed.\r\n")
        assert process.wait(timeout=180) == 1
    with on_a_terminal(command, environ(composed, tmp_path)) as (process, terminal):
        read_until(terminal, b"to confirm: ")
        assert interrupt(terminal).endswith(b"Interrupted.\r\n")
        assert process.wait(timeout=180) == 130


@pytest.mark.parametrize("way", ["signal", "key"])
def test_ctrl_c_ends_the_command_in_the_container(way: str, composed: Composed, tmp_path: Path) -> None:
    """The engine does not do that: without ppmctl, a command in a container outlives its client."""
    box = composed.application
    arguments = ["serve", "--root", "/tmp/served", "--host", "unix:/tmp/served.sock"]
    command = [*PPMCTL, *arguments, "--on", f"docker://{container_name(box)}"]
    if way == "key":
        with on_a_terminal(command, environ(composed, tmp_path)) as (process, terminal):
            wait_until_it_listens(box)
            # before that Ctrl-C would end the local command
            until(lambda: not termios.tcgetattr(terminal)[3] & termios.ICANON, "keys are passed on as they are")
            interrupt(terminal, once=True)
            assert process.wait(timeout=180) == 0
    else:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ(composed, tmp_path)
        ) as process:
            wait_until_it_listens(box)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=180)
        assert process.returncode == 0
    assert box.run("test -S /tmp/served.sock", check=False, user="").code == 1
    box.run("rm -r /tmp/served*", user="")


def wait_until_it_listens(box: Container) -> None:
    asked = "ppmctl health --root /tmp/served --host unix:/tmp/served.sock"
    until(lambda: box.run(asked, check=False, user="").code == 0, "a healthy server in the container")


def test_large_input_and_output(composed: Composed, tmp_path: Path) -> None:
    """Input that the command does not read does not block it, and long output is complete."""
    target = container_name(composed.application)
    done = ppmctl_on(composed, tmp_path, target, "serve", "--help", given="x" * (8 << 20))
    assert done.stdout == ppmctl_on(composed, tmp_path, target, "serve", "--help").stdout
    seen = ppmctl_on(composed, tmp_path, target, "user", "list", "--json", given="x" * (8 << 20))
    assert isinstance(json.loads(seen.stdout), list)


def test_no_secret_is_in_an_argument_or_a_log(composed: Composed, tmp_path: Path) -> None:
    """The engine records the arguments of commands; neither they nor a container's log has a secret."""
    box = composed.application
    made = ppmctl_on(composed, tmp_path, container_name(box), "user", "add", "on-ann", "--role", "reader")
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
        ppmctl_on(composed, tmp_path, container_name(box), "user", "remove", "on-ann")


def test_a_service_of_compose_is_found_by_its_name(
    composed: Composed, new_compose: Callable[..., Composed], tmp_path: Path
) -> None:
    """It works if one container matches; otherwise all are listed, and nothing is done."""
    lone = f"lone-{os.getpid()}"
    more = tmp_path / "more.yml"
    more.write_text(
        f'services:\n  {lone}:\n    image: "ppm-pypiserver:${{PPM_TAG}}"\n    command: [sleep, infinity]\n'
        "    volumes: [lone:/srv/ppm]\n    init: true\n    healthcheck: {disable: true}\nvolumes:\n  lone:\n"
    )
    index = new_compose(files=(compose.FILE, more), up=False)
    index.compose.up("--no-deps", "sockets", "pypiserver", lone)
    refused = ppmctl_on(index, tmp_path, lone, "user", "list", "--json", expect=1)
    assert "There is no volume at /srv/ppm." in refused.stdout
    ambiguous = ppmctl_on(index, tmp_path, "pypiserver", "user", "list", expect=1)
    assert "The compose service 'pypiserver' has" in ambiguous.stderr
    for each in (composed, index):
        assert container_name(each.application) in ambiguous.stderr
    index.compose.stop(lone)
    stopped = ppmctl_on(index, tmp_path, lone, "user", "list", expect=1).stderr
    assert "is not running: it is exited." in stopped
    assert f"docker start {container_name(index.compose.container(lone))}" in stopped


def test_targets_without_a_container_or_ppmctl_are_refused(composed: Composed, tmp_path: Path) -> None:
    assert (
        "There is no container 'nobody'" in ppmctl_on(composed, tmp_path, "nobody", "user", "list", expect=1).stderr
    )
    web = ppmctl_on(composed, tmp_path, container_name(composed.web), "user", "list", expect=1).stderr
    assert f"ppmctl can't be run on the container {container_name(composed.web)}: not on the PATH" in web
    assert "docker://pypiserver" in web
    closed_socket = f"unix://{tmp_path}/docker.sock"
    stderr = ppmctl_on(composed, tmp_path, "x", "user", "list", expect=1, DOCKER_HOST=closed_socket).stderr
    assert stderr.startswith(
        f"ppmctl: Docker lists no containers: Cannot connect to the Docker daemon at {closed_socket}."
    )
    assert "DOCKER_HOST selects the engine" in stderr
