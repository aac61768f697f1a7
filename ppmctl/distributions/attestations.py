"""Attestations of a distribution (PEP 740): whether they fit its file, and the provenance object that has them.

Signatures and certificates are not verified; docs/decisions.md has the reason.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from ppmctl.distributions import release_file
from ppmctl.distributions.distribution import Filename, one_line, parse_filename
from ppmctl.errors import NOT_SUCH_JSON, InvalidDistribution

MEDIA_TYPE = "application/vnd.pypi.integrity.v1+json"  # of a provenance object

_MAX_DEPTH = 32  # of lists and objects; json.dumps can't write all that json.loads reads
_STATEMENT = "https://in-toto.io/Statement/v1"
_PUBLISHER = {"kind": "ppm"}  # a user with the right to publish; which one is not told


def check(text: str, name: Filename, sha256: str) -> list[Any]:
    """Return the attestations in `text`, a JSON list. Raise InvalidDistribution if one is not of this file."""
    try:
        listed = json.loads(text)
    except NOT_SUCH_JSON:
        listed = None
    if not isinstance(listed, list):
        raise InvalidDistribution("The field 'attestations' is not a JSON list (PEP 740)")
    if _is_deeper(listed, _MAX_DEPTH):
        raise InvalidDistribution(f"The field 'attestations' is nested more than {_MAX_DEPTH} levels deep")
    for number, attestation in enumerate(listed, 1):
        if why := _fault(attestation, name, sha256):
            raise InvalidDistribution(f"The field 'attestations' does not fit {name.filename}: number {number} {why}")
    return listed


def provenance(text: str, name: Filename, sha256: str) -> bytes | None:
    """Return the provenance object of a file with these attestations; None if there are none, or they don't fit."""
    try:
        listed = check(text, name, sha256)
    except InvalidDistribution:
        return None
    bundles = [{"publisher": _PUBLISHER, "attestations": listed}]
    return json.dumps({"version": 1, "attestation_bundles": bundles}).encode() if listed else None


def _is_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, list | dict):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _fault(attestation: Any, name: Filename, sha256: str) -> str:
    """Return what is wrong with an attestation, as a predicate, or ""."""
    try:
        material, envelope = attestation["verification_material"], attestation["envelope"]
        if attestation["version"] != 1:
            return f"has the version {one_line(attestation['version'])[:20]!r}, not 1"
        if not (_decoded(material["certificate"]) and _decoded(envelope["signature"])):
            return "has no certificate, or no signature"
        entries = material["transparency_entries"]
        if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
            return "has no entry of a transparency log"
        return _statement_fault(json.loads(_decoded(envelope["statement"])), name, sha256)
    except NOT_SUCH_JSON as exc:
        return f"is malformed ({one_line(repr(exc))[:80]})"


def _statement_fault(statement: Any, name: Filename, sha256: str) -> str:
    subjects = statement["subject"]
    if statement["_type"] != _STATEMENT or not isinstance(statement["predicateType"], str):
        return f"has no statement of the type {_STATEMENT}"
    if not isinstance(subjects, list) or len(subjects) != 1:
        return "is not about one file"
    subject, digest = subjects[0]["name"], subjects[0]["digest"]["sha256"]
    if not _is_name_of(subject, name):
        return f"is about {one_line(subject)[:200]!r}"
    return "" if digest == sha256 else "has another sha256 than the file"


def _is_name_of(subject: str, name: Filename) -> bool:
    """Return whether a subject is the file's name, perhaps in another spelling (PEP 740)."""
    if subject == name.filename:
        return True
    try:
        is_of_project = parse_filename(subject).project == name.project
    except InvalidDistribution:
        return False
    return is_of_project and release_file.is_same(subject, name.filename)


def _decoded(text: str) -> bytes:
    return base64.b64decode("".join(text.split()), validate=True)  # some encoders write lines
