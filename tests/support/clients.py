"""Real clients for tests: pip in several versions, uv, twine, flit, hatch and curl, each with an empty home."""

from __future__ import annotations

import compileall
import secrets
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from support.servers import PPMCTL, Server, clean_environment, run_ppmctl

CACHE = Path(__file__).parents[2] / ".cache"
BIN = Path(sys.executable).parent
_DISTS = CACHE / f"dists-{sys.version_info.major}.{sys.version_info.minor}"

# pip before 23.1 imports parts of the standard library that 3.12 and 3.13 dropped, and works without them.
_OLD_PIP_ON_NEW_PYTHON = """
import pkgutil, sys, types
if sys.version_info >= (3, 12):
    pkgutil.ImpImporter = type("ImpImporter", (), {})
    import _distutils_hack
    _distutils_hack.add_shim()
if sys.version_info >= (3, 13):
    def parse_header(line):
        from email.message import Message
        message = Message()
        message["content-type"] = line
        (value, _), *parameters = message.get_params() or [("", "")]
        return value, dict(parameters)
    sys.modules["cgi"] = types.ModuleType("cgi")
    sys.modules["cgi"].parse_header = parse_header
"""


def fetch(requirement: str, *options: str) -> Path:
    """Return a real distribution that this machine's pip downloads from its configured index.

    It is stored below `.cache/`, so that only the first run downloads it.
    """
    return _cached("_".join([requirement, *options]).replace("/", "_"), requirement, *options)


def _cached(name: str, requirement: str, *options: str) -> Path:
    folder = _DISTS / name
    if not folder.exists():
        _move_into_cache(_fetch(requirement, *options).parent, folder)
    (path,) = folder.iterdir()
    return path


def _move_into_cache(made: Path, folder: Path) -> None:
    """Move `made` to `folder`, unless a parallel run was faster."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(made)


def _fetch(requirement: str, *options: str) -> Path:
    folder = _DISTS / f".fetching-{secrets.token_hex(6)}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "-d", str(folder)]
    done = subprocess.run([*command, requirement], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"pip could not fetch {requirement} for the tests:\n{done.stdout}{done.stderr}"
    (path,) = folder.iterdir()
    return path


def pip_library(version: str = "") -> Path:
    """Return a folder for PYTHONPATH with this version of pip, by default the newest."""
    # a newer version may appear, so this is checked once a day
    wheel = fetch(f"pip=={version}") if version else _cached(f"pip-{datetime.now(UTC).date()}", "pip")
    folder = CACHE / f"{_DISTS.name}-{wheel.stem}-compiled"
    if not folder.exists():
        unpacking = folder.with_name(f".unpacking-{secrets.token_hex(6)}")
        parts = [wheel]
        if version and sys.version_info >= (3, 12):
            parts.append(fetch("setuptools<80"))
        for part in parts:
            with zipfile.ZipFile(part) as archive:
                archive.extractall(unpacking)
        if version:
            (unpacking / "sitecustomize.py").write_text(_OLD_PIP_ON_NEW_PYTHON)
        compileall.compile_dir(unpacking, quiet=2)  # clients write no bytecode: each run would compile it again
        _move_into_cache(unpacking, folder)
    return folder


def offline_builds() -> dict[str, str]:
    """Return variables with which a build's pip finds flit_core, setuptools and setuptools-scm without an index."""
    folder = _DISTS / "build-backends"
    if not folder.exists():
        fetching = _DISTS / f".fetching-{secrets.token_hex(6)}"
        backends = ("flit_core>=3.12", "setuptools>=77", "setuptools-scm")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "-d", str(fetching), *backends]
        subprocess.run(command, check=True, timeout=300)
        _move_into_cache(fetching, folder)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


@dataclass(frozen=True, kw_only=True)
class Real:
    """Real distributions from the public package index."""

    pure: Path
    compiled: Path
    sdist_only: Path
    sdist_of_wheel: Path
    dotted_pure: Path
    dependent: Path
    dependency: Path

    @property
    def all(self) -> tuple[Path, ...]:
        return (
            self.pure,
            self.compiled,
            self.sdist_only,
            self.sdist_of_wheel,
            self.dotted_pure,
            self.dependent,
            self.dependency,
        )


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of a client's command. `output` is all that it printed."""

    code: int
    output: str


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A user's computer: an empty home, configured only by `environ`."""

    home: Path
    environ: Mapping[str, str]

    def run(self, *command: str | Path, expect: int | None = 0, cwd: Path | None = None, **environ: str) -> Done:
        """Run a command; fail with its output unless it exits with `expect` (None: any code)."""
        done: subprocess.CompletedProcess[str]
        options: dict[str, Any] = {"cwd": cwd or self.home, "env": {**self.environ, **environ}, "timeout": 300}
        if command[: len(PPMCTL)] == PPMCTL:
            done = run_ppmctl([str(part) for part in command[len(PPMCTL) :]], merged=True, **options)
        else:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                **options,
            )
        printed = " ".join(str(part) for part in command)
        assert expect is None or done.returncode == expect, f"{printed} exited {done.returncode}:\n{done.stdout}"
        return Done(code=done.returncode, output=done.stdout)


