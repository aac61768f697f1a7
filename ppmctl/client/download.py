"""Download the files that an index's pages list, and check their sha256."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from ppmctl import events, files
from ppmctl.client.http import Transport, failed
from ppmctl.distributions.project_page import PageFile
from ppmctl.errors import PpmError

_MAX_METADATA = 16 << 20  # bytes
# A filename from an index must not lead out of the folder that the file is put into, nor be hidden there.
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,250}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file on this machine: "downloaded" by this call, or "same" if it was there already."""

    path: Path
    sha256: str
    state: Literal["downloaded", "same"]


class Source:
    """The files of an index, on its own server or on others that its pages link to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def download(self, file: PageFile, folder: Path) -> Downloaded:
        """Put `file` into `folder`, whole and with the sha256 of the index's page, or not at all.

        Raise PpmError if the folder has another file of that name, or if the content is not that of the page; and as
        `Transport.receive` does.
        """
        if not _FILENAME.fullmatch(file.filename):
            raise PpmError(f"The index has a file with the name {file.filename!r}, which is not a valid filename.")
        path = folder / file.filename
        try:
            if file.sha256 is not None and path.exists():
                return _compare(path, file.sha256)
            folder.mkdir(parents=True, exist_ok=True)
            return self._download(file, path)
        except OSError as exc:
            raise PpmError(f"{path} can't be written: {exc.strerror or exc}.") from exc

    def metadata(self, file: PageFile) -> bytes | None:
        """Return the core metadata of `file` (PEP 658); None if the index has none. Raise as `content` does."""
        if file.core_metadata is None:
            return None
        name = f"The metadata of {file.filename}"
        return self._content(f"{file.url}.metadata", name, file.core_metadata, limit=_MAX_METADATA)

    def content(self, file: PageFile, *, limit: int) -> bytes:
        """Return the content of `file`. Raise PpmError if it has over `limit` bytes or another sha256."""
        return self._content(file.url, file.filename, file.sha256, limit=limit)

    def _content(self, url: str, name: str, sha256: str | None, *, limit: int) -> bytes:
        received = BytesIO()

        def write(piece: bytes) -> None:
            if received.tell() + len(piece) > limit:
                raise PpmError(f"{name} is over {limit >> 20} MB.")
            received.write(piece)

        self._receive(url, write)
        content = received.getvalue()
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise PpmError(f"{name} is not what the index's page lists: its sha256 differs.")
        return content

    def _download(self, file: PageFile, path: Path) -> Downloaded:
        temporary, digest = files.temporary_name(path), hashlib.sha256()
        algorithm, expected = ("sha256", file.sha256) if file.sha256 else file.other_hash or ("sha256", None)
        listed = hashlib.new(algorithm, usedforsecurity=False)
        try:
            with temporary.open("xb") as target, events.progress(file.filename, file.size, unit="bytes") as step:

                def write(piece: bytes) -> None:
                    if file.size is not None and target.tell() + len(piece) > file.size:
                        raise _differs(file, f"it has more than the {file.size} bytes of the index's page")
                    target.write(piece)
                    digest.update(piece)
                    listed.update(piece)
                    step(len(piece))

                self._receive(file.url, write)
                size = target.tell()
                target.flush()
                os.fsync(target.fileno())
            if file.size is not None and size != file.size:
                raise _differs(file, f"it has {size} bytes, on the index's page {file.size}")
            if expected is not None and listed.hexdigest() != expected:
                raise _differs(file, f"its {algorithm} is {listed.hexdigest()}, on the index's page {expected}")
            if expected is None:
                events.note(f"{file.filename}: the index has no hash to compare it with.")
            try:
                os.link(temporary, path)  # unlike a rename, it never replaces a file
            except FileExistsError:
                return _compare(path, digest.hexdigest())
        finally:
            temporary.unlink(missing_ok=True)
        return Downloaded(path=path, sha256=digest.hexdigest(), state="downloaded")

    def _receive(self, url: str, sink: Callable[[bytes], object]) -> None:
        transport = self._transport
        answer = transport.followed(url, lambda location: transport.checked(transport.receive(location, sink)))
        if answer.status != 200:
            raise failed(answer)


def _compare(path: Path, expected: str) -> Downloaded:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise PpmError(f"{path} exists and can't be read: {exc.strerror}.", hint=files.access_hint(path)) from exc
    if sha256 != expected:
        raise PpmError(
            f"{path} exists already, with other content (sha256 {sha256}, in the index {expected}).",
            hint="Move it away, or name another folder with --dest.",
        )
    return Downloaded(path=path, sha256=sha256, state="same")


def _differs(file: PageFile, how: str) -> PpmError:
    return PpmError(
        f"{file.filename} is not the file that the index lists: {how}.",
        hint="Nothing was stored. Try again; if it happens again, ask an administrator to run: ppmctl index check",
    )
