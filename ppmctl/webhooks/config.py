"""The configured webhooks: the list `webhooks` in `ROOT/ppm.yml`, or in the file that PPM_WEBHOOKS names."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ppmctl import regular_file, yaml_text
from ppmctl.client import http
from ppmctl.client.index_url import is_loopback
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.webhooks import event

VARIABLE = "PPM_WEBHOOKS"
PREFIX = "whsec_"
_KEYS = ("name", "url", "secret_file", "events", "allow_http")
_SECRET_BYTES = range(24, 65)  # of the specification
_MAX_SECRETS, _MAX_SECRET_FILE = 4, 10_000
_HINT = "docs/webhooks.md explains the keys."


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A receiver of events. `events` are patterns of types; its URL may have a secret, so only `name` is shown."""

    name: str
    url: str
    secret_file: Path
    events: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of its file on the volume."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def secrets(self) -> tuple[bytes, ...]:
        """Return the keys in the file, the newest first; more than one while it is replaced. Raise UsageError."""
        path = self.secret_file
        try:
            if path.stat().st_mode & 0o077:
                hint = f"chmod 600 {path}"
                raise UsageError(f"{path} can be read by other users; it has the secret of a webhook.", hint=hint)
            lines = regular_file.read_text(path, most=_MAX_SECRET_FILE).split()
        except OSError as exc:
            raise UsageError(f"The secret of the webhook {self.name} can't be read: {path}: {exc.strerror}.") from exc
        except UnicodeError:
            lines = []
        keys = tuple(_key(line) for line in lines)
        if not keys or len(keys) > _MAX_SECRETS or None in keys:
            hint = f'(umask 077; echo "{PREFIX}$(openssl rand -base64 32)" > {path})'
            raise UsageError(f"{path} has no secret of a webhook, which is {PREFIX} and base64.", hint=hint)
        return tuple(key for key in keys if key is not None)


def load(volume: Volume, environ: Mapping[str, str] | None = None) -> tuple[Webhook, ...]:
    """Return the configured webhooks. Raise UsageError for a wrong file, which names the key and no value of it."""
    path = Path((os.environ if environ is None else environ).get(VARIABLE) or volume.settings)
    try:
        values = yaml_text.load(regular_file.read_text(path))
    except FileNotFoundError:
        return ()
    except yaml_text.InvalidYaml as exc:
        raise UsageError(exc.in_file(path)) from None  # its cause may quote a secret
    except (OSError, UnicodeError) as exc:
        raise UsageError(f"{path} can't be read: {getattr(exc, 'strerror', 'it is not UTF-8')}.") from None
    listed = values.get("webhooks") if isinstance(values, dict) else None
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise UsageError(f"webhooks in {path} must be a list of mappings.", hint=_HINT)
    webhooks = tuple(
        _webhook(each, f"webhooks in {path}, number {n}", path) for n, each in enumerate(listed, start=1)
    )
    names, urls = [each.name for each in webhooks], [each.url for each in webhooks]
    if len(set(names)) < len(names) or len(set(urls)) < len(urls):
        raise UsageError(
            f"Two webhooks in {path} have the same name or URL: give each a name of its own.", hint=_HINT
        )
    return webhooks


def named(webhooks: tuple[Webhook, ...], name: str | None) -> tuple[Webhook, ...]:
    """Return the webhooks with this name, or all for None. Raise UsageError if there is none."""
    chosen = tuple(each for each in webhooks if name in (None, each.name))
    if not chosen:
        hint = f"The names: {', '.join(each.name for each in webhooks)}" if webhooks else _HINT
        raise UsageError(
            "No webhooks are configured." if name is None else f"There is no webhook {name!r}.", hint=hint
        )
    return chosen


def _webhook(values: Any, where: str, path: Path) -> Webhook:
    if not isinstance(values, dict):
        raise UsageError(f"{where}: it must be a mapping with url and secret_file.", hint=_HINT)
    if unknown := next((str(key) for key in values if key not in _KEYS), None):
        raise UsageError(f"{where}: {unknown[:40]!r} is not known; the keys are {', '.join(_KEYS)}.", hint=_HINT)
    for key in ("url", "secret_file"):
        if not isinstance(values.get(key), str) or not values[key]:
            raise UsageError(f"{where}: {key} is missing, or not a text.", hint=_HINT)
    host = _checked_url(values["url"], where, may_be_plain=values.get("allow_http") is True)
    events = values.get("events", ["*"])
    if not isinstance(events, list) or not events or not all(isinstance(glob, str) for glob in events):
        raise UsageError(f"{where}: events must be a list of types such as package.publish or backup.*", hint=_HINT)
    for glob in events:
        if not any(fnmatchcase(known, glob) for known in event.TYPES):
            hint = f"The types: {', '.join(event.TYPES)}"
            raise UsageError(f"{where}: {glob[:60]!r} matches no type of event.", hint=hint)
    name = values.get("name", host)
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 100:
        raise UsageError(f"{where}: name must be a text of at most 100 characters.", hint=_HINT)
    secret_file = path.parent / values["secret_file"]
    return Webhook(name=name, url=values["url"], secret_file=secret_file, events=tuple(events))


def _checked_url(url: str, where: str, *, may_be_plain: bool) -> str:
    """Return the host of a URL, with a port that is not the default. Raise UsageError, without the URL."""
    try:
        scheme, host, _port = http.origin(url)
        parts = urlsplit(url)
        is_wrong = not url.isprintable() or " " in url or "@" in parts.netloc or bool(parts.fragment)
    except (PpmError, ValueError):
        is_wrong, scheme, host = True, "", ""
    if is_wrong:
        raise UsageError(f"{where}: url must be a URL without a credential, such as https://host/path.", hint=_HINT)
    if scheme != "https" and not may_be_plain and not is_loopback(host.strip("[]")):
        hint = "allow_http: true allows it, for a network in which nobody else can read or change it."
        raise UsageError(f"{where}: url must start with https://, because {host} is another machine.", hint=hint)
    return parts.netloc


def _key(line: str) -> bytes | None:
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if line.startswith(PREFIX) and len(key) in _SECRET_BYTES else None
