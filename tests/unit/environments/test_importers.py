"""Reading requirements from files: lines that can't be stored are reported with their numbers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from textwrap import dedent

import pytest

from ppmctl.distributions import lock
from ppmctl.distributions.distribution import normalise
from ppmctl.environments import conda, importers
from ppmctl.environments.imported import Lines
from ppmctl.environments.merge import differences
from ppmctl.environments.requirement import parse
from ppmctl.environments.source import Source
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


PIPFILE = """\
[packages]
six = "*"
requests = {version = ">=2", extras = ["socks"], markers = "python_version > '3'"}
away = {git = "https://host/away.git", ref = "v1"}
win = {version = "1", sys_platform = "== 'win32'"}

here = {path = "."}
[dev-packages]
pytest = "*"
[requires]
python_version = "3"
"""


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


def test_files_that_include_each_other_without_end_are_refused(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text(f"-r {number + 1}.txt\n" * 2)
    (tmp_path / "12.txt").write_text("six\n")
    with pytest.raises(UsageError, match="is not read: 1000 files were included"):
        importers.read(tmp_path / "0.txt")
    (tmp_path / "6.txt").write_text("a\n" * 200)
    with pytest.raises(UsageError, match=r"6\.txt:\d+: 10000 entries were read"):
        importers.read(tmp_path / "0.txt")


def test_the_lines_of_many_entries_are_found_quickly() -> None:
    entries = [f"a{number}" for number in range(60_000)]
    text = "\n".join(f'"{entry}",' for entry in entries)
    begun = time.process_time()
    lines = Lines(Source(name="x"), text)
    assert [lines.where(entry) for entry in entries] == [f"x:{number}" for number in range(1, 60_001)]
    assert lines.where("a0") == "x:1"
    found = [lines.where(entry) for entry in reversed(entries)]
    assert found[0] == "x:60000"
    assert found[-1] == "x"
    assert time.process_time() - begun < 3


def test_files_that_include_each_other_too_deep_are_left_out(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"{number}.txt").write_text(f"six\n-r {number + 1}.txt\n")
    imported = importers.read(tmp_path / "0.txt")
    assert len(imported.requirements) == 21
    assert "21.txt is included over 20 levels deep" in imported.left[0].sentence


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("numpy=>1", "not a requirement (PEP 508)"),
        ("-e .", "local file or folder"),
        ("-e src/acme", "local file or folder"),
        ("--editable=../here[all]", "local file or folder"),
        ("-e file:///home/me/acme#egg=acme", "local file or folder"),
        ("./here", "local file or folder"),
        ("here.whl", "local file or folder"),
        ("C:\\here\\there", "local file or folder"),
        ("https://host/x.whl", "NAME @ URL"),
        ("git+https://host/x.git", "NAME @ URL"),
        ("-r https://host/r.txt", "is a URL"),
        ("-r nowhere.txt", "can't be read"),
        ("-r a\0b.txt", "does not name a file"),
        ("-r", "does not name a file"),
        ("-r requirements.txt", "names itself"),
        ("x @ https://u:secret@host/x.whl", "credential"),
        ("-e git+https://u:secret@host/x.git#egg=x", "credential"),
        ("git+https://host/x.git?token=secret#egg=x", "credential"),
        ("-e git+file:///srv/x.git#egg=x", "does not start with https"),
        ("x @ https://u:sec/secret@host/x.whl", "can't be in a shared list"),
        ("x @ https://u:sec secret@host/x.whl", "PEP 508"),
        ("x=https://u:secret@host/x.whl", "PEP 508"),
        ("x @ https://host/x.whl?token=secret", "credential"),
        ("https://u:secret@host/x.whl", "NAME @ URL"),
        ("HTTPS://u:secret@host/x.whl", "NAME @ URL"),
        ("https://u:secret@host/x-1.0-py3-none-any.whl", "credential"),
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
def test_a_line_that_can_not_be_stored_is_left_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    """The lines after it are read too, and a secret is not repeated."""
    write(tmp_path, requirements__txt=f"six\n\n{line}\nlast\n")
    imported = importers.read(tmp_path / "requirements.txt")
    assert texts(imported) == ["six", "last"]
    (left,) = imported.left
    assert left.where == f"{tmp_path}/requirements.txt:3"
    assert reason in left.reason
    assert "secret" not in left.sentence
    assert left.sentence.isprintable()


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            "git+https://host/r.git@v1#egg=black[d]&subdirectory=x",
            "black[d] @ git+https://host/r.git@v1#subdirectory=x",
        ),
        ("-e git+https://host/r.git@v1#egg=digits", "digits @ git+https://host/r.git@v1"),
        ("--editable=git+ssh://git@host/r.git#egg=x", "x @ git+ssh://git@host/r.git"),
        ("-e x @ git+https://host/r.git", "x @ git+https://host/r.git"),
        ("https://host/foo_bar-1.0-py3-none-any.whl", "foo-bar @ https://host/foo_bar-1.0-py3-none-any.whl"),
        ("https://host/x.tar.gz#egg=x ; os_name == 'nt'", 'x @ https://host/x.tar.gz ; os_name == "nt"'),
        ("numpy @ file:///croot/numpy_1672336185480/work", "numpy"),
        ("uvicorn[standard] @ file:///croot/x/work ; os_name == 'nt'", 'uvicorn[standard]; os_name == "nt"'),
        ("x @ C:\\bld\\x y\\work", "x"),
        ("x@../x", "x"),
        ("x==1 --config-settings=a=b", "x==1"),
    ],
)
def test_what_a_line_has_for_others_is_kept(tmp_path: Path, line: str, kept: str) -> None:
    """Of a URL its name and revision, of a path of one machine the name alone; what is lost is in a note."""
    write(tmp_path, requirements__txt=f"{line}\n")
    imported = importers.read(tmp_path / "requirements.txt")
    assert (texts(imported), imported.left) == ([kept], [])
    is_less = "-e" in line or "--" in line or "@ " not in kept
    assert [note.startswith(f"{tmp_path}/requirements.txt:1: ") for note in imported.notes] == [True] * is_less


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
                - ./here
              - https://u:secret@host/x.conda
            """,
    )
    imported = importers.read(tmp_path / "environment.yml")
    assert texts(imported) == [
        *("numpy==1.26.*", "pandas<3,>=2", "scipy==1.11.4", "six==1.17.0", 'torch>=2; sys_platform == "linux"'),
    ]
    assert imported.name == "ml"
    assert imported.guessed == {"numpy", "pandas", "scipy", "six"}
    notes = "\n".join([*imported.notes, *(left.sentence for left in imported.left)])
    for name in (":4: python=3.12", "channels", "--extra-index-url"):
        assert name in notes
    assert [(left.where.rpartition(":")[2], left.text) for left in imported.left] == [
        *(("9", "libgcc-ng"), ("10", "cudatoolkit=11"), ("16", "./here"), ("17", "https://***@host/x.conda")),
    ]
    assert "secret" not in notes


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ("pytorch=2.5", "torch==2.5.*"),
        ("matplotlib-base>=3,<4", "matplotlib<4,>=3"),
        ("conda-forge::opencv", "opencv-python"),
        ("pytables", "tables"),
        ("librosa", "librosa"),
        ("ruamel_yaml", "ruamel.yaml"),
        ("uvicorn-standard>=0.20", "uvicorn[standard]>=0.20"),
        ("backports.zoneinfo[version='>=0.2']", "backports.zoneinfo>=0.2"),
        ('scipy[version=">=1,<2", build="py3*"]', "scipy<2,>=1"),
        ("numpy =1.2[version='1.3.*']", "numpy==1.3.*"),
        ("numpy[build=mkl*]", "numpy"),
        ("numpy *", "numpy"),
        ("numpy 1.26.4 py312_0", "numpy==1.26.4"),
    ],
)
def test_a_package_of_conda_has_the_name_and_bound_of_a_python_index(tmp_path: Path, entry: str, kept: str) -> None:
    (tmp_path / "environment.yml").write_text(json.dumps({"dependencies": [entry]}))
    imported = importers.read(tmp_path / "environment.yml")
    assert (texts(imported), imported.left) == ([kept], [])


