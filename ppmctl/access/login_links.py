"""Links that log a browser in: each works once, for a minute, in `credentials/login-links/`, one file each.

A file is named by a hash of the link's code. The code is 192 random bits, so a fast hash without a salt is enough. It
is no secret of the form that is refused in a URL; that it was in one does no harm once it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from ppmctl import files
from ppmctl.access import rights
from ppmctl.errors import NOT_SUCH_JSON
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

LASTS = 60.0  # seconds
_MOST = 20  # links of one credential; the oldest ends
_CODE = re.compile(r"[0-9a-f]{48}", re.ASCII)


def new(volume: Volume, name: str, state: str) -> tuple[str, str]:
    """Return the code of a new link for the credential `name`, and when it expires.

    `state` is what `Credentials.current` returns: the link ends with the credential. Raise OSError for a full disk.
    """
    folder, now = volume.login_links, time.time()
    folder.mkdir(mode=0o700, exist_ok=True)
    _sweep(folder, name, now)
    code = secrets.token_hex(24)
    text = json.dumps({"name": name, "state": state, "made": now})
    files.write_atomic(_path(folder, code), text.encode(), mode=0o600)
    return code, rights.stamp(datetime.fromtimestamp(now + LASTS, UTC))


def use(volume: Volume, code: str) -> tuple[str, str] | None:
    """Use up a link. Return the name and state of its credential; None if it does not work, or not any more.

    If several try at once, in any number of processes, one of them gets the credential.
    """
    if not _CODE.fullmatch(code):
        return None
    path = _path(volume.login_links, code)
    link = _read(path)
    try:
        path.unlink()  # the one who removes it has used it
    except FileNotFoundError:
        return None
    return link[:2] if link is not None and _is_open(link[2], time.time()) else None


def _path(folder: Path, code: str) -> Path:
    return folder / hashlib.sha256(code.encode()).hexdigest()


def _is_open(made: float, now: float) -> bool:
    return abs(now - made) < LASTS  # a link from the future: the clock was wrong


def _sweep(folder: Path, name: str, now: float) -> None:
    """Remove links that have expired, what a writer that died has left, and the oldest of many of a credential."""
    own = []
    for path in folder.iterdir():
        link = _read(path) if not path.name.startswith(".") else None
        if link is not None and _is_open(link[2], now):
            own += [(link[2], path)] if link[0] == name else []
        elif link is not None or now - files.changed_at(path) > LASTS:
            path.unlink(missing_ok=True)
    for _made, path in sorted(own)[: max(0, len(own) - _MOST + 1)]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[str, str, float] | None:
    """Return the name and state of a link's credential, and when it was made; None for no link."""
    with contextlib.suppress(FileNotFoundError):
        try:
            values = json.loads(path.read_bytes())
            return str(values["name"]), str(values["state"]), float(values["made"])
        except (PermissionError, *NOT_SUCH_JSON) as exc:
            log.error("%s is not a link that logs in: %s", path, exc)
    return None
