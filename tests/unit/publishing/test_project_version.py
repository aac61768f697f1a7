"""The place of a version is found as build backends find it; installed backends read it back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version
from support.releases import git

from ppmctl.distributions.distribution import parse_filename
from ppmctl.errors import PpmError
from ppmctl.publishing import project_version


def backend(name: str, *requires: str) -> str:
    return f'[build-system]\nrequires = {[name.partition(".")[0], *requires]!r}\nbuild-backend = "{name}"\n'


FLIT = backend("flit_core.buildapi")
HATCH = backend("hatchling.build")
PDM = backend("pdm.backend")
POETRY = backend("poetry.core.masonry.api")
SETUPTOOLS = backend("setuptools.build_meta")
STATIC = '[project]\nname = "demo"\nversion = "1.2.0"\ndescription = "1.2.0"\n'
DYNAMIC = '[project]\nname = "demo"\ndynamic = ["version"]\ndescription = "1.2.0"\n'
MODULE = '"""Made by a test."""\n__version__ = "1.2.0"  # 1.2.0\n'

# the files of a project, and which of them has the version
PROJECTS: dict[str, tuple[dict[str, str], str]] = {
    "flit, static": ({"pyproject.toml": FLIT + STATIC, "demo.py": '"""1.2.0"""'}, "pyproject.toml"),
    "flit, module": ({"pyproject.toml": FLIT + DYNAMIC, "demo.py": MODULE}, "demo.py"),
    "flit, package": ({"pyproject.toml": FLIT + DYNAMIC, "src/demo/__init__.py": MODULE}, "src/demo/__init__.py"),
    "flit, imported": (
        {
            "pyproject.toml": FLIT + DYNAMIC,
            "demo/__init__.py": '"""x"""\nfrom .version import __version__\n',
            "demo/version.py": MODULE,
        },
        "demo/version.py",
    ),
    "flit, named": (
        {"pyproject.toml": FLIT + DYNAMIC + '[tool.flit.module]\nname = "other"\n', "other.py": MODULE},
        "other.py",
    ),
    "hatch, path": (
        {
            "pyproject.toml": HATCH + DYNAMIC + '[tool.hatch.version]\npath = "demo/about.py"\n',
            "demo/about.py": MODULE,
        }
        | {"demo/__init__.py": ""},
        "demo/about.py",
    ),
    "hatch, pattern": (
        {
            "pyproject.toml": HATCH + DYNAMIC + '[tool.hatch.version]\npath = "V"\npattern = "is (?P<version>.*)$"\n',
            "V": "it\nis 1.2.0\n1.2.0",
            "demo/__init__.py": "",
        },
        "V",
    ),
    "setuptools, attr": (
        {
            "pyproject.toml": SETUPTOOLS
            + DYNAMIC
            + '[tool.setuptools.dynamic]\nversion = {attr = "demo.__version__"}\n'
        }
        | {"src/demo/__init__.py": "from demo.about import __version__\n", "src/demo/about.py": MODULE},
        "src/demo/about.py",
    ),
    "setuptools, file": (
        {"pyproject.toml": SETUPTOOLS + DYNAMIC + '[tool.setuptools.dynamic]\nversion = {file = ["VERSION"]}\n'}
        | {"demo.py": "", "VERSION": "1.2.0\n"},
        "VERSION",
    ),
    "setup.cfg": ({"setup.cfg": "[metadata]\nname = demo\nversion = 1.2.0\n"}, "setup.cfg"),
    "setup.cfg, attr": (
        {"setup.cfg": "[metadata]\nname = demo\nversion = attr: demo.__version__\n", "demo.py": MODULE},
        "demo.py",
    ),
    "setup.cfg, file": (
        {"setup.cfg": "[metadata]\nname = demo\nversion = file: V\n", "V": "1.2.0", "demo.py": ""},
        "V",
    ),
    "setup.py": (
        {"setup.py": "import setuptools\nsetuptools.setup(name='demo', version='1.2.0', py_modules=[])\n"},
        "setup.py",
    ),
    "poetry": (
        {
            "pyproject.toml": POETRY
            + "[tool.poetry]\nname = 'demo'\nversion = '1.2.0'\ndescription = ''\nauthors = []\n",
            "demo.py": "",
        },
        "pyproject.toml",
    ),
    "poetry, dynamic": (
        {"pyproject.toml": POETRY + DYNAMIC + "[tool.poetry]\nversion = '1.2.0'\n", "demo.py": ""},
        "pyproject.toml",
    ),
    "pdm, file": (
        {
            "pyproject.toml": PDM + DYNAMIC + '[tool.pdm.version]\nsource = "file"\npath = "demo.py"\n',
            "demo.py": MODULE,
        },
        "demo.py",
    ),
}
# pdm's backend is not installed
READ_BACK = [name for name in PROJECTS if not name.startswith("pdm")]

# Let each project's backend write its metadata, in a fork of a process that has imported all backends.
ASK = """
import importlib, json, os, sys
asked = json.loads(sys.argv[1])
modules = {name: importlib.import_module(name) for name in sorted(set(asked.values()))}
sys.path.insert(0, "")
for project, name in asked.items():
    if os.fork() == 0:
        os.chdir(project)
        folder = modules[name].prepare_metadata_for_build_wheel(".")
        os.rename(os.path.join(folder, "METADATA"), "METADATA")
        os._exit(0)
    os.wait()
