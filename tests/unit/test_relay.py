"""The streams of a command that runs elsewhere, whatever pieces they come in."""

from __future__ import annotations

import itertools

from support.generated import given, st

from ppmctl.relay import _Renamed, _Start

THERE, OTHER = b"/tmp/tmp.Xq3/0-out", b"/tmp/tmp.Xq3/1-in"
NAMES = {THERE: b"out.txt", OTHER: b"in"}
PARTS = st.sampled_from([THERE, OTHER, THERE[:7], OTHER[:-1], b"/", b"/tmp", b"text", b"\n", b"\xff"])


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(PARTS), st.lists(st.integers(0, 500)))
def test_names_of_there_are_those_of_here_however_they_come(parts: list[bytes], cuts: list[int]) -> None:
    text = b"".join(parts)
    stream = _Renamed(NAMES)
    got = b"".join(stream.feed(piece) for piece in pieces(text, cuts)) + stream.end()
    assert got == text.replace(THERE, b"out.txt").replace(OTHER, b"in")


@given(st.binary(max_size=20), st.binary(max_size=20), st.lists(st.integers(0, 100)))
def test_what_a_login_says_is_left_out_however_it_comes(before: bytes, after: bytes, cuts: list[int]) -> None:
    start = _Start(b"marker:")
    got = b"".join(start.strip(piece) for piece in pieces(before + b"marker:4711\n" + after, cuts))
    assert got == after
    assert start.process == 4711


def test_without_names_nothing_is_held_back() -> None:
    """A question ends without a newline, and is to be seen before it is answered."""
    assert _Renamed({}).feed(b"Type / to go on: /") == b"Type / to go on: /"
    assert _Renamed(NAMES).feed(b"to go on: ") == b"to go on: "
