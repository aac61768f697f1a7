"""The README's section on Docker: every command is run unchanged, block after block."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import checkout as copies
from support import composed, readme

from testbed import compose, debian, lease, ports
from testbed.bed import Bed

SETTING = "ppm_private_names: [acme-*]"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a clone of this checkout."""
    return copies.copy(tmp_path / "ppm")


@pytest.fixture
def environment(bed: Bed, tmp_path: Path, checkout: Path) -> Iterator[dict[str, str]]:
    """Return an environment with `docker compose`, pip, an editor that adds a setting, and its own project name."""
    ports.free(8080, first=8080, hint="the README names it: free it")
    with lease.turn():
        debian.base(bed.engine, 13)
    folder = tmp_path / "bin"
    folder.mkdir()
    editor = folder / "editor"
    editor.write_text(f'#!/bin/sh\nset -e\ntest -f "$1"\necho "{SETTING}" >> "$1"\n')
    editor.chmod(0o755)
    plugins = tmp_path / "docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    *docker, plugin = compose.client()
    if not docker:  # the standalone docker-compose is also a plugin
        (plugins / "docker-compose").symlink_to(str(shutil.which(plugin)))
    foreign = ("ANSIBLE", "COMPOSE_", "DOCKER_", "MAKE", "MFLAGS", "ARGS", "NETRC", "PIP_", "PPM", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = [str(Path(sys.executable).parent), "/usr/bin", environ["PATH"]]
    environ |= {"PATH": os.pathsep.join(path), "EDITOR": str(editor)}
    environ |= {"DOCKER_HOST": bed.engine.url, "COMPOSE_PROJECT_NAME": f"{bed.lease.name}-readme"}
    tag = f"{bed.lease.name}-readme"
    environ |= {"PPM_TAG": tag}  # a new tag, so that images of this checkout are built
    if not docker:
        environ |= {"DOCKER_CONFIG": str(plugins.parent)}
    yield environ
    readme.paste("docker compose --profile publish down --volumes", checkout / "docker", environ)
    composed.remove_images(bed, tag)


def test_every_command_runs_as_it_stands(checkout: Path, environment: dict[str, str]) -> None:
    outputs = [readme.paste(block, checkout, environment) for block in readme.blocks()["With Docker"]]
    assert [path.name for path in (checkout / "docker" / "got").iterdir()] == ["ppm_hello-1.0-py3-none-any.whl"]
    for name in ("first-credential", "netrc"):
        path = checkout / "docker" / name
        assert oct(path.stat().st_mode & 0o777) == "0o600"
        assert path.stat().st_uid == os.geteuid()
    text = "\n".join(outputs)
    assert re.search(r"^ppm_[A-Za-z0-9_-]{43}$", text, re.MULTILINE), "the new user's secret is printed"
    assert "COMPOSE_FILE=compose.yml:local/compose.yml\n" in (checkout / "docker" / ".env").read_text()
    assert "acme-*" in (checkout / "docker" / "local" / "nginx/etc/nginx/ppm/http.conf").read_text()
    ignored = readme.paste("git init -q . && git add -A && git ls-files docker", checkout, environment).split()
    kept = [name for name in ignored if name.startswith(("docker/local", "docker/settings.yml", "docker/.env"))]
    assert kept == ["docker/settings.yml.example"]
    assert not {"docker/first-credential", "docker/netrc"} & set(ignored)
