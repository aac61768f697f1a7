"""Read the form of an upload as it arrives, within limits: its file into `incoming/`, its fields into memory.

Only the fields that the server uses are stored. A form has at most the two files that old clients send, and only one
is written, so that the number of open files is limited by the number of requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from urllib.parse import parse_qsl

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData
from werkzeug.wrappers import Request

from ppmctl.distributions import distribution
from ppmctl.errors import InvalidDistribution, Refused
from ppmctl.index.staging import DIGESTS, IncomingFile

CONTENT, SIGNATURE = "content", "gpg_signature"
# Limits of a form without its file: twine sends a field for each classifier, and the README as a field.
MAX_FIELDS = 10_000
MAX_FIELDS_SIZE = 16 << 20  # bytes, of all fields together
_MAX_HEADERS = 2 << 20  # bytes, of the headers of all fields together
_MAX_HEADER = 16 << 10  # bytes, of the headers of one field
_MAX_STORED = 1 << 20  # bytes, of the stored fields together
_MAX_URLENCODED = 1 << 20  # bytes
_STORED = frozenset({":action", "name", "version", "attestations", *(f"{digest}_digest" for digest in DIGESTS)})
_PIECE = 64 << 10  # bytes that are read at once
_AROUND = len("\r\n----\r\n")  # bytes around the last boundary


@dataclass(kw_only=True)
class Form:
    """A posted form. `content` is the file in the field of that name, `fields` are those that the server uses."""

    fields: dict[str, str] = field(default_factory=dict)
    content: IncomingFile | None = None
    filename: str = ""

    def add(self, name: str, value: str) -> None:
        """Store a field. Raise Refused (400) for a second one of that name: which of them holds would be a guess."""
        if name in self.fields:
            raise Refused(400, f"The form has the field {name!r} twice")
        self.fields[name] = value


def read(request: Request, form: Form, new_file: Callable[[], IncomingFile], *, max_size: int) -> None:
    """Read a request's form into `form`, whose content the caller discards, also after an error.

    Raise Refused: 400 for a body that is not a form or has too many files, 413 for more than `max_size` bytes or too
    many fields, and what reading the body raises; OSError for a full disk.
    """
    with _readable_errors():
        if request.mimetype == "multipart/form-data":
            parts = _Parts(form, new_file)
            for event in events(request, max_size):
                parts.take(event)
        elif request.mimetype == "application/x-www-form-urlencoded":
            _read_urlencoded(_pieces(request, max_size), form)
        else:
            raise Refused(400, "The body is not a form (multipart/form-data)")


def events(request: Request, max_size: int) -> Iterator[Event]:
    """Yield the parts of a multipart body as it arrives. Raise Refused, as `read` does."""
    with _readable_errors():
        boundary = request.mimetype_params.get("boundary", "").encode("ascii")
        yield from _events(_pieces(request, max_size), boundary)


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Raise what a body that is not a valid form raises as Refused: 400, 413."""
    try:
        yield
    except RequestEntityTooLarge as exc:
        raise _too_many_fields() from exc
    except ValueError as exc:
        raise Refused(400, "The upload ended too early, or is not a form (multipart/form-data)") from exc


def too_large(max_size: int) -> Refused:
    return Refused(413, f"The upload is over this index's limit of {max_size} bytes (max_upload_size)")


def _too_many_fields() -> Refused:
    size = f"{MAX_FIELDS_SIZE >> 20} MB of text and {_MAX_HEADERS >> 20} MB of headers"
    return Refused(413, f"The form's fields are over the limit of {MAX_FIELDS} fields, {size}")


def _pieces(request: Request, max_size: int) -> Iterator[bytes]:
    """Yield a request's body. Raise Refused (413) if it is larger than `max_size` bytes."""
    count = 0
    while piece := request.environ["wsgi.input"].read(_PIECE):
        count += len(piece)
        if count > max_size:
            raise too_large(max_size)
        yield piece


