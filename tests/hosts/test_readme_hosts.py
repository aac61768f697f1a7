"""The README's part on hosts, by one who pastes block after block: every command as it stands."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support import checkout as copies
from support import readme

from testbed.acme import Acme
from testbed.hosts import Host


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """What somebody gets who clones this checkout; its .venv is made by the commands."""
    folder = copies.copy(tmp_path / "ppm")
    yield folder
    subprocess.run(["make", "host-down"], cwd=folder, capture_output=True, timeout=300, check=False)


@pytest.fixture
def editor(tmp_path: Path, checkout: Path, acme: Acme, new_host: Callable[..., Host]) -> Path:
    """An administrator: writes into the two files what they have, and what a laboratory's network needs besides."""
    host = new_host(13, domain="packages.test")
    authority = tmp_path / "authority.pem"
    authority.write_bytes(acme.ca())
    root = tmp_path / "root.pem"
    root.write_bytes(acme.root())
    written = tmp_path / "written"
    written.mkdir()
    reached = {"packages.test": host.variables()}
    (written / "hosts.yml").write_text(yaml.safe_dump({"ppm": {"hosts": reached}}))
    said = {"ppm_domain": "packages.test", "ppm_acme_email": "admin@example.com"}
    said |= {"ppm_acme_directory": acme.directory, "ppm_ca_certificates": [str(authority)]}
    said |= {"self_check_address": host.address, "self_check_ca_certificates": str(root)}
    (written / "vars.yml").write_text(yaml.safe_dump(said))
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\nset -e\ntest -f "$1"; test -f "$2"\ncp {written}/hosts.yml "$1"\ncp {written}/vars.yml "$2"\n'
    )
    script.chmod(0o755)
    return script


def test_every_command_runs_as_it_stands(checkout: Path, editor: Path, tmp_path: Path) -> None:
    foreign = ("ANSIBLE", "MAKE", "MFLAGS", "ARGS", "VIRTUAL_ENV", "PPM")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environ |= {"EDITOR": str(editor)}
    said = {}
    for block in readme.blocks()["On a host"]:
        if "upgrade.yml" in block:  # a newer checkout
            module = checkout / "ppmctl" / "__init__.py"
            module.write_text(module.read_text() + "\n# newer\n")
        said[block] = readme.paste(block, checkout, environ)
    text = "\n".join(said.values())
    assert re.search(r"^ppm_[A-Za-z0-9_-]{43}$", text, re.MULTILINE), "the new user's secret is printed"
    assert text.count("Serves: ") == 2
