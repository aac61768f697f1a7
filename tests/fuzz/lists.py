"""Files of requirements and locks that users import into a shared environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fuzz import scratch, text_of
from fuzz.archives import LOCK
from ppmctl.distributions import environment_revision, environment_wheel
from ppmctl.distributions import lock as locks
from ppmctl.distributions.environment_revision import Revision, rendered
from ppmctl.environments import importers, requirement
from ppmctl.environments.imported import Imported
from ppmctl.errors import UsageError


def read(name: str, data: bytes, **options: Sequence[str]) -> None:
    """Import a file of this name. What it requires can be stored, and comes back unchanged from what is stored."""
    path = scratch() / name
    path.write_bytes(data)
    try:
        imported = importers.read(path, **options)
    except UsageError:
        return
    check(imported)


def check(imported: Imported) -> None:
    texts = [each.text for each in imported.requirements]
    for each in imported.requirements:
        assert requirement.parse(each.text) == each
    for line in (*imported.notes, *(left.sentence for left in imported.left)):
        assert line.isprintable(), line
    try:
        ordered = environment_revision.ordered(texts)
        stored = Revision(name="lab", number=1, requirements=ordered, change="import", lock=imported.lock)
    except UsageError:
        return  # too many, or too large together
    assert environment_wheel.from_wheel(environment_wheel.to_wheel(stored)) == stored
    assert environment_revision.parse_requirements(rendered(stored)[environment_revision.REQUIREMENTS]) == ordered


def requirements(data: bytes) -> None:
    """Import a requirements.txt. It may include itself, but no other file."""
    read("requirements.txt", _without_paths(data))


def _without_paths(data: bytes) -> bytes:
    """Return the file without names of other files, which would be those of this machine."""
    return data.replace(b"/", b"_").replace(b"_simple", b"/simple").replace(b":__", b"://")


def requirements_seeds() -> Iterator[bytes]:
    yield b"numpy>=2\nsix==1.17.0 ; python_version < '3.12'\nuvicorn[standard]~=0.30  # web\n"
    yield b"-e .\n-e git+https://git.example/team/digits.git#egg=digits\n"
    yield b"git+https://git.example/team/black@main#egg=black\n"
    yield b"numpy @ file:///croot/numpy_1672336185480/work\n"
    yield b"torch==2.5.0 --hash=sha256:0000 \\\n    --hash=sha256:1111\n"
    yield b"--extra-index-url https://me:secret@index.example/simple\n-c requirements.txt\n"
    yield b"-rrequirements.txt\n--requirement=requirements.txt\n-c other.txt\n"
    yield b'pywin32 ; sys_platform == "win32"\nbackports.zoneinfo[tzdata] ; python_version < "3.9"\n'
    yield b"x @ https://${CI_DEPLOY_KEY}@index.example/x.tar.gz\n--index-url=https://${HOST}/simple\n"
    yield b"\xef\xbb\xbfx\r\ny\x0cz\x1b[31m\n"
    yield b"x===1.0.*\ny!=1.*,<2,>=0a1.dev3+local\n"


def conda(data: bytes) -> None:
    """Import an environment.yml."""
    read("environment.yml", data)


def conda_seeds() -> Iterator[bytes]:
    yield b"""\
name: lab
channels: [conda-forge]
dependencies:
  - python=3.11
  - pytorch=2.5
  - conda-forge::opencv=4.*=py*
  - "backports.zoneinfo[version='>=0.2']"
  - numpy >=1.2,<3|=1.1
  - pip:
      - -e git+https://git.example/team/clip.git@main#egg=clip
      - -r dev.txt
      - six
"""
    yield b"dependencies: [a=1, b==1.0, 'c 1.0 py27_0', {pip: [d]}, 2001-01-01, 1e5, null, [x]]"
    yield b"name: 12:30:45\ndependencies:\n- &a x\n- *a\n"
    yield b"dependencies: !!set {a, b}\n<<: {name: x}\n"


def pyproject(data: bytes) -> None:
    """Import a pyproject.toml, also with an extra and a group that it may have."""
    read("pyproject.toml", data)
    read("pyproject.toml", data, extras=["plot"], groups=["test"])


def pyproject_seeds() -> Iterator[bytes]:
    yield b"""\
