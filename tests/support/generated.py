"""Property tests with hypothesis: import `given` and `st` from here.

The profile must be loaded before a test is decorated, as each test uses the profile of that moment; a file without
such tests must not import hypothesis, which takes half a second.
"""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

__all__ = ["assume", "given", "settings", "st"]

settings.register_profile("ppm", deadline=None)  # the machine may be slow
settings.load_profile("ppm")
