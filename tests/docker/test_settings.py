"""`make compose-config`: a user's own settings, checked and rendered for compose."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import checkout as copies
from support.tls import Authority

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


def test_it_is_done_once_and_leaves_the_rest_of_env(checkout: Path) -> None:
    settings = "ppm_domain: packages.example\nppm_tls: letsencrypt\nppm_acme_email: a@packages.example\n"
    (checkout / "docker" / ".env").write_text("PPM_TAG=mine\nCOMPOSE_FILE=compose.yml\n")
    assert configure(checkout, settings).returncode == 0
    env = (checkout / "docker" / ".env").read_text()
    assert env == "PPM_TAG=mine\nCOMPOSE_FILE=compose.yml:compose.tls.yml:local/compose.yml\n"
    site = (checkout / "docker" / "local" / "nginx/etc/nginx/ppm/site.conf").read_text()
    assert "listen 8443 ssl" in site
    assert "server_name packages.example;" in site
    again = configure(checkout, settings)
    assert again.returncode == 0
    assert "changed=0" in again.stdout


def test_the_example_is_a_file_of_settings(checkout: Path) -> None:
    """As it stands, and with every line of it that is commented out but what only one kind of certificate needs."""
    example = (checkout / "docker" / "settings.yml.example").read_text()
    assert configure(checkout, example).returncode == 0
    assert "COMPOSE_FILE=compose.yml:local/compose.yml" in (checkout / "docker" / ".env").read_text()
    said = [line.removeprefix("# ") for line in example.splitlines() if line.removeprefix("# ").startswith("ppm_")]
    done = configure(checkout, "\n".join(said))
    assert done.returncode == 0, done.stdout


def test_a_key_is_given_to_who_nginx_runs_as(checkout: Path, tmp_path: Path) -> None:
    """By root; anybody else is told the command."""
    chain, key = Authority().issue(tmp_path / "pair", "packages.example")
    said = f"ppm_domain: packages.example\nppm_tls: provided\nppm_tls_certificate: {chain}\nppm_tls_key: {key}\n"
    (checkout / "docker" / ".env").write_text("PPM_UID=4321\n")
    done = configure(checkout, said)
    assert done.returncode == 0, done.stdout
    copied = checkout / "docker" / "local" / "tls" / "privkey.pem"
    assert copied.stat().st_mode & 0o777 == 0o600
    if os.geteuid() == 0:
        assert copied.stat().st_uid == 4321
        assert "chown" not in done.stdout
    else:
        assert f"sudo chown 4321 {copied}" in " ".join(done.stdout.split())
