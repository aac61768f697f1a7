"""Commands on a host over SSH; the one module that knows fabric, and paramiko below it.

It goes by ~/.ssh/config, the agent and the keys as `ssh` does, and it lets in only a host whose key is known.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import paramiko
from fabric import Connection

from ppmctl.errors import PpmError
from ppmctl.relay import Running, Terminal
from ppmctl.targets import SshTarget

_CONNECT_SECONDS = 10
_ALIVE_SECONDS = 30  # between signs of life, for firewalls that forget
_PIECE = 1 << 16
_KNOWN = {
    "userknownhostsfile": "~/.ssh/known_hosts ~/.ssh/known_hosts2",
    "globalknownhostsfile": "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",
}


class _UnknownKey(Exception):
    def __init__(self, key: paramiko.PKey) -> None:
        super().__init__()
        self.key = key


class _OnlyKnown:
    """What paramiko does about a host whose key nobody knows: nothing is sent to it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:
        raise _UnknownKey(key)


class SshHost:
    """A host that lets us in."""

    def __init__(self, target: SshTarget, connection: Connection) -> None:
        self.name = str(target)
        self.prefix = ("sudo", "-n", "--") if target.sudo else ()
        tried = " ".join((target.ssh, *self.prefix, "ppmctl --version"))
        self.hint = f"A command that ssh runs has to find it: {tried}"
        self._connection = connection

    def start(self, command: Sequence[str], terminal: Terminal | None) -> Running:
        try:
            channel = self._connection.create_session()
            if terminal is not None:
                channel.get_pty(term=terminal.kind, width=terminal.columns, height=terminal.lines)
            channel.exec_command(shlex.join(command))
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise PpmError(f"{self.name} runs no command over SSH: {exc or 'the connection has ended'}") from exc
        return _Session(channel, self.name)

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it may have ended
            self._connection.close()


class _Session(Running):
    def __init__(self, channel: paramiko.Channel, name: str) -> None:
        super().__init__()
        self._channel = channel
        self._name = name
        self._open = 2  # streams
        self._guard = threading.Lock()
        for receive, error in ((channel.recv, False), (channel.recv_stderr, True)):
            threading.Thread(target=self._read, args=(receive, error), daemon=True).start()

    def _read(self, receive: Callable[[int], bytes], error: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := receive(_PIECE):
                self.said(piece, error=error)
        with self._guard:
            self._open -= 1
            last = not self._open
        if last:
            self.ended()

    def send(self, data: bytes) -> None:
        self._channel.sendall(data)

    def end_input(self) -> None:
        self._channel.shutdown_write()

    def resize(self, columns: int, lines: int) -> None:
        self._channel.resize_pty(width=columns, height=lines)

    def code(self) -> int:
        code: int = self._channel.recv_exit_status()
        if code >= 0:
            return code
        transport = self._channel.get_transport()
        if transport is not None and transport.is_active():
            raise PpmError(f"The command was ended on {self._name} by a signal.")
        raise PpmError(
            f"The connection to {self._name} broke off; the command may have been done, or may go on there.",
            hint="Look there before it is run again.",
        )

    def close(self) -> None:
        self._channel.close()


def connect(target: SshTarget) -> SshHost:
    """Open a connection. PpmError says what to type where that fails."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what fails is said by its exception
    logging.getLogger("paramiko").propagate = False
    with _explained(target):
        connection = Connection(target.host, user=target.user, port=target.port)
        connection.connect_timeout = connection.connect_timeout or _CONNECT_SECONDS
        for hop in _hops(connection):
            # fabric's own choice takes any key and tells nobody
            hop.client.set_missing_host_key_policy(_OnlyKnown())
            for path in _known_hosts(hop):
                with contextlib.suppress(OSError):  # it need not be there
                    hop.client.load_system_host_keys(str(path))
        connection.open()
        transport = connection.transport
        if transport is not None:
            transport.set_keepalive(_ALIVE_SECONDS)
    return SshHost(target, connection)


def _hops(connection: Connection) -> Iterator[Connection]:
    """The connection, and those that it goes through (ProxyJump)."""
    hop: Any = connection
    while isinstance(hop, Connection):
        yield hop
        hop = hop.gateway


def _known_hosts(connection: Connection) -> Iterator[Path]:
    for option, default in _KNOWN.items():
        for name in shlex.split(connection.ssh_config.get(option, default)):
            if name != "none":
                yield Path(name).expanduser()


@contextlib.contextmanager
def _explained(target: SshTarget) -> Iterator[None]:
    """Let what fails say why, and what to do."""
    try:
        yield
    except _UnknownKey as exc:
        raise PpmError(
            f"The key of {target} is not known here: {exc.key.get_name()} {exc.key.fingerprint}. Nothing was sent.",
            hint=f"`{target.ssh}` shows it too: answer yes if it is the host's"
            " (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and run this again.",
        ) from exc
    except paramiko.BadHostKeyException as exc:
        raise PpmError(
            f"The key of {exc.hostname} is another than the one known here: {exc.key.get_name()}"
            f" {exc.key.fingerprint}. It may be another machine in its place. Nothing was sent.",
            hint=f"`{target.ssh}` names the line in known_hosts; take it away only if you know why the key changed.",
        ) from exc
    except paramiko.PasswordRequiredException as exc:
        raise PpmError(
            f"{target} takes none of the keys here, and one has a passphrase.", hint="ssh-add, and run this again."
        ) from exc
    except (paramiko.SSHException, OSError, EOFError, ValueError) as exc:
        raise _refusal(target, exc) from exc


def _refusal(target: SshTarget, exc: Exception) -> PpmError:
    said = str(exc) or type(exc).__name__
    try_it = f"`{target.ssh}` has to work, without a password."
    if isinstance(exc, paramiko.AuthenticationException) or "No authentication methods" in said:
        hint = f"{try_it} ssh-copy-id {target} installs one, ssh-add -l lists."
        return PpmError(f"{target} takes none of the keys here.", hint=hint)
    if isinstance(exc, socket.gaierror):
        hint = "Or it has no entry in ~/.ssh/config."
        return PpmError(f"There is no host {target.host}: {exc.strerror}.", hint=hint)
    if isinstance(exc, TimeoutError):
        return PpmError(f"{target.host} does not answer over SSH.", hint=f"Is it up, and reachable? {try_it}")
    if isinstance(exc, OSError):
        return PpmError(f"Nothing listens for SSH on {target.host}: {said}.", hint=f"Is it up? {try_it}")
    return PpmError(f"{target.host} can't be reached over SSH: {said}.", hint=try_it)
