"""ppm_private_names in nginx's words: what a pattern means must be the same for nginx and for the application."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate


def name_pattern(glob: str) -> str:
    """A pattern with * ? [] of normalised names (PEP 503), as fnmatch understands it, as a regular expression."""
    return translate(re.sub(r"[-_.]+", "-", glob).lower())


class FilterModule:
    """Filters: name_pattern."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"name_pattern": name_pattern}
