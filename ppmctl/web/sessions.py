"""Sessions of browsers, in `credentials/sessions/`: one file each, named by a hash of the cookie's value.

A session ends after 12 hours without a request, after 7 days, and with its credential: when its secret, rights or
expiry change, or it is disabled or removed. The cookie's value is 256 random bits, so a fast hash without a salt is
enough. A copy of the volume contains no value that a browser could send.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.access.credential_files import Credentials
from ppmctl.access.rights import Access
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

IDLE = 12 * 3600.0  # seconds
LASTS = 7 * 24 * 3600.0
_SEEN_EVERY = 60.0  # seconds between two changes of a file's time
_MOST = 50  # sessions of one credential; the oldest ends
_VALUE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_FILE = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Session:
    """A browser that is logged in with the credential `access`. `value` is that of its cookie."""

    value: str
    access: Access


class Sessions:
    """The sessions of one volume, for any number of processes."""

    def __init__(self, volume: Volume, credentials: Credentials) -> None:
        self._folder: Path = volume.sessions
        self._credentials = credentials

    def begin(self, name: str, *, state: str | None = None) -> Session | None:
        """Return a new session of the credential `name`; None if it can't work. Raise OSError for a full disk.

        With `state`, which `Credentials.current` returned earlier, also None if the credential has changed since.
        """
        current = self._credentials.current(name)
        if current is None or state not in (None, current[1]):
            return None
        access, state = current
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._sweep(name)
        value = secrets.token_urlsafe(32)
        text = json.dumps({"name": name, "state": state, "began": time.time()})
        files.write_atomic(self._path(value), text.encode(), mode=0o600)
        return Session(value=value, access=access)

    def find(self, value: str) -> Session | None:
        """Return the session of a cookie's value, or None if it has ended."""
        if not _VALUE.fullmatch(value):
            return None
        path, now = self._path(value), time.time()
        written = _read(path)
        if written is None:
            return None
        name, state, began, seen = written
        current = self._credentials.current(name)
        if current is None or current[1] != state or not _is_open(began, seen, now):
            path.unlink(missing_ok=True)
            return None
        if now - seen > _SEEN_EVERY:
            try:
                os.utime(path)
            except OSError as exc:  # ended at the same moment, or a disk that can't be written
                log.warning("The time of a session can't be written: %s", exc)
        return Session(value=value, access=current[0])

    def end(self, value: str) -> None:
        """End the session of a cookie's value, if there is one."""
        if _VALUE.fullmatch(value):
            self._path(value).unlink(missing_ok=True)

    def _path(self, value: str) -> Path:
        return self._folder / hashlib.sha256(value.encode()).hexdigest()

    def _sweep(self, name: str) -> None:
        """Remove the files of sessions that have ended, and the oldest of a credential with too many."""
        now, own = time.time(), []
        for path in self._folder.iterdir():
            if not _FILE.fullmatch(path.name):
                continue
            written = _read(path)
            if written is None or not _is_open(written[2], written[3], now):
                path.unlink(missing_ok=True)
            elif written[0] == name:
                own.append((written[3], path))
        for _seen, path in sorted(own)[: max(0, len(own) - _MOST + 1)]:
            path.unlink(missing_ok=True)


def form_token(value: str) -> bytes:
    """Return what each form of a browser contains, and no page of another site knows. `value` is its cookie's."""
    return hmac.new(value.encode(), b"form", "sha256").digest()


def new_value() -> str:
    """Return a random value for a cookie."""
    return secrets.token_urlsafe(32)


def is_value(text: str) -> bool:
    """Return whether a text has the form of a cookie's value."""
    return _VALUE.fullmatch(text) is not None


def _is_open(began: float, seen: float, now: float) -> bool:
    return now - seen < IDLE and now - began < LASTS


def _read(path: Path) -> tuple[str, str, float, float] | None:
    """Return the credential's name and state, and when the session began and was last seen; None for no session."""
    try:
        values = json.loads(path.read_bytes())
        return str(values["name"]), str(values["state"]), float(values["began"]), path.stat().st_mtime
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        log.error("%s is not a session: %s", path, exc)
        return None
