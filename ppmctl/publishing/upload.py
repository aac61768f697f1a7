"""Upload one file, with its metadata as twine sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ppmctl import events, output
from ppmctl.client import upload
from ppmctl.client.http import Answer, Transport
from ppmctl.publishing import metadata_check
from ppmctl.publishing.check import LocalFile


def send(file: LocalFile, url: str, transport: Transport) -> Answer:
    """Post `file` to `url`, streamed and with a progress bar; return any answer. Raise Unreachable without one."""
    with file.path.open("rb") as content:
        form = upload.form(fields(file), file.filename, content)
        events.note(f"Uploading {file.filename}, {output.size(file.size)}")
        with events.progress(file.filename, form.len, unit="bytes") as advance:
            return upload.send(form, url, transport, advance)


def fields(file: LocalFile) -> list[tuple[str, str]]:
    """Return the form fields apart from the file itself: metadata and digests, as twine names and computes them."""
    from twine.package import PackageFile

    # not PackageFile.from_filename, which refuses old metadata that an index accepts
    is_wheel = file.dist.name.kind == "wheel"
    package = PackageFile(
        str(file.path),
        comment=None,
        metadata=metadata_check.raw_fields(file.dist.metadata),
        python_version=file.filename.split("-")[-3] if is_wheel else "source",
        filetype="bdist_wheel" if is_wheel else "sdist",
    )
    return [*_form_fields(package.metadata_dictionary()), (":action", "file_upload"), ("protocol_version", "1")]


def _form_fields(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return metadata as form fields: one for each item of a list, one for all keywords; URLs as `label, url`."""
    pairs: list[tuple[str, str]] = []
    for name, value in metadata.items():
        if name == "keywords" and not isinstance(value, str):
            pairs.append((name, ", ".join(value)))
        elif isinstance(value, Mapping):
            pairs += [(name, f"{label}, {url}") for label, url in value.items()]
        else:
            pairs += [(name, item) for item in ([value] if isinstance(value, str) else value)]
    return pairs
