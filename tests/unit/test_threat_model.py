"""docs/security.md names a test for each promise, and the test exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROMISES = re.findall(r"^- \*\*(.+?)\*\*", TEXT, re.MULTILINE)
ROWS = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", TEXT.partition("## Which tests show it")[2], re.MULTILINE))
LIMITS = {"nginx knows no equal times"}  # of what is promised


def test_each_promise_names_its_tests() -> None:
    assert len(PROMISES) > 30
    for promise in PROMISES:
        assert promise in ROWS, promise
        assert "`tests/" in ROWS[promise] or promise in LIMITS, promise
    assert {*ROWS} <= {"promise", "---", *PROMISES}


def test_each_test_exists() -> None:
    named = re.findall(r"`(tests/[^`]+)`", TEXT)
    assert len(named) > 60
    for name in named:
        path, _, function = name.partition("::")
        assert (ROOT / path).exists(), name
        assert not function or f"\ndef {function}(" in (ROOT / path).read_text(encoding="utf-8"), name
