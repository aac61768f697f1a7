"""Run the same command on the machine of a volume: `--on ssh://host`, `--on docker://container`.

That machine needs ppmctl of the same version; its PPM_ROOT counts. Files in the arguments are files of this machine:
the command gets a temporary file in a folder of its own for each.
"""

from __future__ import annotations

import contextlib
import getpass
import itertools
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ppmctl import __version__, files, regular_file
from ppmctl.errors import PpmError
from ppmctl.remote.target import DockerTarget, SshTarget, parse

# user@machine of this process, for the audit log. It proves nothing: a user who may run the command can set it.
ORIGIN = "PPMCTL_ORIGIN"
# The paths of the temporary files, and the names that messages have for them, as a JSON object.
NAMES = "PPMCTL_NAMES"
# The variables for the command's output; all others are those of the target.
_CARRIED = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TERM")
_BROKEN = 255  # the exit code of ssh and docker if they don't know that of the command
_MOST_SIGNALS = 3  # after so many the command does not react, and this process stops waiting
_PIECE = 1 << 16
_LOST = "If it was a secret, revoke it, and make a new one."

# Each prints its first argument first, since a login shell may print something before.
_SEE = 'command -v ppmctl >/dev/null || { echo not on the PATH >&2; exit 1; }; printf %s "$1"; exec ppmctl --version'
_PUT = 'umask 077; made=$(mktemp -d) && printf %s%s "$1" "$made" && cd "$made" && cat >"${2:-/dev/null}"'
_GET = 'printf %s "$1"; [ ! -f "$2" ] || exec cat "$2"'
_DROP = 'shift; rm -rf -- "$@"'
_RUN = 'printf "%s%s\\n" "$1" "$$"; shift; exec "$@"'
_SIGNAL = 'kill -s "$2" "$3"'


@dataclass(frozen=True, kw_only=True)
class NamedFile:
    """A file in an argument: `name` as the user typed it, `before` the text before it in the same argument."""

    name: str
    written: bool
    before: str = ""

    @property
    def path(self) -> Path:
        return Path(self.name)


def run(
    text: str, arguments: Sequence[str | NamedFile], *, environ: Mapping[str, str], write: Callable[[bytes], None]
) -> int:
    """Run `ppmctl` with `arguments` on the target `text`, with this process's streams, and return its exit code.

    Without a terminal `write` gets its stdout. Raise PpmError if the command or the copy of a file fails.
    """
    target = parse(text)
    if shutil.which(target.program) is None:
        raise PpmError(f"--on {text} needs the program {target.program}, which is not installed.")
    named = [part for part in arguments if isinstance(part, NamedFile)]
    contents = {file: None if file.written else _read(file.path) for file in named}
    with contextlib.ExitStack() as stack:
        receivers = {file: stack.enter_context(_receiver(file.path)) for file in named if file.written}
        shell = _Shell(target)
        shell.require_same_version()
        stack.callback(shell.drop)
        paths = {file: shell.put(file.path.name, content) for file, content in contents.items()}
        line = [part if isinstance(part, str) else part.before + paths[part] for part in arguments]
        variables = _variables(environ, {path: file.name for file, path in paths.items()})
        code = shell.run(["env", *variables, "ppmctl", *line], write)
        if code == 0:
            for file, receive in receivers.items():
                receive(shell.get(paths[file], file.path))
        return code


