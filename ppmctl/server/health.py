"""Check that a server is healthy: it answers, it can send a page, and its volume can be written."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.server import unix_http
from ppmctl.server.content_negotiation import JSON
from ppmctl.server.settings import ServerSettings
from ppmctl.server.unix_http import Address

_PROBE = ".health"
_PROBE_CONTENT = bytes(1 << 12)  # too large for a file system to store in the directory entry


def check(settings: ServerSettings, *, timeout: float = 3.0) -> None:
    """Check the server that runs with `settings`. Needs no credential, and leaves nothing on the volume.

    Raise PpmError, on one line, for the first step that fails or takes longer than `timeout` seconds.
    """
    address = _address(settings)
    where = settings.host if settings.is_local else f"{settings.host} port {settings.port}"
    _within(timeout, f"The server at {where}", lambda: _ask(address, "GET", "/healthz", 200, timeout))
    _within(timeout, f"The server at {where}", lambda: _ask_for_page(address, settings, timeout))
    check_volume(settings.volume, timeout=timeout)


def check_volume(volume: Volume, *, timeout: float = 3.0) -> None:
    """Check that the list of projects can be read and the volume written, as `check` does. Raise PpmError."""
    page, probe = volume.simple / JSON.page, volume.incoming / _PROBE
    _within(timeout, f"The list of projects, {page},", lambda: _read(page))
    _within(timeout, f"The volume {volume.root}", lambda: _write(probe))


def _address(settings: ServerSettings) -> Address:
    if settings.is_local:
        return settings.host.removeprefix("unix:")
    ipv6 = (0, 0) if ":" in settings.host else ()
    return (settings.host, settings.port, *ipv6)


def _within(timeout: float, what: str, step: Callable[[], object]) -> None:
    """Do a step in a new thread, so that a step that hangs can be left, as when a file server is down."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            step()
        except (OSError, http.client.HTTPException, PpmError) as exc:
            failed.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise PpmError(f"{what} does not answer within {timeout:g} seconds.")
    for exc in failed:
        if isinstance(exc, PpmError):
            raise PpmError(f"{what} {exc.message}") from exc
        reason = exc.strerror if isinstance(exc, OSError) else None
        raise PpmError(f"{what} can't be used: {reason or exc or type(exc).__name__}.") from exc


def _ask(address: Address, method: str, path: str, expected: int, timeout: float) -> http.client.HTTPMessage:
    answer = unix_http.ask(address, method, path, timeout=timeout, Accept=JSON.media_type)
    if answer.status != expected:
        raise PpmError(f"answers {method} {path} with {answer.status} {answer.reason}, not with {expected}.")
    return answer.headers


def _ask_for_page(address: Address, settings: ServerSettings, timeout: float) -> None:
    """Raise PpmError unless the server sends a page, or asks for a credential where it must."""
    if settings.public_reads:
        _ask(address, "HEAD", "/simple/", 200, timeout)
    elif "Basic " not in _ask(address, "HEAD", "/simple/", 401, timeout).get("WWW-Authenticate", ""):
        raise PpmError("does not ask for a credential (401 without WWW-Authenticate).")


def _read(page: Path) -> None:
    with page.open("rb") as file:
        if not file.read(1):
            raise PpmError("is empty: `ppmctl index rebuild` writes it again.")


def _write(probe: Path) -> None:
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, _PROBE_CONTENT)
        finally:
            os.close(descriptor)
    finally:
        probe.unlink(missing_ok=True)
