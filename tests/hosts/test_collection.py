"""The collection ppm.index: built from this checkout and installed into an empty folder, it makes an index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.deployed import FIRST_CREDENTIAL, Deployed, settings
from support.wheels import wheel

from testbed import playbook
from testbed.acme import Acme
from testbed.hosts import Host
from testbed.place import CHECKOUT

PLAYBOOK = """\
- name: A private Python package index
  import_playbook: ppm.index.site
"""


def galaxy(*arguments: str, folder: Path) -> None:
    """Run `ansible-galaxy collection`; fail with its output if it fails."""
    command = [Path(sys.executable).with_name("ansible-galaxy"), "collection", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_installed_collection_makes_an_index(new_host: Callable[..., Host], acme: Acme, tmp_path: Path) -> None:
    """This finds files that galaxy.yml leaves out, and names that only resolve inside a checkout."""
    galaxy("build", "--output-path", str(tmp_path), folder=CHECKOUT)
    (built,) = tmp_path.glob("ppm-index-*.tar.gz")
    galaxy("install", "--no-deps", str(built), "-p", str(tmp_path / "collections"), folder=tmp_path)
    index = tmp_path / "index.yml"
    index.write_text(PLAYBOOK)
    host = new_host(13)
    variables = settings(host, acme, tmp_path) | {"ppm_tls": "selfsigned", "ppm_acme_email": ""}
    inventory = playbook.write_inventory(tmp_path / "hosts.yml", [host], variables=variables)
    environ = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}

    playbook.run(index, inventory, env=environ, folder=tmp_path).check()

    ca = tmp_path / "own.pem"
    ca.write_bytes(host.box.get("/etc/ppm/tls/fullchain.pem"))
    user, _, secret = host.box.get(FIRST_CREDENTIAL).decode().strip().partition(":")
    made = Deployed(host=host, folder=tmp_path, variables=variables, ca=ca, user=user, secret=secret)
    assert made.get("/simple/").status_code == 200
    assert made.upload(wheel("from-collection", "1.0")).status_code == 200
    assert [file["filename"] for file in made.page("from-collection")["files"]] == [
        "from_collection-1.0-py3-none-any.whl"
    ]
