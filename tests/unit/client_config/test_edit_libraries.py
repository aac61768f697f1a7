"""Unusual files that the editor handles, and what editing libraries would do to them."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path
from typing import Any

import configupdater
import pytest
import tomlkit

from ppmctl.client.index_url import resolve
from ppmctl.client_config import lines
from ppmctl.client_config.file_edit import EDITORS
from ppmctl.client_config.index_target import Form, IndexTarget, Scope
from ppmctl.client_config.lines import Unreadable

SIMPLE = "https://index.test/simple/"

# what is unusual → (the client, the scope of the file, its content)
FILES: dict[str, tuple[str, Scope, bytes]] = {
    "nothing": ("uv", "user", b""),
    "nothing but a mark": ("pip", "user", b"\xef\xbb\xbf"),
    "blank lines alone, CRLF": ("twine", "user", b"\r\n\r\n"),
    "a comment without an end": ("uv", "user", b"# mine"),
    "comments in odd places, INI": (
        "pip",
        "user",
        (
            b"# top\n[global]\n; a\n# b\nindex-url =\n# c\n    https://other.test/simple/\n    ; d\n\n"
            b"# e\ntimeout = 6 # f\n\n# about install\n[install]\n# g"
        ),
    ),
    "comments in odd places, TOML": (
        "uv",
        "user",
        (
            b"# top\n[[index]] # a\n# b\nname = 'other' # c\nurl = 'https://other.test/'\n  # d\n"
            b"default = true # e\n\n# f\n[pip] # g\nextra = [ # h\n  # i\n  'x', # j\n] # k\n# end"
        ),
    ),
    "a comment about the next table": ("uv", "project", b"[tool.uv]\ndev = 1\n\n# about ruff\n[tool.ruff]\na = 1\n"),
    "CRLF and a mark": (
        "uv",
        "user",
        b"\xef\xbb\xbfindex-url = 'https://other.test/'\r\n\r\n[[index]]\r\nname = 'o'\r\nurl = 'https://o.test/'\r\n",
    ),
    "mixed line ends": ("pip", "user", b"[global]\r\ntimeout = 60\nindex-url = https://other.test/\r\n[x]\ny = 1"),
    "tabs, INI": ("pip", "user", b"[global]\n\ttimeout\t=\t60\n\tindex-url\t=\thttps://other.test/\n\tcert = x\n"),
    "tabs, TOML": (
        "uv",
        "project",
        b"[project]\n\tname\t=\t'x'\n[tool.uv]\n\tindex-url\t= 'https://o.test/'\t# why\n",
    ),
    "an inline table": (
        "uv",
        "project",
        b"[project]\nauthors = [{name = 'x', email = 'y'}]\n[tool]\nx = {y = {z = 1}}\n",
    ),
    "dotted keys": ("poetry", "project", b"tool.uv.dev = 1\ntool.poetry.name = 'x'\n[project]\nname = 'x'\n"),
    "nested arrays": ("uv", "user", b"a = [[1, 2], [ # b\n 3, ['[[index]]']]]\n[pip]\nextra = [\n [\n  'x',\n ],\n]"),
    "quoted keys": (
        "uv",
        "project",
        b"[\"tool\".'uv']\n\"index-url\" = 'https://o.test/'\n['a.b'.\"c d\"]\n'e f' = 1\n",
    ),
    "strings of many lines": (
        "uv",
        "user",
        b"a = '''\n[[index]]\ndefault = true\n'''\nb = \"\"\"\\\n  [pip]\n\"\"\"\n",
    ),
    "other tables between": (
        "uv",
        "project",
        (
            b"[[tool.uv.index]]\nname = 'a'\nurl = 'https://a.test/'\n\n[tool.uv.sources]\nx = {index = 'a'}\n\n"
            b"[tool.ruff]\nb = 1\n\n[[tool.uv.index]]\nname = 'b'\nurl = 'https://b.test/'\ndefault = true\n# end\n"
        ),
    ),
    "tables out of order": (
        "uv",
        "project",
        b"[tool.uv]\na = 1\n[project]\nname = 'x'\n[tool.uv.pip]\nb = 1\n[z]\nc = 1\n",
    ),
    "indented tables": ("uv", "project", b"[tool]\n  [tool.uv]\n    index-url = 'https://o.test/'\n    dev = 1\n"),
    "a list with comments and blank lines": (
        "twine",
        "user",
        b"[distutils]\nindex-servers =\n  # the public one\n  pypi\n\n  ; ours\n  acme\n\n[acme]\nrepository=https://acme.test/\n",
    ),
    "values with delimiters and sections that look alike": (
        "pip",
        "user",
        b"[Global]\nx: a=b:c\n[global]\nindex_url:https://o.test/?a=b&c=[d]\n[global ]\nextra-index-url = %(x)s\n",
    ),
    "a folded value that looks like a section": (
        "pip",
        "user",
        b"[global]\nextra-index-url = https://a.test/\n  [install]\n  index-url = b\ntimeout = 1\n",
    ),
}


def target(form: Form) -> IndexTarget:
    return IndexTarget(
        name="internal", address=resolve("https://index.test", environ={}, home=Path("/no")), form=form
    )


def read(client: str, content: bytes) -> Any:
    text = content.decode("utf-8-sig").replace("\r\n", "\n")
    if client in ("uv", "poetry"):
        return tomllib.loads(text)
    parser = configparser.RawConfigParser()
    parser.optionxform = EDITORS[client].File.normal  # type: ignore[method-assign]  # as in its documentation
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def has_index(client: str, content: bytes) -> bool:
    """Return whether the client reads the index from the file."""
    values = read(client, content)
    if client == "pip":
        return SIMPLE in " ".join(values["global"].get(name, "") for name in ("index-url", "extra-index-url"))
    if client == "twine":
        return "internal" in values and "internal" in values["distutils"]["index-servers"].split()
    tool = values.get("tool", {})
    every = (values.get("index"), tool.get("uv", {}).get("index"), tool.get("poetry", {}).get("source"))
    return SIMPLE in [each["url"] for indexes in every for each in indexes or []]


@pytest.mark.parametrize("form", ["single", "extra"])
@pytest.mark.parametrize("kind", FILES)
def test_an_unusual_file_is_edited_and_restored(kind: str, form: Form) -> None:
    client, scope, content = FILES[kind]
    before, mark = lines.read(content), lines.marker(client, "internal")
    after, puts = EDITORS[client].plan(before, target(form), scope).apply(mark)
    written = after.to_bytes()
    assert has_index(client, written)
    for line in content.removeprefix(b"\xef\xbb\xbf").splitlines():
        assert line in written
    assert EDITORS[client].plan(after, target(form), scope).is_empty
    restored, notes = lines.undo(EDITORS[client].File, lines.read(written), puts, mark)
    assert (restored.to_bytes(), notes) == (content, ())


@pytest.mark.parametrize(
    ("client", "content"),
    [
        ("pip", b"[global]\ntimeout = 1\n[install]\n[global]\nindex-url = x\n"),
        ("twine", b"[internal]\nrepository = https://index.test/legacy/\n[internal]\nusername = x\n"),
        ("uv", b"[pip]\na = 1\n[pip]\nb = 1\n"),
        ("uv", b"index = {name = 'a'}\n"),
        ("poetry", b"tool = {poetry = {source = []}}\n[tool.x]\ny = 1\n"),
    ],
)
def test_a_file_with_a_section_twice_or_of_another_form_is_refused(client: str, content: bytes) -> None:
    with pytest.raises(Unreadable):
        EDITORS[client].plan(lines.read(content), target("single"), "user" if client == "uv" else "project")


# What the libraries do to such files. If one of these tests fails, the library may have become usable.


def test_configupdater_makes_the_next_option_part_of_the_value() -> None:
    """It drops the indentation of a changed option."""
    updater = configupdater.ConfigUpdater()
    updater.read_string("[global]\n  index-url = https://other.test/\n  timeout = 60\n")
    updater["global"]["index-url"] = SIMPLE
    assert read("pip", str(updater).encode())["global"] == {"index-url": f"{SIMPLE}\ntimeout = 60"}


def test_configupdater_separates_a_comment_from_its_section() -> None:
    updater = configupdater.ConfigUpdater()
    updater.read_string("[global]\ntimeout = 60\n\n# about install\n[install]\nno-deps = true\n")
    updater["global"]["index-url"] = SIMPLE
    assert f"# about install\nindex-url = {SIMPLE}\n[install]\n" in str(updater)


def test_configupdater_rewrites_the_lines_of_a_list() -> None:
    content = "[distutils]\nindex-servers =\n  # the public one\n  pypi\n\n  acme\n"
    updater = configupdater.ConfigUpdater()
    updater.read_string(content)
    updater["distutils"]["index-servers"].append("internal")
    assert [line for line in content.splitlines() if line not in str(updater).splitlines()] != []


def test_tomlkit_moves_tables_with_others_between_them() -> None:
    """It does so without any change of a value."""
    content = "[[index]]\nname = 'a'\n[pip]\nb = 1\n[[index]]\nname = 'c'\n"
    assert tomlkit.dumps(tomlkit.parse(content)) != content


def test_tomlkit_loses_an_index_with_other_tables_in_between() -> None:
    document = tomlkit.parse(FILES["other tables between"][2].decode())
    document["tool"]["uv"]["index"].append({"name": "internal", "url": SIMPLE})
    assert SIMPLE not in tomlkit.dumps(document)


def test_tomlkit_separates_a_comment_from_its_table() -> None:
    document = tomlkit.parse(FILES["a comment about the next table"][2].decode())
    document["tool"]["uv"]["index"] = [{"name": "internal", "url": SIMPLE}]
    assert "# about ruff\n[tool.ruff]" not in tomlkit.dumps(document)


def test_tomlkit_mixes_line_ends() -> None:
    document = tomlkit.parse("[tool.uv]\r\ndev = 1\r\n")
    document["tool"]["uv"]["index"] = [{"name": "internal", "url": SIMPLE}]
    written = tomlkit.dumps(document)
    assert written.count("\n") > written.count("\r\n") > 0
