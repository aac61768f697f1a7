"""The testbed's error."""

from __future__ import annotations

from ppmctl.errors import PpmError


class BedError(PpmError):
    """A failure whose cause is known. Its string includes the hint, because a test shows the string."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}".strip()
