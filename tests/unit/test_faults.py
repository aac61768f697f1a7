"""Tests that the list of faults of `make faults` fits the current product and tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import faults
import pytest
from faults import Fault

ROOT = Path(__file__).parents[2]
FAULTS = faults.read()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_can_be_planted_and_has_a_test(fault: Fault) -> None:
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    planted = fault.planted_in(text)
    assert planted != text
    if fault.file.endswith(".py"):
        ast.parse(planted)
    path, _, name = fault.test.partition("::")
    function = re.escape(name.partition("[")[0])
    assert re.search(rf"^def {function}\(" if name else r"^def test_", (ROOT / path).read_text(), re.MULTILINE)


def test_names_of_faults_are_unique() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 20


def test_a_text_that_does_not_occur_exactly_once_is_an_error() -> None:
    fault = Fault(name="a fault", told="", file="x.py", old="a", new="b", test="")
    assert fault.planted_in("xay") == "xby"
    for text in ("", "aa"):
        with pytest.raises(ValueError, match=f"a fault: x.py has the old text {len(text)} times"):
            fault.planted_in(text)
