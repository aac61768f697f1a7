"""Rules for variables of the environment that an inventory has. Their values are secrets, and are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# as in the files environment.j2 of the roles: between single quotes nothing is special
_VALUE = re.compile(r"[ -&(-~]*", re.ASCII)
_OWN = re.compile(r"PPM_|RESTIC_(?:REPOSITORY|PASSWORD)|(?:PATH|HOME|TMPDIR)\Z")


def environment_problems(values: Mapping[str, Any], variable: str, *, must_be: str) -> Iterator[str]:
    """Yield the problems of a mapping of names to values; `must_be` describes the names."""
    for name, value in values.get(variable, {}).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or _OWN.match(name):
            yield f"{variable}: {name} must be {must_be}."
        elif not isinstance(value, str) or not _VALUE.fullmatch(value):
            yield f"{variable}: {name} must be a text in one line, without single quotes."
