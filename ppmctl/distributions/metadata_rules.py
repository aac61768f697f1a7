"""What the metadata of a distribution may say: its version, and the fields that make pip or uv fail.

A new upload has to be valid. Old files of another index are also taken if pip and uv can read them all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from packaging.metadata import _VALID_METADATA_VERSIONS as KNOWN_VERSIONS  # no public name has the list
from packaging.metadata import RawMetadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ppmctl.secret import masked

NEWEST = KNOWN_VERSIONS[-1]

_MOST_FAULTS = 10  # that are looked for in a file
_SHOWN = 100  # characters of a field in a message
_VERSION = re.compile(r"([1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})", re.ASCII)
_STATIC_SDIST = (2, 2)  # from this version on uv reads the metadata of an sdist (PEP 643); pip builds each sdist
_UNKNOWN = "UNKNOWN"  # what old distutils wrote for nothing; pip and uv ignore it
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:")
_LAST_COMMA = re.compile(r",\s*(?:\)|;|$)")  # pip 23.0.1 crashes
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# Specifiers of old packages that pip before 24.1 and uv read; a newer pip ignores the requirement or the release.
_OLD_SPECIFIERS = (
    (re.compile(r"(<=|>=|<|>)(\s*[0-9]+(?:\.[0-9]+)*)\.\*"), r"\1\2"),  # >=1.0.*
    (re.compile(r">\s*dev\b"), ">0.dev0"),
    (re.compile(r"([0-9])([<>=~!])"), r"\1,\2"),  # >=1.0<2.0
    (re.compile(r"!=~\s*([0-9]+(?:\.[0-9]+)*)"), r"!=\1.*"),
    (re.compile(r"([0-9])\*"), r"\1.*"),  # !=3.0*
    (re.compile(r"([<>=~!]=?\s*)(['\"])([0-9A-Za-z.*]+)\2"), r"\1\3"),  # >='1.0'
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the metadata. `is_tolerated`: pip and uv can install the file all the same."""

    reason: str
    is_tolerated: bool = False


def is_supported(version: str) -> bool:
    """Return whether this Metadata-Version can be read: its major version is known (PEP 426 withdrew 2.0)."""
    return any(_number(version)[:1] == _number(known)[:1] for known in KNOWN_VERSIONS)


def notes(raw: RawMetadata) -> tuple[str, ...]:
    """Return what a publisher should know about valid metadata."""
    version = raw.get("metadata_version") or ""
    newest = max(_number(known) for known in KNOWN_VERSIONS if _number(known)[:1] == _number(version)[:1])
    if _number(version) <= newest:
        return ()
    known = ".".join(map(str, newest))
    return (f"Metadata-Version {version} is newer than {known}, so its new fields were not checked",)


def faults(metadata: bytes, raw: RawMetadata, *, is_sdist: bool) -> tuple[Fault, ...]:
    """Return what is wrong with fields that pip or uv read; `raw` are the parsed fields of `metadata`."""
    is_unread = is_sdist and _number(raw.get("metadata_version") or "") < _STATIC_SDIST
    some = islice(_faults(metadata, raw), _MOST_FAULTS)
    return tuple(Fault(reason=fault.reason, is_tolerated=fault.is_tolerated or is_unread) for fault in some)


def readable_python(requires_python: str) -> str | None:
    """Return a Requires-Python as a page shows it: None if uv, which skips such a file, could not read it."""
    is_readable = _is_specifiers(requires_python) or _is_specifiers(_modern(requires_python))
    return requires_python if requires_python and is_readable else None


def _faults(metadata: bytes, raw: RawMetadata) -> Iterator[Fault]:
    try:
        metadata.decode()
    except UnicodeDecodeError as exc:
        byte = f"byte 0x{metadata[exc.start]:02x} in {_place(metadata[: exc.start])}"
        yield Fault(reason=f"its metadata is not UTF-8: {byte}")
    python = " ".join((raw.get("requires_python") or "").split())
    if python and not _is_specifiers(python):
        reason = f"its Requires-Python is {python[:_SHOWN]!r}, and not a list of versions such as >=3.9 (PEP 440)"
        yield Fault(reason=reason, is_tolerated=python == _UNKNOWN or readable_python(python) is not None)
    for text in raw.get("requires_dist", ()):
        if problem := _problem(text):
            head, semicolon, marker = text.partition(";")
            reason = f"its Requires-Dist is {masked(text)[:_SHOWN]!r}, and not a requirement (PEP 508): {problem}"
            yield Fault(reason=reason, is_tolerated=not _problem(_modern(head) + semicolon + marker))


def parsed(requirement: str) -> Requirement:
    """Return a requirement (PEP 508). Raise InvalidRequirement, also if it is nested too deep."""
    try:
        return Requirement(requirement)
    except RecursionError as exc:
        raise InvalidRequirement("It is nested too deep") from exc


def _problem(requirement: str) -> str:
    """Return why pip or uv can't read a requirement, or ""."""
    try:
        url = parsed(requirement).url
    except InvalidRequirement as exc:
        return str(exc).partition("\n")[0]
    if url is not None:
        return "" if _SCHEME.match(url) else "what follows the @ is not a URL"
    if _LAST_COMMA.search(requirement.partition(";")[0]):
        return "a comma is followed by no version"
    return ""


def _modern(specifiers: str) -> str:
    for pattern, replacement in _OLD_SPECIFIERS:
        specifiers = pattern.sub(replacement, specifiers)
    return specifiers


def _is_specifiers(text: str) -> bool:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        return False
    return not re.search(r",\s*,", text)  # uv does not read that


def _place(before: bytes) -> str:
    """Return the field, or the description, which begins in `before` and has not ended there."""
    head, blank, _description = before.replace(b"\r\n", b"\n").partition(b"\n\n")
    fields = [] if blank else [match[1] for line in head.split(b"\n") if (match := _HEADER.match(line))]
    return f"the field {fields[-1].decode('ascii')}" if fields else "the description"


def _number(version: str) -> tuple[int, ...]:
    match = _VERSION.fullmatch(version)
    return tuple(map(int, match.groups())) if match else ()