def machine(home: Path, server: Server | None = None) -> Machine:
    """Return a computer whose user has the credential of `server` in a netrc file, or no credential."""
    environ = clean_environment(home, UV_HTTP_RETRIES="0", PYTHONDONTWRITEBYTECODE="1", COLUMNS="500", TERM="dumb")
    if server is not None:
        netrc = home / ".netrc"
        netrc.write_text(f"machine 127.0.0.1 login {server.user} password {server.secret}\n")
        netrc.chmod(0o600)
    return Machine(home=home, environ=environ)


@dataclass(frozen=True, kw_only=True)
class Installer:
    """pip or uv with a new virtual environment. `library` is pip's folder; None means uv."""

    name: str
    machine: Machine
    library: Path | None

    @property
    def python(self) -> Path:
        return self.machine.home / "venv" / "bin" / "python"

    def install(self, *what: str | Path, index: str, expect: int | None = 0) -> Done:
        """Install from one index URL, without retries."""
        return self.run("install", "--index-url", index, *what, expect=expect)

    def run(self, command: str, *arguments: str | Path, expect: int | None = 0) -> Done:
        """Run a command of pip, or of `uv pip`."""
        if not self.python.exists():
            venv.create(self.machine.home / "venv", symlinks=True)
        if self.library is None:
            return self.machine.run(
                BIN / "uv", "pip", command, "--python", self.python, "--verbose", *arguments, expect=expect
            )
        pip = (self.python, "-m", "pip", "--no-input", "--retries", "0", "--verbose")
        return self.machine.run(*pip, command, *arguments, expect=expect, PYTHONPATH=str(self.library))

    def version(self, name: str) -> str | None:
        """Return the installed version of a project; None if it is not installed."""
        if not self.python.exists():
            return None
        (packages,) = self.python.parents[1].glob("lib/python*/site-packages")
        return (
            " ".join(distribution.version for distribution in metadata.distributions(name=name, path=[str(packages)]))
            or None
        )


def publish(client: str, machine: Machine, server: Server, url: str, *files: Path, expect: int | None = 0) -> Done:
    """Publish files with twine, uv, hatch or curl, as users do."""
    user, secret = server.auth
    if client == "twine":
        return machine.run(
            *(BIN / "twine", "upload", "--non-interactive", "--disable-progress-bar", *files),
            expect=expect,
            TWINE_REPOSITORY_URL=url,
            TWINE_USERNAME=user,
            TWINE_PASSWORD=secret,
        )
    if client == "uv":
        return machine.run(
            *(BIN / "uv", "publish", "--trusted-publishing", "never", *files),
            expect=expect,
            UV_PUBLISH_URL=url,
            UV_PUBLISH_USERNAME=user,
            UV_PUBLISH_PASSWORD=secret,
        )
    if client == "hatch":
        return machine.run(
            *(BIN / "hatch", "publish", "--no-prompt", *files),
            expect=expect,
            HATCH_INDEX_REPO=url,
            HATCH_INDEX_USER=user,
            HATCH_INDEX_AUTH=secret,
        )
    assert client == "curl", client
    done = Done(code=0, output="")
    for file in files:
        form = ("-F", ":action=file_upload", "-F", f"content=@{file}")
        done = machine.run("curl", "-sS", "--fail-with-body", "--netrc", *form, url, expect=expect)
    return done


def publish_with_flit(machine: Machine, server: Server, url: str, project: Path, *, expect: int | None = 0) -> Done:
    """Run `flit publish` on a source tree, which builds its wheel and sdist."""
    return machine.run(
        *(BIN / "flit", "publish", "--no-use-vcs"),
        cwd=project,
        expect=expect,
        FLIT_INDEX_URL=url,
        FLIT_USERNAME=server.user,
        FLIT_PASSWORD=server.secret,
    )


def flit_project(folder: Path, name: str, version: str) -> Path:
    """Make a source tree that flit can build."""
    folder.mkdir(parents=True)
    module = name.replace("-", "_").replace(".", "_")
    (folder / f"{module}.py").write_text(f'"""Made by a test."""\n\n__version__ = "{version}"\n')
    (folder / "pyproject.toml").write_text(
        "[build-system]\n"
        'requires = ["flit_core>=3.12"]\n'
        'build-backend = "flit_core.buildapi"\n\n'
        f'[project]\nname = "{name}"\ndynamic = ["version", "description"]\n\n'
        f'[tool.flit.module]\nname = "{module}"\n'
    )
    return folder


def run(computer: Machine, *arguments: str | Path, expect: int = 0, typed: str | None = None, **environ: str) -> str:
    """Run ppmctl on a machine, with `typed` on stdin; return its output, with stderr if it fails."""
    done = run_ppmctl(
        [str(argument) for argument in arguments],
        env={**computer.environ, **environ},
        cwd=computer.home,
        input=typed or "",
        timeout=120,
    )
    assert done.returncode == expect, f"{arguments} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout if expect == 0 else done.stdout + done.stderr
