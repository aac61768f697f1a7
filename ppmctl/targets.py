"""Running the same command where a volume is: `--on ssh://host`, `--on docker://container`.

The command there is that machine's own `ppmctl`, of the same version, with that machine's `PPM_ROOT`. Files that are
named here are read and written here: each is a temporary file there, in a folder of its own, while the command runs.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ppmctl import __version__, files, relay
from ppmctl.errors import PpmError, UsageError
from ppmctl.extras import with_extra
from ppmctl.relay import Running, Terminal

# Who ran the command and where, for the audit there: user@machine. Who may run it there could write anything into it.
ORIGIN = "PPMCTL_ORIGIN"
# What says here how a command shows itself; everything else is that machine's own.
_CARRIED = ("NO_COLOR", "FORCE_COLOR", "COLORTERM")
_SCHEMES = ("ssh", "ssh+sudo", "docker")
_FORMS = "ssh://[user@]host[:port], ssh+sudo://[user@]host[:port], or docker://container"
_NOT_FOUND = 127  # a shell's exit code for a command that is not there
_NO_FILE = 9
_LOST = "If it was a secret, revoke it, and make another."

_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]"
_SSH = re.compile(rf"(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?/?", re.ASCII)
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)

# Each says its first argument first, since a login may say something of its own.
_SEE = f'command -v ppmctl >/dev/null 2>&1 || exit {_NOT_FOUND}; printf "%s" "$1"; exec ppmctl --version'
_FOLDER = 'made=$(mktemp -d) && printf %s%s "$1" "$made"'
_PUT = 'umask 077; cat >"$1"'
_GET = f'[ -f "$2" ] || exit {_NO_FILE}; printf "%s" "$1"; exec cat "$2"'
_DROP = 'rm -rf -- "$1"'
_SIGNAL = 'kill -s "$1" "$2"'
_RUN = 'printf "%s%s\\n" "$1" "$$"; shift; exec env "$@"'
_RUN_ON_TERMINAL = 'exec env "$@"'


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """A host, as `ssh` takes it (names of ~/.ssh/config too); with `sudo` the command runs as root there."""

    host: str
    user: str | None = None
    port: int | None = None
    sudo: bool = False

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def ssh(self) -> str:
        """The command that opens a shell there, to be typed."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self}"


@dataclass(frozen=True, kw_only=True)
class DockerTarget:
    """A container, by its name or id, or the one container of a compose service."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """A file that an argument names: `name` as it was typed, `before` what stands before it in the same argument."""

    name: str
    written: bool
    before: str = ""

    @property
    def path(self) -> Path:
        return Path(self.name)


class Place(Protocol):
    """Where commands can be run: a connection."""

    name: str
    prefix: tuple[str, ...]  # what every command needs before it
    hint: str  # what to do where there is no ppmctl

    def start(self, command: Sequence[str], terminal: Terminal | None) -> Running: ...

    def close(self) -> None: ...


def parse(text: str) -> SshTarget | DockerTarget:
    """The target that `--on` names. UsageError; it does not repeat a password."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise UsageError(f"--on can't be {_without_secret(text)!r}.", hint=f"It is {_FORMS}.")
    if scheme == "docker":
        if not _CONTAINER.fullmatch(rest):
            raise UsageError(f"{rest!r} is not the name of a container.", hint="`docker ps` lists them.")
        return DockerTarget(name=rest)
    if ":" in rest.rpartition("@")[0]:
        raise UsageError("--on takes no password: keys let you in.", hint="ssh-copy-id installs one.")
    found = _SSH.fullmatch(rest)
    if found is None or (found["port"] and not 0 < int(found["port"]) < 1 << 16):
        raise UsageError(f"--on can't be {_without_secret(text)!r}.", hint=f"It is {_FORMS}.")
    return SshTarget(
        host=found["host"].strip("[]"),
        user=found["user"],
        port=int(found["port"]) if found["port"] else None,
        sudo=scheme == "ssh+sudo",
    )


def _without_secret(text: str) -> str:
    return re.sub(r":[^/:@][^@]*@", ":***@", text)


def run(text: str, arguments: Sequence[str | NamedFile], *, environ: Mapping[str, str]) -> int:
    """Run `ppmctl` with `arguments` on the target `text`, with this process's streams; its exit code.

    PpmError where it could not be run there, and nothing was changed then; or where what it wrote could not be
    brought here.
    """
    target = parse(text)
    contents = {file: _read(file.path) for file in arguments if isinstance(file, NamedFile) and not file.written}
    with contextlib.ExitStack() as stack:
        written = [file for file in arguments if isinstance(file, NamedFile) and file.written]
        reserved = {file: stack.enter_context(_reserved(file.path)) for file in written}
        site = _Site(stack.enter_context(contextlib.closing(connect(target))))
        site.see()
        names: dict[NamedFile, str] = {}
        if contents or reserved:
            folder = stack.enter_context(site.folder())
            # what it is called matters: some is known by its ending
            names = {
                file: f"{folder}/{number}-{re.sub(r'[^A-Za-z0-9._-]', '_', file.path.name)}"
                for number, file in enumerate([*contents, *reserved])
            }
            for file, content in contents.items():
                site.put(names[file], content)
        line = [part if isinstance(part, str) else part.before + names[part] for part in arguments]
        code = site.run(line, _environment(environ), names)
        for file, descriptor in reserved.items():
            made = site.get(names[file], file.path) if code == 0 else None
            if made is not None:
                _write(descriptor, made, file.path)
        return code


