"""Tell valid names of projects and of files. It imports little, because every command needs it."""

from __future__ import annotations

import re

from ppmctl import files

# A file name has 255 bytes: this leaves room for the longest suffix and for temporary names.
MAX_FILENAME = 200
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*", re.ASCII)
_NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.ASCII | re.IGNORECASE)
_NORMALISED = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)


def is_name(name: str) -> bool:
    """Return whether `name` is a valid name of a project, normalised or not (PEP 508)."""
    return _NAME.fullmatch(name) is not None and len(name) <= MAX_FILENAME


def is_normalised(name: str) -> bool:
    return _NORMALISED.fullmatch(name) is not None and len(name) <= MAX_FILENAME


def is_filename(name: str) -> bool:
    """Return whether a distribution, or a side file of one, can have this name."""
    return _FILENAME.fullmatch(name) is not None and len(name) <= files.MAX_NAME
