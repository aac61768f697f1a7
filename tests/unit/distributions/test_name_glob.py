"""Patterns of names: which can match a name, and which cover all names of another one."""

from __future__ import annotations

import itertools
import re
from fnmatch import fnmatchcase

import pytest
from support.generated import given, settings, st

from ppmctl.distributions import name_glob

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
# every name of up to four characters of a small alphabet
NAMES = [
    name
    for length in range(1, 5)
    for name in map("".join, itertools.product("ab1-", repeat=length))
    if NAME.fullmatch(name)
]
CLASSES = ("[ab]", "[!a]", "[a-z]", "[!a-b]", "[1-9]", "[b-]", "[!-]", "[-a]")
PARTS = st.sampled_from(["a", "b", "1", "-", "*", "?", *CLASSES])
GLOBS = st.lists(PARTS, min_size=1, max_size=5).map("".join)
# also what is not well formed: - between the parts of a class makes a range, and [ may stay open
TEXTS = st.text("ab1-*?[]!", min_size=1, max_size=6)


def matched(glob: str) -> set[str]:
    return {name for name in NAMES if fnmatchcase(name, name_glob.normalise(glob))}


@pytest.mark.parametrize(
    ("glob", "normalised"),
    [
        ("acme", "acme"),
        ("Acme_*", "acme-*"),
        ("a..b", "a-b"),
        ("*", "*"),
        ("team.[a-c]*", "team-[a-c]*"),
        ("x[!0-9]?", "x[!0-9]?"),
        ("acme[!-]*", "acme[!-]*"),
        ("acme[._-]*", "acme[-]*"),
        ("[ab_]c", "[ab-]c"),
        ("[!_]x", "[!-]x"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_pattern_that_matches_a_name_is_accepted(glob: str, normalised: str) -> None:
    assert name_glob.problem(glob) == ""
    assert name_glob.normalise(glob) == normalised


@pytest.mark.parametrize(
    ("glob", "reason"),
    [
        ("", "empty"),
        ("x" * 201, "200 characters"),
        ("a b", "other characters"),
        ("a/b", "other characters"),
        ("ü", "other characters"),
        ("a\n", "other characters"),
        ("{a,b}", "other characters"),
        ("acme-[", "on its own"),
        ("acme-[ab", "on its own"),
        ("acme]", "on its own"),
        ("[]", "on its own"),
        ("[!]", "on its own"),
        ("!x", "no name matches"),
        ("x!", "no name matches"),
        ("acme-", "no name matches"),
        ("-acme", "no name matches"),
        ("_", "no name matches"),
        ("[z-a]x", "no name matches"),
        ("[-]*", "no name matches"),
        ("a[-][_]b", "no name matches"),
        ("[!a-z0-9]", "no name matches"),
        ("[]]*", "no name matches"),
        ("[a_c]x", "last character"),
        ("[a.z]*", "last character"),
        ("[.-9]", "last character"),
    ],
)
def test_a_pattern_that_matches_no_name_is_refused_with_the_reason(glob: str, reason: str) -> None:
    assert reason in name_glob.problem(glob)


@settings(max_examples=300)
@given(GLOBS | TEXTS)
def test_an_accepted_pattern_matches_a_name_and_a_refused_one_none(glob: str) -> None:
    problem = name_glob.problem(glob)
    if "no name" in problem:
        assert matched(glob) == set()
    if not problem and len(glob) <= 4 and "[" not in glob:
        assert matched(glob)


@settings(max_examples=1000)
@given(GLOBS | TEXTS, GLOBS | TEXTS)
def test_a_scope_covers_only_patterns_whose_names_it_matches(scope: str, glob: str) -> None:
    scope, glob = name_glob.normalise(scope), name_glob.normalise(glob)
    if name_glob.covers(scope, glob):
        assert matched(glob) <= matched(scope)
    assert name_glob.covers(glob, glob)
    assert name_glob.covers("*", glob)


@settings(max_examples=500)
@given(st.lists(GLOBS | TEXTS, max_size=4), GLOBS | TEXTS)
def test_a_list_of_patterns_matches_and_covers_what_one_of_them_does(scopes: list[str], glob: str) -> None:
    scopes, glob = list(map(name_glob.normalise, scopes)), name_glob.normalise(glob)
    assert set(filter(name_glob.matcher(scopes), NAMES)) == set().union(*map(matched, scopes))
    if scopes and not name_glob.outside(scopes, [glob]):
        assert matched(glob) <= set().union(*map(matched, scopes))
    assert name_glob.outside([*scopes, glob], [glob]) == name_glob.outside([], [glob]) == []


@settings(max_examples=300)
@given(st.text("ab1-*?", min_size=1, max_size=5), st.sampled_from(NAMES))
def test_a_scope_covers_each_name_that_it_matches(scope: str, name: str) -> None:
    assert name_glob.covers(name_glob.normalise(scope), name) == fnmatchcase(name, name_glob.normalise(scope))


@pytest.mark.parametrize(
    ("scope", "glob", "is_covered"),
    [
        ("acme-*", "acme-web", True),
        ("acme-*", "acme-w*", True),
        ("acme-*", "acme-[ab]?", True),
        ("*-foo*", "a-foob", True),
        ("*-foo*", "[a-foo]", False),
        ("*-foo*", "[!-foo]", False),
        ("acme-*", "acme*", False),
        ("a?", "a[bc]", True),
        ("a[a-d]", "a[bc]", True),
        ("a[bc]", "a[a-d]", False),
        ("a[!b]", "ab", False),
        ("a-?", "a-*", False),
        ("a*c", "ab*c", True),
        ("?*", "*?", True),
        ("a?*b", "a*?b", True),
    ],
)
def test_whether_a_scope_covers_a_pattern(scope: str, glob: str, is_covered: bool) -> None:
    assert name_glob.covers(scope, glob) == is_covered


@pytest.mark.parametrize(
    ("role", "projects", "reads", "text"),
    [
        ("reader", (), (), ""),
        ("reader", (), ("acme-*", "salt"), " of acme-* salt"),
        ("publisher", (), (), ""),
        ("publisher", ("acme-x",), (), " of acme-x"),
        ("publisher", ("acme-x",), ("acme-*", "salt"), " of acme-x, and reads only acme-* salt"),
        ("publisher", (), ("acme-*",), ", and reads only acme-*"),
    ],
)
def test_the_scope_of_a_credential_in_words(
    role: str, projects: tuple[str, ...], reads: tuple[str, ...], text: str
) -> None:
    assert name_glob.scope_text(role, projects, reads) == text


def test_long_patterns_are_compared_quickly() -> None:
    assert name_glob.covers("*a?" * 66 + "*", "*a?" * 66 + "*")
    assert not name_glob.covers("*a?" * 66, "*a[bc]" * 33 + "x")
