"""Parse the addresses in a server's settings: the one that it listens on, those of an index and a bucket."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_LONGEST = 253  # characters of a host's name
# no space, quote or control character, because the URL is sent in a header
_URL = re.compile(r"https?://[^/@?#\s\"'<>\\^`{|}\x00-\x20\x7f]+(?:/[^?#\s\"'<>\\^`{|}\x00-\x20\x7f]*)?", re.I)

_BUCKET = re.compile(r"(?:s3|gs|az)://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](?:/[A-Za-z0-9._-]+)*", re.ASCII)


def listen_address(value: Any) -> str:
    """Return an IP address, the name of a host, or unix:PATH. Raise ValueError."""
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:"):
            raise ValueError("unix: needs a path, such as unix:/run/ppm/ppm.sock")
    elif not _is_host(text):
        raise ValueError(
            "it must be an IP address such as 127.0.0.1 or ::1, the name of a host, or unix:PATH; the port is a"
            " setting of its own"
        )
    return text


def index_url(value: Any) -> str:
    """Return the URL of a Simple API, with a slash at its end. Raise ValueError, which does not quote it."""
    text = value.strip() if isinstance(value, str) else ""
    if not _URL.fullmatch(text):
        raise ValueError("it must be a URL such as https://index.example/simple/, without a credential, ? and #")
    try:
        parts = urlsplit(text)
        can_exist = _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:  # its port is no port, or its brackets hold no IPv6 address
        can_exist = False
    if not can_exist:
        raise ValueError("it must be a URL such as https://index.example/simple/; its host or port can't exist")
    return text.rstrip("/") + "/"


def bucket(value: Any) -> str:
    """Return the address of a bucket, without a slash at its end. Raise ValueError, which does not quote it."""
    text = value.strip().rstrip("/") if isinstance(value, str) else ""
    if not _BUCKET.fullmatch(text):
        raise ValueError(
            "it must be the address of a bucket such as s3://bucket/prefix (or gs, az), without a credential"
        )
    return text


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        labels = text.removesuffix(".").split(".")
        # the last part of a name is not a number, so 300.1.1.1 is neither a name nor an address
        return len(text) <= _LONGEST and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    return True
