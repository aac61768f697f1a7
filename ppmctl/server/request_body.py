"""The body of a request, read with errors that the client can understand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ppmctl.errors import Refused

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class Body:
    """A body as WSGI has it. Reading it raises Refused: 408 if nothing arrives in time, 400 if it is incomplete."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._body: Any = environ["wsgi.input"]
        length = environ.get("CONTENT_LENGTH") or ""
        self._missing = int(length) if length.isascii() and length.isdigit() else 0  # bytes
        self._failure: Refused | None = None  # raised again: after a timeout nobody should wait once more

    def read(self, size: int = -1) -> bytes:
        if self._failure is None:
            try:
                return self._read(size)
            except TimeoutError:
                self._failure = Refused(408, "The rest of the body did not arrive in time")
            except Exception:  # gunicorn's errors of a broken body have no class in common
                self._failure = Refused(400, "The upload ended too early, or its chunks are invalid")
        raise self._failure

    def _read(self, size: int) -> bytes:
        piece: bytes = self._body.read(size)
        self._missing -= len(piece)
        if self._missing > 0 and size != 0 and (not piece or size < 0):
            raise EOFError
        return piece