"""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize("name", PROJECTS)
def test_the_place_of_a_version_is_found(tmp_path: Path, name: str) -> None:
    files, place = PROJECTS[name]
    write(tmp_path, files)
    project = project_version.read(tmp_path)
    assert project.place is not None
    assert (project.name, project.place.path, project.place.version) == ("demo", tmp_path / place, Version("1.2.0"))
    assert project.place.label.partition(" ")[0] == place


@pytest.fixture(scope="module")
def read_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a version into each project, and let its backend write METADATA into the project's folder."""
    folder = tmp_path_factory.mktemp("projects")
    asked: dict[str, str] = {}
    for name in READ_BACK:
        files, _ = PROJECTS[name]
        write(folder / name, files)
        place = project_version.read(folder / name).place
        assert place is not None
        place.path.write_bytes(place.edited(Version("2!1.3.0rc1")))
        text = files.get("pyproject.toml", SETUPTOOLS)
        asked[str(folder / name)] = text.partition('build-backend = "')[2].partition('"')[0]
    command = [sys.executable, "-c", ASK, json.dumps(asked)]
    with (folder / "errors").open("w") as errors:
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=errors, timeout=60, check=True)
    return folder


@pytest.mark.parametrize("name", READ_BACK)
def test_the_backend_reads_a_version_that_was_written_there(read_back: Path, name: str) -> None:
    metadata = read_back / name / "METADATA"
    assert metadata.exists(), (read_back / "errors").read_text()
    assert "\nVersion: 2!1.3.0rc1\n" in metadata.read_text()


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        (backend("setuptools.build_meta", "setuptools_scm>=8") + DYNAMIC, "setuptools-scm"),
        (SETUPTOOLS + DYNAMIC + "[tool.setuptools_scm]\n", "setuptools-scm"),
        (SETUPTOOLS + DYNAMIC + "[tool.setuptools-git-versioning]\nenabled = true\n", "setuptools-git-versioning"),
        (backend("setuptools.build_meta", "versioneer") + DYNAMIC, "versioneer"),
        (HATCH + DYNAMIC + '[tool.hatch.version]\nsource = "vcs"\n', "hatch-vcs"),
        (HATCH + DYNAMIC + '[tool.hatch.version]\nsource = "uv-dynamic-versioning"\n', "uv-dynamic-versioning"),
        (PDM + DYNAMIC + '[tool.pdm.version]\nsource = "scm"\n', "pdm's source scm"),
        (
            POETRY + "[tool.poetry]\nname = 'demo'\nversion = '0'\n[tool.poetry-dynamic-versioning]\nenable = true\n",
            "",
        ),
    ],
)
def test_a_tool_that_takes_the_version_from_git_s_tags_is_recognised(tmp_path: Path, text: str, tool: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    project = project_version.read(tmp_path)
    assert (project.name, project.place, project.tool) == ("demo", None, tool or "poetry-dynamic-versioning")


def test_setup_py_with_use_scm_version_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("setup(name='demo', use_scm_version=True)\n")
    assert project_version.read(tmp_path).tool == "setuptools-scm"
    assert project_version.read(tmp_path).name == "demo"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject.toml": ""},
        {"pyproject.toml": "project = 1\ntool = []\n"},
        {"pyproject.toml": FLIT + DYNAMIC},
        {"pyproject.toml": FLIT + DYNAMIC, "demo.py": "__version__ = '.'.join('120')\n"},
        {"pyproject.toml": FLIT + DYNAMIC, "demo.py": "from demo import __version__\n"},
        {"pyproject.toml": backend("maturin") + DYNAMIC},
        {"pyproject.toml": HATCH + DYNAMIC + '[tool.hatch.version]\nsource = "env"\nvariable = "X"\n'},
        {"pyproject.toml": HATCH + DYNAMIC + '[tool.hatch.version]\npath = "V"\npattern = "("\n', "V": "1.2.0"},
        {"pyproject.toml": HATCH + DYNAMIC + '[tool.hatch.version]\npath = "V"\npattern = "1"\n', "V": "1.2.0"},
        {"pyproject.toml": PDM + DYNAMIC + '[tool.pdm.version]\nsource = "call"\ngetter = "x:y"\n'},
        {"setup.py": "setup(name='demo', version=VERSION)\n"},
        {"setup.py": "setup(\n"},
    ],
)
def test_a_project_whose_version_can_t_be_found_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    with pytest.raises(PpmError, match="can't find where this project's version is written") as refused:
        project_version.read(tmp_path)
    assert "without --bump" in refused.value.hint


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(PpmError, match=r"pyproject\.toml can't be read: .*line 1"):
        project_version.read(tmp_path)


