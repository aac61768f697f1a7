"""Change a volume as a whole, while no server runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.server import running


def require_no_server(volume: Volume) -> None:
    """Raise PpmError if a server of this volume runs."""
    server = running.newest(volume)
    if server is not None:
        raise PpmError(
            f"A server of {volume.root} is running: {server.described}. Nothing was changed.",
            hint="Stop it first (on a host: systemctl stop ppm.socket ppm.service), and start it afterwards.",
        )


@contextlib.contextmanager
def alone(volume: Volume) -> Iterator[None]:
    """Hold all locks of a volume: nothing else changes it, and no server that starts gets ready.

    Raise PpmError if a server runs, or as `Volume.locked` does.
    """
    volume.locks.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        held.enter_context(volume.locked(volume.servers_lock))
        require_no_server(volume)
        # first what is held while a project's lock is taken
        for path in (volume.prune_lock, volume.downloads_lock, *volume.all_locks()):
            held.enter_context(files.lock(path))
        held.enter_context(files.lock(volume.credentials_lock))
        yield
