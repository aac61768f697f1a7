"""docs/volume.md numbers the invariants of a volume; each has a check, which a state machine calls."""

from __future__ import annotations

import re
from pathlib import Path

from support import credential_invariants, invariants  # noqa: F401 - the first registers its checks with the second

ROOT = Path(__file__).parents[2]
MACHINES = ("index/test_store_machine.py", "access/test_credentials_machine.py")


def test_each_number_in_the_document_has_a_check() -> None:
    text = (ROOT / "docs/volume.md").read_text(encoding="utf-8")
    numbers = re.findall(r"^- \*\*(V\d+)\*\* ", text, re.MULTILINE)
    assert numbers == [f"V{number}" for number in range(1, len(numbers) + 1)]
    assert set(numbers) == set(invariants.NUMBERS)


def test_each_check_is_called_after_each_step_or_by_a_machine() -> None:
    always = {check.__name__ for checks in invariants.ALWAYS.values() for check in checks}
    text = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in MACHINES)
    called = set(re.findall(r"self\.observer\.(\w+)\(", text))
    assert set(invariants.NUMBERS.values()) <= always | called
    assert text.count("self.observer.check()") == len(MACHINES)
