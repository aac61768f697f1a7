"""A fault that `ppmctl index check` reports."""

from __future__ import annotations

from dataclasses import dataclass

REBUILD = "ppmctl index rebuild"
LOST = "restore it from a backup, or remove it: ppmctl package remove"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A fault: `where` it is below the volume's root or in the bucket, `what` is wrong, and what repairs it."""

    where: str
    what: str
    repair: str = REBUILD

    def document(self) -> dict[str, str]:
        """Return it as `--json` prints it."""
        return {"where": self.where, "what": self.what, "repair": self.repair}
