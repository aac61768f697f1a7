"""The keys of the objects in an index's bucket, layout 1; docs/volume.md explains each of them.

This module is the only one that knows them.
"""

from __future__ import annotations

import hashlib

LAYOUT = "ppm.json"  # {"layout": 1, "id": …}; created once
LAYOUT_NUMBER = 1
CREDENTIALS = "credentials.json"
INDEX_ID = "index-id"
HEADS = "projects/"
PACKAGES = "packages/"
CLAIMS = "claims/"
NAMES = "names/"
AUDIT = "audit/"

SHARDS = "0123456789abcdef"
_JSON = ".json"
_AUDIT_DIGITS = 12


def head(project: str) -> str:
    """Return the key of a project's head, which lists its files, tombstones and status."""
    return f"{HEADS}{project}{_JSON}"


def project_of_head(key: str) -> str:
    """Return the project of a key that `head` returned."""
    return key.removeprefix(HEADS).removesuffix(_JSON)


def file(project: str, sha256: str, filename: str) -> str:
    """Return the key of a file. It has the file's hash, so that every write of it writes the same bytes."""
    return f"{PACKAGES}{project}/{sha256}/{filename}"


def metadata(project: str, sha256: str, filename: str) -> str:
    """Return the key of a wheel's core metadata."""
    return file(project, sha256, filename) + ".metadata"


def attestations(project: str, sha256: str, filename: str, digest: str) -> str:
    """Return the key of a file's attestations with the sha256 `digest`: two uploads of a file may have others."""
    return f"{file(project, sha256, filename)}.{digest}.attestations"


def packages(project: str) -> str:
    """Return what the keys of a project's files start with."""
    return f"{PACKAGES}{project}/"


def shard(project: str) -> str:
    """Return which of SHARDS has a project's name."""
    return hashlib.sha256(project.encode()).hexdigest()[0]


def names(shard: str) -> str:
    """Return the key of the names of one of SHARDS."""
    return f"{NAMES}{shard}{_JSON}"


def claim(project: str) -> str:
    """Return the key of the claim of a name."""
    return CLAIMS + project


def probe(name: str) -> str:
    """Return the key of an object that exists for a moment, to try what the bucket can do."""
    return f"probe/{name}"


def audit(node: str, number: int) -> str:
    """Return the key of a node's part of the audit with this number; keys sort as numbers do."""
    return f"{audit_of(node)}{number:0{_AUDIT_DIGITS}}.jsonl"


def audit_of(node: str) -> str:
    """Return what the keys of a node's audit start with."""
    return f"{AUDIT}{node}/"


def audit_number(key: str) -> int:
    """Return the number in a key that `audit` returned."""
    return int(key.rpartition("/")[2].partition(".")[0])
