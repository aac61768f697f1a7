"""An object has random names of its last changes.

They show whether a write whose answer was lost succeeded, also if somebody else has written since.
"""

from __future__ import annotations

import secrets

_NUMBER = 32


def with_another(names: tuple[str, ...], *, kind: str = "") -> tuple[str, tuple[str, ...]]:
    """Return a new name for a change, which begins with its `kind`, and the names that the object has with it."""
    change = kind + secrets.token_hex(6)
    return change, (*names, change)[-_NUMBER:]
