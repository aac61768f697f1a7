"""ppm_private_names in nginx's words: what a pattern means must be the same for nginx and for the application."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import translate


def name_pattern(glob: str) -> str:
    """The regular expression of what a pattern with * ? [] means among normalised names (PEP 503), as fnmatch has it."""
    return translate(re.sub(r"[-_.]+", "-", glob).lower())


class FilterModule:
    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"ppm_name_pattern": name_pattern}
