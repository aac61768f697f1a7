"""Tests of every refusal of `ppmctl publish`: the message, the hint, and the exit code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support import wheels
from support.clients import flit_project, machine
from support.servers import Server, ppmctl
from twine.utils import DEFAULT_REPOSITORY

from ppmctl.cli.commands import run

README = {"description_content_type": "text/markdown"}
SECRET = "ppm_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD2fG4hJ6kL8nP0r"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A working folder, an index, and the user's environment; each case may change them."""

    folder: Path
    index: Server
    monkeypatch: pytest.MonkeyPatch

    def wheel(self, name: str = "demo", version: str = "1.0", *, into: str = "dist", **more: Any) -> str:
        made = wheels.wheel(name, version, **{**README, **more})
        return str(wheels.write(self.folder / into, made))

    def has(self, path: str) -> None:
        """Upload this file to the index."""
        file = Path(path)
        assert self.index.upload((file.name, file.read_bytes())).status_code == 200

    def environ(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def user(self, name: str, *options: str) -> None:
        """Use the credential of a new user."""
        secret = ppmctl("user", "add", name, *options, "--root", str(self.index.root)).stdout.strip()
        self.environ(PPMCTL_USERNAME=name, PPMCTL_TOKEN=secret)

    def project(self, name: str, version: str = "1.0") -> str:
        made = flit_project(self.folder / name, name, version)
        text = (made / "pyproject.toml").read_text()
        dynamic = 'dynamic = ["version", "description"]'
        (made / "pyproject.toml").write_text(text.replace(dynamic, f'version = "{version}"\ndescription = "x"'))
        return str(made)


@pytest.fixture
def place(tmp_path: Path, index: Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    computer = machine(tmp_path / "home", index)
    for name in [name for name in os.environ if name not in computer.environ]:
        monkeypatch.delenv(name)
    for name, value in computer.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PPMCTL_INDEX", index.url)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Place(folder=tmp_path / "here", index=index, monkeypatch=monkeypatch)


def two_of_a_name(place: Place) -> list[str]:
    return [place.wheel(into="one"), place.wheel(into="two", summary="other")]


def conflict(place: Place) -> list[str]:
    place.has(place.wheel("clash", into="old"))
    return [place.wheel("clash", summary="other")]


def removed(place: Place) -> list[str]:
    made = place.wheel("gone")
    place.has(made)
    ppmctl("package", "remove", "gone", "1.0", "--yes", "--root", str(place.index.root))
    return [made]


def archived(place: Place) -> list[str]:
    place.has(place.wheel("closed"))
    ppmctl("package", "status", "closed", "archived", "--root", str(place.index.root))
    return [place.wheel("closed", "1.1")]


def reader(place: Place, name: str = "rita") -> list[str]:
    place.user(name, "--role", "reader")
    return [place.wheel()]


def out_of_scope(place: Place, name: str = "pia") -> list[str]:
    place.user(name, "--role", "publisher", "--project", "acme-*")
    return [place.wheel()]


def without_credential(place: Place) -> list[str]:
    (place.folder.parent / "home" / ".netrc").unlink()
    return [place.wheel()]


def with_variables(**variables: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.environ(**variables)
        return [place.wheel()]

    return make


def packed(name: str, content: bytes) -> Callable[[Place], list[str]]:
    return lambda place: [place.wheel(files={name: content})]


def not_built(place: Place) -> list[str]:
    return ["--skip-build", place.project("unbuilt")]


def of_another_version(place: Place) -> list[str]:
    made = place.project("older", "2.0")
    place.wheel("older", into="older/dist")
    return ["--skip-build", made]


def built_before(place: Place) -> list[str]:
    made = place.project("stale")
    place.wheel("stale", into="stale/dist", files={"stale.py": b"old"})
    return ["--skip-build", made]


def with_a_cache(place: Place) -> list[str]:
    made = place.project("stale")
    place.wheel("stale", into="stale/dist", files={"stale/__pycache__/x.pyc": b"\0"})
    return ["--skip-build", made]


def with_a_bad_readme(place: Place) -> list[str]:
    made = place.project("stale")
    meta = wheels.metadata("stale", "1.0", description_content_type="text/x-rst") + b"\n.. image::\n\n====\nx\n=\n"
    place.wheel("stale", into="stale/dist", files={"other.py": b""}, meta=meta)
    return ["--skip-build", made]


def settings_alone(place: Place) -> list[str]:
    (place.folder / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    (place.folder / "analysis.py").touch()
    return []


def without_a_version(place: Place) -> list[str]:
    made = Path(place.project("unversioned"))
    (made / "pyproject.toml").write_text('[project]\nname = "unversioned"\ndynamic = ["version"]\n')
    place.wheel("unversioned", "0.0.0", into="unversioned/dist", files={"other.py": b""})
    return ["--skip-build", str(made)]


def several(place: Place) -> list[str]:
    """Two of three files are bad."""
    other = place.wheel("demo", "1.2", meta=wheels.metadata("other", "1.2"))
    return [other, str(wheels.write(place.folder, ("demo-1.1.tar.gz", b"x"))), place.wheel()]


def big(place: Place) -> list[str]:
    made = place.project("heavy")
    data = os.urandom(11 << 20)
    for path in (Path(made) / "heavy" / "__init__.py", Path(made) / "heavy" / "data.bin"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data if path.suffix == ".bin" else b"")
    for command in (("init", "--quiet"), ("add", "heavy/__init__.py")):
        subprocess.run(["git", *command], cwd=made, check=True, timeout=60)
    place.wheel("heavy", into="heavy/dist", files={"heavy/__init__.py": b"", "heavy/data.bin": data})
    return ["--skip-build", made]


def no_build(place: Place) -> list[str]:
    made = Path(place.project("broken"))
    (made / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "x"\nbackend-path = ["."]\n[project]\nname = "broken"\n'
    )
    (made / "x.py").write_text("raise SystemExit('the backend says why')\n")
    return [str(made)]


def no_build_and(prepare: Callable[[Place], list[str]]) -> Callable[[Place], list[str]]:
    """Return a preparation of a project that can't be built, where `prepare` makes the index refuse it before."""

    def make(place: Place) -> list[str]:
        _file, *options = prepare(place)
        return [*no_build(place), *options]

    return make


def public(place: Place) -> list[str]:
    url = f"https://{urlsplit(DEFAULT_REPOSITORY).hostname}/"
    return [place.wheel(classifier="Private :: Do Not Upload"), "--index", url]


def nothing_listens(place: Place) -> list[str]:
    return [place.wheel(), "--index", "http://127.0.0.1:1/"]


# name of the refusal: preparation, exit code, a part of the message, a part of the hint
REFUSALS: dict[str, tuple[Callable[[Place], list[str]], int, str, str]] = {
    "no such path": (lambda _: ["missing"], 2, "missing does not exist", "files such as dist/*"),
    "a pattern of files that are not built": (
        lambda _: ["dist/*"],
        2,
        "No file has a name of the form dist/*.",
        "Build first: python -m build",
    ),
    "no project": (lambda _: [], 2, "neither a pyproject.toml nor a setup.py", "ppmctl publish dist/*"),
    "two files of a name": (two_of_a_name, 2, "the same name and different content", "only one of them"),
    "no index": (with_variables(PPMCTL_INDEX=""), 2, "No index is specified", "PPMCTL_INDEX"),
    "an unknown index": (with_variables(PPMCTL_INDEX="x"), 2, "neither a URL nor a section", "Give the URL"),
    "a secret in the URL": (
        with_variables(PPMCTL_INDEX=f"https://u:{SECRET}@h/"),
        2,
        "a credential in it",
        "~/.netrc",
    ),
    "authorities that are no file": (with_variables(TWINE_CERT="ca.pem"), 2, "TWINE_CERT names ca.pem", "PEM"),
    "half a credential": (with_variables(PPMCTL_TOKEN=SECRET), 4, "PPMCTL_TOKEN is set, but not", "Set both"),
    "no credential": (without_credential, 4, "asks for a credential", "ppmctl login http"),
    "a wrong credential": (
        with_variables(PPMCTL_USERNAME="me", PPMCTL_TOKEN=SECRET),
        4,
        "does not accept the credential of 'me' (from PPMCTL_USERNAME and PPMCTL_TOKEN)",
        "another token",
    ),
    "a reader": (reader, 4, "does not allow this to 'rita'", "Ask an administrator"),
    "out of scope": (out_of_scope, 4, "'pia' (from PPMCTL_USERNAME and PPMCTL_TOKEN) to publish demo", "name right"),
    "an index that is not there": (nothing_listens, 1, "Nothing listens at http://127.0.0.1:1", ""),
    "no index at that URL": (
        lambda place: [place.wheel(), "--index", f"{place.index.url}/nothing"],
        1,
        "There is no Simple API at",
        "Is the URL right?",
    ),
    "big data that git does not track": (big, 1, "heavy/data.bin: 11 MB that git does not track", "--allow-packed"),
    "no distribution": (
        lambda place: [str(wheels.write(place.folder, ("x-1.0.zip", b"x")))],
        1,
        "x-1.0.zip is not a readable archive",
        "",
    ),
    "another metadata": (lambda place: [place.wheel(meta=wheels.metadata("other", "1.0"))], 1, "not of 'demo'", ""),
    "a README that is not what it says": (with_a_bad_readme, 1, "can't be rendered", "repair the README"),
    "several bad files": (
        several,
        1,
        "not of 'demo'.\n    demo-1.1.tar.gz is not a readable archive",
        "Nothing was uploaded",
    ),
    "no project, but settings of tools": (settings_alone, 2, "is not a project", "[project]"),
    "a version that nobody wrote": (without_a_version, 1, "nobody wrote this version", "into [project]"),
    "an index that is not there, before a build": (no_build_and(nothing_listens), 1, "Nothing listens at", ""),
    "a reader, before a build": (
        no_build_and(partial(reader, name="rosa")),
        4,
        "not allow this to 'rosa'",
        "administrator",
    ),
    "out of scope, before a build": (
        no_build_and(partial(out_of_scope, name="pam")),
        4,
        "to publish broken",
        "name right",
    ),
    "a wrong credential, before a build": (
        no_build_and(with_variables(PPMCTL_USERNAME="me", PPMCTL_TOKEN=SECRET)),
        4,
        "does not accept the credential of 'me'",
        "another token",
    ),
    "a file of secrets": (
        packed("demo/.env", b"A=1"),
        1,
        "demo/.env: a file for secrets",
        "--allow-packed demo/.env",
    ),
    "a token": (
        packed("demo/x.py", f"T = '{SECRET}'".encode()),
        1,
        "demo/x.py: a token of a ppm index",
        "leave it out",
    ),
    "a cache": (with_a_cache, 1, "__pycache__ is not part of a project", "Delete it"),
    "private, to the public index": (public, 1, "'Private :: Do Not Upload'", "Name your own index"),
    "no build": (no_build, 1, "the backend says why", "python -m build"),
    "nothing built": (not_built, 2, "There is nothing in", "leave out --skip-build"),
    "another version built": (of_another_version, 2, "no files of the current version 2.0", "Build it"),
    "built before a change": (built_before, 1, "built before the project was changed: stale.py", "dist/*"),
    "a conflict": (conflict, 1, "clash-1.0-py3-none-any.whl: here sha256", "raise the version"),
    "a removed file": (removed, 1, "was refused (409)", "raise the version"),
    "an archived project": (archived, 4, "archived", "Ask an administrator"),
    "a release of files": (
        lambda place: ["--bump", "minor", place.wheel()],
        2,
        "are about one project",
        "give its folder",
    ),
    "a release without a build": (
        lambda place: ["--bump", "minor", "--skip-build", place.project("x")],
        2,
        "--skip-build builds nothing",
        "one out",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_publish_is_refused_with_message_and_hint(
    what: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    arrange, code, message, advice = REFUSALS[what]
    arguments = arrange(place)
    capsys.readouterr()
    assert run(["publish", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    last = err[err.index("ppmctl: ") :]
    assert message in last
    assert advice in last
    assert SECRET not in err
    assert "Traceback" not in err
    for name in ("demo", "unbuilt", "older", "stale", "broken", "heavy", "x", "analysis", "unversioned"):
        assert place.index.get(f"/simple/{name}/").status_code == 404
