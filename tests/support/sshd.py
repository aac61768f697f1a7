"""Hosts that are reached over SSH: a real sshd on the loopback, with its own keys, home and settings.

This machine's configuration is neither read nor changed. The user who runs the tests logs in.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from support import namespaces
from support.servers import clean_environment, free_port

SSHD = "/usr/sbin/sshd"
NAME = "index.test"
PROGRAMS = Path(sys.executable).parent
_FOREIGN = ("SSH_AUTH_SOCK", "SSH_ASKPASS", "NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES")
# sshd needs a folder in /run, which may be missing on machines that run tests
_PREPARE = "mount -t tmpfs tmpfs /run; mkdir -m 0755 /run/sshd"


@dataclass(kw_only=True)
class Host:
    """An sshd, and a client's home that is configured for it as `index.test`; `root` is PPM_ROOT on the host."""

    folder: Path
    port: int
    root: Path
    path: str
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> str:
        return f"ssh://{NAME}"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Return the id of the listening sshd."""
        return self.process.pid

    def kill(self) -> None:
        """Kill it with all its connections."""
        for process in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait(timeout=30)

    def environ(self, **more: str) -> dict[str, str]:
        """Return the client's environment: a home with the host's name and key, without this machine's settings."""
        environ = at_home(self.home)
        return {name: value for name, value in environ.items() if name not in _FOREIGN} | more

    def write_config(self, **settings: str) -> None:
        """Write the client's ~/.ssh/config; `settings` override those that give access."""
        options = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "User": getpass.getuser(),
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
        } | settings
        lines = [f"Host {NAME}", *(f"    {name} {value}" for name, value in options.items())]
        config = self.home / ".ssh" / "config"
        config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.write_text("\n".join(lines) + "\n")

    def trust(self, key: Path) -> None:
        """Make this public key the only one in the client's known_hosts."""
        kind, text = key.read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {text}\n")


def at_home(home: Path) -> dict[str, str]:
    """Return the environment of a client with this home, whose `ssh` reads `home`/.ssh/config.

    OpenSSH reads it from the home in the system's user database, and ignores HOME.
    """
    programs = home / "bin"
    environ = clean_environment(home)
    program = shutil.which("ssh")
    assert program is not None
    programs.mkdir(exist_ok=True)
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {program} -F {shlex.quote(str(home / ".ssh" / "config"))} "$@"\n')
    (programs / "ssh").chmod(0o755)
    return {**environ, "PATH": os.pathsep.join([str(programs), environ["PATH"]])}


def descendants(process: int) -> list[int]:
    """Return a process and all its descendants."""
    children = Path(f"/proc/{process}/task/{process}/children")
    try:
        ids = children.read_text().split()
    except FileNotFoundError:
        return []
    return [process, *(below for child in ids for below in descendants(int(child)))]


def keygen(path: Path, *, passphrase: str = "") -> Path:
    """Make a key pair if it does not exist."""
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "test", "-f", str(path)]
        subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
    return path


@contextlib.contextmanager
def running(
    folder: Path, *, path: str = "", environ: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> Iterator[Host]:
    """Run an sshd with all files below `folder`; `path` and `environ` are for its commands.

    `before` is a command prefix that starts sshd.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host_key, key = keygen(folder / "host_key"), keygen(folder / "key")
    (folder / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
    root = folder / "root"
    path = path or os.pathsep.join([str(PROGRAMS), "/usr/local/bin", "/usr/bin", "/bin"])
    variables = {"PATH": path, "PPM_ROOT": str(root), **(environ or {})}
    port = free_port()
    settings = {
        "Port": str(port),
        "ListenAddress": "127.0.0.1",
        "HostKey": str(host_key),
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",  # the folder for temporary files is writable for all users
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "LogLevel": "VERBOSE",
        "SetEnv": " ".join(f'"{name}={value}"' for name, value in variables.items()),
    }
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    command = [*before, SSHD, "-D", "-e", "-f", str(config)]
    if os.geteuid() == 0:
        command = [*namespaces.command(_PREPARE), *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    host = Host(folder=folder, port=port, root=root, path=path, process=process)
    host.write_config()
    host.trust(host_key.with_suffix(".pub"))
    try:
        wait(host)
        yield host
    finally:
        host.kill()


def wait(host: Host, *, seconds: float = 30) -> None:
    """Wait until it answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and host.process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", host.port), timeout=5) as connection,
        ):
            if connection.recv(4) == b"SSH-":
                return
        time.sleep(0.02)
    command = cast("list[object]", host.process.args)
    raise AssertionError(f"{shlex.join(map(str, command))} does not answer:\n{host.log}")