class _Shell:
    """Runs scripts and commands in a target's shell."""

    def __init__(self, target: SshTarget | DockerTarget) -> None:
        self._target = target
        self._marker = f"ppm-{secrets.token_hex(8)}:"
        self._folders: list[str] = []

    def require_same_version(self) -> None:
        """Raise PpmError if the target has no ppmctl of this version."""
        printed, why = self._call(_SEE)
        if why:
            raise PpmError(f"ppmctl can't be run on {self._target.name}: {why}", hint=self._target.hint(why))
        version = printed.decode(errors="replace").strip().removeprefix("ppmctl, version ")
        if version != __version__:
            raise PpmError(
                f"{self._target.name} has ppmctl {version}, and this is {__version__}: their commands may differ.",
                hint="Upgrade the older one, or run the command on that machine.",
            )

    def put(self, name: str, content: bytes | None) -> str:
        """Make a folder on the target, and in it the file if it has a `content`; return the file's path."""
        name = re.sub(r"[^A-Za-z0-9._-]", "_", name)  # some commands need its suffix
        folder, why = self._call(_PUT, "" if content is None else name, content=content or b"")
        self._folders += [folder.decode()] if folder else []
        if why:
            raise PpmError(f"A file can't be written on {self._target.name}: {why}")
        return f"{self._folders[-1]}/{name}"

    def get(self, path: str, wanted: Path) -> bytes:
        """Return the content of a file of the target; b"" if the command made no file."""
        content, why = self._call(_GET, path)
        if why:
            raise PpmError(
                f"The command was done on {self._target.name}, but its file for {wanted} can't be read: {why}",
                hint=_LOST,
            )
        return content

    def drop(self) -> None:
        """Remove the folders that `put` made."""
        if self._folders:
            self._call(_DROP, *self._folders)

    def run(self, words: Sequence[str], write: Callable[[bytes], None]) -> int:
        """Run a command with this process's streams, pass signals on to it, and return its exit code."""
        terminal = all(map(os.isatty, (0, 1, 2)))  # with one, stdout and stderr of the target are one stream
        if not terminal:
            words = ["sh", "-c", _RUN, "sh", self._marker, *words]
        process = subprocess.Popen(
            self._target.command(words, terminal=terminal),
            bufsize=0,
            stdin=subprocess.DEVNULL if sys.stdin is None else None,
            stdout=None if terminal else subprocess.PIPE,
            start_new_session=not terminal,  # Ctrl-C is for the command, not for ssh or docker
        )
        process_id: list[str] = []  # of the command, once it is known
        times = itertools.count(1)

        def pass_on(number: int, _frame: types.FrameType | None) -> None:
            if next(times) >= _MOST_SIGNALS:
                raise KeyboardInterrupt
            if process_id:
                self._call(_SIGNAL, str(number), *process_id)
            else:
                process.send_signal(number)

        with process, contextlib.ExitStack() as stack:
            stack.callback(process.kill)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                stack.callback(signal.signal, number, signal.signal(number, pass_on))
            if process.stdout is not None:
                start = next((line for line in process.stdout if self._marker.encode() in line), b"")
                process_id += start.decode(errors="replace").rpartition(":")[2].split()
                while piece := process.stdout.read(_PIECE):
                    write(piece)
            code = process.wait()
        if code < 0:
            raise KeyboardInterrupt
        if code == _BROKEN:
            raise PpmError(
                f"The connection to {self._target.name} broke off, or a signal ended the command;"
                " it may be done, or still running.",
                hint="Check that before you run it again.",
            )
        return code

    def _call(self, script: str, *arguments: str, content: bytes = b"") -> tuple[bytes, str]:
        """Run a script; return its output, and the reason if it failed, or ""."""
        command = self._target.command(["sh", "-c", script, "sh", self._marker, *arguments])
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        before, _, out = done.stdout.partition(self._marker.encode())
        # an engine prints its own errors to stdout
        printed = (done.stderr or before).decode(errors="replace")
        why = "\n".join(filter(None, printed.splitlines())) or f"it exited {done.returncode}"
        return out, why if done.returncode else ""


def _variables(environ: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """Return the variables that the command gets from this process, as NAME=VALUE."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in containers
        user = str(os.getuid())
    variables = {name: environ[name] for name in _CARRIED if name in environ}
    variables[ORIGIN] = f"{user}@{socket.gethostname()}"
    if names:
        variables[NAMES] = json.dumps(names)
    return [f"{name}={value}" for name, value in variables.items()]


def _read(path: Path) -> bytes:
    try:
        return regular_file.read(path)
    except OSError as exc:
        raise PpmError(f"{path} can't be read: {exc.strerror}. Nothing was done.") from exc


@contextlib.contextmanager
def _receiver(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Create the file `path`, and yield a function that writes it; delete it if nothing was written."""
    descriptor, is_new = files.open_private(path)

    def receive(content: bytes) -> None:
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            os.fsync(descriptor)
        except OSError as exc:
            os.ftruncate(descriptor, 0)
            raise PpmError(f"The command was done, but {path} can't be written: {exc.strerror}.", hint=_LOST) from exc

    try:
        yield receive
    finally:
        if is_new and not os.fstat(descriptor).st_size:
            path.unlink(missing_ok=True)
        os.close(descriptor)
