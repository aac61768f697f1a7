"""Is a server healthy? What its users need is tried: it answers, it can show a page, its volume takes a file."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ppmctl.errors import PpmError
from ppmctl.server import unix_http
from ppmctl.server.content_negotiation import JSON
from ppmctl.server.settings import ServerSettings
from ppmctl.server.unix_http import Address

PATIENCE = 3.0  # seconds for each step
_PROBE = ".health"
_PROBED = bytes(1 << 12)  # more than a file system keeps in the name's own entry


def check(settings: ServerSettings, *, patience: float = PATIENCE) -> None:
    """Try what users need of the server that runs with `settings`; nothing stays, and no credential is needed.

    PpmError, on one line, for the first step that fails or takes longer than `patience` seconds.
    """
    address = _address(settings)
    where = settings.host if settings.is_local else f"{settings.host} port {settings.port}"
    volume = settings.volume
    page, probe = volume.simple / JSON.page, volume.incoming / _PROBE
    for what, step in (
        (f"The server at {where}", lambda: _answers(address, "GET", "/healthz", 200, patience)),
        (f"The server at {where}", lambda: _shows_page(address, settings, patience)),
        (f"The list of projects, {page},", lambda: _can_be_read(page)),
        (f"The volume {volume.root}", lambda: _can_be_written(probe)),
    ):
        _within(patience, what, step)


def _address(settings: ServerSettings) -> Address:
    if settings.is_local:
        return settings.host.removeprefix("unix:")
    ipv6 = (0, 0) if ":" in settings.host else ()
    return (settings.host, settings.port, *ipv6)


def _within(patience: float, what: str, step: Callable[[], object]) -> None:
    """Do a step in a thread of its own, which is left behind where it hangs: so do files of a dead file server."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            step()
        except (OSError, http.client.HTTPException, PpmError) as exc:
            failed.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        raise PpmError(f"{what} does not answer within {patience:g} seconds.")
    for exc in failed:
        if isinstance(exc, PpmError):
            raise PpmError(f"{what} {exc.message}") from exc
        reason = exc.strerror if isinstance(exc, OSError) else None
        raise PpmError(f"{what} can't be used: {reason or exc or type(exc).__name__}.") from exc


def _answers(address: Address, method: str, path: str, expected: int, patience: float) -> http.client.HTTPMessage:
    answer = unix_http.ask(address, method, path, timeout=patience, Accept=JSON.media_type)
    if answer.status != expected:
        raise PpmError(f"answers {method} {path} with {answer.status} {answer.reason}, not with {expected}.")
    return answer.headers


def _shows_page(address: Address, settings: ServerSettings, patience: float) -> None:
    """It does, or asks for a credential, as it must."""
    if settings.public_reads:
        _answers(address, "HEAD", "/simple/", 200, patience)
    elif "Basic " not in _answers(address, "HEAD", "/simple/", 401, patience).get("WWW-Authenticate", ""):
        raise PpmError("does not say how to log in (401 without WWW-Authenticate).")


def _can_be_read(page: Path) -> None:
    with page.open("rb") as file:
        if not file.read(1):
            raise PpmError("is empty: `ppmctl index rebuild` makes it again.")


def _can_be_written(probe: Path) -> None:
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, _PROBED)
        finally:
            os.close(descriptor)
    finally:
        probe.unlink(missing_ok=True)