def _read_urlencoded(pieces: Iterable[bytes], form: Form) -> None:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > _MAX_URLENCODED:
            raise Refused(413, f"A form without a file has {_MAX_URLENCODED >> 20} MB at most")
    for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace"):
        if name in _STORED:
            form.add(name, value)


def _events(pieces: Iterable[bytes], boundary: bytes) -> Iterator[Event]:
    """Yield the events of a multipart body. Raise RequestEntityTooLarge for too many parts or bytes of headers."""
    if not boundary:
        raise ValueError("The form has no boundary")
    # the decoder passes on data at once, so what it holds longer are the headers of one field
    decoder = MultipartDecoder(boundary, max_form_memory_size=_PIECE + _MAX_HEADER, max_parts=MAX_FIELDS)
    headers = 0
    for piece in chain(_with_whole_boundaries(pieces, boundary), [None]):
        decoder.receive_data(piece)
        headers += len(piece or b"")
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            headers -= len(event.data) if isinstance(event, Data) else 0
            yield event
        if headers > _MAX_HEADERS:
            raise RequestEntityTooLarge


def _with_whole_boundaries(pieces: Iterable[bytes], boundary: bytes) -> Iterator[bytes]:
    """Yield a body in pieces of which none ends within a boundary (one with blanks after it may be divided).

    The decoder would take the line break before it for data: an upload whose body ends three bytes after a piece
    would always be damaged (werkzeug's issue 3285).
    """
    longest = len(boundary) + _AROUND
    held = b""
    for piece in pieces:
        joined = held + piece
        begin = max(0, len(joined) - longest)
        begins = [at for at in (joined.find(b"\r", begin), joined.find(b"\n", begin)) if at >= 0]
        end = min(begins, default=len(joined))
        if end:
            yield joined[:end]
        held = joined[end:]
    if held:
        yield held


class _Parts:
    """Puts the parts of a multipart body into a form."""

    def __init__(self, form: Form, new_file: Callable[[], IncomingFile]) -> None:
        self._form = form
        self._new_file = new_file
        self._files: set[str] = set()
        self._name = ""
        self._file: IncomingFile | None = None
        self._value: bytearray | None = None  # of a field that is stored
        self._size, self._stored = 0, 0  # bytes of all fields, and of those that are stored

    def take(self, event: Event) -> None:
        """Take the beginning of a file or field, or some of its data."""
        if isinstance(event, File | Field):
            self._name, self._file, self._value = event.name, None, None
        if isinstance(event, File):
            self._begin_file(event)
        elif isinstance(event, Field) and event.name in _STORED:
            self._value = bytearray()
        elif isinstance(event, Data) and self._file is not None:
            self._file.write(event.data)
        elif isinstance(event, Data):
            self._take_text(event)

    def _begin_file(self, part: File) -> None:
        if part.name not in (CONTENT, SIGNATURE):
            raise Refused(400, f"A form has files only in its fields '{CONTENT}' and '{SIGNATURE}'")
        if part.name in self._files:
            raise Refused(400, f"The form has more than one file in its field {part.name!r}; send a form for each")
        self._files.add(part.name)
        if part.name == CONTENT:
            self._form.filename = part.filename
            try:
                distribution.parse_filename(part.filename)
            except InvalidDistribution as exc:
                raise Refused(400, exc.message) from exc
            self._file = self._form.content = self._new_file()

    def _take_text(self, data: Data) -> None:
        """Count data of a field or signature, and store that of a field that the server uses."""
        self._size += len(data.data)
        self._stored += len(data.data) if self._value is not None else 0
        if self._size > MAX_FIELDS_SIZE or self._stored > _MAX_STORED:
            raise RequestEntityTooLarge
        if self._value is not None:
            self._value += data.data
            if not data.more_data:
                self._form.add(self._name, self._value.decode(errors="replace"))
