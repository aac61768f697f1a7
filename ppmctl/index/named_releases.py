"""Find the releases that shared environments name exactly: they can't be removed without breaking an installation."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ppmctl import files
from ppmctl.distributions import environment_revision
from ppmctl.distributions.environment_revision import LOCK, REQUIREMENTS, environment_of, parse_requirements
from ppmctl.distributions.environment_wheel import NotARevision, read_forms
from ppmctl.errors import PpmError
from ppmctl.index import environment_files, project_folder
from ppmctl.index.project_folder import Folder, StoredFile
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
        _require_records(content)
        for revision in environment_files.revisions(content):
            where = f"{environment_of(project)}@{revision.number}"
            forms = _forms(store, project, revision.file)
            if forms is None:
                continue
            for name, version in (*_locked(forms.get(LOCK, b""), where), *_required(forms[REQUIREMENTS])):
                named.setdefault((name, version), where)
    return named


def _require_records(content: Folder) -> None:
    for filename in content.unrecorded:
        if environment_revision.number_of(environment_of(content.project) or "", filename) is not None:
            raise PpmError(f"{filename} has no record, so nothing is pruned.", hint="Run: ppmctl index rebuild")


def _forms(store: Store, project: str, file: StoredFile) -> Mapping[str, bytes] | None:
    """Return the forms of a revision, None if it was removed or only has such a name. Raise PpmError if damaged."""
    try:
        path = store.cache.fetch(project, file.filename)
        try:
            return read_forms(path)
        except NotARevision:
            if files.sha256_of(path) == file.record.sha256:
                return None
    except FileNotFoundError:
        store.pull(project)
        content = project_folder.read(store.volume, project)
        if content is None or file.filename not in [each.filename for each in content.files]:
            return None
    raise PpmError(
        f"{file.filename} is damaged or missing, so nothing is pruned: the releases that it names are not known.",
        hint="Restore it from a backup, or remove this revision.",
    )


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
