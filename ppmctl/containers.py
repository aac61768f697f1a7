"""Commands in a container of a Docker engine; the one module that knows the Docker SDK."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import docker
from docker import errors
from docker.context import ContextAPI

from ppmctl.errors import PpmError
from ppmctl.relay import Running, Terminal
from ppmctl.targets import DockerTarget

_SERVICE, _ONE_OFF = "com.docker.compose.service", "com.docker.compose.oneoff"
_ERROR = 2  # a frame's stream
_HEADER = 8  # bytes of a frame: the stream, three of nothing, four of its size
_PIECE = 1 << 16
_ENGINE_SECONDS = 60


class Container:
    """A container that runs."""

    prefix: tuple[str, ...] = ()

    def __init__(self, engine: Any, found: Any) -> None:
        self.name = f"the container {found.name}"
        self.hint = "The application's container is meant: with the compose file here, docker://pypiserver."
        self._engine = engine
        self._id = found.id

    def start(self, command: Sequence[str], terminal: Terminal | None) -> Running:
        api = self._engine.api
        try:
            with_terminal = terminal is not None
            environment = {"TERM": terminal.kind} if terminal else {}
            made = api.exec_create(self._id, list(command), stdin=True, tty=with_terminal, environment=environment)
            stream = api.exec_start(made["Id"], tty=with_terminal, socket=True)
        except (errors.DockerException, OSError) as exc:
            raise PpmError(f"{self.name} runs no command: {_said(exc)}") from exc
        return _Execution(api, made["Id"], stream, terminal)

    def close(self) -> None:
        self._engine.close()


class _Execution(Running):
    def __init__(self, api: Any, identity: str, stream: Any, terminal: Terminal | None) -> None:
        super().__init__()
        self._api = api
        self._id = identity
        self._stream = stream
        self._socket = getattr(stream, "_sock", stream)
        self._socket.settimeout(None)  # a command may think for long
        # The answer's head was read in pieces: what followed it at once is in that buffer, and not in the socket.
        self._reader = stream._response.raw._fp.fp
        self._terminal = terminal
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for piece, error in self._frames() if self._terminal is None else self._pieces():
                self.said(piece, error=error)
        except (OSError, ValueError):  # closed meanwhile
            pass
        self.ended()

    def _pieces(self) -> Iterator[tuple[bytes, bool]]:
        terminal = self._terminal
        while piece := self._reader.read1(_PIECE):
            if terminal is not None:  # one that has just been made may not have had its size taken
                self.resize(terminal.columns, terminal.lines)
                terminal = None
            yield piece, False

    def _frames(self) -> Iterator[tuple[bytes, bool]]:
        while len(header := self._reader.read(_HEADER)) == _HEADER:
            left = int.from_bytes(header[4:], "big")
            while left and (piece := self._reader.read1(min(left, _PIECE))):
                left -= len(piece)
                yield piece, header[0] == _ERROR

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def resize(self, columns: int, lines: int) -> None:
        with contextlib.suppress(errors.DockerException, OSError):
            self._api.exec_resize(self._id, height=lines, width=columns)

    def code(self) -> int:
        try:
            found = self._api.exec_inspect(self._id)
        except (errors.DockerException, OSError) as exc:
            raise PpmError(f"Whether the command was done is not known: {_said(exc)}") from exc
        if found["ExitCode"] is None or found["Running"]:
            raise PpmError(
                "The connection to the container broke off; the command may have been done, or may go on there.",
                hint="Look there before it is run again.",
            )
        return int(found["ExitCode"])

    def close(self) -> None:
        with contextlib.suppress(Exception):  # it may have ended
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(Exception):
            self._stream.close()


def connect(target: DockerTarget) -> Container:
    """Find the container at the engine that `docker` uses. PpmError says what to type where that fails."""
    engine = _engine()
    try:
        return Container(engine, _find(engine, target.name))
    except errors.DockerException as exc:
        engine.close()
        raise PpmError(f"The Docker engine refuses: {_said(exc)}") from exc
    except BaseException:
        engine.close()
        raise


def _engine() -> Any:
    where = os.environ.get("DOCKER_HOST") or "the default socket"
    if where.startswith("ssh://"):
        raise PpmError(
            f"--on docker:// does not go through {where}.", hint="DOCKER_HOST can't be an ssh:// URL here."
        )
    try:
        if not os.environ.get("DOCKER_HOST"):
            context = ContextAPI.get_current_context()
            if context is not None and context.Name != "default":
                where = f"{context.Host} (docker context {context.Name})"
                return docker.DockerClient(
                    base_url=context.Host, tls=context.TLSConfig or False, version="auto", timeout=_ENGINE_SECONDS
                )
        return docker.from_env(version="auto", timeout=_ENGINE_SECONDS)
    except (errors.DockerException, OSError) as exc:
        if "PermissionError" in str(exc):
            raise PpmError(
                f"This user may not use the Docker engine at {where}.",
                hint="sudo, or become a member of its group (usually docker).",
            ) from exc
        raise PpmError(
            f"No Docker engine answers at {where}.", hint="Start it; or DOCKER_HOST says where another one is."
        ) from exc


def _find(engine: Any, name: str) -> Any:
    found = _named(engine, name)
    if found.status != "running":
        remedy = "unpause" if found.status == "paused" else "start"
        raise PpmError(
            f"The container {found.name} is not running: it is {found.status}.", hint=f"docker {remedy} {found.name}"
        )
    return found


def _named(engine: Any, name: str) -> Any:
    try:
        return engine.containers.get(name)
    except errors.NotFound:
        labels = [f"{_SERVICE}={name}", f"{_ONE_OFF}=False"]
        found = engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
    running = [box for box in found if box.status == "running"] or found
    if not running:
        raise PpmError(
            f"There is no container {name!r}, and no compose service of that name.",
            hint="`docker ps` lists those that run; DOCKER_HOST says which engine is asked.",
        ) from None
    if len(running) > 1:
        names = ", ".join(sorted(box.name for box in running))
        raise PpmError(f"The service {name!r} of compose has {len(running)} containers.", hint=f"Name one: {names}.")
    return running[0]


def _said(exc: Exception) -> str:
    return " ".join(str(getattr(exc, "explanation", None) or exc).split())