[project]
name = "acme"
dependencies = ["numpy>=2", "six"]
dynamic = ["version"]
[project.optional-dependencies]
plot = ["matplotlib", "acme[db]"]
db = ["psycopg", "acme[plot]"]
[dependency-groups]
test = ["pytest", {include-group = "lint"}]
lint = ["ruff", {include-group = "lint"}]
"""
    yield b"[tool.poetry]\nname = 'x'\n"
    yield b"[project]\nname = 1\ndependencies = 'x'\noptional-dependencies = [1]\ndynamic = 3"
    yield b"[dependency-groups]\ntest=1\n[project]\n"
    yield b"[project]\ndependencies = [1, {a = 2}]\n[project.optional-dependencies]\nplot = {x = 1}\n"


def pipenv(data: bytes) -> None:
    """Import a Pipfile, its lock and a setup.cfg."""
    for name in ("Pipfile", "Pipfile.lock", "setup.cfg"):
        read(name, data)


def pipenv_seeds() -> Iterator[bytes]:
    yield b"""\
[packages]
six = "*"
requests = {version = ">=2", extras = ["socks"], markers = "python_version > '3'", sys_platform = "== 'linux'"}
away = {git = "https://host/away.git", ref = "v1", subdirectory = "x", editable = true}
here = {path = "."}
there = {file = "https://host/x.whl"}
[dev-packages]
pytest = "~=8.0"
"""
    yield b'{"_meta": {}, "default": {"six": {"version": "==1.17.0", "hashes": ["sha256:a"], "markers": "1"}}}'
    yield b"[options]\ninstall_requires =\n  b>=1\n  file: x\n[options.extras_require]\nc = d; e\n"


def lock(data: bytes) -> None:
    """Read and import a pylock.toml."""
    text = text_of(data)
    for reader in _READERS:
        try:
            reader(text)
        except UsageError:
            continue
    read("pylock.toml", data)


def _lines(text: str) -> None:
    parsed = locks.read(text, where="pylock.toml")
    for pin, line in zip(parsed.pins, [each for each in parsed.lines() if not each.startswith("#")], strict=True):
        assert line.isprintable()
        assert line.partition(" --hash=sha256:")[0] == pin.text


def _with_origin(text: str) -> None:
    before = locks.read(text, where="pylock.toml")
    if not before.python and not before.platform and "[tool" not in text and "tool" not in text:
        after = locks.read(locks.with_origin(text, python="3.12", platform="linux"), where="pylock.toml")
        assert (after.pins, after.python, after.platform) == (before.pins, "3.12", "linux")


_READERS: tuple[Callable[[str], object], ...] = (_lines, _with_origin)


def lock_seeds() -> Iterator[bytes]:
    yield LOCK.encode()
    yield LOCK.replace(
        "[[packages]]", "requires-python = '>=3.9'\nenvironments = [\"os_name == 'x'\"]\n[[packages]]"
    ).encode()
    yield LOCK.replace('version = "1.17.0"', "version = '1.17.0'\nmarker = \"python_version < '3'\"").encode()
    yield b"""\
lock-version = "1.0"
created-by = "x"
extras = ["a"]
dependency-groups = ["b"]
default-groups = []
[[packages]]
name = "v"
vcs = {type = "git", url = "https://git.example/v.git", commit-id = "0", subdirectory = "s"}
[[packages]]
name = "a"
archive = {url = "https://x.example/a.tar.gz", hashes = {sha256 = "0"}, size = 3, upload-time = 2026-01-01T00:00:00Z}
[[packages]]
name = "d"
directory = {path = ".", editable = true}
[[packages]]
name = "s"
sdist = {path = "s.tar.gz", hashes = {}}
dependencies = [{name = "a"}]
index = "https://x.example/simple"
[tool.ppm]
python = 3
"""
