"""A short run of the fuzzer for each target: FUZZ_SECONDS for all of them together, by default a second for each."""

from __future__ import annotations

import os
from pathlib import Path

import fuzz
import pytest
from fuzz.__main__ import run

SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    result = run(name, max(1, SECONDS // len(fuzz.TARGETS)), tmp_path, seed=1)
    print(result)
    assert result.findings == [], result.output[-8000:]
    assert result.executions > 10, result.output[-8000:]
