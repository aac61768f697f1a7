"""Read the text of what is imported: a file, standard input, or a file at a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urljoin, urlsplit

from ppmctl import regular_file
from ppmctl.client.http import Transport, failed
from ppmctl.distributions import direct_url
from ppmctl.errors import UsageError
from ppmctl.files import access_hint
from ppmctl.secret import masked

STDIN = "-"
_MAX_SIZE = 8 << 20  # bytes
_URL = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to import, by its path or URL, or STDIN. Without a `transport` no URL is read; STDIN is `stdin`."""

    name: str
    transport: Transport | None = None
    stdin: IO[bytes] | None = None

    def __str__(self) -> str:
        return "stdin" if self.name == STDIN else masked(self.name)

    @property
    def is_url(self) -> bool:
        return _URL.match(self.name) is not None

    @property
    def filename(self) -> str:
        """The name of the file, which tells its form; "" for STDIN."""
        path = unquote(urlsplit(self.name).path) if self.is_url else self.name
        return "" if self.name == STDIN else PurePosixPath(path).name

    @property
    def identity(self) -> str:
        """Equal for two names of the same file."""
        return self.name if self.is_url or self.name == STDIN else str(Path(self.name).resolve())

    def included(self, name: str) -> Source:
        """Return the source that a file includes as `name`: a URL, or a path beside the file. Raise UsageError."""
        if not name or not name.isprintable() or name == STDIN:
            raise UsageError("it does not name a file.")
        if "${" in name:
            raise UsageError("the name of the file has a variable in it.", hint="Write the path of the file.")
        if _URL.match(name):
            return Source(name=name, transport=self.transport)
        if not self.is_url:
            folder = Path() if self.name == STDIN else Path(self.name).parent
            return Source(name=str(folder / name), transport=self.transport)
        joined = urljoin(self.name, name)
        if not _URL.match(joined):
            raise UsageError("a file at a URL can't include a local file.")
        return Source(name=joined, transport=self.transport)

    def text(self) -> str:
        """Return the text. Raise UsageError if it can't be read or is too large, PpmError if no answer came."""
        try:
            content = self._fetched() if self.is_url else self._read()
        except OSError as exc:
            hint = "" if self.name == STDIN else access_hint(Path(self.name))
            raise UsageError(f"{self} can't be read: {exc.strerror or exc}.", hint=hint) from exc
        try:
            return content.decode("utf-8-sig")
        except UnicodeError as exc:
            raise UsageError(f"{self} is not UTF-8 text.") from exc

    def _read(self) -> bytes:
        if self.name != STDIN:
            return regular_file.read(Path(self.name), most=_MAX_SIZE)
        content = self.stdin.read(_MAX_SIZE + 1) if self.stdin is not None else b""
        self._require_size(len(content))
        return content

    def _fetched(self) -> bytes:
        """Return the content of the URL. Only the index itself gets the credential."""
        if where := direct_url.secret(self.name):
            raise UsageError(
                f"{self} has a credential in it ({where}), which other programs on this machine can read.",
                hint="Download the file, and import it: curl … | ppmctl env import - --name NAME",
            )
        if self.transport is None:
            raise UsageError(f"{self} is a URL.", hint="Download the file, and import it.")
        received, transport = BytesIO(), self.transport

        def write(piece: bytes) -> None:
            received.write(piece)
            self._require_size(received.tell())

        answer = transport.followed(self.name, lambda url: transport.checked(transport.receive(url, write)))
        if answer.status != 200:
            raise failed(answer, f"{self} can't be read")
        return received.getvalue()

    def _require_size(self, size: int) -> None:
        if size > _MAX_SIZE:
            raise UsageError(f"{self} can't be read: it has over {_MAX_SIZE >> 20} MB.")
