"""`make host`, in a checkout of its own: what it prints is run as it stands."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support import checkout as copies
from support.servers import clean_environment, free_port

from testbed.bed import Bed


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, bed: Bed) -> Iterator[Path]:
    """A copy of what is committed or about to be, with this .venv; its host goes at the end, also after a failure."""
    folder = copies.copy(tmp_path_factory.mktemp("checkout"))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    yield folder
    make(folder, "host-down")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=840, check=False
    )


def made(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = make(folder, *arguments)
    assert done.returncode == 0, done.stderr[-8000:]
    return done


def containers(bed: Bed, checkout: Path) -> list[str]:
    """The names of what `make host` made in a checkout; its key is called by its lease."""
    if not (checkout / ".host").exists():
        return []
    lease = (checkout / ".host" / "key.pub").read_text().split()[-1]
    return sorted(box.name for box in bed.engine.api.containers.list(filters={"label": f"ppm-testbed.lease={lease}"}))


def test_make_host(checkout: Path, bed: Bed, tmp_path: Path) -> None:
    port = free_port()
    first = made(checkout, "host", f"HOST_PORT={port}")
    url = f"https://localhost:{port}"
    folder = checkout / ".host"

    # what it leaves for scripts
    assert (folder / "url").read_text() == f"{url}\n"
    user, secret = (folder / "credential").read_text().strip().split(":")
    assert stat.S_IMODE((folder / "credential").stat().st_mode) == 0o600
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(folder / "ca.pem")
        assert session.get(f"{url}/simple/", timeout=30).status_code == 401
        assert session.get(f"{url}/simple/", auth=(user, secret), timeout=30).status_code == 200
    lease = (folder / "key.pub").read_text().split()[-1]
    assert containers(bed, checkout) == [f"{lease}-acme", f"{lease}-host"]

    # what it prints: the commands are those that are indented
    assert secret not in first.stdout + first.stderr
    script = textwrap.dedent(
        "\n".join(line for line in first.stdout.splitlines() if line.startswith("    ") or not line)
    )
    assert len(re.findall("ppm-hello|examples/hello", script)) == 2
    environ = clean_environment(tmp_path / "home")
    done = subprocess.run(
        ["bash", "-euc", script], cwd=checkout, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "published  ppm_hello-1.0-py3-none-any.whl" in done.stdout
    assert "Successfully installed ppm-hello-1.0" in done.stdout

    # a command in it: as it is typed, its output and its exit code
    done = make(checkout, "host-exec", """CMD=echo "$(id -un)" '$HOME' "$((6 * 7))"; echo complaint >&2; exit 3""")
    assert (done.stdout, done.stderr.splitlines()[0]) == ("root $HOME 42\n", "complaint")
    assert "Error 3" in done.stderr
    assert "No command" in make(checkout, "host-exec").stderr

    # again, after this machine was restarted: the same host, and an ACME server with another root
    credential, trusted = (folder / "credential").read_text(), (folder / "ca.pem").read_bytes()
    made(checkout, "host-exec", "CMD=rm /srv/ppm/first-credential")
    for name in containers(bed, checkout):
        bed.engine.api.containers.get(name).stop(timeout=20)
    assert "make host" in make(checkout, "host-exec", "CMD=true").stderr
    again = made(checkout, "host")
    assert re.search(r"^host +: .*changed=0 ", again.stderr, re.MULTILINE)
    assert (folder / "url").read_text() == f"{url}\n"
    assert (folder / "credential").read_text() == credential
    assert (folder / "ca.pem").read_bytes() == trusted
    answer = requests.get(f"{url}/simple/ppm-hello/", auth=(user, secret), verify=str(folder / "ca.pem"), timeout=30)
    assert answer.status_code == 200
    assert "on port" in make(checkout, "host", f"HOST_PORT={free_port()}").stderr

    # and nothing is left
    made(checkout, "host-down")
    assert not folder.exists()
    of_lease = {"label": f"ppm-testbed.lease={lease}"}
    assert bed.engine.api.containers.list(all=True, filters=of_lease) == []
    assert bed.engine.api.networks.list(filters=of_lease) == []
    assert made(checkout, "host-down").stdout == ""
    assert "make host" in make(checkout, "host-exec", "CMD=true").stderr
