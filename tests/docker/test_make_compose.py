"""`make compose-up`, `compose-down` and `images`, in a separate checkout; printed commands are run unchanged."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support import checkout as copies
from support import composed
from support.served import plain_session
from support.servers import clean_environment, free_port

from testbed.bed import Bed


@pytest.fixture(scope="module")
def tag(bed: Bed) -> str:
    """Return the tag of the images that are built here, because ppm-nginx:latest may be the user's own."""
    return f"{bed.lease.name}-make"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, bed: Bed, tag: str) -> Iterator[Path]:
    """Copy this checkout, with this .venv; its deployment and data are removed at the end."""
    folder = copies.copy(tmp_path_factory.mktemp("checkout"))
    (folder / ".venv").symlink_to(Path(sys.prefix))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPM_TAG", tag)
        yield folder
        make(folder, "compose-down", "ARGS=--volumes")
    composed.remove_images(bed, tag)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-o", ".venv/.dev", *arguments]  # this test runs in that environment
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=840, check=False)


def make_successfully(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = make(folder, *arguments)
    assert done.returncode == 0, done.stderr[-8000:]
    return done


def ask(folder: Path, path: str = "/simple/") -> requests.Response:
    """Send a GET request with the admin's credential in .compose/."""
    url = (folder / ".compose" / "url").read_text().strip()
    user, _, secret = (folder / ".compose" / "credential").read_text().strip().partition(":")
    with plain_session() as session:
        return session.get(url + path, auth=(user, secret), timeout=30, allow_redirects=False)


def containers(bed: Bed, project: str) -> dict[str, str]:
    labels = {"label": f"com.docker.compose.project={project}"}
    boxes = bed.engine.api.containers.list(all=True, filters=labels)
    return {box.labels["com.docker.compose.service"]: box.id for box in boxes}


def volumes(bed: Bed, project: str) -> list[str]:
    labels = {"label": f"com.docker.compose.project={project}"}
    return [volume.name for volume in bed.engine.api.volumes.list(filters=labels)]


def test_make_compose_up_and_down(checkout: Path, bed: Bed, tag: str, tmp_path: Path) -> None:
    port = free_port()
    first = make_successfully(checkout, "compose-up", f"HOST_PORT={port}")
    folder = checkout / ".compose"

    # files for scripts
    assert (folder / "url").read_text() == f"http://localhost:{port}\n"
    user, secret = (folder / "credential").read_text().strip().split(":")
    assert (folder / "netrc").read_text() == f"machine localhost\nlogin {user}\npassword {secret}\n"
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("credential", "netrc")] == [0o600, 0o600]
    assert ask(checkout).status_code == 200
    assert secret not in first.stdout + first.stderr
    over = json.loads((folder / "compose.json").read_text())
    project = over["services"]["nginx"]["labels"]["ppm-testbed.lease"]
    service_containers = containers(bed, project)
    assert sorted(service_containers) == ["nginx", "pruner", "pypiserver", "sockets"]
    image_of = {
        name: bed.engine.api.containers.get(box).attrs["Config"]["Image"] for name, box in service_containers.items()
    }
    image_of_service = {"nginx": "ppm-nginx", "pruner": "ppm-pypiserver", "pypiserver": "ppm-pypiserver"}
    image_of_service["sockets"] = "ppm-sockets"
    assert image_of == {name: f"{image}:{tag}" for name, image in image_of_service.items()}

    # printed commands: the indented lines
    script = textwrap.dedent(
        "\n".join(line for line in first.stdout.splitlines() if line.startswith("    ") or not line)
    )
    assert len(re.findall("ppm-hello|examples/hello", script)) == 2
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=checkout,
        env=clean_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully installed ppm-hello-1.0" in done.stdout

    # a second run restarts nothing
    make_successfully(checkout, "compose-up")
    assert containers(bed, project) == service_containers
    assert (folder / "credential").read_text() == f"{user}:{secret}\n"
    assert ask(checkout, "/simple/ppm-hello/").status_code == 200

    # down and up, on another port: the data stays, and a lost credential is replaced
    assert "make compose-down ARGS=--volumes" in make_successfully(checkout, "compose-down").stdout
    assert containers(bed, project) == {}
    assert not (folder / "url").exists()
    (folder / "credential").unlink()
    other = free_port()
    assert "gets another" in make_successfully(checkout, "compose-up", f"HOST_PORT={other}").stderr
    assert (folder / "url").read_text() == f"http://localhost:{other}\n"
    assert (folder / "credential").read_text() != f"{user}:{secret}\n"
    assert ask(checkout, "/simple/ppm-hello/").status_code == 200

    # the error names a port that is taken; the deployment continues to run
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "is taken" in make(checkout, "compose-up", f"HOST_PORT={taken.getsockname()[1]}").stderr
    assert ask(checkout).status_code == 200

    # nothing is left; a user's container of the same image is
    assert volumes(bed, project)
    users = bed.engine.api.containers.create(f"ppm-nginx:{tag}", ["sleep", "600"], name=f"users-{tag}")
    try:
        users.start()
        make_successfully(checkout, "compose-down", "ARGS=--volumes")
        users.reload()
        assert users.status == "running"
    finally:
        users.remove(force=True)
    assert not folder.exists()
    assert (containers(bed, project), volumes(bed, project)) == ({}, [])
    assert make_successfully(checkout, "compose-down").stdout == ""


def test_make_images_prints_their_sizes(checkout: Path, bed: Bed, tag: str, figures: list[str]) -> None:
    lines = make_successfully(checkout, "images").stdout.splitlines()
    sizes = {name: float(size) for size, unit, name in (line.split() for line in lines) if unit == "MB"}
    assert sorted(sizes) == [
        f"ppm-{name}:{tag}" for name in ("backup", "certbot", "nginx", "publisher", "pypiserver", "s3", "sockets")
    ]
    for name, size in sizes.items():
        assert size == round(bed.engine.api.images.get(name).attrs["Size"] / 1e6, 1)
    figures += [f"    {line}" for line in lines]
