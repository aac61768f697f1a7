"""Upload one file in the form of the legacy upload protocol, with requests_toolbelt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import IO, Any

from ppmctl.client.http import Answer, Transport

# Before it answers, the server hashes, checks and syncs the file.
READ_TIMEOUT = 600.0  # seconds


def form(fields: Iterable[tuple[str, str]], filename: str, content: IO[bytes] | bytes) -> Any:
    """Return the form of an upload: a MultipartEncoder, which reads `content` while it is sent."""
    from requests_toolbelt import MultipartEncoder

    return MultipartEncoder([*fields, ("content", (filename, content, "application/octet-stream"))])


def wheel_form(filename: str, content: bytes, fields: dict[str, str]) -> Any:
    """Return the form of a small wheel that ppmctl made; `fields` come from its metadata."""
    kind = {"filetype": "bdist_wheel", "pyversion": "py3", ":action": "file_upload", "protocol_version": "1"}
    digest = {"sha256_digest": hashlib.sha256(content).hexdigest()}
    return form((fields | kind | digest).items(), filename, content)


def send(form: Any, url: str, transport: Transport, advance: Callable[[int], None] | None = None) -> Answer:
    """Post a form to `url` and return the answer; `advance` gets the numbers of bytes sent. Raise Unreachable."""
    from requests_toolbelt import MultipartEncoderMonitor

    seen = 0

    def report(monitor: Any) -> None:
        nonlocal seen
        if advance is not None:
            advance(monitor.bytes_read - seen)
        seen = monitor.bytes_read

    monitor = MultipartEncoderMonitor(form, report)
    headers = {"Content-Type": monitor.content_type}
    return transport.request("POST", url, headers=headers, data=monitor, read_timeout=READ_TIMEOUT)
