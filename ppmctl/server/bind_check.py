"""Whether a server could listen where its settings say, before it tries: gunicorn would try for five seconds, and
say no more than that it can't."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from ppmctl.errors import PpmError
from ppmctl.server import unix_http
from ppmctl.server.settings import ServerSettings

_PATIENCE = 5.0  # seconds


def check(settings: ServerSettings) -> None:
    """PpmError, with the remedy, where it can't. A socket that nobody serves any more is no hindrance."""
    if settings.is_local:
        _check_path(Path(settings.host.removeprefix("unix:")))
    else:
        _check_port(settings.host, settings.port)


def _check_port(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _name, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        raise PpmError(
            f"Can't listen on {host} port {port}: {exc.strerror or exc}.",
            hint="Another program may use the port: choose one with --port (make up PORT=8081).",
        ) from exc


def _check_path(path: Path) -> None:
    failed, folder = f"Can't listen at {path}", path.parent
    try:
        there = path.lstat()
    except FileNotFoundError:
        there = None
    except OSError as exc:
        raise PpmError(f"{failed}: {exc.strerror}.") from exc
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PpmError(
            f"{failed}: {folder} must be a folder that this process (uid {os.getuid()}, gid {os.getgid()}) can write."
        )
    if there is None:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise PpmError(f"{failed}: there is something else of that name.")
    owner = folder.stat()
    if owner.st_mode & stat.S_ISVTX and os.getuid() not in (0, there.st_uid, owner.st_uid):
        raise PpmError(
            f"{failed}: the socket there is of a server of uid {there.st_uid}.",
            hint="If that one is gone, remove the socket, or the volume that it is on.",
        )
    if _is_served(path):
        raise PpmError(f"{failed}: another server does.", hint="Stop that one first, or choose another path.")


def _is_served(path: Path) -> bool:
    connection = unix_http.Connection(str(path), timeout=_PATIENCE)
    try:
        connection.connect()
    except OSError as exc:
        return not isinstance(exc, ConnectionRefusedError | FileNotFoundError)  # a full queue is a server's too
    finally:
        connection.close()
    return True
