"""Test that users can leave: a stock pypiserver on `packages/` serves the same files with the same hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import requests
from support import wheels
from support.clients import Installer, Machine, Real, publish
from support.servers import Server, ppmctl
from support.stock import links, stock_pypiserver


def test_a_stock_pypiserver_serves_the_same_files(
    serve: Callable[..., Server],
    new_machine: Callable[..., Machine],
    installer_of: Callable[..., Installer],
    real: Real,
    tmp_path: Path,
) -> None:
    """The same projects, names, hashes and bytes; and side files are not listed."""
    server = serve("--upstream", "none")
    publish("twine", new_machine(), server, server.url + "/", *real.all)
    for made in (
        wheels.wheel("Odd.Name_here", "1.0+cpu.1"),
        wheels.sdist("epochal", "1!2.0"),
        ("zipped-1.0.zip", wheels.zip_of({"zipped-1.0/PKG-INFO": wheels.metadata("zipped", "1.0")})),
        wheels.wheel("several", "1.0"),
        wheels.wheel("several", "2.0"),
        wheels.sdist("several", "2.0"),
        wheels.wheel("several", "3.0"),
    ):
        assert server.upload(made, fields={"attestations": "[]"}).status_code == 200
    root = ("--root", str(server.root))
    ppmctl("package", "yank", "several", "1.0", "--reason", "old", *root)
    ppmctl("package", "remove", "several", "3.0", "--yes", *root)
    ppmctl("package", "status", "several", "deprecated", *root)

    projects = sorted(path.name for path in (server.root / "packages").iterdir())
    ours = {project: server.page(project)["files"] for project in projects}
    assert sum(len(files) for files in ours.values()) == len(real.all) + 6
    server.stop()

    with stock_pypiserver(server.root / "packages", tmp_path / "stock.log") as url:
        listed = re.findall(r'<a href="([^"]+)/">', requests.get(f"{url}/simple/", timeout=60).text)
        assert sorted(listed) == projects
        for project, files in ours.items():
            theirs = links(f"{url}/simple/{project}/")
            assert {name: digest for name, (_url, digest) in theirs.items()} == {
                file["filename"]: file["hashes"]["sha256"] for file in files
            }
            for target, digest in theirs.values():
                assert hashlib.sha256(requests.get(target, timeout=60).content).hexdigest() == digest
        pip = installer_of("pip")
        pip.install("six", "zope.interface", "odd-name-here", "several", index=f"{url}/simple/")
        assert pip.version("several") == "2.0"
        assert pip.version("odd-name-here") == "1.0+cpu.1"


def test_a_stock_pypiserver_offers_no_quarantined_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Its files are not below `packages/`."""
    server = serve("--upstream", "none")
    for name in ("bad", "good"):
        assert server.upload(wheels.wheel(name, "1.0")).status_code == 200
    ppmctl("package", "status", "bad", "quarantined", "--root", str(server.root))
    server.stop()
    with stock_pypiserver(server.root / "packages", tmp_path / "stock.log") as url:
        listed = requests.get(f"{url}/packages/", timeout=60).text
        assert "good-1.0-py3-none-any.whl" in listed
        assert "bad-1.0" not in listed
        path = "packages/bad/bad-1.0-py3-none-any.whl"
        assert requests.get(f"{url}/{path}", timeout=60).status_code == 404
