"""Read a form with several files, one after the other, as a browser sends it: each can be published before the next.

The first field is the form's token; nothing is stored before it is checked. Of each file only its name and content
count, its metadata are in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from werkzeug.sansio.multipart import Data, Field, File
from werkzeug.wrappers import Request

from ppmctl.distributions import distribution
from ppmctl.errors import InvalidDistribution, Refused
from ppmctl.index.staging import IncomingFile
from ppmctl.server import upload_form
from ppmctl.server.upload_form import Form

TOKEN, FILES = "form_token", "files"
MAX_FILES = 50
_MAX_TOKEN = 1000  # bytes


@dataclass(kw_only=True)
class Received(Form):
    """A file of the form. `invalid` is what is wrong with its name; it then has no content."""

    invalid: str = ""


def read(
    request: Request, new_file: Callable[[], IncomingFile], *, check: Callable[[str], None], max_size: int
) -> Iterator[Received]:
    """Yield each file of a request's form when it is whole. `check` raises Refused for a wrong token.

    A file's content is removed when the next one is asked for, and at the end. Raise Refused as `upload_form.read`
    does, also for more than MAX_FILES files; OSError for a full disk. `max_size` bytes is the limit of the body.
    """
    if request.mimetype != "multipart/form-data":
        raise Refused(400, "The body is not a form with files (multipart/form-data)")
    if (request.content_length or 0) > max_size:
        raise upload_form.too_large(max_size)
    reader = _Reader(new_file, check)
    try:
        for event in upload_form.events(request, max_size):
            file = reader.take(event)
            if file is not None:
                yield file
                reader.discard()
    finally:
        reader.discard()


class _Reader:
    """Puts the parts of a form together."""

    def __init__(self, new_file: Callable[[], IncomingFile], check: Callable[[str], None]) -> None:
        self._new_file = new_file
        self._check = check
        self._token = bytearray()
        self._is_token, self._is_checked = False, False
        self._file: Received | None = None
        self._count = 0

    def take(self, event: object) -> Received | None:
        """Take a part of the body; return the file that it completes. Raise Refused."""
        if isinstance(event, Field | File):
            self._begin(event)
        elif isinstance(event, Data) and self._is_token:
            self._take_token(event)
        elif isinstance(event, Data) and self._file is not None:
            if self._file.content is not None:
                self._file.content.write(event.data)
            if not event.more_data:
                return self._file if self._file.filename else None
        return None

    def discard(self) -> None:
        """Remove the content of the current file."""
        if self._file is not None and self._file.content is not None:
            self._file.content.discard()
        self._file = None

    def _begin(self, part: Field | File) -> None:
        if not self._is_checked:
            if self._is_token or not isinstance(part, Field) or part.name != TOKEN:
                raise Refused(403, f"The form's first field must be {TOKEN}: load the page again")
            self._is_token = True
            return
        if not isinstance(part, File) or part.name != FILES:
            raise Refused(400, f"After its token, the form has only files, in the field '{FILES}'")
        self._file = Received(filename=part.filename)
        if not part.filename:  # what a browser sends if nothing was chosen
            return
        self._count += 1
        if self._count > MAX_FILES:
            raise Refused(413, f"A form has {MAX_FILES} files at most: send the others in another one")
        try:
            distribution.parse_filename(part.filename)
        except InvalidDistribution as exc:
            self._file.invalid = exc.message
        else:
            self._file.content = self._new_file()

    def _take_token(self, data: Data) -> None:
        self._token += data.data
        if len(self._token) > _MAX_TOKEN:
            raise Refused(403, "The form's token is too long: load the page again")
        if not data.more_data:
            self._check(self._token.decode(errors="replace"))
            self._is_token, self._is_checked = False, True
