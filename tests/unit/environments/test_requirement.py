"""Requirements that users type, and merges of two changes of one list: no change is lost."""

from __future__ import annotations

import pytest
from support.generated import given, st

from ppmctl.environments import requirement
from ppmctl.environments.merge import Conflict, Groups, differences, merge
from ppmctl.environments.requirement import flat, group, parse, parse_words
from ppmctl.errors import UsageError


def texts(*words: str) -> list[str]:
    return [parsed.text for parsed in parse_words(words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["flask passlib flask-login"], ["flask", "passlib", "flask-login"]),
        (["numpy >= 2 , < 3"], ["numpy<3,>=2"]),
        (["uvicorn[standard]", "Flask [b, a]>=1"], ["uvicorn[standard]", "Flask[a,b]>=1"]),
        (["numpy; python_version<'3.12'"], ['numpy; python_version < "3.12"']),
        (
            ["x @ https://host/x.whl ; sys_platform=='linux'"],
            ['x @ https://host/x.whl ; sys_platform == "linux"'],
        ),
        (["x @ git+ssh://git@host/x.git@v1"], ["x @ git+ssh://git@host/x.git@v1"]),
    ],
)
def test_typed_requirements_are_normalised(words: list[str], expected: list[str]) -> None:
    assert texts(*words) == expected


@pytest.mark.parametrize(
    ("typed", "at"),
    [
        ("numpy=>1.0", "numpy"),
        ("numpy; python_versio<'3'", "numpy; "),
        ("flask, passlib", "flask"),
        ("nump y>=1,", "nump "),
        ("-r other.txt", ""),
        ("flask passlib $x", ""),
    ],
)
def test_an_error_has_a_mark_below_the_wrong_character(typed: str, at: str) -> None:
    """The mark is in the line below the requirement."""
    with pytest.raises(UsageError) as caught:
        parse_words([typed])
    *_first, shown, mark = caught.value.message.split("\n")
    assert shown.strip() in typed
    assert mark == f"    {' ' * len(at)}^"


@pytest.mark.parametrize(
    "typed",
    [
        *("", "  ", "a" * 3000, "x\x1b[31m", "x @ https://u:secret@host/x.whl", "x @ https://secret@host/x.whl"),
        *(f"x @ https://{'secret' * length}@host/x" for length in (400, 5_000)),
        *("x @ git+ssh://git:secret@host/x", "x @ https://[/x", f"x; {'(' * 950}os_name=='a'{')' * 950}"),
    ],
)
def test_requirements_that_can_not_be_shared_are_errors(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(typed, where="file:3")
    assert caught.value.message.startswith("file:3: ")
    assert "secret" not in caught.value.message + caught.value.hint


def test_the_later_of_two_requirements_of_a_package_counts() -> None:
    parsed = parse_words(["Flask", "flask>=3", "numpy<2; python_version<'3.12'", "numpy>=2; python_version>='3.12'"])
    assert [(before.text, after.text) for before, after in requirement.doubles(parsed)] == [("Flask", "flask>=3")]
    assert group(parsed) == {
        "flask": ("flask>=3",),
        "numpy": ('numpy<2; python_version < "3.12"', 'numpy>=2; python_version >= "3.12"'),
    }
    assert len(flat(group(parsed))) == 3


# the requirements of a name in the old list, in ours and in theirs: one draw for all takes half the time
LIST = st.sampled_from([None, ("x",), ("x>=1",), ("x<9",), ("x<3", "x>=4")])
SIDES = st.dictionaries(st.sampled_from("abcdef"), st.tuples(LIST, LIST, LIST), max_size=6).map(
    lambda drawn: [{name: sides[at] for name, sides in drawn.items() if sides[at]} for at in range(3)]
)


@given(SIDES)
def test_no_change_is_lost(sides: list[Groups]) -> None:
    """A name that one side changed, or both in the same way, has the change; all others are conflicts."""
    base, ours, theirs = sides
    merged = merge(base, ours, theirs)
    conflicts = {conflict.name for conflict in merged.conflicts}
    for name in {*base, *ours, *theirs}:
        was, mine, other = (side.get(name) for side in sides)
        if name in conflicts:
            assert mine != was
            assert other != was
            assert mine != other
            assert merged.groups.get(name) == other
            assert merged.settled(frozenset({name})).get(name) == mine
        else:
            assert merged.groups.get(name) == (other if mine == was else mine)


@given(SIDES)
def test_no_addition_is_lost(sides: list[Groups]) -> None:
    base, ours, theirs = sides
    merged = merge(base, ours, theirs)
    for name in set(ours) - set(base):
        assert name in merged.groups
    for name in set(theirs) - set(base):
        assert name in merged.groups
    both_removed = set(base) - set(ours) - set(theirs)
    assert not both_removed & set(merged.groups)


@given(SIDES)
def test_the_order_of_two_changes_does_not_matter(sides: list[Groups]) -> None:
    base, ours, theirs = sides
    one, other = merge(base, ours, theirs), merge(base, theirs, ours)
    assert {conflict.name for conflict in one.conflicts} == {conflict.name for conflict in other.conflicts}
    assert one.settled(frozenset(_.name for _ in one.conflicts)) == other.groups


def test_a_name_that_both_changed_differently_is_a_conflict() -> None:
    merged = merge({"a": ("a",), "b": ("b",)}, {"a": ("a>=1",), "c": ("c",)}, {"a": ("a<1",), "b": ("b",)})
    assert merged.conflicts == (Conflict(name="a", base=("a",), ours=("a>=1",), theirs=("a<1",)),)
    assert merged.groups == {"a": ("a<1",), "c": ("c",)}


def test_the_differences_of_two_lists() -> None:
    items = differences({"a": ("a",), "b": ("b",)}, {"b": ("b>=2",), "c": ("c",)})
    assert [(item.name, item.before, item.after) for item in items] == [
        ("a", ("a",), ()),
        ("b", ("b",), ("b>=2",)),
        ("c", (), ("c",)),
    ]
