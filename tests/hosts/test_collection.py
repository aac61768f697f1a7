"""The collection ppm.index, built from this checkout and installed into an empty folder, is complete."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from support.deployed import Deployed

from testbed import playbook
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


def needed() -> list[str]:
    """Return the files of this checkout that site.yml and the other playbooks need."""
    command = ["git", "ls-files", "roles", "plugins", "playbooks", "ppmctl", "locks/server.txt", "pyproject.toml"]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.splitlines()


def test_an_installed_collection_changes_nothing_on_an_index(
    new_deployed: Callable[..., Deployed], tmp_path: Path
) -> None:
    """This finds files that galaxy.yml leaves out or that differ, and names that only resolve inside a checkout."""
    galaxy("build", "--output-path", str(tmp_path), folder=CHECKOUT)
    (built,) = tmp_path.glob("ppm-index-*.tar.gz")
    with tarfile.open(built) as tar:
        assert set(needed()) <= set(tar.getnames())
    galaxy("install", "--no-deps", str(built), "-p", str(tmp_path / "collections"), folder=tmp_path)
    site = tmp_path / "index.yml"
    site.write_text(PLAYBOOK)
    index = new_deployed(13)
    inventory = playbook.write_inventory(tmp_path / "hosts.yml", [index.host], variables=index.variables)
    environ = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}

    result = playbook.run(site, inventory, env=environ, folder=tmp_path).check()

    assert (result.host.changed, result.changed) == (0, ())
    assert result.host.ok == index.second.host.ok, "each task of site.yml ran"
    assert index.get("/simple/").status_code == 200
