"""Tests of `ppmctl publish --bump --changelog --tag`: from a git project to its release, with any interruption."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from support import clients, crashing, wheels
from support.clients import Machine
from support.recorder import recording
from support.servers import PPMCTL, Server, ppmctl

Git = Callable[..., str]
New = Callable[[str], Path]

RELEASE = ("--bump", "minor", "--changelog", "--tag", "--yes")
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- Particles.

## [1.2.0] - 2026-01-31

- The beginning.

[Unreleased]: https://git.example/demo/compare/v1.2.0...HEAD
[1.2.0]: https://git.example/demo/releases/tag/v1.2.0
"""
# An in-tree backend: builds need no index, and no two builds are equal.
BACKEND = """
import base64, hashlib, io, os, pathlib, re, tarfile, time, zipfile

NAME = "{name}"

def version():
    return re.search('version = "(.*)"', pathlib.Path("pyproject.toml").read_text())[1]

def metadata():
    return f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{version()}}\\n\\n{{time.time_ns()}}\\n"

def build_sdist(folder, config_settings=None):
    top = f"{{NAME}}-{{version()}}"
    with tarfile.open(f"{{folder}}/{{top}}.tar.gz", "w:gz") as archive:
        for name in ("pyproject.toml", "backend.py", f"{{NAME}}.py", "CHANGELOG.md"):
            archive.add(name, f"{{top}}/{{name}}")
        content = metadata().encode()
        info = tarfile.TarInfo(f"{{top}}/PKG-INFO")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return f"{{top}}.tar.gz"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    info, record = f"{{NAME}}-{{version()}}.dist-info", ""
    filename = f"{{NAME}}-{{version()}}-py3-none-any.whl"
    with zipfile.ZipFile(f"{{folder}}/{{filename}}", "w") as archive:
        for name, text in {{
            f"{{NAME}}.py": pathlib.Path(f"{{NAME}}.py").read_text(),
            f"{{info}}/METADATA": metadata(),
            f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        }}.items():
            archive.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{{name}},sha256={{digest}},{{len(text.encode())}}\\n"
        archive.writestr(f"{{info}}/RECORD", f"{{record}}{{info}}/RECORD,,\\n")
    return filename
"""


@pytest.fixture
def user(tmp_path: Path, index: Server) -> Machine:
    """Return a maintainer's machine, with a git identity."""
    computer = clients.machine(tmp_path / "home", index)
    (computer.home / ".gitconfig").write_text(
        "[user]\nname = Ada\nemail = ada@example.test\n[init]\ndefaultBranch = main\n"
    )
    kept = {name: value for name, value in computer.environ.items() if not name.startswith("GIT_")}
    return Machine(home=computer.home, environ={**kept, "PPMCTL_INDEX": index.url, "GIT_CONFIG_NOSYSTEM": "1"})


@pytest.fixture
def git(user: Machine) -> Git:
    def run(folder: Path, *arguments: str) -> str:
        return user.run("git", "-C", folder, *arguments).output.strip()

    return run


