"""Changes of an index, picked by chance, and a simple model of what they should do."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ppmctl.distributions import distribution, environment_wheel
from ppmctl.distributions.distribution import Dist
from ppmctl.distributions.environment_revision import Revision
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from support import wheels
from support.generated import note, picked, st
from support.volume_view import View

CLOSED = ("archived", "quarantined")
Outcome = list[str] | int  # the names of the changed files, or the status of a refusal


@dataclass(frozen=True)
class File:
    """A distribution to publish. Two of the same name differ in their content."""

    filename: str
    content: bytes
    dist: Dist


OTHER = " with other content"
NAMES = (
    "alpha-1.0-py3-none-any.whl",
    "alpha-1.0-py3-none-any.whl" + OTHER,
    "alpha-1.0.tar.gz",
    "alpha-2.0-py3-none-any.whl",
    "beta-1.0.tar.gz",
    "beta-1.0-cp311-cp311-linux_x86_64.whl",
    *(f"ppm_env_lab-{number}-py3-none-any.whl" for number in (1, 2, 3)),
)


@cache
def published(name: str) -> File:
    """Return one of the distributions of NAMES."""
    filename = name.removesuffix(OTHER)
    project, version, *_rest = filename.removesuffix(".tar.gz").split("-")
    if project == "ppm_env_lab":
        revision = Revision(name="lab", number=int(version), requirements=("six",), change=f"change {version}")
        content = environment_wheel.to_wheel(revision)
    elif filename.endswith(".whl"):
        files = {"x.py": b"other"} if name.endswith(OTHER) else None
        content = wheels.wheel(project, version, files=files, requires_python=">=3.9", summary="s" * 600)[1]
    else:
        content = wheels.sdist(project, version)[1]
    with tempfile.TemporaryDirectory() as folder:
        path = wheels.write(Path(folder), (filename, content))
        return File(filename, content, distribution.inspect(path, filename))


@dataclass
class Project:
    """What a project should be. `files` maps the filenames to content and reason of the yank."""

    files: dict[str, tuple[bytes, str | None]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    status: tuple[str, str] = ("active", "")


Model = dict[str, Project]


@dataclass(frozen=True)
class Operation:
    """A change: of the store by `make`, and of the model by `expected`. `target` is a file, a version or a status."""

    kind: str
    project: str
    target: str = ""
    text: str = ""

    def make(self, store: Store) -> Outcome:
        try:
            return sorted(self._make(store))
        except PpmError as exc:
            return exc.status

    def _make(self, store: Store) -> list[str]:
        match self.kind:
            case "publish":
                file = published(self.target)
                with store.area.new_file() as received:
                    received.write(file.content)
                    received.finish()
                    store.put(received, file.dist, by="ops", attestations=self.text or None)
                return [file.filename]
            case "yank":
                return store.yank(self.project, self.target, self.text)
            case "unyank":
                return store.unyank(self.project, self.target)
            case "remove":
                return store.remove(self.project, self.target)
            case "refresh":
                store.refresh(self.project)
                return []
        store.set_status(self.project, self.target, self.text)
        return []

    def expected(self, model: Model) -> tuple[Outcome, Model]:
        """Return what the change should return, and the model after it."""
        after = copy.deepcopy(model)
        project = after.get(self.project)
        if self.kind == "publish":
            return self._published(after)
        if self.kind == "refresh":
            return [], model
        if project is None:
            return 404, model
        if self.kind == "status":
            project.status = (self.target, self.text)
            return [], after
        chosen = [name for name in project.files if is_meant(name, self.target)]
        for name in chosen:
            content, _yanked = project.files[name]
            project.files[name] = (content, self.text if self.kind == "yank" else None)
            if self.kind == "remove":
                del project.files[name]
                project.removed.add(name)
        return (sorted(chosen), after) if chosen else (404, model)

    def _published(self, after: Model) -> tuple[Outcome, Model]:
        file, project = published(self.target), after.get(self.project, Project())
        filename = file.filename
        if filename in project.removed:
            return 409, after
        if project.status[0] in CLOSED:
            return 403, after
        if filename in project.files:
            return ([filename] if project.files[filename][0] == file.content else 409), after
        project.files[filename] = (file.content, None)
        after[self.project] = project
        return [filename], after


def is_meant(filename: str, target: str) -> bool:
    """Return whether `target` is the file or its version, which can be written in several ways."""
    version = filename.removesuffix(".tar.gz").split("-")[1]
    return target == filename or target.removesuffix(".0") == version.removesuffix(".0")


def seen(view: View) -> Model:
    """Return what a volume has, as a model."""
    return {
        name: Project(
            files={
                filename: (project.files[filename].read_bytes(), project.yanked(filename))
                for filename in set(project.files) - project.removed
            },
            removed=set(project.removed),
            status=(project.status["state"], project.status["reason"]),
        )
        for name, project in view.projects.items()
        if project.files or project.removed
    }


def is_between(now: Model, before: Model, after: Model) -> bool:
    """Return whether each file and status is as before a change or as after it."""
    for name in before.keys() | after.keys() | now.keys():
        one, two, mixed = (each.get(name, Project()) for each in (before, after, now))
        for filename in one.files.keys() | two.files.keys() | mixed.files.keys() | mixed.removed:
            state = mixed.files.get(filename), filename in mixed.removed
            if state not in [(each.files.get(filename), filename in each.removed) for each in (one, two)]:
                return False
        if mixed.status not in (one.status, two.status):
            return False
    return True


PROJECTS = ("alpha", "beta", "ppm-env-lab", "nothing")
KINDS = ("publish", "publish", "publish", "yank", "yank", "unyank", "remove", "remove", "status", "status", "refresh")
STATES = ("active", "active", "archived", "quarantined", "deprecated")
# most crashes are near the commit
MOMENTS = st.tuples(st.sampled_from(["packages", "packages", "index", "."]), st.integers(1, 9))


def pick(model: Model, numbers: tuple[int, ...], projects: Sequence[str] = PROJECTS) -> Operation:
    """Return a change of one of these projects; most do not have to be refused."""
    kind, text = picked(KINDS, numbers[0]), picked(["", "broken", 'a "<b>" & ü'], numbers[1])
    known = [name for name in projects if name in model]
    project = picked([*known, *known, *projects], numbers[2])
    files = list(model[project].files) if project in model else []
    target = picked([*files, *files, "1.0", "1", "3"], numbers[3])
    if kind == "status":
        target = picked(STATES, numbers[3])
    elif kind == "publish":
        fitting = [name for name in NAMES if published(name).dist.name.project in projects]
        target, text = picked(fitting or NAMES, numbers[3]), '[{"version": 1}]' if text else ""
        project = published(target).dist.name.project
    operation = Operation(kind, project, target, text)
    note(f"{operation}")
    return operation


def made_alone(volume: Volume, operation: Operation) -> Outcome:
    """Make a change as a command does: with a store of its own, and the list of projects at the end."""
    store = Store(volume)
    try:
        return operation.make(store)
    finally:
        if store.root_is_old.is_set():
            store.write_root()
        store.area.close()
