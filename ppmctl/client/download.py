"""Files that an index's pages name → files here, whole and with the right sha256, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ppmctl import events, files
from ppmctl.client.http import Transport, failed
from ppmctl.distributions.project_page import PageFile
from ppmctl.errors import PpmError

_MAX_METADATA = 16 << 20  # bytes
# What an index calls a file must not lead out of the folder that it is put into, nor hide there.
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!~-]{0,250}", re.ASCII)

Sink = Callable[[bytes], object]


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file that is here now: "downloaded" by this call, or "same", here already."""

    path: Path
    sha256: str
    state: Literal["downloaded", "same"]


class Source:
    """The files of an index, on its server or wherever its pages lead."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def download(self, file: PageFile, folder: Path) -> Downloaded:
        """Put `file` into `folder`.

        PpmError where another file has the name, where what came is not what the index's page says, and as
        `Transport.receive`; nothing is left then.
        """
        if not _FILENAME.fullmatch(file.filename):
            raise PpmError(f"The index has a file with the name {file.filename!r}, which no file of it can have.")
        path = folder / file.filename
        try:
            if file.sha256 is not None and path.exists():
                return _compare(path, file.sha256)
            folder.mkdir(parents=True, exist_ok=True)
            return self._download(file, path)
        except OSError as exc:
            raise PpmError(f"{path} can't be written: {exc.strerror or exc}.") from exc

    def metadata(self, file: PageFile) -> bytes | None:
        """The core metadata of `file` (PEP 658), or None where the index has none. PpmError as for a file."""
        if file.core_metadata is None:
            return None
        what = f"The metadata of {file.filename}"
        return self._content(f"{file.url}.metadata", what, file.core_metadata, limit=_MAX_METADATA)

    def content(self, file: PageFile, *, limit: int) -> bytes:
        """The bytes of `file`, `limit` at most. PpmError as for a file."""
        return self._content(file.url, file.filename, file.sha256, limit=limit)

    def _content(self, url: str, what: str, sha256: str | None, *, limit: int) -> bytes:
        pieces: list[bytes] = []
        got = 0

        def keep(piece: bytes) -> None:
            nonlocal got
            got += len(piece)
            if got > limit:
                raise PpmError(f"{what} is over {limit >> 20} MB.")
            pieces.append(piece)

        self._receive(url, keep)
        content = b"".join(pieces)
        if sha256 and hashlib.sha256(content).hexdigest() != sha256:
            raise PpmError(f"{what} is not what the index's page says: its sha256 differs.")
        return content

    def _download(self, file: PageFile, path: Path) -> Downloaded:
        temporary, digest, size = files.temporary_name(path), hashlib.sha256(), 0
        algorithm, expected = ("sha256", file.sha256) if file.sha256 else file.other_hash or ("sha256", None)
        told = hashlib.new(algorithm, usedforsecurity=False)
        try:
            with temporary.open("xb") as target, events.progress(file.filename, file.size, unit="bytes") as step:

                def keep(piece: bytes) -> None:
                    nonlocal size
                    size += len(piece)
                    if file.size is not None and size > file.size:
                        raise _differs(file, f"it has more than the {file.size} bytes of the index's page")
                    target.write(piece)
                    digest.update(piece)
                    told.update(piece)
                    step(len(piece))

                self._receive(file.url, keep)
                target.flush()
                os.fsync(target.fileno())
            if file.size is not None and size != file.size:
                raise _differs(file, f"it has {size} bytes, the index's page says {file.size}")
            if expected is not None and told.hexdigest() != expected:
                raise _differs(file, f"its {algorithm} is {told.hexdigest()}, the index's page says {expected}")
            if expected is None:
                events.note(f"{file.filename}: the index has no hash to compare it with.")
            try:
                os.link(temporary, path)  # unlike a rename, it never replaces what is there, or came meanwhile
            except FileExistsError:
                return _compare(path, digest.hexdigest())
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        return Downloaded(path=path, sha256=digest.hexdigest(), state="downloaded")

    def _receive(self, url: str, sink: Sink) -> None:
        transport = self._transport
        answer = transport.followed(url, lambda there: transport.checked(transport.receive(there, sink)))
        if answer.status != 200:
            raise failed(answer)


def _compare(path: Path, expected: str) -> Downloaded:
    try:
        with path.open("rb") as there:
            sha256 = hashlib.file_digest(there, "sha256").hexdigest()
    except OSError as exc:
        raise PpmError(f"{path} is there and can't be read: {exc.strerror}.", hint=files.whose(path)) from exc
    if sha256 != expected:
        raise PpmError(
            f"{path} is there already, with other content (sha256 {sha256}, in the index {expected}).",
            hint="Move it away, or name another folder with --dest.",
        )
    return Downloaded(path=path, sha256=sha256, state="same")


def _differs(file: PageFile, how: str) -> PpmError:
    return PpmError(
        f"{file.filename} is not the file that the index names: {how}.",
        hint="Nothing was kept. Try again; if it stays so, tell whoever runs the index: ppmctl index check",
    )
