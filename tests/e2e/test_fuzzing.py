"""A short run of the fuzzer for each target: FUZZ_SECONDS for all of them together, 180 by default."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from pathlib import Path

import fuzz
import pytest
from fuzz.__main__ import run

SECONDS = int(os.environ.get("FUZZ_SECONDS", "180"))
HAS_WHEEL = (sys.platform, platform.machine()) == ("linux", "x86_64")


def test_the_fuzzer_is_installed_where_it_has_wheels() -> None:
    assert importlib.util.find_spec("atheris") is not None or not HAS_WHEEL, "make .venv/.fuzz installs it"


@pytest.mark.skipif(not HAS_WHEEL, reason="atheris has no wheel for this platform")
@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    result = run(name, max(1, SECONDS // len(fuzz.TARGETS)), tmp_path, seed=1)
    print(result)
    assert result.findings == [], result.output[-8000:]
    assert result.executions > 10, result.output[-8000:]
