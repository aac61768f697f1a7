"""`make compose-config`: a user's own settings, checked and rendered for compose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import checkout as copies

from testbed.bed import Bed
from testbed.compose import Compose

VENV = Path(sys.executable).parents[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copies.copy(tmp_path_factory.mktemp("settings") / "ppm")


def configure(checkout: Path, settings: str | None) -> subprocess.CompletedProcess[str]:
    """Run `make compose-config` with what is installed here already."""
    file = checkout / "docker" / "settings.yml"
    file.unlink(missing_ok=True)
    if settings is not None:
        file.write_text(settings)
    command = ["make", f"VENV={VENV}", "-o", f"{VENV}/.hosts", "compose-config"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)


def test_what_is_wrong_is_listed_and_nothing_is_written(checkout: Path) -> None:
    done = configure(checkout, "ppm_upstrem: none\nppm_root: /data\nppm_tls: selfsigned\nppm_threads: many\n")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "Nothing was written." in said
    assert "ppm_upstrem is not a variable of ppm: did you mean ppm_upstream?" in said
    assert "PPM_DATA in docker/.env" in said
    assert "ppm_tls is 'selfsigned': it must be letsencrypt or provided or none." in said
    assert "ppm_threads is 'many'" in said
    assert not (checkout / "docker" / "local").exists()
    assert not (checkout / "docker" / ".env").exists()


def test_without_settings_it_says_what_to_type(checkout: Path) -> None:
    done = configure(checkout, None)
    assert done.returncode != 0
    assert "cp docker/settings.yml.example docker/settings.yml" in done.stderr


def test_every_line_of_the_example_can_be_set_and_the_rest_of_env_stays(checkout: Path, bed: Bed) -> None:
    docker = checkout / "docker"
    example = (docker / "settings.yml.example").read_text().splitlines()
    settings = "\n".join(line.removeprefix("# ") for line in example if line.removeprefix("# ").startswith("ppm_"))
    (docker / ".env").write_text("PPM_TAG=mine\nCOMPOSE_FILE=compose.yml\n")
    done = configure(checkout, settings)
    assert done.returncode == 0, done.stdout
    files = "compose.yml:compose.tls.yml:local/compose.yml"
    assert (docker / ".env").read_text() == f"PPM_TAG=mine\nCOMPOSE_FILE={files}\n"
    site = (docker / "local" / "nginx/etc/nginx/ppm/site.conf").read_text()
    assert "listen 8443 ssl" in site
    assert "server_name packages.example.com;" in site

    # the publisher finds the index as everybody does
    compose = Compose(engine=bed.engine, project="settings", files=tuple(docker / name for name in files.split(":")))
    for given, expected in (("", "https://packages.example.com/"), ("https://other.test/", "https://other.test/")):
        said = compose.but(PPMCTL_INDEX=given, COMPOSE_PROFILES="publish").call("config", "--format", "json").out
        assert json.loads(said)["services"]["publisher"]["environment"]["PPMCTL_INDEX"] == expected
