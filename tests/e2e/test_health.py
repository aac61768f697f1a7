"""Tests of `ppmctl health` with a real server: it reports each fault that affects users."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import namespaces
from support.evidence import until
from support.servers import PPMCTL, Server, ppmctl, run_ppmctl, start

from ppmctl.server import unix_http


class Local:
    """A server at a socket's path, as in a container."""

    def __init__(self, root: Path, path: Path, *options: str) -> None:
        self.root, self.path = root, path
        self.environ = {**os.environ, "PPM_ROOT": str(root), "PPM_HOST": f"unix:{path}"}
        self.log = root.with_name("log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*PPMCTL, "serve", *options], stderr=log, start_new_session=True, env=self.environ
            )

    def health(self, *options: str, behind: tuple[str, ...] = ()) -> tuple[int, str]:
        if behind:
            command = [*behind, *PPMCTL, "health", *options]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=self.environ)
        else:
            done = run_ppmctl(["health", *options], env=self.environ, timeout=60)
        (line,) = (done.stdout + done.stderr).splitlines()
        return done.returncode, line

    def until_healthy(self) -> None:
        until(lambda: self.process.poll() is not None or unix_http.is_healthy(str(self.path), timeout=5), "an answer")
        assert self.process.poll() is None, self.log.read_text()
        assert self.health()[0] == 0

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Local]:
    folder = Path(tempfile.mkdtemp(prefix="ppm-"))  # a short path: a socket's address is limited to 107 bytes
    made = Local(root, folder / "ppm.sock")
    try:
        made.until_healthy()
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Yield a server without users that tests share; they revert their changes."""
    with serving(tmp_path_factory.mktemp("served") / "root") as made:
        yield made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Local]:
    """Yield a server that the test may stop."""
    with serving(tmp_path / "root") as made:
        yield made


def test_a_healthy_server_is_reported_in_one_line(served: Local) -> None:
    before = sorted(served.root.rglob("*"))
    assert served.health() == (0, f"ok: the server of {served.root} answers, shows a page, and can write its volume")
    assert sorted(served.root.rglob("*")) == before


def test_health_over_tcp_and_with_public_reads(tmp_path: Path) -> None:
    """The settings define address and access; the server's options are passed again."""
    server: Server = start(tmp_path / "root", options=("--read-access", "public"))
    try:
        asked = ["health", "--root", str(server.root), "--port", str(server.port)]
        assert "not with 401" in ppmctl(*asked, expect=1).stderr
        ppmctl(*asked, "--read-access", "public")
    finally:
        server.kill()


def test_a_servers_record_is_found_without_options_and_a_second_server_is_reported(tmp_path: Path) -> None:
    """As while a server replaces another: the one that started last counts, and each removes only its own record."""
    first: Server = start(tmp_path / "root", options=("--read-access", "public"))
    root = ("--root", str(first.root))
    try:
        assert "answers" in ppmctl("health", *root).stdout
        assert "Another server" not in first.log.read_text()
        second = start(first.root, options=("--read-access", "public"))
        try:
            assert f"Another server serves {first.root} too: 127.0.0.1 port {first.port}" in first.log.read_text()
            found = json.loads(ppmctl("doctor", *root, "--json").stdout)["findings"]
            (shown,) = [each for each in found if each["check"] == "servers"]
            assert (shown["state"], "2 servers use this volume" in shown["found"]) == ("warn", True)
            assert f"port {second.port}" in ppmctl("init", *root).stderr
            assert second.stop() == 0
            ppmctl("health", *root)
        finally:
            with contextlib.suppress(ProcessLookupError):
                second.kill()
        assert first.stop() == 0
        assert list((first.root / "servers").iterdir()) == []
        assert "127.0.0.1 port 8080" in ppmctl("health", *root, expect=1).stderr
    finally:
        with contextlib.suppress(ProcessLookupError):
            first.kill()


def test_a_server_that_hangs_or_was_killed(alone: Local) -> None:
    """It does not answer, then it is killed, and a second one starts with the first one's leftovers."""
    os.killpg(alone.process.pid, signal.SIGSTOP)
    code, line = alone.health()
    hanging = alone.health("--alive")
    os.killpg(alone.process.pid, signal.SIGCONT)
    assert hanging == (1, f"ppmctl: The server at unix:{alone.path} does not answer.")
    assert code == 1
    assert f"The server at unix:{alone.path}" in line
    assert alone.health()[0] == 0
    alone.end()
    assert alone.path.is_socket()
    assert alone.health() == (1, f"ppmctl: The server at unix:{alone.path} can't be used: Connection refused.")
    again = Local(alone.root, alone.path)
    try:
        again.until_healthy()
        again.process.terminate()
        assert again.process.wait(timeout=60) == 0
    finally:
        again.end()
    assert not alone.path.exists()
    assert alone.health() == (
        1,
        f"ppmctl: The server at unix:{alone.path} can't be used: No such file or directory.",
    )


def test_a_missing_page(served: Local) -> None:
    page = served.root / "index" / "simple" / "index.json"
    page.unlink()
    assert served.health() == (
        1,
        f"ppmctl: The list of projects, {page}, can't be used: No such file or directory.",
    )
    assert served.health("--alive") == (0, "ok: the server answers"), "a new start would not help"
    ppmctl("index", "rebuild", "--root", str(served.root))
    assert served.health()[0] == 0


def test_a_volume_that_has_become_read_only_or_full(served: Local) -> None:
    """As after an error of its disk; here only the health check sees it."""
    root = served.root
    read_only = namespaces.command(f"mount --bind {root} {root}; mount -o remount,bind,ro {root}")
    assert served.health(behind=read_only)[0] == 1
    assert f"{root} is mounted read-only" in served.health(behind=read_only)[1]
    full = namespaces.command(
        f"mount -t tmpfs -o size=4k,mode=0755 tmpfs {root}/incoming; head -c 4096 /dev/zero >{root}/incoming/ballast"
    )
    assert served.health(behind=full) == (1, f"ppmctl: The volume {root} can't be used: No space left on device.")


def test_invalid_settings_are_one_line_and_exit_code_1(served: Local) -> None:
    """Exit code 2 is reserved by container engines."""
    settings = served.root / "ppm.yml"
    settings.write_text("threads: many\n")
    code, line = served.health()
    settings.unlink()
    assert code == 1
    assert "threads in " in line


# a server's socket


def test_only_its_user_and_group_may_connect_to_the_socket(served: Local) -> None:
    """The server trusts a connecting process about the client's address."""
    assert served.path.stat().st_mode & 0o777 == 0o660


def test_a_second_server_does_not_take_the_firsts_socket(served: Local) -> None:
    second = Local(served.root, served.path)
    assert second.process.wait(timeout=60) == 1
    assert f"Can't listen at {served.path}: another server listens there." in served.log.read_text()
    assert served.health()[0] == 0


def test_a_server_without_users_writes_an_empty_list_for_the_web_server(served: Local) -> None:
    """With the empty list nginx requires a credential; the first user is still created as the first."""
    listed = served.root / "credentials" / "htpasswd"
    assert (listed.read_bytes(), listed.stat().st_mode & 0o777) == (b"", 0o640)
    assert ppmctl("user", "list", "--root", str(served.root)).stdout.splitlines()[1:] == []
    ppmctl("user", "first", "--root", str(served.root))
    assert listed.read_text().startswith("admin:")
