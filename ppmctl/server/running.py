"""Record where the servers of a volume listen, so that commands on their machine find them.

Each server has a file in `servers/`, and holds a lock on it while it runs. A record without a lock is that of a
server that was killed. A process id would not show that: in another container it belongs to another process.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from ppmctl import files
from ppmctl.errors import NOT_SUCH_JSON
from ppmctl.index.layout import Volume
from ppmctl.server.unix_http import Address

log = logging.getLogger(__name__)

_SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that runs. `host` is an address or unix:PATH; `port` is None for a path; `started` is in UTC."""

    host: str
    port: int | None
    read_access: str
    pid: int
    machine: str
    started: str

    @property
    def where(self) -> str:
        return self.host if self.port is None else f"{self.host} port {self.port}"

    @property
    def hint(self) -> str:
        """Return what to do where it can't be reached because it runs elsewhere; "" if it runs here."""
        if self.machine == socket.gethostname():
            return ""
        return f"It runs on {self.machine}, which can be a container: run this command there, or with --on."

    @property
    def described(self) -> str:
        return f"{self.where} (process {self.pid} on {self.machine}, since {self.started})"

    @property
    def flags(self) -> dict[str, Any]:
        """Return the settings by which a client on its machine reaches it, as options of `ppmctl serve`."""
        return {"host": self.host, "port": self.port, "read_access": self.read_access}


class Registration:
    """The record of this server."""

    def __init__(self, volume: Volume, *, read_access: str) -> None:
        self._volume = volume
        self._read_access = read_access
        self._held = ExitStack()

    def begin(self, address: Address, *, pid: int | None = None) -> None:
        """Record that this server listens at `address`; remove the records of servers that were killed.

        `pid` is by default this process's. A server that can't write it serves nevertheless. Raise PpmError as
        `Volume.locked` does.
        """
        is_path = not isinstance(address, tuple)
        server = Running(
            host=f"unix:{os.fsdecode(address)}" if isinstance(address, str | bytes) else str(address[0]),
            port=None if is_path else int(str(address[1])),
            read_access=self._read_access,
            pid=pid or os.getpid(),
            machine=socket.gethostname(),
            started=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
        folder = self._volume.servers
        path = folder / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        try:
            # between its creation and its lock, a record looks stale
            with self._volume.locked(self._volume.servers_lock):
                folder.mkdir(exist_ok=True)
                for other in folder.iterdir():
                    if not files.is_locked(other):
                        other.unlink(missing_ok=True)
                self._held.enter_context(files.lock(path))  # forked workers hold it too
                self._held.callback(path.unlink, missing_ok=True)
                path.write_text(json.dumps(asdict(server)) + "\n", encoding="utf-8")
        except OSError as exc:
            log.error("ppmctl health and ppmctl doctor can't find this server: %s (%s)", exc.strerror, path)

    def end(self) -> None:
        """Remove the record."""
        try:
            self._held.close()
        except OSError as exc:
            log.error("The record of this server can't be removed: %s (%s)", exc.strerror, exc.filename)


def servers(volume: Volume) -> list[Running]:
    """Return the servers of a volume that run, the one that started last first; those of one process once."""
    try:
        paths = [path for path in volume.servers.iterdir() if path.suffix == _SUFFIX and files.is_locked(path)]
    except FileNotFoundError:
        return []
    by_process: dict[tuple[str, int], Running] = {}
    for path in paths:
        try:
            server = Running(**json.loads(path.read_text(encoding="utf-8")))
            by_process[server.machine, server.pid] = server
        except (OSError, *NOT_SUCH_JSON):  # being written or removed
            continue
    return sorted(by_process.values(), key=lambda server: server.started, reverse=True)


def newest(volume: Volume) -> Running | None:
    """Return the server of a volume that started last, or None if none runs."""
    return next(iter(servers(volume)), None)
