"""Plan releases of a small project in a git repository."""

from __future__ import annotations

import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from ppmctl.errors import PpmError
from ppmctl.publishing import project_version, release_flow
from ppmctl.publishing.release_flow import Release
from ppmctl.publishing.release_state import ReleaseOptions

DAY = date(2026, 11, 21)
PYPROJECT = '[project]\nname = "demo"\nversion = "1.2.0"  # raised by a release\n'
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n- New.\n\n## [1.2.0] - 2026-01-31\n\n- Old.\n"
# the same project, with its version in git's tags
TAGGED = (
    '[project]\nname = "demo"\ndynamic = ["version"]\n[tool.setuptools_scm]\n'
    '[build-system]\nrequires = ["setuptools", "setuptools-scm"]\nbuild-backend = "setuptools.build_meta"\n'
)


def git(folder: Path, *arguments: str, **environ: str) -> str:
    """Run git, with `environ` alone if it is given; return what it prints."""
    command = ["git", "-C", str(folder), *arguments]
    options: dict[str, Any] = {"env": environ} if environ else {}
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, **options).stdout.strip()


def plan(
    project: Path, bump: str | None = "minor", *, published: str = "", changelog: bool = True, tag: bool = True
) -> Release:
    """Plan a release of a project; `published` is its highest version in the index."""
    options = ReleaseOptions(bump=bump, changelog=changelog, tag=tag)
    read = project_version.read(project.resolve())
    return release_flow.plan(read, options, Version(published) if published else None, DAY)


def refused(project: Path, bump: str | None = "minor", **options: Any) -> tuple[str, str]:
    """Return message and hint of a release that is refused; no file of the project has changed."""
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and ".git" not in path.parts}
    with pytest.raises(PpmError) as raised:
        plan(project, bump, **options)
    assert {path: path.read_bytes() for path in before} == before
    return raised.value.message, raised.value.hint