def connect(target: SshTarget | DockerTarget) -> Place:
    """A connection to `target`. PpmError says what to type where there is none."""
    module, needs = ("ssh", "fabric") if isinstance(target, SshTarget) else ("containers", "docker")
    try:
        # imported here: both are slow, and belong to an extra
        place: Place = importlib.import_module(f"ppmctl.{module}").connect(target)
    except ImportError as exc:
        raise PpmError(
            f"--on needs {needs}, which is not installed beside this ppmctl ({exc.name} is missing).",
            hint=f"It is in the extra ppmctl[remote]: {with_extra('remote')}",
        ) from exc
    return place


class _Site:
    """A place, and what is done there with its shell."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._marker = f"ppm-{secrets.token_hex(8)}:"

    def see(self) -> None:
        """See that there is a ppmctl of this version."""
        code, out, said = self._call(_SEE)
        found = out.strip().removeprefix("ppmctl, version ")
        if code == _NOT_FOUND or "executable file not found" in said:
            raise PpmError(f"There is no ppmctl on {self._place.name}.", hint=self._place.hint)
        if code:
            why = " ".join(said.split()) or f"it exited {code}"
            raise PpmError(f"ppmctl can't be run on {self._place.name}: {why}", hint=self._place.hint)
        if found != __version__:
            raise PpmError(
                f"{self._place.name} has ppmctl {found}, and this is {__version__}: what a command means may differ.",
                hint="Raise the older one, or run the command over there.",
            )

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A folder there for a while."""
        code, path, said = self._call(_FOLDER)
        if code or not path.startswith("/"):
            raise PpmError(f"{self._place.name} has no room for a temporary file: {said.strip() or code}")
        try:
            yield path
        finally:
            self._start(_DROP, path)

    def put(self, path: str, content: bytes) -> None:
        code, _, said = self._start(_PUT, path, content=content)
        if code:
            raise PpmError(f"A file can't be written on {self._place.name}: {said.decode(errors='replace').strip()}")

    def get(self, path: str, wanted: Path) -> bytes | None:
        """The content of a file there; None if the command made none."""
        code, out, said = self._start(_GET, self._marker, path)
        if code == _NO_FILE:
            return None
        if code:
            why = said.decode(errors="replace").strip()
            raise PpmError(
                f"The command was done on {self._place.name}, but what it wrote for {wanted} can't be read: {why}",
                hint=_LOST,
            )
        return out.partition(self._marker.encode())[2]

    def run(self, arguments: Sequence[str], variables: Mapping[str, str], names: Mapping[NamedFile, str]) -> int:
        terminal = relay.terminal(os.environ)
        settings = [f"{name}={value}" for name, value in variables.items()]
        line = [*settings, "ppmctl", *arguments]
        script = [_RUN_ON_TERMINAL, "sh", *line] if terminal else [_RUN, "sh", self._marker, *line]
        return relay.relay(
            self._place.start([*self._place.prefix, "sh", "-c", *script], terminal),
            with_terminal=terminal is not None,
            marker=b"" if terminal else self._marker.encode(),
            names={os.fsencode(there): os.fsencode(file.name) for file, there in names.items()},
            interrupt=self._signal,
        )

    def _signal(self, process: int, number: int) -> None:
        self._start(_SIGNAL, str(number), str(process))

    def _start(self, script: str, *arguments: str, content: bytes = b"") -> tuple[int, bytes, bytes]:
        command = [*self._place.prefix, "sh", "-c", script, "sh", *arguments]
        return relay.capture(self._place.start(command, None), content)

    def _call(self, script: str) -> tuple[int, str, str]:
        """Run a script that says the marker first; what it said after that, and on stderr."""
        code, out, said = self._start(script, self._marker)
        before, _, after = out.partition(self._marker.encode())
        # what an engine says in the command's place is on its stdout
        return code, after.decode(errors="replace"), (said or before).decode(errors="replace")


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        user = str(os.getuid())
    carried = {name: environ[name] for name in _CARRIED if name in environ}
    return {**carried, ORIGIN: f"{user}@{socket.gethostname()}"}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise PpmError(f"{path} can't be read: {exc.strerror}. Nothing was done.") from exc


@contextlib.contextmanager
def _reserved(path: Path) -> Iterator[int]:
    """A descriptor of the file `path`, born for this; it goes again if nothing was written to it."""
    descriptor, is_new = files.born(path)
    try:
        yield descriptor
    finally:
        if is_new and not os.fstat(descriptor).st_size:
            path.unlink(missing_ok=True)
        os.close(descriptor)


def _write(descriptor: int, content: bytes, path: Path) -> None:
    try:
        with os.fdopen(os.dup(descriptor), "wb") as here:
            here.write(content)
            here.flush()
            os.fsync(descriptor)
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        raise PpmError(f"The command was done, but {path} can't be written: {exc.strerror}.", hint=_LOST) from exc
