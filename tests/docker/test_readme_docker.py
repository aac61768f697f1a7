"""The README's section on Docker: every command is run unchanged, block after block."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import checkout as copies
from support import composed, evidence, readme

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
    if not shutil.which("sudo"):
        (folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (folder / "sudo").chmod(0o755)
    plugins = tmp_path / "docker" / "cli-plugins"
    plugins.mkdir(parents=True)
    *docker, plugin = compose.client()
    if not docker:  # the standalone docker-compose is also a plugin
        (plugins / "docker-compose").symlink_to(str(shutil.which(plugin)))
    foreign = ("ANSIBLE", "COMPOSE_", "DOCKER_", "MAKE", "MFLAGS", "ARGS", "NETRC", "PIP_", "PPM", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = [str(Path(sys.executable).parent), "/usr/bin", environ["PATH"], str(folder)]
    environ |= {"PATH": os.pathsep.join(path), "EDITOR": str(editor)}
    environ |= {"DOCKER_HOST": bed.engine.url, "COMPOSE_PROJECT_NAME": f"{bed.lease.name}-readme"}
    tag = f"{bed.lease.name}-readme"
    environ |= composed.tags(tag)  # a new tag, so that images of this checkout are built
    if not docker:
        environ |= {"DOCKER_CONFIG": str(plugins.parent)}
    yield environ
    readme.paste("docker compose --profile publish --profile backup down --volumes", checkout / "docker", environ)
    composed.remove_images(bed, tag)


def has_backup(checkout: Path, environment: dict[str, str]) -> bool:
    command = "docker compose exec -T pypiserver ppmctl operation list --json"
    listed = json.loads(readme.paste(command, checkout / "docker", environment))["operations"]
    return any(each["name"] == "backup" and each["succeeded"] for each in listed)


def try_backups(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Run the commands of docs/backup.md for compose, with another folder; restore what they backed up."""
    folder = tmp_path / "backup"
    folder.mkdir()
    settings, *commands, restore = (
        block.replace("/mnt/backup/ppm", str(folder)) for block in readme.blocks("docs/backup.md")["With Docker"]
    )
    with (checkout / "docker" / ".env").open("a") as file:
        file.write(settings)
    made, *inside = commands
    readme.paste(made, checkout, environment)
    evidence.until(lambda: has_backup(checkout, environment), "the service has made its first backup")
    for block in inside:
        assert "snapshot" in readme.paste(block, checkout / "docker", environment).lower()
    readme.paste("docker compose down --volumes", checkout / "docker", environment)
    readme.paste(restore, checkout / "docker", environment)
    readme.paste("docker compose exec -T pypiserver ppmctl package show ppm-hello", checkout / "docker", environment)


def test_every_command_runs_as_it_stands(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
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
    try_backups(checkout, environment, tmp_path)
    committed = readme.paste("git init -q . && git add -A && git ls-files docker", checkout, environment).split()
    settings_files = [
        name for name in committed if name.startswith(("docker/local", "docker/settings.yml", "docker/.env"))
    ]
    assert settings_files == ["docker/settings.yml.example"]
    assert not {"docker/first-credential", "docker/netrc"} & set(committed)