@pytest.mark.parametrize(
    "entry", ["numpy[version='1.2|1.3']", "numpy 1.2|1.3", "ffmpeg", "graphviz", "r-base", "_libgcc_mutex=0.1", "!"]
)
def test_a_package_that_only_conda_has_is_left_with_its_reason(tmp_path: Path, entry: str) -> None:
    (tmp_path / "environment.yml").write_text(json.dumps({"dependencies": [entry]}))
    imported = importers.read(tmp_path / "environment.yml")
    assert (texts(imported), [left.text for left in imported.left]) == ([], [entry])


def test_the_names_of_conda_are_normalised_and_can_be_stored() -> None:
    table = conda.names()
    assert all(normalise(name) == name for name in (*table["pypi"], *table["not_python"]["names"]))
    assert set(table["pypi"]).isdisjoint(table["not_python"]["names"])
    assert all(parse(name).text == name for name in table["pypi"].values())


def test_a_pipfile_and_its_lock(tmp_path: Path) -> None:
    (tmp_path / "Pipfile").write_text(PIPFILE)
    imported = importers.read(tmp_path / "Pipfile")
    assert texts(imported) == [
        *("six", 'requests[socks]>=2; python_version > "3"', "away @ git+https://host/away.git@v1"),
        'win==1; sys_platform == "win32"',
    ]
    assert [(left.where.rpartition("/")[2], left.text) for left in imported.left] == [("Pipfile:7", "here = .")]
    assert texts(importers.read(tmp_path / "Pipfile", groups=["dev"]))[-1] == "pytest"
    packages = {"six": {"version": "==1.17.0", "hashes": ["sha256:a"], "markers": "os_name == 'nt'"}}
    (tmp_path / "Pipfile.lock").write_text(json.dumps({"_meta": {}, "default": packages, "develop": {"x": {}}}))
    assert texts(importers.read(tmp_path / "Pipfile.lock")) == ['six==1.17.0; os_name == "nt"']
    for wrong in ("[]", "{", '{"default": []}', "[" * 100_000):
        (tmp_path / "Pipfile.lock").write_text(wrong)
        with pytest.raises(UsageError, match=r"Pipfile\.lock"):
            importers.read(tmp_path / "Pipfile.lock")


