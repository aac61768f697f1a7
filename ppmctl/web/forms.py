"""Read the form of a page, within limits."""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import parse_qsl

from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Request

from ppmctl.errors import Refused
from ppmctl.server import json_api

MAX_FORM = 64 << 10  # bytes; nginx has the same limit for pages
MAX_FIELDS = 500
HIDDEN_FIELD = "form_token"  # of each form: it proves that a page of the index sent it


def read(request: Request) -> MultiDict[str, str]:
    """Return the fields of a posted form. Raise Refused: 411, 413, 415, 400, and what reading the body raises."""
    json_api.check_length(request, MAX_FORM)
    if request.mimetype != "application/x-www-form-urlencoded":
        raise Refused(415, "A form of a page is application/x-www-form-urlencoded")
    try:
        text = request.get_data().decode()
        return MultiDict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace"))
    except ValueError as exc:
        raise Refused(400, f"The body is not a form of at most {MAX_FIELDS} fields") from exc


def hidden(token: bytes) -> str:
    """Return a token as a form has it: another text each time, so the length of a compressed page tells nothing."""
    pad = secrets.token_bytes(len(token))
    return (pad + _xor(pad, token)).hex()


def require_token(sent: str, expected: bytes) -> None:
    """Raise Refused (403) for a form that is not of a page of this browser, or is too old."""
    try:
        received = bytes.fromhex(sent)
    except ValueError:
        received = b""
    half = len(expected)
    if len(received) != 2 * half or not hmac.compare_digest(_xor(received[:half], received[half:]), expected):
        raise Refused(403, "This form is out of date: go back, load the page again, and send it once more")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
