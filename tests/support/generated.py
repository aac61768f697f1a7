"""Property tests with hypothesis: import `given` and `st` from here.

The profile must be loaded before a test is decorated, as each test uses the profile of that moment; a file without
such tests must not import hypothesis, which takes half a second.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

__all__ = ["CHOICES", "assume", "given", "machine_settings", "note", "picked", "settings", "st"]

T = TypeVar("T")

# Numbers from which a state machine picks. hypothesis must not see how many there are to pick from: that depends on
# which of two processes was quicker.
CHOICES = st.tuples(*[st.integers(0, 5039)] * 6)

settings.register_profile("ppm", deadline=None)  # the machine may be slow
settings.load_profile("ppm")


def picked(options: Sequence[T], number: int) -> T:
    """Return one of the options."""
    return options[number % len(options)]


def machine_settings(*, examples: int, steps: int) -> settings:
    """Return the settings of a state machine: always the same orders, but with PPM_HYPOTHESIS=long many others."""
    is_long = os.environ.get("PPM_HYPOTHESIS") == "long"
    return settings(
        max_examples=examples * (10 if is_long else 1),
        stateful_step_count=steps * (2 if is_long else 1),
        derandomize=not is_long,
        suppress_health_check=list(HealthCheck),
        print_blob=is_long,
        report_multiple_bugs=False,
    )
