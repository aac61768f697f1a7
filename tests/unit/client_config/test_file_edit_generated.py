"""Edits of generated files can be undone, and edits of anything else are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.client_files import URL, says
from support.generated import given, settings, st

from ppmctl.client.index_url import resolve
from ppmctl.client_config import lines, pip
from ppmctl.client_config.file_edit import EDITORS
from ppmctl.client_config.index_target import Form, IndexTarget
from ppmctl.client_config.lines import Unreadable
from ppmctl.client_config.toml_tables import TomlEdit


@pytest.mark.parametrize(
    ("at", "text"),
    [(2, "  and more"), (1, "timeout = 2"), (1, "[other]"), (1, "[a")],
)
def test_an_edit_that_would_change_something_else_is_not_made(at: int, text: str) -> None:
    """The check does not depend on how the edit was planned."""
    edit = pip.File(lines.read(b"[global]\ntimeout = 1\nproxy = x\n"))
    edit.add(at, text)
    with pytest.raises(Unreadable):
        edit.finish()


@pytest.mark.parametrize(
    ("added", "muted"), [([(1, "[other]")], []), ([], [2]), ([(4, "[x]")], [2]), ([(1, "b = 3")], [])]
)
def test_an_edit_that_would_move_a_key_to_another_table_is_not_made(
    added: list[tuple[int, str]], muted: list[int]
) -> None:
    edit = TomlEdit(lines.read(b"a = 1\nb = 2\n[c]\nd = 3\n"))
    for at, text in added:
        edit.add(at, text)
    for at in muted:
        edit.comment_out(at, at + 1)
    with pytest.raises(Unreadable):
        edit.verified()


COMMENT = st.sampled_from(["# a", "", "   # b", "; c"])


OPTION = st.sampled_from(
    [
        "timeout = 1",
        "index-url = https://o.test/",
        "extra-index-url =\n    https://a.test/\n\n  https://b.test/",
        "proxy: x%y",
    ]
)


SECTION = st.builds(
    lambda name, parts, indent: [f"[{name}]", *(indent + line for part in parts for line in part.split("\n"))],
    st.sampled_from(["global", "install", "list"]),
    st.lists(st.one_of(COMMENT, OPTION), max_size=5, unique=True),
    st.sampled_from(["", "  "]),
)


INI = st.builds(
    lambda *parts: [line for part in parts for line in part], st.lists(COMMENT, max_size=2), *[SECTION] * 2
)


TABLE = st.sampled_from(
    [
        "[pip]\nno-deps = true",
        "[[index]]\nname = 'o'\nurl = 'https://o.test/'\ndefault = true",
        "[x.y]\nz = [\n 'a',\n]",
        "# c",
        "",
    ]
)


TOML = st.builds(
    lambda top, values: [line for part in [*top, *values] for line in part.split("\n")],
    st.lists(st.sampled_from(["a = 1", "index-url = 'https://o.test/'", "# top", ""]), max_size=3, unique=True),
    st.lists(TABLE, max_size=4, unique=True),
)


@pytest.mark.parametrize(("client", "files"), [("pip", INI), ("uv", TOML)])
@settings(max_examples=50, deadline=None)  # each runs the command several times
@given(st.data())
def test_undo_restores_any_file_and_keeps_lines_of_others(client: str, files: Any, data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    before = lines.read("".join(line + end for line in data.draw(files)).encode())
    form: Form = data.draw(st.sampled_from(["single", "extra"]))
    target = IndexTarget(name="internal", address=resolve(URL, environ={}, home=Path("/nowhere")), form=form)
    try:
        edit = EDITORS[client].plan(before, target, "user")
    except Unreadable:
        return  # a section appears twice
    mark = lines.marker(client, "internal")
    after, puts = edit.apply(mark)
    assert EDITORS[client].plan(after, target, "user").is_empty
    assert says(client, form, (), after.to_bytes())
    form_of_file = EDITORS[client].File
    assert lines.undo(form_of_file, after, puts, mark) == (before, ())
    inside = {at for put in puts for at in range(put.at + 1, put.at + len(put.texts))}
    at = data.draw(st.sampled_from([at for at in range(len(after.lines) + 1) if at not in inside]))
    earlier = at - sum(len(put.texts) for put in puts if put.at < at)
    theirs = f"# of another user{end}"
    changed = replace(after, lines=(*after.lines[:at], theirs, *after.lines[at:]))
    expected = replace(before, lines=(*before.lines[:earlier], theirs, *before.lines[earlier:]))
    try:
        EDITORS[client].plan(changed, target, "user")
    except Unreadable:
        return  # the line is inside a value of several lines
    assert lines.undo(form_of_file, changed, puts, mark) == (expected, ())


def test_undo_finds_each_of_two_equal_lines() -> None:
    """The options of two sections are set to one URL; each addition is removed at its own place."""
    before = lines.read(b"[install]\n[list]\nindex-url = https://o.test/\n")
    target = IndexTarget(name="internal", address=resolve(URL, environ={}, home=Path("/nowhere")), form="single")
    mark = lines.marker("pip", "internal")
    after, added = EDITORS["pip"].plan(before, target, "user").apply(mark)
    assert len(added) == 2
    assert lines.undo(EDITORS["pip"].File, after, added, mark) == (before, ())
