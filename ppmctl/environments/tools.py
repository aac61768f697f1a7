"""uv and pip, run with one index and its credential, and with no other index. The only module that knows where uv is.

The credential goes by a netrc file for their eyes alone, and to uv by its environment: never by argv or a URL.
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

from ppmctl import files, user_dirs
from ppmctl.client import netrc_file
from ppmctl.client.credential import SECRET_VARIABLES, Credential
from ppmctl.client.index_url import Address
from ppmctl.errors import PpmError
from ppmctl.extras import with_extra

TIMEOUT = 3600  # seconds
_TAIL = 40  # lines of what a program that failed has said
_STDERR = 2
_NAME = "ppm"  # of the index, for uv

# What would have them ask another index, or install something else than was said. What they cache, and how they
# reach the network, stays the user's.
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
    """What uv and pip are run with. `folder` is for files that they are given, and goes with it."""

    address: Address
    folder: Path
    environ: Mapping[str, str]

    def uv_index(self) -> tuple[str, ...]:
        """Return the options that name the index to uv."""
        return ("--default-index", f"{_NAME}={self.address.simple}")

    def write(self, name: str, text: str | Iterable[str]) -> Path:
        """Write a file for them to read: a text, or lines."""
        path = self.folder / name
        path.write_text(text if isinstance(text, str) else "".join(f"{line}\n" for line in text), encoding="utf-8")
        return path


def run(
    command: Iterable[str | Path], what: str, *, environ: Mapping[str, str] | None = None, is_shown: bool = False
) -> str:
    """Run a program and return what it printed; PpmError with the end of that where it fails.

    With `is_shown` all that it prints goes to stderr as it comes. `what` begins a message: To install demo.
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
        why = ", as was said above." if is_shown else f":{_tail(exc.stdout + exc.stderr)}"
        raise PpmError(f"{what} failed{why}") from exc
    except subprocess.TimeoutExpired as exc:
        raise PpmError(f"{what} was not done after {TIMEOUT // 60} minutes.") from exc
    except OSError as exc:
        raise PpmError(f"{command[0]} can't be run: {exc.strerror}.") from exc
    return (done.stdout or b"").decode()


@contextmanager
def tools(
    address: Address, credential: Credential | None, *, environ: Mapping[str, str], home: Path
) -> Iterator[Tools]:
    """Yield what uv and pip need for the index at `address`, while the block runs."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _LEFT_OUT and not name.startswith(("UV_INDEX_", "PPMCTL_", "TWINE_"))
    }
    kept |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    kept |= {"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    trusted = kept.get("REQUESTS_CA_BUNDLE")
    if trusted and "SSL_CERT_FILE" not in kept:
        kept["SSL_CERT_FILE"] = trusted  # as uv calls it
    with tempfile.TemporaryDirectory(prefix="ppmctl-env-") as folder:
        if credential is not None:
            path = Path(folder) / "netrc"
            line = netrc_file.line(address.host, credential)
            files.create(path, _with_others(line, address, environ, home).encode())
            kept |= {
                "NETRC": str(path),
                f"UV_INDEX_{_NAME.upper()}_USERNAME": credential.username,
                f"UV_INDEX_{_NAME.upper()}_PASSWORD": credential.secret.reveal(),
            }
        yield Tools(address=address, folder=Path(folder), environ=kept)


def find_uv() -> Path | None:
    """uv, as PATH has it, or as the package of that name brings it; None where it is not here."""
    if found := shutil.which("uv"):
        return Path(found)
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return Path(find_uv_bin())
    return None


def need_uv(what: str) -> Path:
    """The same; PpmError with what to type where it is not here."""
    found = find_uv()
    if found is None:
        raise PpmError(f"{what} needs uv, which is not here.", hint=f"Add it: {with_extra('environments')}")
    return found


def pip_for(python: Path) -> tuple[str, ...]:
    """How pip is run to install for `python`; PpmError where neither that environment nor this one has it."""
    # -I: a folder named pip that is here is not taken for the program
    command = [str(python), "-I", "-c", "import pip"]
    if subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0:
        return (str(python), "-m", "pip")
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip", "--python", str(python))
    raise PpmError(
        "There is no pip, neither in that environment nor here.", hint=f"Add uv: {with_extra('environments')}"
    )


def _with_others(line: str, address: Address, environ: Mapping[str, str], home: Path) -> str:
    """The user's netrc, which other hosts of a list may need, with the line for the index."""
    try:
        others = user_dirs.netrc(environ, home).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        others = ""
    return netrc_file.with_line(others, address.host, line) if others else f"{line}\n"


def _tail(printed: bytes) -> str:
    return "".join(f"\n    {line}" for line in printed.decode("utf-8", "replace").rstrip().splitlines()[-_TAIL:])
