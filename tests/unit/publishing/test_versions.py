"""Versions are raised, and nothing but the version changes in a file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version
from support.generated import given, st

from ppmctl.errors import PpmError, UsageError
from ppmctl.publishing import versions

# version → the next one by major, minor, patch, pre; "" if that is refused
RAISED = {
    "1.2.3": ("2.0.0", "1.3.0", "1.2.4", ""),
    "1.2": ("2.0", "1.3", "1.2.1", ""),
    "7": ("8", "7.1", "7.0.1", ""),
    "1.2.3.4": ("2.0.0.0", "1.3.0.0", "1.2.4.0", ""),
    "1.0rc1": ("1.0", "1.0", "1.0", "1.0rc2"),
    "1.3.0rc1": ("2.0.0", "1.3.0", "1.3.0", "1.3.0rc2"),
    "1.3.1b2": ("2.0.0", "1.4.0", "1.3.1", "1.3.1b3"),
    "2.0.0a0": ("2.0.0", "2.0.0", "2.0.0", "2.0.0a1"),
    "1.3.0.dev4": ("2.0.0", "1.3.0", "1.3.0", "1.3.0.dev5"),
    "1.3.0rc1.dev2": ("2.0.0", "1.3.0", "1.3.0", "1.3.0rc1"),
    "1.2.3.post1": ("2.0.0", "1.3.0", "1.2.4", ""),
    "1.2.3.post1.dev1": ("2.0.0", "1.3.0", "1.2.4", ""),
    "1.2.3+ours.1": ("2.0.0", "1.3.0", "1.2.4", ""),
    "1!1.2.3": ("1!2.0.0", "1!1.3.0", "1!1.2.4", ""),
    "2026.1.5": ("2027.0.0", "2026.2.0", "2026.1.6", ""),
}


@pytest.mark.parametrize("version", RAISED)
def test_each_step_from_each_kind_of_version(version: str) -> None:
    raised = []
    for step in versions.STEPS:
        try:
            raised.append(str(versions.bump(Version(version), step)))
        except UsageError:
            raised.append("")
    assert tuple(raised) == RAISED[version]


def test_the_table_of_the_documents_is_right() -> None:
    text = (Path(__file__).parents[3] / "docs" / "publish.md").read_text()
    rows = re.findall(r"^\| (\d\S*) \| (\S+) \| (\S+) \| (\S+) \| (\S+)[^|]* \|$", text, re.MULTILINE)
    assert len(rows) == 9
    for version, *expected in rows:
        assert tuple(end for end in expected if not end.startswith("refused")) == tuple(filter(None, RAISED[version]))


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.sampled_from(["", "a1", "rc2", ".dev3", "b1.dev0", ".post1", "+x"]),
    st.sampled_from(versions.STEPS[:3]),
)
def test_a_step_always_leads_to_a_higher_version(release: list[int], end: str, step: str) -> None:
    version = Version(".".join(map(str, release)) + end)
    assert versions.bump(version, step) > version


def test_bump_to_a_version_takes_it_and_refuses_other_text() -> None:
    assert str(versions.bump(Version("1.0"), "2.0-RC.1")) == "2.0rc1"
    with pytest.raises(UsageError, match="'huge' is not a version, and not one of major, minor, patch, pre"):
        versions.bump(Version("1.0"), "huge")
    with pytest.raises(UsageError, match=r"1\.0 is not a pre-release") as refused:
        versions.bump(Version("1.0"), "pre")
    assert "--bump 1.1rc1" in refused.value.hint


def at(path: Path, content: str, read: versions.Reader) -> versions.Place | None:
    path.write_bytes(content.encode())
    return versions.find(path, path.name, read)


TABLE = versions.in_toml("project", "version")


@pytest.mark.parametrize(
    "content",
    [
        '[project]\nname = "demo"\nversion = "1.0"\n',
        "[project]\r\nversion\t=   '1.0'   # not \"1.0\"\r\nrequires-python = '>=1.0'",
        'version = "1.0"\n[tool.x]\nversion = "1.0"\n[project]\n"version" = """1.0"""\nname = "1.0"\n',
        'project.version = "1.0"\nproject.name = "x"\n',
        'project = { name = "1.0", version = "1.0" } # {version = "1.0"}\n',
        '[project]\ndescription = """\nversion = "1.0"\n"""\nversion = "1.0"\n',
        '# é\n[project]\nversion = "1.0"\n',
    ],
)
def test_toml_in_any_form_changes_in_one_place(tmp_path: Path, content: str) -> None:
    place = at(tmp_path / "pyproject.toml", content, TABLE)
    assert place is not None
    edited = place.edited(Version("1.10"))
    assert edited == content.encode()[: place.start] + b"1.10" + content.encode()[place.end :]
    assert place.text == "1.0"
    read = tomllib.loads(edited.decode())
    assert read["project"].pop("version") == "1.10"
    expected = tomllib.loads(content)
    del expected["project"]["version"]
    assert read == expected


@pytest.mark.parametrize("content", ["[project]\n", "[project]\nversion = 1\n", "project = 3\n", "[project\n", "\\"])
def test_toml_without_a_version_has_no_place(tmp_path: Path, content: str) -> None:
    assert at(tmp_path / "pyproject.toml", content, TABLE) is None


def test_a_version_with_escapes_has_no_place(tmp_path: Path) -> None:
    assert at(tmp_path / "pyproject.toml", '[project]\nversion = "1\\u002e0"\n', TABLE) is None


NOISE = st.lists(
    st.sampled_from(
        [
            "",
            "# version = '{0}'",
            "a{1} = '{0}'  # '{0}'",
            'b{1} = """\nversion = "{0}"\n"""',
            "c{1} = [ '{0}', {{ version = '{0}' }} ]",
            "d{1} = {{ version = '{0}' }}",
            "[other{1}]\nversion = '{0}'",
        ]
    ),
    max_size=6,
)


@given(
    NOISE, NOISE, st.sampled_from("\"'"), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["1.0", "1", "0.1.dev2"])
)
def test_the_right_place_is_found_among_other_equal_texts(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str], quote: str, eol: str, version: str
) -> None:
    numbered = [line.format(version, number) for number, line in enumerate([*before, *after])]
    head = ["[project]", *[line for line in numbered[: len(before)] if not line.startswith("[other")]]
    content = eol.join(
        "\n".join([*head, f"version = {quote}{version}{quote}", *numbered[len(before) :], ""]).split("\n")
    )
    place = at(tmp_path_factory.getbasetemp() / "noise.toml", content, TABLE)
    assert place is not None
    start = content.index(f"version = {quote}{version}{quote}{eol}", len(eol.join(head))) + len("version = '")
    assert place.content == content.encode()
    assert (place.start, place.end) == (start, start + len(version))


PYTHON = 'import os\n__doc__ = "1.0"\n__version__ = "1.0"  # "1.0"\nclass A:\n    __version__ = "1.0"\n'


def test_a_module_s_variable_changes_in_one_place(tmp_path: Path) -> None:
    place = at(tmp_path / "demo.py", PYTHON, versions.in_python("__version__"))
    assert place is not None
    assert place.edited(Version("2.0")).decode() == PYTHON.replace('n__ = "1.0"  #', 'n__ = "2.0"  #')
    assert at(tmp_path / "demo.py", "__version__: str = '1.0'", versions.in_python("__version__"))
    assert at(tmp_path / "demo.py", "version = __version__ = '1.0'", versions.in_python("__version__"))


def test_a_module_that_only_annotates_its_version_first_has_a_place(tmp_path: Path) -> None:
    assert at(tmp_path / "demo.py", "__version__: str\n__version__ = '1.0'\n", versions.in_python("__version__"))


@pytest.mark.parametrize("content", ["", "(", "__version__ = '.'.join(x)", "__version__ = '1'\n__version__ = '2'\n"])
def test_a_module_that_computes_its_version_has_no_place(tmp_path: Path, content: str) -> None:
    assert at(tmp_path / "demo.py", content, versions.in_python("__version__")) is None


def test_setup_cfg_setup_py_and_text_files_change_in_one_place(tmp_path: Path) -> None:
    ini = at(
        tmp_path / "setup.cfg",
        "[x]\nversion = 1.0\n[metadata]\nversion = 1.0 \n",
        versions.in_ini("metadata", "version"),
    )
    assert ini is not None
    assert ini.edited(Version("2")) == b"[x]\nversion = 1.0\n[metadata]\nversion = 2 \n"
    setup = at(tmp_path / "setup.py", "x = '1.0'\nsetup(name='1.0', version='1.0')\n", versions.in_setup("version"))
    assert setup is not None
    assert setup.edited(Version("2")) == b"x = '1.0'\nsetup(name='1.0', version='2')\n"
    text = at(tmp_path / "VERSION", "\n 1.0\r\n", versions.in_text)
    assert text is not None
    assert text.edited(Version("2")) == b"\n 2\r\n"
    assert at(tmp_path / "VERSION", " \n", versions.in_text) is None


def test_the_place_of_a_match_is_in_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes("é = 1\nv=1.0\n".encode())
    place = versions.find_match(tmp_path / "x", "x", re.compile("v=(.*)"), 1)
    assert place is not None
    assert place.edited(Version("2")).decode() == "é = 1\nv=2\n"


def test_the_project_s_own_version_in_uv_lock_is_found(tmp_path: Path) -> None:
    other = '[[package]]\nname = "other"\nversion = "1.0"\nsource = { registry = "https://x/simple" }\n\n'
    own = '[[package]]\nname = "demo"\nversion = "1.0"\nsource = { editable = "." }\n'
    (tmp_path / "uv.lock").write_text(f"version = 1\n\n{other}{own}\n")
    place = versions.find_in_lock(tmp_path / "uv.lock", "demo")
    assert place is not None
    assert place.edited(Version("2.0")).decode() == f"version = 1\n\n{other}{own.replace('1.0', '2.0')}\n"
    assert versions.find_in_lock(tmp_path / "uv.lock", "other") is None
    assert versions.find_in_lock(tmp_path / "none", "demo") is None


def test_an_invalid_version_is_named(tmp_path: Path) -> None:
    place = at(tmp_path / "pyproject.toml", '[project]\nversion = "one"\n', TABLE)
    assert place is not None
    with pytest.raises(PpmError, match=r"pyproject\.toml has 'one', which is not a version"):
        _ = place.version
