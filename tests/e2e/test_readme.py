"""Run every command of the README, unchanged, in a fresh clone."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support import checkout, readme, servers, wheels

PORT = 8080


def blocks() -> list[str]:
    """Return the commands without those for Docker and hosts, which tests/docker and tests/hosts run."""
    elsewhere = ("With Docker", "On a host")
    return [block for title, section in readme.blocks().items() if title not in elsewhere for block in section]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh clone of this checkout, with uncommitted files that git does not ignore."""
    return checkout.copy(tmp_path_factory.mktemp("clone") / "ppm")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a new user's environment: a home with only an old pypiserver folder, and this user's pip cache."""
    home = tmp_path_factory.mktemp("home")
    wheels.write(home / "packages", wheels.wheel("from-before", "1.0"))
    foreign = ("PPM", "TWINE_", "UV_", "MAKE", "MFLAGS", "ARGS", "NETRC", "VIRTUAL_ENV", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ask = [sys.executable, "-m", "pip", "cache", "dir"]
    cache = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    return kept | {"HOME": str(home), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CACHE_DIR": cache}


@pytest.fixture(scope="module")
def up(clone: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run `make up`, the first block, in the foreground of a new terminal; yield the file with its output."""
    assert blocks()[0] == "make up\n"
    assert is_free(PORT), f"Port {PORT}, which the README names, is taken on this machine: free it."
    printed = tmp_path_factory.mktemp("up") / "printed"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up"],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until = time.monotonic() + 600
    while is_free(PORT):
        assert process.poll() is None, printed.read_text()
        assert time.monotonic() < until, printed.read_text()
        time.sleep(0.2)
    yield printed
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)


def test_make_up_prints_commands_and_no_secret(up: Path, clone: Path) -> None:
    assert requests.get(f"http://127.0.0.1:{PORT}/healthz", timeout=10).text == "ok\n"
    credential = clone / ".ppm" / "first-credential"
    assert re.fullmatch(r"admin:ppm_[A-Za-z0-9_-]{43}\n", credential.read_text())
    assert oct(credential.stat().st_mode & 0o777) == "0o600"
    printed = up.read_text()
    assert str(credential) in printed
    assert credential.read_text().strip().partition(":")[2] not in printed
    for word in ("publish ", "install ", "stop "):
        assert word in printed


def test_every_command_of_the_readme_runs_unchanged(up: Path, clone: Path, environment: dict[str, str]) -> None:
    """In the order of the README, block after block. git ignores what they leave."""
    before = set(clone.iterdir())
    for block in blocks()[1:]:
        printed = readme.paste(block, clone, environment)
        if "try/bin/ppm-hello" in block:
            assert printed.endswith("Hello from your own index.\n")
    left = {f"{path.name}/" if path.is_dir() else path.name for path in set(clone.iterdir()) - before}
    command = ["git", "check-ignore", *left]
    ignored = subprocess.run(command, cwd=checkout.ROOT, capture_output=True, text=True, check=False).stdout
    assert set(ignored.splitlines()) == left >= {"try/", "dist/"}
    listed = subprocess.run(
        ["bash", "-c", "ls .ppm/packages"], cwd=clone, capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed == ["from-before", "ppm-env-tools", "ppm-hello"]


def test_commands_printed_by_make_up_work(up: Path, clone: Path, environment: dict[str, str]) -> None:
    """The output of `make up`, with the capital words replaced."""
    printed = dict(
        match.groups() for match in re.finditer(r"^(publish|install|add a user) +(.+)$", up.read_text(), re.MULTILINE)
    )
    assert set(printed) == {"publish", "install", "add a user"}
    subprocess.run(["python3", "-m", "venv", "mine"], cwd=clone, env=environment, check=True, timeout=120)
    path = os.pathsep.join([str(clone / "mine" / "bin"), environment["PATH"]])
    for name, words in (
        ("publish", ("PROJECT_FOLDER", "examples/hello")),
        ("install", ("NAME", "ppm-hello")),
        ("add a user", ("NAME", "bob")),
    ):
        command = printed[name].replace(*words)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env={**environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (clone / "mine" / "bin" / "ppm-hello").exists()


def test_make_lists_its_commands(clone: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(["make"], cwd=clone, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for target in ("up", "test", "test-fast", "lint"):
        assert f"make {target} " in done.stdout


def test_make_up_with_another_port_and_root(
    clone: Path, environment: dict[str, str], up: Path, tmp_path: Path
) -> None:
    """`make up PORT=… ROOT=…` while the first runs; Ctrl-C ends it cleanly, without a traceback."""
    port = servers.free_port()
    printed = tmp_path / "printed"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            ["make", "up", f"PORT={port}", f"ROOT={tmp_path / 'data'}"],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    until = time.monotonic() + 120
    while is_free(port):
        assert process.poll() is None, printed.read_text()
        assert time.monotonic() < until, printed.read_text()
        time.sleep(0.1)
    assert (tmp_path / "data" / "first-credential").exists()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    assert "Traceback" not in printed.read_text()
    assert is_free(port)
