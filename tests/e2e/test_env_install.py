"""Tests of `ppmctl env` with real resolvers and virtual environments: lock, install, and check of hashes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import readme, wheels
from support.clients import BIN, Machine
from support.envs import env, listing, shown, user
from support.servers import Server, ppmctl

SEED = ("flask", "passlib", "flask-login")  # a typical environment


def upstream() -> tuple[str, ...]:
    """Return the options that redirect the index to the one that this machine's pip uses."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    return ("--upstream-url", configured.stdout.strip()) if configured.returncode == 0 else ()


def installed(folder: Path) -> dict[str, str]:
    """Return the versions in a virtual environment, by name."""
    pairs = [
        path.name.removesuffix(".dist-info").split("-")
        for path in folder.glob("lib/python*/site-packages/*.dist-info")
    ]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def without_pip(folder: Path) -> Path:
    """Make a virtual environment without pip, which another pip installs into: adding pip takes seconds."""
    subprocess.run([BIN / "uv", "venv", "--quiet", "--python", sys.executable, folder], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def carol(index: Server, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return user(index, "carol", tmp_path_factory.mktemp("carol"))


@pytest.fixture(scope="module")
def reader(index: Server, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return another user's machine, who may only read: pip and uv have no credential of their own, and are
    configured for an index that does not exist."""
    computer = user(index, "reader", tmp_path_factory.mktemp("reader"), "reader")
    (computer.home / ".netrc").rename(computer.home / "netrc-of-nobody")
    _machine, _host, _login, name, _password, secret = (computer.home / "netrc-of-nobody").read_text().split()
    (computer.home / "pip.conf").write_text(
        "[global]\nno-index = true\nextra-index-url = http://127.0.0.1:9/simple\n"
    )
    other = {"PIP_CONFIG_FILE": str(computer.home / "pip.conf"), "PIP_EXTRA_INDEX_URL": "http://127.0.0.1:9/simple"}
    other |= {"UV_INDEX": "http://127.0.0.1:9/simple", "PIP_NO_INDEX": "1", "UV_NO_INDEX": "1"}
    return Machine(
        home=computer.home, environ={**computer.environ, **other, "PPMCTL_USERNAME": name, "PPMCTL_TOKEN": secret}
    )


@pytest.fixture(scope="module")
def charts(index: Server, carol: Machine) -> None:
    """Publish two projects with two releases, one requires the other; and lock an environment of them."""
    for made in (
        wheels.wheel("sea-charts", "1.0", requires_dist="salt-grains>=1"),
        wheels.wheel("salt-grains", "1.0"),
        wheels.wheel("left-over", "1.0"),
    ):
        assert index.upload(made).status_code == 200
    env(carol, "create", "charts", "sea-charts", "--shared")
    assert env(carol, "lock", "charts").strip() == "charts@2"
    assert index.upload(wheels.wheel("salt-grains", "1.1")).status_code == 200


def test_an_environment_of_public_packages_is_locked_and_installed(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """From an index without these packages, through the redirect to the one that this machine's pip uses. Names are
    checked there; an unknown one is reported. Then it is locked, and installed on another machine."""
    server = serve(*upstream())
    dan = user(server, "dan", tmp_path / "dan")
    (dan.home / "requirements.txt").write_text("\n".join(SEED))
    assert "no project no-such-project-anywhere-ppm" in env(
        dan, "create", "web", " ".join(SEED), "no-such-project-anywhere-ppm", expect=1
    )
    assert env(dan, "import", "requirements.txt", "--name", "web").strip() == "web@1"
    without_pip(dan.home / "pip")
    for tool in ("uv", "pip"):
        assert env(dan, "install", "web", "--into", tool, "--with", tool).strip() == tool
        assert set(SEED) < set(installed(dan.home / tool))
        dan.run(dan.home / tool / "bin" / "python", "-c", "import flask, flask_login, passlib.hash")
        env(dan, "check", "web", "--into", tool)
    assert env(dan, "lock", "web").strip() == "web@2"
    eve = user(server, "eve", tmp_path / "eve", "reader")
    env(eve, "install", "web", "--locked", "--exact")
    assert installed(eve.home / ".venv") == {
        name: version for name, version in installed(dan.home / "uv").items() if name not in ("pip", "setuptools")
    }
    env(eve, "check", "web", "--locked", "--exact")
    assert env(dan, "outdated", "web", "--json") == "[]\n"


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_lock_installs_on_another_machine(
    charts: None, index: Server, carol: Machine, reader: Machine, tool: str
) -> None:
    """It installs locked versions, not the newest; other packages are removed on request; `check` reports them."""
    folder = reader.home / f"locked-{tool}"
    made = ppmctl("env", "install", "charts", "--into", str(folder), "--with", tool, env=reader.environ)
    assert (f"{folder} has no pip. For more packages: uv pip install --python {folder}" in made.stderr) == (
        tool == "uv"
    )
    assert installed(folder).items() >= {"sea-charts": "1.0", "salt-grains": "1.1"}.items()
    assert "differs  salt-grains 1.1, not salt-grains==1.0" in env(
        reader, "check", "charts", "--into", folder, "--locked", expect=1
    )
    env(reader, "create", "others", "left-over", expect=4)
    carol.run(
        *(BIN / "uv", "pip", "install", "--python", folder / "bin" / "python"),
        *("--default-index", index.simple, "left-over"),
    )
    env(reader, "check", "charts", "--into", folder)
    printed = json.loads(
        env(reader, "check", "charts", "--into", folder, "--exact", "--json", expect=1).partition("\n]")[0] + "]"
    )
    assert [(item["state"], item["name"]) for item in printed] == [("extra", "left-over")]
    env(reader, "install", "charts", "--into", folder, "--with", tool, "--locked", "--exact")
    versions = {name: version for name, version in installed(folder).items() if name not in ("pip", "setuptools")}
    assert versions == {"sea-charts": "1.0", "salt-grains": "1.0"}
    env(reader, "check", "charts", "--into", folder, "--locked", "--exact")
    secret = reader.environ["PPMCTL_TOKEN"].encode()
    assert [path for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()] == []


def test_a_lock_has_hashes_of_everything_and_no_secret(charts: None, index: Server, carol: Machine) -> None:
    lock = env(carol, "show", "charts", "--format", "pylock")
    assert lock.count("sha256 = ") == lock.count("url = ") == 2
    netrc = (carol.home / ".netrc").read_text().split()
    assert netrc[-1] not in lock
    assert "@" not in lock
    assert "carol" not in lock
    env(carol, "export", "charts@2", "--locked")
    exported = (carol.home / "requirements.txt").read_text()
    assert [line.partition(" --hash=sha256:")[0] for line in exported.splitlines()[1:]] == [
        *("salt-grains==1.0", "sea-charts==1.0"),
    ]
    assert index.get("/env/charts/2/requirements-locked.txt").text == exported
    assert index.get("/env/charts/2/constraints.txt").text.splitlines()[1:] == ["salt-grains==1.0", "sea-charts==1.0"]
    assert env(carol, "show", "charts@2", "--format", "locked") == exported
    assert "can't be used together" in env(carol, "export", "charts@2", "--locked", "--format", "yaml", expect=2)


def test_outdated_names_what_a_new_lock_would_change(charts: None, carol: Machine) -> None:
    """A lock after a change of the list keeps other versions; --upgrade updates them."""
    env(carol, "copy", "charts@2", "older")
    assert shown(carol, "older")["locked"], "the copy has the lock too"
    assert env(carol, "outdated", "older").splitlines()[1].split() == ["salt-grains", "1.0", "1.1"]
    env(carol, "add", "older", "left-over")
    assert not shown(carol, "older")["locked"]
    assert "not locked" in env(carol, "install", "older", "--locked", expect=2)
    env(carol, "lock", "older")
    pins = env(carol, "show", "older", "--format", "pylock")
    assert 'name = "left-over"' in pins
    assert "salt_grains-1.0-" in pins
    env(carol, "lock", "older", "--upgrade")
    assert "salt_grains-1.1-" in env(carol, "show", "older", "--format", "pylock")
    assert env(carol, "lock", "older", "--upgrade").strip() == "older@4", "a lock that is the same is no revision"
    env(carol, "rollback", "older", "1")
    assert "salt_grains-1.0-" in env(carol, "show", "older", "--format", "pylock"), "its lock is that list's again"


def test_a_list_without_a_solution_is_explained(charts: None, carol: Machine) -> None:
    env(carol, "create", "unsolvable", "salt-grains>=9")
    printed = env(carol, "lock", "unsolvable", expect=1)
    assert "salt-grains" in printed
    assert shown(carol, "unsolvable")["revision"] == 1
    assert "no revision" not in env(carol, "install", "unsolvable", expect=1)
    assert "--python" not in env(carol, "lock", "unsolvable", "--python", "two", expect=2)


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_a_tampered_file_is_refused(index: Server, carol: Machine, reader: Machine, tool: str) -> None:
    """Someone with access to the volume replaces a locked wheel and its page: the client refuses it."""
    name = f"precious-{tool}"
    made = wheels.wheel(name, "1.0", files={"good.py": b"000000"})
    assert index.upload(made).status_code == 200
    env(carol, "create", name, name)
    env(carol, "lock", name)
    others = (wheels.wheel(name, "1.0", files={"evil.py": b"%d" % number})[1] for number in range(100_000, 110_000))
    _replace(index, name, made[0], next(other for other in others if len(other) == len(made[1])))
    folder = without_pip(reader.home / f"tampered-{tool}")
    printed = env(reader, "install", name, "--into", folder, "--locked", "--with", tool, expect=1)
    assert "hash" in printed.lower()
    assert name not in installed(folder)


def test_a_tampered_revision_is_refused(index: Server, carol: Machine, reader: Machine) -> None:
    """The list itself: its file is compared with the hash on the index's page."""
    env(carol, "create", "tampered", "one", "--no-check")
    path = index.root / "packages" / "ppm-env-tampered" / "ppm_env_tampered-1-py3-none-any.whl"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert "sha256 differs" in env(reader, "show", "tampered", expect=1)
    assert "sha256 differs" in env(carol, "add", "tampered", "two", "--no-check", expect=1)


def test_a_lock_is_imported_as_it_is(charts: None, carol: Machine, reader: Machine) -> None:
    env(carol, "export", "charts@2", "--output", carol.home / "pylock.toml")
    assert env(carol, "import", carol.home / "pylock.toml", "--name", "from-lock").strip() == "from-lock@1"
    assert [text.partition(";")[0] for text in listing(carol, "from-lock")] == ["salt-grains==1.0", "sea-charts==1.0"]
    env(reader, "install", "from-lock", "--locked", "--into", reader.home / "from-lock")
    assert installed(reader.home / "from-lock") == {"sea-charts": "1.0", "salt-grains": "1.0"}


def test_a_lock_for_other_pythons_is_not_installed(index: Server, carol: Machine) -> None:
    """Also not by pip, which, unlike uv, does not read this from the lock."""
    assert index.upload(wheels.wheel("of-newer", "1.0")).status_code == 200
    env(carol, "create", "newer", "of-newer")
    env(carol, "lock", "newer", "--python", "3.99")
    folder = without_pip(carol.home / "newer")
    assert "for Python >=3.99" in env(
        carol, "install", "newer", "--locked", "--with", "pip", "--into", folder, expect=1
    )
    assert "of-newer" not in installed(folder)


def test_the_target_environment_of_an_install(charts: None, reader: Machine) -> None:
    """Never a folder with other files; --here means the active environment, and fails without one."""
    folder = reader.home / "full"
    folder.mkdir()
    (folder / "mine").write_text("mine")
    assert "not a virtual environment" in env(reader, "install", "charts", "--into", folder, expect=2)
    assert "can't be used together" in env(reader, "install", "charts", "--into", folder, "--here", expect=2)
    assert "active" in env(reader, "install", "charts", "--here", expect=2)
    assert "no virtual environment" in env(reader, "check", "charts", "--into", reader.home / "nowhere", expect=2)
    env(reader, "install", "charts", "--into", reader.home / "here")
    env(reader, "check", "charts", "--here", VIRTUAL_ENV=str(reader.home / "here"))
    assert sorted(path.name for path in folder.iterdir()) == ["mine"]


def _replace(index: Server, project: str, filename: str, content: bytes) -> None:
    """Replace a file's content, with a matching record and pages, as anyone with access to the volume can."""
    path = index.root / "packages" / project / filename
    path.chmod(0o644)
    path.write_bytes(content)
    record = path.with_name(f"{filename}.upload")
    values = json.loads(record.read_text())
    values |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    record.chmod(0o644)
    record.write_text(json.dumps(values))
    ppmctl("index", "rebuild", "--root", str(index.root))


def test_the_commands_of_the_documents(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Run the commands of docs/environments.md, with a new virtual environment for pip."""
    server = serve(*upstream())
    dan = user(server, "dan", tmp_path / "dan")
    dan.run(BIN / "uv", "venv", "--quiet", "--seed", "--python", sys.executable, dan.home / "mine")
    commands = [block for section in readme.blocks("docs/environments.md").values() for block in section]
    assert len(commands) >= 7
    path = f"{dan.home / 'mine' / 'bin'}:{dan.environ['PATH']}"
    printed = readme.paste(
        "".join(commands).replace("http://127.0.0.1:8080", server.url), dan.home, {**dan.environ, "PATH": path}
    )
    assert "web@5\nweb@5\n" in printed, "a lock, and one that would be the same"
    assert set(SEED) < set(installed(dan.home / "mine"))
    assert installed(dan.home / "mine")["ppm-env-web"] == "1"
    assert set(SEED) < set(installed(dan.home / ".venv"))
