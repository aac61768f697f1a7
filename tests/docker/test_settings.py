"""`make compose-config`: it checks a user's settings and renders the configuration for compose."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import helm_python
import pytest
import yaml
from support import checkout as copies

from testbed.bed import Bed
from testbed.compose import Compose

VENV = Path(sys.executable).parents[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copies.copy(tmp_path_factory.mktemp("settings") / "ppm")


def configure(checkout: Path, settings: str | None) -> subprocess.CompletedProcess[str]:
    """Run `make compose-config` with this virtual environment."""
    file = checkout / "docker" / "settings.yml"
    file.unlink(missing_ok=True)
    if settings is not None:
        file.write_text(settings)
    command = ["make", f"VENV={VENV}", "-o", f"{VENV}/.hosts", "compose-config"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)


def test_invalid_settings_are_listed_and_nothing_is_written(checkout: Path) -> None:
    done = configure(checkout, "ppm_upstrem: none\nppm_root: /data\nppm_tls: selfsigned\nppm_threads: many\n")
    assert done.returncode != 0
    output = " ".join(done.stdout.split())
    assert "Nothing was written." in output
    assert "ppm_upstrem is not a variable of ppm: did you mean ppm_upstream?" in output
    assert "PPM_DATA in docker/.env" in output
    assert "ppm_tls is 'selfsigned': it must be letsencrypt or provided or none." in output
    assert "ppm_threads is 'many'" in output
    assert not (checkout / "docker" / "local").exists()
    assert not (checkout / "docker" / ".env").exists()


def test_without_a_settings_file_the_command_to_type_is_printed(checkout: Path) -> None:
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

    # the publisher uses the public URL of the index
    compose = Compose(engine=bed.engine, project="settings", files=tuple(docker / name for name in files.split(":")))
    for given, expected in (("", "https://packages.example.com/"), ("https://other.test/", "https://other.test/")):
        output = compose.but(PPMCTL_INDEX=given, COMPOSE_PROFILES="publish").call("config", "--format", "json").out
        assert json.loads(output)["services"]["publisher"]["environment"]["PPMCTL_INDEX"] == expected


def test_settings_of_a_bucket_reach_the_application_and_the_helm_chart(checkout: Path, bed: Bed) -> None:
    """The application gets a network and the file with the credentials; the chart gets the same configuration."""
    docker = checkout / "docker"
    credentials = docker / "bucket.env"
    credentials.write_text("AWS_ACCESS_KEY_ID=key\n")
    done = configure(checkout, "ppm_storage: s3://packages/ppm\nppm_read_access: public\nppm_cache_max_size: 5G\n")
    assert done.returncode == 0, done.stdout
    files = tuple(docker / name for name in ("compose.yml", "local/compose.yml"))
    compose = Compose(engine=bed.engine, project="settings", files=files)
    made = compose.but(PPM_STORAGE_ENVIRONMENT_FILE=str(credentials)).call("config", "--format", "json")
    services = json.loads(made.out)["services"]
    for name in ("pypiserver", "pruner"):
        environment = services[name]["environment"]
        assert (environment["PPM_STORAGE"], environment["AWS_ACCESS_KEY_ID"]) == ("s3://packages/ppm", "key")
        assert services[name]["network_mode"] == "bridge"
    assert services["nginx"]["network_mode"] == "none"

    values = yaml.safe_load((docker / "local" / "values.yaml").read_text())
    assert values["storage"] == {"address": "s3://packages/ppm", "redirect": False, "cacheMaxSize": "5G"}
    assert values["settings"]["PPM_READ_ACCESS"] == "public"
    folder = docker / "local/nginx/etc/nginx/ppm"
    rendered = {str(path.relative_to(folder)) for path in folder.rglob("*.conf")}
    assert set(values["nginx"]["files"]) == rendered
    with helm_python.Chart.load(checkout / "deploy" / "helm" / "ppm") as chart:
        chart.validate_schema(values)
        config = yaml.safe_load(chart.render(values, name="ppm")["ppm/templates/nginx.yaml"])["data"]
    assert config["site.conf"] == (folder / "site.conf").read_text()