def test_a_setup_cfg(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text(
        "[metadata]\nname = Acme.Maps\n[options]\ninstall_requires =\n  numpy>=1\n  # more\n  ./here\n"
        "  file: more.txt\n[options.extras_require]\nplot = matplotlib; six\n"
    )
    imported = importers.read(tmp_path / "setup.cfg")
    assert (texts(imported), imported.name) == (["numpy>=1"], "acme-maps")
    assert [left.where.rpartition(":")[2] for left in imported.left] == ["7", "8"]
    assert texts(importers.read(tmp_path / "setup.cfg", extras=["plot"])) == ["numpy>=1", "matplotlib", "six"]
    for wrong in ("[metadata]\nname = x\n", "x", "[a]\n[a]\n"):
        (tmp_path / "setup.cfg").write_text(wrong)
        with pytest.raises(UsageError, match=r"setup\.cfg"):
            importers.read(tmp_path / "setup.cfg")


@pytest.mark.parametrize(
    ("name", "command"),
    [("uv.lock", "uv export"), ("poetry.lock", "poetry export"), ("pdm.lock", "pdm export"), ("setup.py", "uv pip")],
)
def test_a_file_that_is_not_read_names_the_command_that_exports_it(tmp_path: Path, name: str, command: str) -> None:
    with pytest.raises(UsageError) as caught:
        importers.read(tmp_path / name)
    assert command in caught.value.hint


def test_a_form_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("six\n")
    assert texts(importers.read(tmp_path / "list", form="requirements")) == ["six"]
    for options in ({"extras": ["x"]}, {"groups": ["x"]}):
        with pytest.raises(UsageError, match="has no"):
            importers.read(tmp_path / "list", form="requirements", **options)


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
        try:
            (left,) = importers.read(tmp_path / name).left
            printed = left.sentence
        except UsageError as exc:
            printed = exc.message + exc.hint
        assert "secret" not in printed
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


@pytest.mark.parametrize("name", ["x.lock", "requirements", "x.toml"])
def test_an_unknown_kind_of_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="not known"):
        importers.read(tmp_path / name)