@pytest.fixture
def new_project(user: Machine, git: Git, tmp_path: Path) -> New:
    """Make a committed project of version 1.2.0 with an unreleased change."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "1.2.0"\n\n'
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        )
        (folder / "backend.py").write_text(BACKEND.format(name=name))
        (folder / f"{name}.py").write_text("here = True\n")
        (folder / "CHANGELOG.md").write_text(CHANGELOG)
        git(folder, "init", "--quiet")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message=Begin")
        return folder

    return make


def publish(user: Machine, project: Path, *arguments: str, expect: int | None = 0, **environ: str) -> str:
    return user.run(*PPMCTL, "publish", *arguments, cwd=project, expect=expect, **environ).output


def is_released(project: Path, index: Server, git: Git, version: str = "1.3.0") -> None:
    """Assert that the release is complete, in the index, files and git; and that nothing is left over."""
    name = project.name
    assert index.filenames(name) == {f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.tar.gz"}
    assert f'version = "{version}"' in (project / "pyproject.toml").read_text()
    text = (project / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "[Unreleased]",
        f"[{version}] - {datetime.now().astimezone().date().isoformat()}",
        "[1.2.0] - 2026-01-31",
    ]
    assert git(project, "log", "--format=%s").splitlines() == [f"Release {version}", "Begin"]
    assert git(project, "describe", "--dirty") == f"v{version}"
    assert git(project, "status", "--porcelain") == ""
    assert not list((project / ".git").glob("ppmctl*"))


def test_a_release_is_one_command(user: Machine, index: Server, git: Git, new_project: New, tmp_path: Path) -> None:
    project = new_project("particle")
    git(tmp_path, "init", "--quiet", "--bare", "remote.git")
    git(project, "remote", "add", "origin", str(tmp_path / "remote.git"))
    before = {path: path.read_bytes() for path in project.iterdir() if path.is_file()}
    rehearsed = publish(user, project, *RELEASE, "--dry-run")
    assert "particle: 1.2.0 → 1.3.0" in rehearsed
    assert {path: path.read_bytes() for path in before} == before
    assert not list((project / ".git").glob("ppmctl*"))
    printed = publish(user, project, *RELEASE)
    is_released(project, index, git)
    assert "To push it: git push origin main v1.3.0" in printed
    assert git(tmp_path / "remote.git", "for-each-ref") == "", "nothing is pushed"
    git(project, "push", "--quiet", "origin", "main", "v1.3.0")
    assert "[1.3.0]: https://git.example/demo/compare/v1.2.0...v1.3.0\n" in (project / "CHANGELOG.md").read_text()
    assert git(project, "diff", "--stat", "HEAD^", "--", "backend.py", "particle.py") == ""
    again = publish(user, project, *RELEASE, expect=1)
    assert "Nothing was committed since 1.3.0 was released" in again
    is_released(project, index, git)


@pytest.fixture(scope="module")
def published(index: Server) -> Server:
    """Publish version 1.2.0 of a project."""
    made = wheels.wheel("refused", "1.2.0")
    assert index.upload(made).status_code == 200
    return index


def dirty(project: Path, git: Git) -> None:
    for name in ("a.py", "b.py", "c.py"):
        (project / name).touch()
    (project / "refused.py").write_text("here = False\n")


def emptied(project: Path, git: Git) -> None:
    (project / "CHANGELOG.md").write_text(CHANGELOG.replace("- Particles.\n", ""))
    git(project, "commit", "--quiet", "--all", "--message=x")


def without_changelog(project: Path, git: Git) -> None:
    git(project, "rm", "--quiet", "CHANGELOG.md")
    git(project, "commit", "--quiet", "--message=x")


def computed(project: Path, git: Git) -> None:
    text = (project / "pyproject.toml").read_text().replace('version = "1.2.0"', 'dynamic = ["version"]')
    (project / "pyproject.toml").write_text(text)
    git(project, "commit", "--quiet", "--all", "--message=x")


def unmanaged(project: Path, git: Git) -> None:
    (project / ".git").rename(project.parent / "git")


def taken(project: Path, git: Git) -> None:
    git(project, "tag", "v1.3.0")


def detached(project: Path, git: Git) -> None:
    git(project, "checkout", "--quiet", "--detach")


def nobody(project: Path, git: Git) -> None:
    git(project, "config", "user.useConfigOnly", "true")
    git(project, "config", "--global", "--unset", "user.email")


def untouched(project: Path, git: Git) -> None:
    """Leave the project unchanged."""


# the fault, the options, the exit code, the message and the hint
REFUSALS = {
    "a dirty tree": (
        (dirty, RELEASE, 1),
        ("changes that are not committed: a.py, b.py, c.py and 1 more", "git stash --include-untracked"),
    ),
    "a version not above the published one": (
        (untouched, ("--bump", "1.2.0"), 1),
        ("refused 1.2.0 is not above 1.2.0, which is in the index", "--bump 1.2.1"),
    ),
    "a version below": ((untouched, ("--bump", "1.1"), 1), ("1.1 is below 1.2.0", "--bump patch")),
    "an empty changelog": (
        (emptied, RELEASE, 1),
        ("The section Unreleased of CHANGELOG.md is empty", "what is new in 1.3.0"),
    ),
    "no changelog": ((without_changelog, RELEASE, 1), ("has no changelog", "## [Unreleased]")),
    "an unknown place": ((computed, RELEASE, 1), ("where this project's version is written", "without --bump")),
    "no repository": ((unmanaged, RELEASE, 2), ("is not in a git repository", "git init")),
    "a tag that is taken": ((taken, RELEASE, 1), ("The tag v1.3.0 already exists", "git tag -d v1.3.0")),
    "a detached head": ((detached, RELEASE, 1), ("HEAD is detached", "git switch")),
    "nobody": ((nobody, RELEASE, 1), ("git does not know who commits", "git config --global user.name")),
    "no version": ((untouched, ("--bump", "huge"), 2), ("'huge' is not a version", "1.3.0rc1")),
    "no pre-release": ((untouched, ("--bump", "pre"), 2), ("1.2.0 is not a pre-release", "--bump 1.3.0rc1")),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_refused_release_changes_nothing(
    why: str, user: Machine, published: Server, git: Git, new_project: New
) -> None:
    (prepare, options, code), parts = REFUSALS[why]
    project = new_project("refused")
    prepare(project, git)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    printed = publish(user, project, *options, expect=code)
    first, _, then = printed.partition("\n        ")
    assert parts[0] in first
    assert parts[1] in then
    assert "Building" not in printed
    assert {path: path.read_bytes() for path in before} == before
    assert published.filenames("refused") == {"refused-1.2.0-py3-none-any.whl"}


def test_a_failure_before_the_first_upload_is_rolled_back(
    user: Machine, index: Server, git: Git, new_project: New
) -> None:
    """A failed build, an interrupted one, and a wrong secret each leave the project unchanged."""
    project = new_project("putback")
    (project / "backend.py").write_text((project / "backend.py").read_text() + "\nimport nothing_of_that_name\n")
    git(project, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert "nothing_of_that_name" in publish(user, project, *RELEASE, expect=1)
    assert git(project, "status", "--porcelain") == ""

    waits = f"import os, time\nos.mkfifo({str(project.parent / 'begun')!r})\ntime.sleep(600)\n"
    (project / "backend.py").write_text(waits)
    git(project, "commit", "--quiet", "--all", "--amend", "--no-edit")
    with subprocess.Popen(
        [*PPMCTL, "publish", *RELEASE], cwd=project, env=user.environ, stderr=subprocess.PIPE, start_new_session=True
    ) as running:
        until(lambda: (project.parent / "begun").exists())
        assert git(project, "status", "--porcelain") == "M CHANGELOG.md\n M pyproject.toml"
        os.killpg(running.pid, signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert git(project, "status", "--porcelain") == ""

    (project / "backend.py").write_text(BACKEND.format(name="putback"))
    git(project, "commit", "--quiet", "--all", "--amend", "--no-edit")
    assert "Building" not in publish(
        user, project, *RELEASE, expect=4, PPMCTL_USERNAME="nobody", PPMCTL_TOKEN="wr0ng"
    )
    assert git(project, "status", "--porcelain") == ""
    assert not list((project / ".git").glob("ppmctl*"))
    assert index.get("/simple/putback/").status_code == 404


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


# The file operation before which the command is killed, and its count; or the git hook during which it is killed.
STAGES = {
    "before anything is noted": ("os.rename", r"-> .*/release\.json$", 1),
    "before the version is raised": ("os.rename", r"-> .*/pyproject\.toml$", 1),
    "between version and changelog": ("os.rename", r"-> .*/CHANGELOG\.md$", 1),
    "before the build": ("os.mkdir", r"ppmctl-publish-[^/]*/0$", 1),
    "before the files are kept": ("os.rename", r"-> .*/ppmctl-release/.*\.tar\.gz$", 1),
    "before it is noted that they are": ("os.rename", r"-> .*/release\.json$", 2),
    "before the commit": ("pre-commit", "", 0),
    "between commit and tag": ("post-commit", "", 0),
    "before it is forgotten": ("os.remove", r"/release\.json$", 1),
}


def test_a_release_killed_at_every_stage_is_completed(
    user: Machine, index: Server, git: Git, new_project: New, tmp_path: Path
) -> None:
    """The same command repeatedly: each run reaches the next stage, and the last completes the release."""
    project = new_project("killed")
    for stage, (event, pattern, count) in STAGES.items():
        if event in crashing.EVENTS:
            plan = crashing.Plan(tmp_path / "plan")
            plan.arm(event, pattern, count=count)
            killed(user, project, *crashing.COMMAND, "publish", *RELEASE, **plan.environ)
            assert plan.disarm().startswith(event), f"it never came to {stage}"
        else:
            hook = project / ".git" / "hooks" / event
            hook.parent.mkdir(exist_ok=True)
            hook.write_text("#!/bin/sh\nkill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat)\nexit 1\n")
            hook.chmod(0o755)
            killed(user, project, *PPMCTL, "publish", *RELEASE)
            hook.unlink()
            assert git(project, "tag") == "", stage
        is_uploaded = list(STAGES).index(stage) >= list(STAGES).index("before the commit")
        assert (index.get("/simple/killed/").status_code == 200) == is_uploaded, stage
    printed = publish(user, project, *RELEASE)
    assert "published " not in printed
    is_released(project, index, git)


def test_a_release_killed_between_uploads_resumes_with_the_same_files(
    user: Machine, index: Server, git: Git, new_project: New
) -> None:
    project = new_project("halfway")
    with recording(index.port, troubles=[("POST", "lost")]) as front:
        command = [*PPMCTL, "publish", *RELEASE]
        environ = {**user.environ, "PPMCTL_INDEX": front.url}
        with subprocess.Popen(
            command, cwd=project, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running:
            assert running.stdout is not None
            assert any("Trying again" in line for line in running.stdout)
            running.kill()
    (first,) = index.page("halfway")["files"]
    done = ppmctl("publish", *RELEASE, "--json", cwd=project, env=dict(user.environ))
    states = {file["filename"]: (file["state"], file["sha256"]) for file in json.loads(done.stdout)["files"]}
    assert states[first["filename"]] == ("same", first["hashes"]["sha256"])
    assert "Building" not in done.stderr
    is_released(project, index, git)


def test_a_version_from_git_is_tagged_before_the_build(
    user: Machine, index: Server, git: Git, tmp_path: Path
) -> None:
    """With setuptools-scm: tag and commit are removed if the build fails, and stay if it is published."""
    builds = clients.offline_builds()
    project = tmp_path / "tags"
    (project / "src" / "tags").mkdir(parents=True)
    (project / "src" / "tags" / "__init__.py").touch()
    (project / "CHANGELOG.md").write_text(CHANGELOG)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "tags"\ndynamic = ["version"]\n[tool.setuptools_scm]\n'
        '[build-system]\nrequires = ["setuptools", "setuptools-scm", "nothing @ file:///nonexistent"]\n'
        'build-backend = "setuptools.build_meta"\n'
    )
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message=Begin")
    git(project, "tag", "1.2.0")
    with (project / "CHANGELOG.md").open("a") as file:
        file.write("\n")
    git(project, "commit", "--quiet", "--all", "--message=More")
    assert "--bump minor --changelog --tag" in publish(user, project, "--bump", "minor", "--changelog", expect=2)
    publish(user, project, *RELEASE, expect=1, **builds)
    assert (git(project, "tag"), git(project, "log", "-1", "--format=%s")) == ("1.2.0", "More")
    assert git(project, "status", "--porcelain") == ""
    text = (project / "pyproject.toml").read_text().replace(', "nothing @ file:///nonexistent"', "")
    (project / "pyproject.toml").write_text(text)
    git(project, "commit", "--quiet", "--all", "--message=Mended")
    publish(user, project, *RELEASE, **builds)
    assert index.filenames("tags") == {"tags-1.3.0-py3-none-any.whl", "tags-1.3.0.tar.gz"}
    assert git(project, "describe", "--dirty") == "1.3.0"
    assert git(project, "log", "-1", "--format=%s") == "Release 1.3.0"
    assert "[1.3.0]: https://git.example/demo/compare/v1.2.0...1.3.0\n" in (project / "CHANGELOG.md").read_text()


def killed(user: Machine, project: Path, *command: str, **environ: str) -> None:
    """Run a command that gets killed, and wait until its children have ended."""
    (project.parent / "tmp").mkdir(exist_ok=True)
    with subprocess.Popen(
        command,
        cwd=project,
        env={**user.environ, "TMPDIR": str(project.parent / "tmp"), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as running:
        output, _ = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGKILL, output.decode()
    until(lambda: not alive(running.pid))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
