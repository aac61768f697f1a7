"""The README's section on hosts, and the output of `make host`: every command is run unchanged."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import requests
import yaml
from support import checkout as copies
from support import readme
from support.servers import clean_environment, free_port

from testbed.acme import Acme
from testbed.bed import Bed
from testbed.hosts import Host

# two hosts from nothing and each playbook of the README take 5 minutes on an idle machine, 15 on a busy one
pytestmark = pytest.mark.timeout(1800)

MAKE_HOST_BLOCK, *OWN_HOST_BLOCKS = readme.blocks()["On a host"]
REMOVED_VARIABLES = ("ANSIBLE", "MAKE", "MFLAGS", "ARGS", "VIRTUAL_ENV", "PPM", "HOST_PORT")


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    """Return the environment of the commands, without settings that a user does not have."""
    return {name: value for name, value in os.environ.items() if not name.startswith(REMOVED_VARIABLES)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Iterator[Path]:
    """Make a clone of this checkout with the .venv of these tests; its host is removed after the module.

    tests/e2e/test_readme.py makes a .venv from nothing with `make up`, and tests/docker/test_readme_docker.py makes
    one with Ansible, for `make compose-config`.
    """
    folder = copies.copy(tmp_path_factory.mktemp("clone") / "ppm")
    copies.add_environment(folder)
    yield folder
    subprocess.run(["make", "host-down"], cwd=folder, env=environ, capture_output=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def run(checkout: Path, environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run shell commands in the checkout; the test fails unless `code` is their exit code."""

    def run(commands: str, *, code: int = 0, env: Mapping[str, str] = environ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=checkout,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
        )
        assert done.returncode == code, f"{commands}\nexited {done.returncode}:\n{done.stdout}\n{done.stderr[-8000:]}"
        return done

    return run


def containers(bed: Bed, lease: str) -> list[str]:
    """Return the names of a lease's running containers."""
    return sorted(box.name for box in bed.engine.api.containers.list(filters={"label": f"ppm-testbed.lease={lease}"}))


def test_make_host(
    checkout: Path, bed: Bed, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    up, look, down = MAKE_HOST_BLOCK.splitlines()
    first = run(up)
    assert "Active: active (running)" in run(look).stdout
    folder = checkout / ".host"

    # files for scripts
    url = (folder / "url").read_text().strip()
    assert re.fullmatch(r"https://localhost:\d+", url)
    user, secret = (folder / "credential").read_text().strip().split(":")
    assert stat.S_IMODE((folder / "credential").stat().st_mode) == 0o600
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(folder / "ca.pem")
        assert session.get(f"{url}/simple/", timeout=30).status_code == 401
        assert session.get(f"{url}/simple/", auth=(user, secret), timeout=30).status_code == 200
    lease = (folder / "key.pub").read_text().split()[-1]  # the key's comment is the name of the lease
    assert containers(bed, lease) == [f"{lease}-acme", f"{lease}-host"]

    # printed commands: the indented lines
    assert secret not in first.stdout + first.stderr
    script = textwrap.dedent(
        "\n".join(line for line in first.stdout.splitlines() if line.startswith("    ") or not line)
    )
    assert len(re.findall("ppm-hello|examples/hello", script)) == 2
    done = run(script, env=clean_environment(tmp_path / "home"))
    assert "published  ppm_hello-1.0-py3-none-any.whl" in done.stdout
    assert "Successfully installed ppm-hello-1.0" in done.stdout

    # make host-exec: quoting, output and exit code
    typed = """make host-exec CMD='echo "$(id -un)" '\\''$HOME'\\'' "$((6 * 7))"; echo complaint >&2; exit 3'"""
    done = run(typed, code=2)
    assert (done.stdout, done.stderr.splitlines()[0]) == ("root $HOME 42\n", "complaint")
    assert "Error 3" in done.stderr
    assert "No command" in run("make host-exec", code=2).stderr

    # again after a restart of this machine: the same host, and an ACME server with another root, which has lost the
    # account, so that there are a new one and a new certificate
    credential = (folder / "credential").read_text()
    run("make host-exec CMD='rm /srv/ppm/first-credential'")
    for name in containers(bed, lease):
        bed.engine.api.containers.get(name).stop(timeout=20)
    assert "make host" in run("make host-exec CMD=true", code=2).stderr
    again = run(up)
    assert re.search(r"^host +: .*changed=2 ", again.stderr, re.MULTILINE)
    assert (folder / "url").read_text() == f"{url}\n"
    assert (folder / "credential").read_text() == credential
    answer = requests.get(f"{url}/simple/ppm-hello/", auth=(user, secret), verify=str(folder / "ca.pem"), timeout=30)
    assert answer.status_code == 200
    assert "on port" in run(f"make host HOST_PORT={free_port()}", code=2).stderr

    # nothing is left
    run(down)
    assert not folder.exists()
    of_lease = {"label": f"ppm-testbed.lease={lease}"}
    assert bed.engine.api.containers.list(all=True, filters=of_lease) == []
    assert bed.engine.api.networks.list(filters=of_lease) == []
    assert run(down).stdout == ""
    assert "make host" in run("make host-exec CMD=true", code=2).stderr


@pytest.fixture
def editor(tmp_path: Path, acme: Acme, new_host: Callable[..., Host]) -> Path:
    """Write an editor that fills in the two files, with the settings that the test network needs in addition."""
    host = new_host(13, domain="packages.test")
    authority = tmp_path / "authority.pem"
    authority.write_bytes(acme.ca())
    root = tmp_path / "root.pem"
    root.write_bytes(acme.root())
    written = tmp_path / "written"
    written.mkdir()
    reached = {"packages.test": host.variables()}
    (written / "hosts.yml").write_text(yaml.safe_dump({"ppm": {"hosts": reached}}))
    variables = {"ppm_domain": "packages.test", "ppm_acme_email": "admin@example.com"}
    variables |= {"ppm_acme_directory": acme.directory, "ppm_ca_certificates": [str(authority)]}
    variables |= {"self_check_address": host.address, "self_check_ca_certificates": str(root)}
    (written / "vars.yml").write_text(yaml.safe_dump(variables))
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\nset -e\ntest -f "$1"; test -f "$2"\ncp {written}/hosts.yml "$1"\ncp {written}/vars.yml "$2"\n'
    )
    script.chmod(0o755)
    return script


def test_from_a_bare_host_to_an_index_and_to_a_newer_release_and_back(
    checkout: Path, editor: Path, environ: dict[str, str]
) -> None:
    printed = []
    for block in OWN_HOST_BLOCKS:
        if "upgrade.yml" in block:  # upgrade from a newer checkout
            module = checkout / "ppmctl" / "__init__.py"
            module.write_text(module.read_text() + "\n# newer\n")
        printed.append(readme.paste(block, checkout, environ | {"EDITOR": str(editor)}))
    text = "\n".join(printed)
    assert re.search(r"^ppm_[A-Za-z0-9_-]{43}$", text, re.MULTILINE), "the new user's secret is printed"
    assert text.count("Serves: ") == 2
