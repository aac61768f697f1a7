"""Check that a server is healthy: it answers, it can send a page, and its volume can be written.

`check` asks a server from outside, for `ppmctl health`; `page_problem` and `write_problem` are what the server itself
answers about (`ppmctl.server.health_api`).
"""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ppmctl.errors import PpmError
from ppmctl.index.free_space import free_space
from ppmctl.index.layout import Volume
from ppmctl.server import unix_http
from ppmctl.server.content_negotiation import JSON
from ppmctl.server.settings import ServerSettings
from ppmctl.server.unix_http import Address
from ppmctl.storage import bucket_layout, configured

READS, WRITES = "/healthz", "/healthz/write"  # what a server answers about itself

_PROBE = ".health"
_PROBE_CONTENT = bytes(1 << 12)  # too large for a file system to store in the directory entry
_OLDER = (401, 404)  # a server of an older release, which does not know the second one
_LACKING = {"disk": "The volume has too little free space", "inodes": "The volume has too few free inodes"}


def check(settings: ServerSettings, *, timeout: float = 3.0) -> None:
    """Check the server that runs with `settings`. Needs no credential, and leaves nothing on the volume.

    Raise PpmError, on one line, for the first step that fails or takes longer than `timeout` seconds.
    """
    address = _address(settings)
    server = _server(settings)
    failing: list[str] = []
    _within(timeout, server, lambda: failing.extend(_own_problems(address, timeout)))
    if not failing:
        _within(timeout, server, lambda: _ask_for_page(address, settings, timeout))
    check_volume(settings.volume, timeout=timeout)  # names the file, which the server does not tell anyone
    if failing:
        raise PpmError(f"{server} reports: {failing[0]}.")


def check_alive(settings: ServerSettings, *, timeout: float = 3.0) -> None:
    """Check only that the server answers. Raise PpmError: another start of the server may help then."""
    if not unix_http.is_answering(_address(settings), timeout=timeout):
        raise PpmError(f"{_server(settings)} does not answer.")


def check_volume(volume: Volume, *, timeout: float = 3.0) -> None:
    """Check that the list of projects can be read and the volume written, as `check` does. Raise PpmError."""
    page, probe = volume.simple / JSON.page, volume.incoming / _PROBE
    _within(timeout, f"The list of projects, {page},", lambda: _read(page))
    _within(timeout, f"The volume {volume.root}", lambda: _write(probe))


def page_problem(volume: Volume) -> str:
    """Return why the list of projects can't be read, without the names of files; "" if it can."""
    try:
        _read(volume.simple / JSON.page)
    except (OSError, PpmError):
        return "The pages can't be read"
    return ""


def write_problem(volume: Volume) -> str:
    """Return why nothing can be published, without the names of files; "" if volume and bucket can be used."""
    try:
        status = os.statvfs(volume.incoming)
        if status.f_flag & os.ST_RDONLY:
            return "The volume is mounted read-only"
        for free in free_space(status):
            if free.state == "fail":
                return _LACKING[free.what]
        _write(volume.incoming / _PROBE)
        if volume.is_cache:
            bucket_layout.read(configured.opened(volume.bucket))
    except OSError as exc:
        return f"The volume can't be written: {exc.strerror}"
    except PpmError:
        return "The bucket can't be used"
    return ""


def _own_problems(address: Address, timeout: float) -> list[str]:
    """Return what the server itself finds wrong. Raise PpmError for an unexpected answer."""
    problems = []
    for path in (READS, WRITES):
        answer = unix_http.ask(address, "GET", path, timeout=timeout)
        if answer.status == 503:
            problems.append(answer.reason)
        elif answer.status != 200 and not (path == WRITES and answer.status in _OLDER):
            raise PpmError(f"answers GET {path} with {answer.status} {answer.reason}, not with 200.")
    return problems


def _server(settings: ServerSettings) -> str:
    return f"The server at {settings.host if settings.is_local else f'{settings.host} port {settings.port}'}"


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
