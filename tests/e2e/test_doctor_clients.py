"""`ppmctl doctor` of real clients: each fault is planted, found with its mend, and gone when that was typed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support import clients, servers, wheels
from support.clients import BIN, Machine
from support.servers import PPMCTL, Server

# what an empty environment for clients has to keep their own files from being read
MACHINES = ("PIP_CONFIG_FILE", "UV_NO_CONFIG", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
OURS = ("pip", "uv", "keyring", "secrets", "twine", "poetry", "pdm", "pipenv", "hatch", "resolve", "confusion")
OLDEST_PIP = "23.0.1"  # what Debian 12 ships


@dataclass(frozen=True)
class Indexes:
    """An index, and the one that it sends other names to, which stands for the public one."""

    ours: Server
    public: Server


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexes]:
    folder = tmp_path_factory.mktemp("indexes")
    public = servers.start(folder / "public", options=("--upstream", "none", "--read-access", "public"))
    ours = servers.start(folder / "ours", options=("--upstream-url", public.simple))
    for made in (wheels.wheel("acme-core", "1.0"), wheels.wheel("copied", "1.0")):
        assert ours.upload(made).ok
    for made in (wheels.wheel("copied", "1.0"), wheels.wheel("elsewhere", "1.0")):
        assert public.upload(made).ok
    yield Indexes(ours=ours, public=public)
    ours.kill()
    public.kill()


@dataclass
class Findings:
    """What was found, of each check."""

    all: list[dict[str, str]]
    machine: Machine = field(repr=False)

    def one(self, check: str, state: str, *words: str) -> str:
        """The mend of the one finding of that check and state that has these words."""
        found = [
            each
            for each in self.all
            if (each["check"], each["state"]) == (check, state) and all(word in each["found"] for word in words)
        ]
        assert len(found) == 1, json.dumps(self.all, indent=1)
        return found[0]["mend"]

    def bad(self) -> list[dict[str, str]]:
        return [each for each in self.all if each["check"] in OURS and each["state"] in ("warn", "fail")]


@dataclass
class Desk:
    """A colleague's machine with pip and uv and nothing else, and what they have set."""

    machine: Machine
    index: Server
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.machine.home

    @property
    def pip_conf(self) -> Path:
        return self.home / ".config" / "pip" / "pip.conf"

    @property
    def uv_toml(self) -> Path:
        return self.home / ".config" / "uv" / "uv.toml"

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def doctor(self, expect: int) -> Findings:
        """What it finds of the clients; its exit code is `expect`, and no secret is in what it says."""
        command = [*PPMCTL, "doctor", self.index.url, "--json"]
        environ = {**self.machine.environ, **self.environ}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=environ, cwd=self.home, stdin=subprocess.DEVNULL
        )
        assert done.returncode == expect, done.stdout + done.stderr
        assert self.index.secret not in done.stdout + done.stderr
        found = json.loads(done.stdout)["findings"]
        return Findings(all=found, machine=self.machine)

    def type(self, mend: str) -> None:
        """Do what a mend says, as it stands; `unset` and `export` in the shell that all else is run from."""
        for part in mend.partition("  #")[0].split("; "):
            words = shlex.split(part)
            if words[0] == "unset":
                del self.environ[words[1]]
            elif words[0] == "export":
                name, _, value = words[1].partition("=")
                self.environ[name] = value
            else:
                self.machine.run("sh", "-c", part, **self.environ)


def computer(home: Path, index: Server, library: Path) -> Desk:
    """pip and uv alone on PATH, set up as they should be; the credential is in a netrc."""
    made = clients.machine(home, index)
    venv = home / "venv"
    made.run(sys.executable, "-m", "venv", "--without-pip", venv)
    install_pip(venv, library)
    for name in ("uv", "ppmctl"):
        (venv / "bin" / name).symlink_to(BIN / name)
    for name in ("sh", "sed", "chmod"):
        (venv / "bin" / name).symlink_to(f"/bin/{name}")
    environ = {name: value for name, value in made.environ.items() if name not in MACHINES}
    desk = Desk(machine=Machine(home=home, environ={**environ, "PATH": str(venv / "bin")}), index=index)
    desk.write(desk.pip_conf, f"[global]\nindex-url = {index.simple}\n")
    desk.write(desk.uv_toml, f'[[index]]\nname = "ours"\nurl = "{index.simple}"\ndefault = true\n')
    return desk


def install_pip(venv: Path, library: Path) -> None:
    """The pip of a library as an environment of its own has it, with its script."""
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "pip.pth").write_text(f"{library}\n")
    script = venv / "bin" / "pip"
    script.write_text(f"#!{venv}/bin/python\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)


@pytest.fixture
def desk(tmp_path: Path, indexes: Indexes, newest_pip: Path) -> Desk:
    return computer(tmp_path / "home", indexes.ours, newest_pip)


@pytest.mark.parametrize("pip", ["", OLDEST_PIP])
def test_all_is_well(pip: str, tmp_path: Path, indexes: Indexes) -> None:
    """Each client asks this index alone and finds a project; a copy of a public project is no stranger's."""
    desk = computer(tmp_path / "home", indexes.ours, clients.pip_library(pip))
    found = desk.doctor(0)
    found.one("pip", "ok", "asks this index alone", str(desk.pip_conf))
    found.one("uv", "ok", "asks this index alone", str(desk.uv_toml))
    found.one("resolve", "ok", "pip", "finds acme-core 1.0 here")
    found.one("resolve", "ok", "uv", "finds acme-core 1.0 here")
    found.one("confusion", "ok", "of 2 names none", "1 are copies")
    assert found.bad() == []


def test_a_variable_overrides_the_file(desk: Desk, indexes: Indexes) -> None:
    desk.environ |= {"PIP_INDEX_URL": indexes.public.simple, "UV_DEFAULT_INDEX": indexes.public.simple}
    found = desk.doctor(1)
    desk.type(found.one("pip", "fail", "PIP_INDEX_URL overrides index-url", str(desk.pip_conf)))
    desk.type(found.one("uv", "fail", "UV_DEFAULT_INDEX overrides [[index]] ours", str(desk.uv_toml)))
    assert desk.environ == {}
    assert desk.doctor(0).bad() == []


def test_the_file_of_an_environment_overrides_the_users(desk: Desk, indexes: Indexes) -> None:
    own = desk.home / "venv" / "pip.conf"
    desk.write(own, f"[global]\nindex-url = {indexes.public.simple}\ntimeout = 20\n")
    desk.type(desk.doctor(1).one("pip", "fail", f"{own} overrides index-url", str(desk.pip_conf)))
    assert "timeout" in own.read_text()
    assert desk.doctor(0).bad() == []
