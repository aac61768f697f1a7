"""One file of a release to an index, with its metadata as twine sends it. It and `check` are all that knows twine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppmctl import events, output
from ppmctl.client import upload
from ppmctl.client.http import Answer, Transport
from ppmctl.publishing.check import LocalFile


def send(file: LocalFile, url: str, transport: Transport) -> Answer:
    """Post `file` to `url` and return the answer, whatever it is; a progress bar shows the bytes that were sent.

    The file is streamed: memory does not grow with its size. Raise Unreachable as `Transport.request` does.
    """
    with file.path.open("rb") as content:
        form = upload.form(fields(file), file.filename, content)
        events.note(f"Uploading {file.filename}, {output.size(file.size)}")
        with events.progress(file.filename, form.len, unit="bytes") as advance:
            return upload.send(form, url, transport, advance)


def fields(file: LocalFile) -> list[tuple[str, str]]:
    """Return the fields beside the file itself: its metadata and digests, as twine names and computes them."""
    from twine.package import PackageFile

    metadata = PackageFile.from_filename(str(file.path), comment=None).metadata_dictionary()
    return [*_to_fields(metadata), (":action", "file_upload"), ("protocol_version", "1")]


def _to_fields(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metadata as form fields: a field for each item of a list; keywords in one; URLs as `label, url`."""
    found: list[tuple[str, str]] = []
    for name, value in metadata.items():
        if name == "keywords" and not isinstance(value, str):
            found.append((name, ", ".join(value)))
        elif isinstance(value, Mapping):
            found += [(name, f"{label}, {url}") for label, url in value.items()]
        elif isinstance(value, str):
            found.append((name, value))
        else:
            found += [(name, item) for item in value]
    return found
