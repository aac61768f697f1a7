"""Find uv and pip, and run them with one index and its credential, and without other indexes.

They get the credential from a temporary netrc file, and uv also from its environment: never from argv or a URL.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files, regular_file, user_dirs
from ppmctl.client import netrc_file
from ppmctl.client.credential import SECRET_VARIABLES, Credential
from ppmctl.client.index_url import Address
from ppmctl.errors import PpmError, with_extra
from ppmctl.secret import masked

TIMEOUT = 3600  # seconds
_TAIL = 40  # lines of the output of a program that failed
_STDERR = 2
_NAME = "ppm"  # of the index, for uv

# Variables that would make them use another index, or install something else. Those for caches and the network stay.
_LEFT_OUT = frozenset(
    {
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONSTRAINT", "PIP_PYPI_URL"),
        *("PIP_REQUIREMENT", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT", "PIP_PYTHON", "PIP_NO_DEPS"),
        *("PIP_PRE", "PIP_ONLY_BINARY", "PIP_NO_BINARY", "UV_NO_BINARY", "UV_NO_BUILD", "UV_SYSTEM_PYTHON"),
        *("UV_INDEX", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX"),
        *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_INDEX_STRATEGY", "UV_PRERELEASE", "UV_RESOLUTION", "UV_CONFIG_FILE"),
        *("UV_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_NO_VERIFY_HASHES", "UV_EXCLUDE_NEWER", "UV_BUILD_CONSTRAINT"),
        *("UV_OFFLINE", "UV_REQUIRE_HASHES", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME"),
        *SECRET_VARIABLES,
    }
)


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The index and the environment that uv and pip run with; `folder` is temporary, for files that they read."""

    address: Address
    folder: Path
    environ: Mapping[str, str]

    def uv_index(self) -> tuple[str, ...]:
        """Return uv's options for the index."""
        return ("--default-index", f"{_NAME}={self.address.simple}")

    def write(self, name: str, text: str | Iterable[str]) -> Path:
        """Write a text, or lines, to a file in the folder."""
        path = self.folder / name
        path.write_text(text if isinstance(text, str) else "".join(f"{line}\n" for line in text), encoding="utf-8")
        return path


def run(
    command: Iterable[str | Path], what: str, *, environ: Mapping[str, str] | None = None, is_shown: bool = False
) -> str:
    """Run a program and return its output. Raise PpmError with the end of the output if it fails.

    With `is_shown` the output goes to stderr instead. `what` starts the message: To install demo.
    """
    command = [str(part) for part in command]
    try:
        done = subprocess.run(
            command,
            check=True,
            timeout=TIMEOUT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR if is_shown else subprocess.PIPE,
            stderr=_STDERR if is_shown else subprocess.PIPE,
        )
    except subprocess.CalledProcessError as exc:
        why = ": see the output above." if is_shown else f":{_tail(exc.stdout + exc.stderr)}"
        raise PpmError(f"{what} failed{why}") from exc
    except subprocess.TimeoutExpired as exc:
        raise PpmError(f"{what} took over {TIMEOUT // 60} minutes.") from exc
    except OSError as exc:
        raise PpmError(f"{command[0]} can't be run: {exc.strerror}.") from exc
    return (done.stdout or b"").decode()


@contextmanager
def tools(
    address: Address, credential: Credential | None, *, environ: Mapping[str, str], home: Path
) -> Iterator[Tools]:
    """Yield what uv and pip need for the index at `address`; it is deleted afterwards."""
    variables = {
        name: value
        for name, value in environ.items()
        if name not in _LEFT_OUT and not name.startswith(("UV_INDEX_", "PPMCTL_", "TWINE_"))
    }
    variables |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    variables |= {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    trusted = variables.get("REQUESTS_CA_BUNDLE")
    if trusted:
        variables.setdefault("SSL_CERT_FILE", trusted)  # uv's name for it
    with tempfile.TemporaryDirectory(prefix="ppmctl-env-") as folder:
        if credential is not None:
            path = Path(folder) / "netrc"
            line = netrc_file.line(address.host, credential)
            files.create(path, _with_others(line, address, environ, home).encode())
            variables |= {
                "NETRC": str(path),
                f"UV_INDEX_{_NAME.upper()}_USERNAME": credential.username,
                f"UV_INDEX_{_NAME.upper()}_PASSWORD": credential.secret.reveal(),
            }
        yield Tools(address=address, folder=Path(folder), environ=variables)


def find_uv() -> Path | None:
    """Return uv from PATH, or from the installed package uv, or None."""
    if path := shutil.which("uv"):
        return Path(path)
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return Path(find_uv_bin())
    return None


def require_uv(what: str) -> Path:
    """Return uv. Raise PpmError if it is not installed."""
    path = find_uv()
    if path is None:
        raise PpmError(f"{what} needs uv, which is not installed.", hint=f"Add it: {with_extra('environments')}")
    return path


def has_pip(python: Path) -> bool:
    """Return whether the environment of `python` has pip."""
    # -I: a folder named pip in the current folder is not imported
    command = [str(python), "-I", "-c", "import pip"]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def pip_for(python: Path) -> tuple[str, ...]:
    """Return the command of a pip that installs for `python`, its own or the running one. Raise PpmError."""
    if has_pip(python):
        return (str(python), "-m", "pip")
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", "--python", str(python))
    raise PpmError(
        "Neither that environment nor the running Python has pip.", hint=f"Add uv: {with_extra('environments')}"
    )


def _with_others(line: str, address: Address, environ: Mapping[str, str], home: Path) -> str:
    """Return the user's netrc with `line` for the index: other hosts of a list may need the rest."""
    try:
        others = regular_file.read_text(user_dirs.netrc(environ, home))
    except (OSError, UnicodeError):
        others = ""
    return netrc_file.with_line(others, address.host, line) if others else f"{line}\n"


def _tail(printed: bytes) -> str:
    text = masked(printed.decode("utf-8", "replace").rstrip())
    return "".join(f"\n    {line}" for line in text.splitlines()[-_TAIL:])
