"""One file to an index, in the form of the legacy upload protocol. It and `check` are all that knows twine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ppmctl import events, output
from ppmctl.client.http import Answer, Transport
from ppmctl.publishing.check import LocalFile

# The server hashes, checks and makes durable what it has received before it answers.
READ_TIMEOUT = 600.0  # seconds


def send(file: LocalFile, url: str, transport: Transport) -> Answer:
    """Post `file` to `url` and return the answer, whatever it is; a progress bar shows the bytes that have left.

    The file is streamed: memory does not grow with its size. Unreachable as in `Transport.request`.
    """
    from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor

    with file.path.open("rb") as content:
        fields = [*form(file), ("content", (file.filename, content, "application/octet-stream"))]
        encoder = MultipartEncoder(fields)
        events.note(f"Uploading {file.filename}, {output.size(file.size)}")
        with events.progress(file.filename, encoder.len, unit="bytes") as advance:
            shown = 0

            def show(monitor: Any) -> None:
                nonlocal shown
                advance(monitor.bytes_read - shown)
                shown = monitor.bytes_read

            monitor = MultipartEncoderMonitor(encoder, show)
            headers = {"Content-Type": monitor.content_type}
            return transport.request("POST", url, headers=headers, data=monitor, read_timeout=READ_TIMEOUT)


def send_wheel(filename: str, content: bytes, fields: dict[str, str], url: str, transport: Transport) -> Answer:
    """Post a small wheel that was made here to `url` and return the answer; `fields` are of its metadata.

    Nothing is shown. Unreachable as in `Transport.request`.
    """
    encoder = wheel_form(filename, content, fields)
    headers = {"Content-Type": encoder.content_type}
    return transport.request("POST", url, headers=headers, data=encoder, read_timeout=READ_TIMEOUT)


def wheel_form(filename: str, content: bytes, fields: dict[str, str]) -> Any:
    """Return the form that a small wheel is posted in, a MultipartEncoder; `fields` are of its metadata."""
    from requests_toolbelt import MultipartEncoder

    beside = {"filetype": "bdist_wheel", "pyversion": "py3", ":action": "file_upload", "protocol_version": "1"}
    digest = {"sha256_digest": hashlib.sha256(content).hexdigest()}
    return MultipartEncoder(
        [*(fields | beside | digest).items(), ("content", (filename, content, "application/octet-stream"))]
    )


def form(file: LocalFile) -> list[tuple[str, str]]:
    """The fields beside the file itself: its metadata and digests, as twine names and computes them."""
    from twine.package import PackageFile

    metadata = PackageFile.from_filename(str(file.path), comment=None).metadata_dictionary()
    return [*to_fields(metadata), (":action", "file_upload"), ("protocol_version", "1")]


def to_fields(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metadata as form fields: a field for each item of a list; keywords in one; URLs as `label, url`."""
    fields: list[tuple[str, str]] = []
    for name, value in metadata.items():
        if name == "keywords" and not isinstance(value, str):
            fields.append((name, ", ".join(value)))
        elif isinstance(value, Mapping):
            fields += [(name, f"{label}, {url}") for label, url in value.items()]
        elif isinstance(value, str):
            fields.append((name, value))
        else:
            fields += [(name, item) for item in value]
    return fields
