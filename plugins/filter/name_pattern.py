"""Translate ppm_private_names for nginx, so that a pattern matches the same names as in the application."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import translate

from ansible_collections.ppm.index.ppmctl.distributions import name_glob


def name_pattern(glob: str) -> str:
    """Return a regular expression for a pattern of fnmatch (* ? []) that is compared with normalised names."""
    return translate(name_glob.normalise(glob))


class FilterModule:
    """Filters: name_pattern."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"name_pattern": name_pattern}
