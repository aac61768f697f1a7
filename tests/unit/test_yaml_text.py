"""Texts that are read as YAML, and those that are refused: always with the same error, and at once."""

from __future__ import annotations

import time

import pytest

from ppmctl.yaml_text import MAX_DEPTH, InvalidYaml, load


def nested(first: str, each: str) -> str:
    """Return a text in which each of ten names stands for nine times what the one before it does."""
    lines = [
        f"{name}: &{name} {each.format(', '.join([f'*{before}'] * 9))}"
        for before, name in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    return "\n".join([first, *lines])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", None),
        ("a: [1, x, null]\nb: {c: 2.5}", {"a": [1, "x", None], "b": {"c": 2.5}}),
        ("a: &x {y: 1}\nb: *x\nc: {<<: *x, z: 2}", {"a": {"y": 1}, "b": {"y": 1}, "c": {"y": 1, "z": 2}}),
    ],
)
def test_values_are_read(text: str, values: object) -> None:
    assert load(text) == values


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a: !!bool x",
            "!!timestamp x",
            "!!int ''",
            "!!float ''",
            "1" * 5000,
            "2026-99-99",
            "!!set [a]",
            "? [a]: b",
        ),
        *("a\0", "\ud800", "*a", "--- a\n--- b", "!!python/object:x y", '"\\U99999999"', "\t- x"),
        *("[" * 100_000, "{a: " * 100_000, "- " * 100_000),
        pytest.param(nested("a: &a [x]", "[{}]"), id="lists of lists"),
        pytest.param(nested("a: &a {x: 1}", "{{<<: [{}]}}"), id="merged mappings"),
    ],
)
def test_what_the_library_does_not_expect_is_invalid_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidYaml):
        load(text)
    assert time.process_time() - started < 1.0


def test_the_line_of_a_fault_is_known() -> None:
    with pytest.raises(InvalidYaml, match="line 2") as invalid:
        load("a: 1\nb: c: d\n")
    assert invalid.value.line == 2


def test_lists_may_be_as_deep_as_the_limit() -> None:
    load("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    with pytest.raises(InvalidYaml, match=f"{MAX_DEPTH} levels"):
        load("[" * MAX_DEPTH + "]" * MAX_DEPTH)
