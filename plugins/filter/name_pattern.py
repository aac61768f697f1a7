"""Translate ppm_private_names for nginx, so that a pattern matches the same names as in the application."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate


def name_pattern(glob: str) -> str:
    """Return a regular expression for a pattern of fnmatch (* ? []) that is compared with normalised names."""
    return translate(re.sub(r"[-_.]+", "-", glob).lower())


class FilterModule:
    """Filters: name_pattern."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"name_pattern": name_pattern}
