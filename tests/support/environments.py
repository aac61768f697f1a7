"""Revisions of environments as (filename, content), and every way in which clients install one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ppmctl.distributions.environment_revision import Revision, ordered
from ppmctl.distributions.environment_wheel import to_wheel
from support import wheels
from support.clients import Installer, Machine
from support.servers import Server

VERSIONS = ("1.0", "2.0")
PROJECT = "sea-maps"
TEAM = "team"


def revision(name: str, number: int, *requirements: str, **about: Any) -> tuple[str, bytes]:
    """Return the wheel of a revision; `about` are fields of Revision."""
    values = {"change": f"change {number}", "base": number - 1 or None} | about
    made = Revision(name=name, number=number, requirements=ordered(requirements), **values)
    return made.filename, to_wheel(made)


def forged(name: str, number: int, *requirements: str, lock: str | None = None) -> tuple[str, bytes]:
    """Return the wheel of a revision as a hostile or an old client makes it: nothing of it was checked."""
    made = Revision(name=name, number=number, requirements=(), change="forge", base=number - 1 or None)
    object.__setattr__(made, "requirements", requirements)
    object.__setattr__(made, "lock", lock)
    return made.filename, to_wheel(made, 1)


def fill(index: Server) -> None:
    """Publish two versions of PROJECT, and TEAM: revision 1 requires the older and is locked, 2 any with an extra."""
    for version in VERSIONS:
        made = wheels.wheel(PROJECT, version, meta=wheels.metadata(PROJECT, version, provides_extra="draw"))
        assert index.upload(made).status_code == 200
    for made in (
        revision(TEAM, 1, f"{PROJECT}==1.0", lock=lock(index)),
        revision(TEAM, 2, f"{PROJECT}[draw]<2", lock=lock(index)),
    ):
        answer = index.upload(made)
        assert answer.status_code == 200, answer.text


def lock(index: Server) -> str:
    """Return a pylock.toml (PEP 751) with the index's PROJECT 1.0."""
    (file,) = (file for file in index.page(PROJECT)["files"] if "-1.0-" in file["filename"])
    return (
        'lock-version = "1.0"\n'
        'created-by = "a test"\n\n'
        f'[[packages]]\nname = "{PROJECT}"\nversion = "1.0"\n\n'
        f'[[packages.wheels]]\nurl = "{index.url}/packages/{PROJECT}/{file["filename"]}"\n'
        f'hashes = {{sha256 = "{file["hashes"]["sha256"]}"}}\n'
    )


def installs(index: Server, user: Machine, newest_pip: Path) -> dict[str, str | None]:
    """Install TEAM in each way of pip and uv, each in a new virtual environment: way → PROJECT's version.

    The machine of `user` has the index's credential configured.
    """
    simple, base = f"{index.url}/simple/", f"{index.url}/env/{TEAM}"
    versions: dict[str, str | None] = {}
    for name, library in (("pip", newest_pip), ("uv", None)):
        for way, what, variables in (
            ("package", [f"ppm-env-{TEAM}"], {}),
            ("list", ["-r", f"{base}/requirements.txt"], {}),
            ("pinned list", ["-r", f"{base}/1/requirements.txt"], {}),
            ("hashes", ["--require-hashes", "-r", f"{base}/requirements-locked.txt"], {}),
            ("constraint", [PROJECT], {f"{name.upper()}_CONSTRAINT": f"{base}/constraints.txt"}),
        ):
            home = user.home / f"{name} {way}".replace(" ", "-")
            home.mkdir()
            computer = Machine(home=home, environ={**user.environ, **variables})
            client = Installer(name=name, machine=computer, library=library)
            client.install(*what, index=simple)
            versions[f"{name} {way}"] = client.version(PROJECT)
    home = user.home / "uv-lock"
    home.mkdir()
    client = Installer(name="uv", machine=Machine(home=home, environ=user.environ), library=None)
    client.run("sync", f"{base}/pylock.toml")
    versions["uv lock"] = client.version(PROJECT)
    return versions