SETTINGS = "[tool.ruff]\nline-length = 100\n"


@pytest.mark.parametrize(
    ("files", "is_project"),
    [
        ({"pyproject.toml": SETTINGS, "analysis.py": ""}, False),
        ({"pyproject.toml": SETTINGS + SETUPTOOLS}, False),
        ({"pyproject.toml": '[build-system]\nrequires = ["setuptools"]\n'}, False),
        ({"pyproject.toml": "[tool.poetry]\nname = 'demo'\nversion = '1'\n"}, False),
        ({"pyproject.toml": SETTINGS, "setup.cfg": "[flake8]\nmax-line-length = 100\n"}, False),
        ({"pyproject.toml": SETTINGS, "setup.cfg": "[metadata]\nname = demo\n"}, True),
        ({"pyproject.toml": SETTINGS, "setup.py": "setup(**VALUES)\n"}, True),
        ({"pyproject.toml": SETTINGS + STATIC}, True),
        ({"pyproject.toml": SETTINGS + backend("maturin")}, True),
        ({"pyproject.toml": "[project\n"}, True),
    ],
)
def test_a_folder_with_only_settings_of_tools_is_not_a_project(
    tmp_path: Path, files: dict[str, str], is_project: bool
) -> None:
    write(tmp_path, files)
    assert project_version.is_project(tmp_path) is is_project


SCM = SETUPTOOLS + DYNAMIC + "[tool.setuptools_scm]\n"


@pytest.mark.parametrize(
    ("files", "built", "reason"),
    [
        ({"pyproject.toml": SETUPTOOLS + DYNAMIC}, "demo-0.0.0", 'version = "0.1.0"'),
        ({"setup.py": "setup(name='demo')\n"}, "demo-0.0.0", 'version = "0.1.0"'),
        ({"setup.py": "setup(version='1.0')\n"}, "UNKNOWN-1.0", "name and version"),
        ({"setup.py": "setup(name='unknown', version='1.0')\n"}, "unknown-1.0", ""),
        ({"setup.py": "setup(name='demo', version='0.0.0')\n"}, "demo-0.0.0", ""),
        ({"setup.py": "setup(name='demo', version=computed())\n"}, "demo-0.0.0.dev7", ""),
        ({"setup.py": "setup(name='demo', version=computed())\n"}, "demo-1.0", ""),
        ({"pyproject.toml": SETUPTOOLS + STATIC}, "demo-0.0.0", 'version = "0.1.0"'),
        ({"pyproject.toml": SCM}, "demo-0.0.0.post1.dev0", "setuptools-scm takes it from git's tags: git tag v0.1.0"),
        ({"pyproject.toml": SCM}, "demo-0.1.dev1", ""),
    ],
)
def test_a_version_or_name_that_nobody_wrote_is_refused(
    tmp_path: Path, files: dict[str, str], built: str, reason: str
) -> None:
    write(tmp_path, files)
    name = parse_filename(f"{built}.tar.gz")
    if not reason:
        project_version.require_written(tmp_path, name)
        return
    with pytest.raises(PpmError, match=f"^{name.project} {name.version}: nobody wrote") as refused:
        project_version.require_written(tmp_path, name)
    assert reason in refused.value.hint


@pytest.mark.parametrize(("tag", "is_written"), [("v0.0.0", True), ("v0.0.1", False), ("v10.0", False)])
def test_zeros_in_a_tag_are_a_version(tagged: Path, tag: str, is_written: bool) -> None:
    git(tagged, "tag", "--delete", "v1.2.0")
    git(tagged, "tag", tag)
    name = parse_filename("demo-0.0.0.post1.tar.gz")
    if is_written:
        project_version.require_written(tagged, name)
    else:
        with pytest.raises(PpmError, match="nobody wrote this version"):
            project_version.require_written(tagged, name)
