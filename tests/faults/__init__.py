"""Faults to plant in a copy of the checkout: what each changes, and the test that must find it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault of faults.toml, which explains the fields."""

    name: str
    told: str
    file: str
    old: str
    new: str
    test: str

    def planted_in(self, text: str) -> str:
        """Return the text of its file with the fault; ValueError unless the old text is there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} has the old text {text.count(self.old)} times")
        return text.replace(self.old, self.new)


def read() -> list[Fault]:
    """Return the faults in their order."""
    table = tomllib.loads(Path(__file__).with_name("faults.toml").read_text(encoding="utf-8"))
    return [Fault(**each) for each in table["fault"]]
