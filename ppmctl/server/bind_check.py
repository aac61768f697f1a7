"""Check that a server can listen at its address. gunicorn would try for five seconds, and then give no reason."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from ppmctl.errors import PpmError
from ppmctl.server import unix_http
from ppmctl.server.settings import ServerSettings

_TIMEOUT = 5.0  # seconds


def check(settings: ServerSettings) -> None:
    """Raise PpmError, with a hint, where the server can't listen. A socket that a dead server left is no obstacle."""
    if settings.is_local:
        _check_path(Path(settings.host.removeprefix("unix:")))
    else:
        _check_port(settings.host, settings.port)


def _check_port(host: str, port: int) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _name, address = addresses[0]
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
        existing = path.lstat()
    except FileNotFoundError:
        existing = None
    except OSError as exc:
        raise PpmError(f"{failed}: {exc.strerror}.") from exc
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PpmError(
            f"{failed}: {folder} must be a folder that this process (uid {os.getuid()}, gid {os.getgid()}) can write."
        )
    if existing is None:
        return
    if not stat.S_ISSOCK(existing.st_mode):
        raise PpmError(f"{failed}: the path exists and is not a socket.")
    parent = folder.stat()
    if parent.st_mode & stat.S_ISVTX and os.getuid() not in (0, existing.st_uid, parent.st_uid):
        raise PpmError(
            f"{failed}: the socket belongs to uid {existing.st_uid}, and uid {os.getuid()} can't replace it.",
            hint="If its server has ended, remove the socket, or the volume that it is on.",
        )
    if _is_served(path):
        raise PpmError(f"{failed}: another server listens there.", hint="Stop it first, or choose another path.")


def _is_served(path: Path) -> bool:
    connection = unix_http.Connection(str(path), timeout=_TIMEOUT)
    try:
        connection.connect()
    except OSError as exc:
        return not isinstance(exc, ConnectionRefusedError | FileNotFoundError)  # a server's queue can be full
    finally:
        connection.close()
    return True
