"""Find the releases that shared environments name exactly: they can't be removed without breaking an installation."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ppmctl.distributions.environment_revision import LOCK, REQUIREMENTS, environment_of, parse_requirements
from ppmctl.distributions.environment_wheel import NotARevision, read_forms
from ppmctl.errors import PpmError
from ppmctl.index import environment_files, project_folder
from ppmctl.index.store import Store

Named = Mapping[tuple[str, Version], str]  # a project's release → the environment that names it


def read(store: Store) -> Named:
    """Return the releases that the environments name exactly, in any revision, unless they were deleted."""
    named: dict[tuple[str, Version], str] = {}
    store.pull_names()
    for project in store.projects():
        if environment_of(project) is None:
            continue
        store.pull(project)
        content = project_folder.read(store.volume, project)
        if content is None or content.status.state == "archived":
            continue
        for revision in environment_files.revisions(content):
            where = f"{environment_of(project)}@{revision.number}"
            try:
                forms = read_forms(store.cache.fetch(project, revision.file.filename))
            except (NotARevision, FileNotFoundError):
                continue  # it only has such a name
            for name, version in (*_locked(forms.get(LOCK, b""), where), *_required(forms[REQUIREMENTS])):
                named.setdefault((name, version), where)
    return named


def _locked(lock: bytes, where: str) -> Iterator[tuple[str, Version]]:
    try:
        packages = tomllib.loads(lock.decode()).get("packages", [])
        for package in packages:
            if "version" in package:
                yield str(canonicalize_name(package["name"])), Version(package["version"])
    except (ValueError, KeyError, TypeError, InvalidVersion) as exc:
        raise PpmError(f"The lock of the environment {where} can't be read, so nothing is pruned: {exc}.") from exc


def _required(requirements: bytes) -> Iterator[tuple[str, Version]]:
    for text in parse_requirements(requirements):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # an old revision; no tool can install it
        for each in requirement.specifier:
            if each.operator in ("==", "===") and not each.version.endswith(".*"):
                try:
                    yield str(canonicalize_name(requirement.name)), Version(each.version)
                except InvalidVersion:
                    continue  # === takes any text
