"""Texts that are read as YAML, and those that are refused: always with the same error, and at once."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("a: 1\nb: [*-hunter2]\n", 2, "a text that starts with * in quotes"),
        ("a: 1\nb: *\n", 2, "a text that starts with * in quotes"),
        ("a: 1\nb: &\n", 2, "a text that starts with & in quotes"),
        ("a: 1\nb: @hunter2\n", 2, "a text that starts with @ in quotes"),
        ("a: 1\nb: `hunter2`\n", 2, "a text that starts with ` in quotes"),
        ("a: 1\nb: %hunter2\n", 2, "a text that starts with % in quotes"),
        ("a: 1\nb: !hunter2 x\n", 2, "a text that starts with ! in quotes"),
        ("a: 1\nb: ]hunter2\n", 2, "a text that starts with one of ["),
        ("a: 1\nb: |hunter2\n", 2, "a text that starts with one of ["),
        ("a:\n\tb: hunter2\n", 2, "a tab: indent with spaces"),
        ("a: x\n\tb: hunter2\n", 2, "a tab: indent with spaces"),
        ("a: 1\nb: 'hunter2\nc: 3\n", 2, "the quote that starts here is not closed"),
        ('a: 1\nb: "hunter2\nc: 3\n', 2, "the quote that starts here is not closed"),
        ("a: 1\nb: 'hunter2's'\nc: 3\n", 2, "a quote is missing here or above"),
        ('a: 1\nb: "hunter2\nc: "3"\n', 3, "a quote is missing here or above"),
        ('a: 1\nb: "\\hunter2"\n', 2, "use single quotes"),
        ("a: 1\nb: hunter2: d\n", 2, "a text that has one in quotes"),
        ("a: 1\n b: hunter2\n", 2, "check the indentation"),
        ("a:hunter2\nb: 2\n", 2, "a space after that of a name"),
        ("- hunter2\nb: 1\n", 2, "a line without - in a list"),
        ("a: - hunter2\n", 1, "a list starts on a line of its own"),
        ("a: 1\nb: [hunter2\nc: 3\n", 3, "the [ of line 2 is not closed"),
        ("a: 1\nb: {hunter2: 1\nc: 3\n", 3, "the { of line 2 is not closed"),
        ("a: 1\n---\nb: hunter2\n", 2, "a second document"),
        ("? [hunter2]\n: 1\n", 1, "can't be a name"),
        ("a: 1\n<<: hunter2\n", 2, "<< needs a mapping"),
        ("a: 1\nb: 2026-99-99\n", 2, "a value has a form that it can't have"),
        ("a: 1\nb: hunter2\0\n", 2, "a control character"),
    ],
)
def test_the_error_names_the_line_and_the_cause_and_quotes_nothing(text: str, line: int, cause: str) -> None:
    with pytest.raises(InvalidYaml) as invalid:
        load(text, first_line=11)
    assert invalid.value.line == line + 10
    # the lines that a cause names count from the start of the file, too
    numbered = re.sub(r"line (\d)", lambda match: f"line {int(match[1]) + 10}", cause)
    assert numbered in invalid.value.problem
    assert "hunter2" not in str(invalid.value)
    assert invalid.value.in_file("x.yml") == f"x.yml, line {line + 10}: {invalid.value.problem}."


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the name 'a' is also in line 1; leave out one of them"),
        ("x:\n- y: {a: 1,\n  'a': 2}\n", "line 3: the name 'a' is also in line 2"),
        ("yes: 1\non: 2\n", "line 2: the name 'on' is also in line 1"),
        ("1: a\n0x1: b\n", "line 2: the name '0x1' is also in line 1"),
        ("? {a: 1, a: 2}\n: 3\n", "line 1: the name 'a'"),
        ("<<: {a: 1}\n<<: {b: 1}\n", "line 2: the name '<<'"),
        (f"ppm_{'aB3' * 12}: 1\nppm_{'aB3' * 12}: 2\n", "line 2: this name is also in line 1"),
        ("hunter2 with a space: 1\nhunter2 with a space: 2\n", "line 2: this name is also in line 1"),
    ],
)
def test_a_name_that_is_there_twice_is_refused_with_both_lines(text: str, problem: str) -> None:
    with pytest.raises(InvalidYaml) as invalid:
        load(text)
    assert str(invalid.value).startswith(problem)


def test_a_merged_mapping_may_be_overridden() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: [*b, *a], y: 3}\n1: x\n'1': y\n"
    assert load(text)["c"] == {"x": 1, "y": 3}


def test_lists_may_be_as_deep_as_the_limit() -> None:
    load("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    with pytest.raises(InvalidYaml, match=f"{MAX_DEPTH} levels"):
        load("[" * MAX_DEPTH + "]" * MAX_DEPTH)
