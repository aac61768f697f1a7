"""Tests on examples that hypothesis makes up: import `given` and `st` from here.

The profile must be there before a test is decorated, as each keeps the one of its time; and a file without such tests
must not import hypothesis, which takes half a second.
"""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

__all__ = ["assume", "given", "settings", "st"]

settings.register_profile("ppm", deadline=None)  # an example may take its time: the machine may be slow
settings.load_profile("ppm")
