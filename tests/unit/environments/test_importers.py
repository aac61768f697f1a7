"""Reading requirements from files: lines that can't be stored are reported with their numbers."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent

import pytest

from ppmctl.distributions import lock
from ppmctl.environments import importers
from ppmctl.environments.merge import differences
from ppmctl.errors import UsageError

LOCK = """
lock-version = "1.0"
created-by = "a test"

[[packages]]
name = "six"
version = "1.17.0"
marker = "python_version >= '3.11'"
wheels = [{ url = "https://host/six-1.17.0-py2.py3-none-any.whl", hashes = { sha256 = "%s" } }]

[[packages]]
name = "away"
vcs = { type = "git", url = "https://host/away.git", commit-id = "abc" }
""" % ("a" * 64)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(dedent(text))


def texts(imported: importers.Imported) -> list[str]:
    return [requirement.text for requirement in imported.requirements]


def test_a_requirements_txt_with_every_kind_of_line(tmp_path: Path) -> None:
    """Comments, continued lines, hashes, options (reported without their values), other files, constraints."""
    write(
        tmp_path,
        requirements__txt="""\
            # what we need
            --index-url https://user:secret@host/simple/
            -i https://secret@host/
            numpy>=1  # for arrays
            six==1.17.0 \\
                --hash=sha256:abc \\
                --hash=sha256:def
            -r more.in
            -c limits.txt
            x @ https://host/x.whl#sha256=abc
            """,
        more__in="pandas ; python_version<'3.13'\n",
        limits__txt="numpy<3\nunused<1\n",
    )
    imported = importers.read(tmp_path / "requirements.txt")
    assert texts(imported) == [
        *("numpy<3,>=1", "six==1.17.0", 'pandas; python_version < "3.13"', "x @ https://host/x.whl#sha256=abc"),
    ]
    notes = "\n".join(imported.notes)
    assert "secret" not in notes
    assert "requirements.txt:2: --index-url" in notes
    assert "requirements.txt:3: -i" in notes
    assert "hashes were left out" in notes
    assert "unused" in notes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("numpy=>1", "^"),
        ("-e .", "editable"),
        ("./here", "local file"),
        ("here.whl", "local file"),
        ("https://host/x.whl", "NAME @ URL"),
        ("-r https://host/r.txt", "URL"),
        ("-r nowhere.txt", "can't be read"),
        ("-r a\0b.txt", "does not name a file"),
        ("-r requirements.txt", "names itself"),
        ("x @ https://u:secret@host/x.whl", "credential"),
        ("x @ https://u:sec/secret@host/x.whl", "can't be in a shared list"),
        ("x @ https://u:sec secret@host/x.whl", "PEP 508"),
        ("x=https://u:secret@host/x.whl", "PEP 508"),
        ("x @ https://host/x.whl?token=secret", "credential"),
        ("https://u:secret@host/x.whl", "NAME @ URL"),
        ("HTTPS://u:secret@host/x.whl", "PEP 508"),
        ("x @ u:secret@host/x.whl", "does not start with https"),
        (f"x @ https://{'u' * 2000}:secret@host/x.whl", "2000 characters"),
        ("x @ https://host/${TOKEN}/x.whl", "environment variable"),
        ("x==${VERSION}", "no variables"),
        ("-r ${FILE}.txt", "a variable"),
        ("-c=${FILE}.txt", "a variable"),
        ("-r file:///etc/requirements.txt", "can't be read"),
        ("x\u2028y", "line of up to"),
        ("x\x0by", "line of up to"),
        ("x\ry", "line of up to"),
    ],
)
def test_a_line_that_can_not_be_stored_is_an_error(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, requirements__txt=f"six\n\n{line}\n")
    with pytest.raises(UsageError) as caught:
        importers.read(tmp_path / "requirements.txt")
    whole = caught.value.message + caught.value.hint
    assert message in whole
    assert "secret" not in whole
    if line[:2] != "-r":
        assert "requirements.txt:3: " in whole


def test_a_pyproject_with_extras_and_groups(tmp_path: Path) -> None:
    write(
        tmp_path,
        pyproject__toml="""\
            [project]
            name = "Acme.Maps"
            dependencies = ["numpy>=2", "six"]
            [project.optional-dependencies]
            plot = ["matplotlib"]
            all = ["acme-maps[plot]", "pandas"]
            [dependency-groups]
            test = ["pytest", { include-group = "lint" }]
            lint = ["ruff"]
            """,
    )
    path = tmp_path / "pyproject.toml"
    plain = importers.read(path)
    assert (texts(plain), plain.name) == (["numpy>=2", "six"], "acme-maps")
    assert "all, plot" in plain.notes[0]
    assert texts(importers.read(path, extras=["all"], groups=["test"])) == [
        *("numpy>=2", "six", "matplotlib", "pandas", "pytest", "ruff"),
    ]
    for wrong in ({"extras": ["nothing"]}, {"groups": ["nothing"]}):
        with pytest.raises(UsageError, match="nothing"):
            importers.read(path, **wrong)


@pytest.mark.parametrize(
    "text",
    ["[project]\nname='x'\ndynamic=['dependencies']\n", "[tool.poetry]\n", "nonsense", "[project]\ndependencies='x'"],
)
def test_a_pyproject_without_dependencies_is_an_error(tmp_path: Path, text: str) -> None:
    write(tmp_path, pyproject__toml=text)
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        importers.read(tmp_path / "pyproject.toml")


def test_values_of_a_pyproject_that_have_other_types_are_ignored(tmp_path: Path) -> None:
    write(
        tmp_path,
        pyproject__toml="[project]\nname = 1\ndynamic = 3\noptional-dependencies = [1]\ndependencies = ['six']",
    )
    assert texts(importers.read(tmp_path / "pyproject.toml")) == ["six"]


def test_a_conda_environment_with_every_kind_of_entry(tmp_path: Path) -> None:
    """The pip section is read as it is, versions of conda are translated, and the rest is reported."""
    write(
        tmp_path,
        environment__yml="""\
            name: ml
            channels: [conda-forge]
            dependencies:
              - python=3.12
              - numpy=1.26
              - conda-forge::pandas>=2,<3
              - scipy=1.11.4=py312_0
              - six==1.17.0
              - libgcc-ng
              - cudatoolkit=11
              - pip
              - pip:
                - torch>=2; sys_platform == "linux"
                - --extra-index-url https://secret@host/
                - -ihttps://u:secret@host/
              - https://u:secret@host/x.conda
            """,
    )
    imported = importers.read(tmp_path / "environment.yml")
    assert texts(imported) == [
        *("numpy==1.26.*", "pandas<3,>=2", "scipy==1.11.4", "six==1.17.0", 'torch>=2; sys_platform == "linux"'),
    ]
    assert imported.name == "ml"
    assert imported.guessed == {"numpy", "pandas", "scipy", "six"}
    notes = "\n".join(imported.notes)
    for name in ("python=3.12", "libgcc-ng", "cudatoolkit", "channels", "--extra-index-url"):
        assert name in notes
    assert "secret" not in notes


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml", "pyproject.toml", "pylock.toml"])
def test_only_a_regular_file_of_a_limited_size_is_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="it is not a regular file"):
        importers.read(tmp_path / name)
    (tmp_path / name).unlink()
    with (tmp_path / name).open("wb") as file:
        file.truncate((8 << 20) + 1)
    with pytest.raises(UsageError, match="it has over 8 MB"):
        importers.read(tmp_path / name)


def test_an_error_in_a_file_does_not_repeat_a_secret(tmp_path: Path) -> None:
    for name, text in (
        ("environment.yml", "dependencies:\n- pip: [x @ https://u:secret@host/x.whl\n"),
        ("environment.yml", "dependencies:\n- pip: ['x @ https://u:secret@host/x.whl']\n"),
        ("environment.yml", "dependencies:\n- {url: 'https://u:secret@host/x.whl'}\n"),
        ("pyproject.toml", "[project]\ndependencies = ['x @ https://u:secret@host/x.whl']\n"),
        ("pyproject.toml", "[project]\ndependencies = ['x @ https://u:secret@host/x.whl\n"),
        ("pylock.toml", LOCK.replace("https://host/away.git", "https://u:secret@host/away.git")),
        ("pylock.toml", LOCK.replace('"1.17.0"', '"https://u:secret@host/"')),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError) as caught:
            importers.read(tmp_path / name)
        assert "secret" not in caught.value.message + caught.value.hint
    (tmp_path / "pyproject.toml").write_text("[dependency-groups]\ng = ['x=>https://u:secret@host/']\n")
    with pytest.raises(UsageError) as caught:
        importers.read(tmp_path / "pyproject.toml", groups=["g"])
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "[]", "dependencies: {}", "dependencies: [{pip: 3}]", "dependencies: [3]"),
        *("dependencies: [2026-99-99]", "a: !!bool x", "dependencies: " + "[" * 10_000),
    ],
)
def test_an_invalid_conda_environment_is_an_error(tmp_path: Path, text: str) -> None:
    write(tmp_path, environment__yml=text)
    with pytest.raises(UsageError, match=r"environment\.yml"):
        importers.read(tmp_path / "environment.yml")


def test_a_pylock_is_read_with_its_text(tmp_path: Path) -> None:
    write(tmp_path, pylock__toml=LOCK)
    imported = importers.read(tmp_path / "pylock.toml")
    assert texts(imported) == ['six==1.17.0; python_version >= "3.11"', "away @ git+https://host/away.git@abc"]
    assert imported.lock == LOCK


def test_a_lock_with_a_credential_is_an_error() -> None:
    """In the URL of a package, and in any other URL."""
    for where in ('url = "https://user:secret@', 'index = "https://secret@host/"\nurl = "https://'):
        text = (
            LOCK.replace('[{ url = "https://', "[{ " + where)
            if "index" not in where
            else LOCK.replace('version = "1.17.0"', 'version = "1.17.0"\nindex = "https://secret@host/"')
        )
        with pytest.raises(UsageError, match="credential") as caught:
            lock.read(text, where="pylock.toml")
        assert "secret" not in caught.value.message


def test_the_moves_between_two_locks() -> None:
    before = lock.read(LOCK, where="it")
    after = lock.read(LOCK.replace("1.17.0", "1.18.0").replace('"away"', '"nearer"'), where="it")
    assert [(move.name, move.before, move.after) for move in differences(before.versions, after.versions)] == [
        ("away", ("git+https://host/away.git@abc",), ()),
        ("nearer", (), ("git+https://host/away.git@abc",)),
        ("six", ("1.17.0",), ("1.18.0",)),
    ]


def test_locks_with_the_same_pins_are_the_same() -> None:
    """An index may report more about a file at one time than at another."""
    assert lock.is_same(LOCK, LOCK.replace("hashes =", "size = 3, hashes ="))
    assert not lock.is_same(LOCK, LOCK.replace("a" * 64, "b" * 64))
    assert not lock.is_same(LOCK, lock.with_origin(LOCK, python="3.12", platform=""))


def test_a_lock_has_the_python_and_platform_that_it_was_made_for() -> None:
    made = lock.read(lock.with_origin(LOCK, python="3.12", platform="linux"), where="it")
    assert (made.python, made.platform) == ("3.12", "linux")


@pytest.mark.parametrize("name", ["setup.py", "requirements", "x.toml"])
def test_an_unknown_kind_of_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="not known"):
        importers.read(tmp_path / name)
