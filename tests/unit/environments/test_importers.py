"""Files that people keep requirements in → requirements: what can't be kept is named with its line."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from ppmctl.environments import importers, lock
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


def texts(found: importers.Imported) -> list[str]:
    return [requirement.text for requirement in found.requirements]


def test_a_requirements_file(tmp_path: Path) -> None:
    """Comments, lines that go on, hashes; options by their line, without their value; other files; constraints."""
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
    found = importers.read(tmp_path / "requirements.txt")
    assert texts(found) == [
        *("numpy<3,>=1", "six==1.17.0", 'pandas; python_version < "3.13"', "x @ https://host/x.whl#sha256=abc"),
    ]
    said = "\n".join(found.notes)
    assert "secret" not in said
    assert "requirements.txt:2: --index-url" in said
    assert "requirements.txt:3: -i" in said
    assert "hashes were left out" in said
    assert "unused" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("numpy=>1", "^"),
        ("-e .", "editable"),
        ("./here", "of this machine"),
        ("here.whl", "of this machine"),
        ("https://host/x.whl", "NAME @ URL"),
        ("-r https://host/r.txt", "URL"),
        ("-r nowhere.txt", "can't be read"),
        ("-r requirements.txt", "names itself"),
        ("x @ https://u:secret@host/x.whl", "credential"),
    ],
)
def test_a_line_that_can_not_be_kept(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path, requirements__txt=f"six\n\n{line}\n")
    with pytest.raises(UsageError) as caught:
        importers.read(tmp_path / "requirements.txt")
    whole = caught.value.message + caught.value.hint
    assert said in whole
    assert "secret" not in whole
    if line[:2] != "-r":
        assert "requirements.txt:3: " in whole


def test_a_pyproject(tmp_path: Path) -> None:
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
def test_a_pyproject_without_a_list(tmp_path: Path, text: str) -> None:
    write(tmp_path, pyproject__toml=text)
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        importers.read(tmp_path / "pyproject.toml")


def test_a_conda_environment(tmp_path: Path) -> None:
    """pip's section as it stands; of conda's, versions in pip's words; what only conda has is named."""
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
            """,
    )
    found = importers.read(tmp_path / "environment.yml")
    assert texts(found) == [
        *("numpy==1.26.*", "pandas<3,>=2", "scipy==1.11.4", "six==1.17.0", 'torch>=2; sys_platform == "linux"'),
    ]
    assert found.name == "ml"
    assert found.guessed == {"numpy", "pandas", "scipy", "six"}
    said = "\n".join(found.notes)
    for name in ("python=3.12", "libgcc-ng", "cudatoolkit", "channels", "--extra-index-url"):
        assert name in said
    assert "secret" not in said


@pytest.mark.parametrize("text", ["a: [", "[]", "dependencies: {}", "dependencies: [{pip: 3}]", "dependencies: [3]"])
def test_what_is_no_conda_environment(tmp_path: Path, text: str) -> None:
    write(tmp_path, environment__yml=text)
    with pytest.raises(UsageError, match=r"environment\.yml"):
        importers.read(tmp_path / "environment.yml")


def test_a_lock(tmp_path: Path) -> None:
    write(tmp_path, pylock__toml=LOCK)
    found = importers.read(tmp_path / "pylock.toml")
    assert texts(found) == ['six==1.17.0; python_version >= "3.11"', "away @ git+https://host/away.git@abc"]
    assert found.lock == LOCK


def test_a_lock_has_no_secret() -> None:
    """Neither where it says what is installed, nor anywhere else."""
    for where in ('url = "https://user:secret@', 'index = "https://secret@host/"\nurl = "https://'):
        text = (
            LOCK.replace('[{ url = "https://', "[{ " + where)
            if "index" not in where
            else LOCK.replace('version = "1.17.0"', 'version = "1.17.0"\nindex = "https://secret@host/"')
        )
        with pytest.raises(UsageError, match="credential") as caught:
            lock.read(text, where="pylock.toml")
        assert "secret" not in caught.value.message


def test_what_two_locks_differ_in() -> None:
    before = lock.read(LOCK, where="it")
    after = lock.read(LOCK.replace("1.17.0", "1.18.0").replace('"away"', '"nearer"'), where="it")
    assert [(move.name, move.before, move.after) for move in lock.moves(before, after)] == [
        ("away", ("git+https://host/away.git@abc",), ()),
        ("nearer", (), ("git+https://host/away.git@abc",)),
        ("six", ("1.17.0",), ("1.18.0",)),
    ]


def test_a_lock_that_pins_the_same_is_the_same() -> None:
    """An index may say more of a file at one time than at another."""
    assert lock.is_same(LOCK, LOCK.replace("hashes =", "size = 3, hashes ="))
    assert not lock.is_same(LOCK, LOCK.replace("a" * 64, "b" * 64))
    assert not lock.is_same(LOCK, lock.with_origin(LOCK, python="3.12", platform=""))


def test_a_lock_says_what_it_was_asked_for() -> None:
    said = lock.read(lock.with_origin(LOCK, python="3.12", platform="linux"), where="it")
    assert (said.python, said.platform) == ("3.12", "linux")


@pytest.mark.parametrize("name", ["setup.py", "requirements", "x.toml"])
def test_a_file_of_another_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="not known"):
        importers.read(tmp_path / name)
