"""A certificate's names and days, from its DER form (RFC 5280), whether it is trusted or not.

The standard library tells them of trusted ones alone, and it is the others that a person has to be told about.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _UTC_TIME, _VERSION = 0x30, 0x17, 0xA0
_COMMON_NAME, _ORGANIZATION, _ALTERNATIVES = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x1d\x11"
_DNS_NAME = 0x82
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """`subject` and `issuer` are the common names, or else the organisations; `hosts` those that it is for."""

    subject: str
    issuer: str
    begins: datetime
    ends: datetime
    hosts: tuple[str, ...]
    is_own_issuer: bool


def parse(der: bytes) -> Certificate:
    """The certificate in DER form; ValueError for what is none."""
    try:
        _tag, whole, _rest = _next(der)
        _tag, signed, _rest = _next(whole)
        parts = list(_parts(signed))
        if parts[0][0] == _VERSION:
            parts = parts[1:]
        _serial, _algorithm, issuer, validity, subject = (content for _tag, content in parts[:5])
        begins, ends = (_time(tag, content) for tag, content in _parts(validity))
    except (IndexError, TypeError, OverflowError) as exc:
        raise ValueError("not a certificate") from exc
    return Certificate(
        subject=_name(subject),
        issuer=_name(issuer),
        begins=begins,
        ends=ends,
        hosts=tuple(_hosts(signed)),
        is_own_issuer=issuer == subject,
    )


def read_first(pem: str) -> Certificate:
    """The first certificate of a PEM file, which is the one that a server proves itself with; ValueError."""
    found = _PEM.search(pem)
    if found is None:
        raise ValueError("there is no certificate in it")
    return parse(base64.b64decode(found[1]))


def _next(data: bytes) -> tuple[int, bytes, bytes]:
    """The tag and the content of the first value, and what follows it."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("a certificate that is cut off")
    return tag, data[start : start + length], data[start + length :]


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        tag, content, data = _next(data)
        yield tag, content


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # of 1950 to 2049
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(name: bytes) -> str:
    """The common name of a distinguished name, or else its organisation."""
    found = {}
    for _tag, relative in _parts(name):
        for _tag, pair in _parts(relative):
            (_tag, kind), (_tag, value) = _parts(pair)
            found[kind] = value.decode("utf-8", "replace")
    return found.get(_COMMON_NAME) or found.get(_ORGANIZATION) or "a nameless one"


def _hosts(signed: bytes) -> Iterator[str]:
    """The DNS names of the extension that has them (section 4.2.1.6)."""
    _before, found, after = signed.partition(b"\x06\x03" + _ALTERNATIVES)
    if not found:
        return
    parts = [content for tag, content in _some(after) if tag == 0x04]
    if parts:
        for tag, content in _parts(_next(parts[0])[1]):
            if tag == _DNS_NAME:
                yield content.decode("ascii", "replace")


def _some(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The next two values: whether the extension is critical, which may be left out, and what it says."""
    for _ in range(2):
        if data:
            tag, content, data = _next(data)
            yield tag, content
