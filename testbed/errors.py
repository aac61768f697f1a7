"""What the testbed says when something is wrong."""

from __future__ import annotations

from ppmctl.errors import PpmError


class BedError(PpmError):
    """A failure whose cause is known. As a string it has its hint too: that is what a test shows."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}".strip()
