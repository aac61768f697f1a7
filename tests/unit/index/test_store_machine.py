"""Changes of an index in random orders, with crashes and several processes, compared with a simple model.

After each step all invariants of docs/volume.md are checked. `make fuzz ARGS=store` tries many more orders.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support import wheels
from support.generated import CHOICES, machine_settings, note, picked, st
from support.invariants import Observer
from support.processes import Child, Killed
from support.volume_view import View

from ppmctl.distributions import distribution, environment_wheel
from ppmctl.distributions.distribution import Dist
from ppmctl.distributions.environment_revision import Revision
from ppmctl.errors import PpmError
from ppmctl.index import rebuild, recovery, verify
from ppmctl.index.layout import Volume
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store

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


class StoreMachine(RuleBasedStateMachine):
    """Two processes that serve one volume, and others that come and are killed."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="ppm-store-"))
        self.volume = Volume(root=self.root)
        self.volume.prepare()
        self.stores = [Store(self.volume), Store(self.volume)]
        self.observer = Observer(self.root)
        self.model: Model = {}
        self.marked: list[str] = []  # projects whose last change was killed

    @initialize()
    def start_first(self) -> None:
        self.start(0)

    def picked(self, numbers: tuple[int, ...], projects: Sequence[str] = PROJECTS) -> Operation:
        """Return a change of one of these projects; most do not have to be refused."""
        kind, text = picked(KINDS, numbers[0]), picked(["", "broken", 'a "<b>" & ü'], numbers[1])
        known = [name for name in projects if name in self.model]
        project = picked([*known, *known, *projects], numbers[2])
        files = list(self.model[project].files) if project in self.model else []
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

    @rule(numbers=CHOICES, by=st.sampled_from([0, 1]))
    def change(self, numbers: tuple[int, ...], by: int) -> None:
        """Make a change. What is refused changes nothing; what is answered is on the pages."""
        # what a crash left is repaired by whatever comes next
        operation = self.picked(numbers, self.marked or PROJECTS)
        expected, after = operation.expected(self.model)
        before = View(root=self.root)
        was_marked, content = operation.project in before.marks, before.content()
        outcome = operation.make(self.stores[by])
        assert outcome == expected
        if not isinstance(outcome, int):
            assert operation.project not in View(root=self.root).marks, "the pages may be old"
        elif not was_marked:
            self.observer.a_refused_change_changes_nothing(content)
        self.model = after

    @rule(numbers=CHOICES, at=MOMENTS)
    def crash(self, numbers: tuple[int, ...], at: tuple[str, int]) -> None:
        """Make a change in a process that is killed right before its n-th change of the files in a folder."""
        operation = self.picked(numbers)
        expected, after = operation.expected(self.model)
        outcome = Child(partial(made_alone, self.volume, operation), self.root / at[0], at=at[1]).result()
        if isinstance(outcome, Killed):
            now = seen(View(root=self.root))
            assert is_between(now, self.model, after), f"killed before {outcome.before}"
            self.model = now
        else:
            assert outcome == expected
            self.model = after

    @rule(numbers=CHOICES, others=CHOICES, at=MOMENTS)
    def interleave(self, numbers: tuple[int, ...], others: tuple[int, ...], at: tuple[str, int]) -> None:
        """Make two changes in two processes, the second while the first stands still right before a change."""
        pair = (self.picked(numbers), self.picked(others))
        first, second = (partial(made_alone, self.volume, operation) for operation in pair)
        one = Child(first, self.root / at[0], at=at[1], stops=True)
        one.wait()
        two = Child(second, self.root)
        two.wait(0.02)  # it may need the lock of the first
        one.go_on()
        outcomes = [one.result(), two.result()]
        now = seen(View(root=self.root))
        possible = []
        for order in ((0, 1), (1, 0)):
            model: Model = self.model
            expected: list[Outcome] = [0, 0]
            for number in order:
                expected[number], model = pair[number].expected(model)
            possible.append((expected, model))
        assert (outcomes, now) in possible
        self.model = now

    @rule(which=st.sampled_from([0, 1]))
    def start(self, which: int) -> None:
        """Start a process again; the other one goes on."""
        self.stores[which].area.close()
        self.stores[which] = Store(self.volume)
        recovery.repair(self.stores[which])
        self.observer.a_start_leaves_nothing_of_the_dead(alive=1)

    @rule(by=st.sampled_from([0, 1]))
    def write_the_list(self, by: int) -> None:
        self.stores[by].write_root()

    @rule(deletes=st.booleans())
    def rebuild(self, deletes: bool) -> None:
        """Delete `index/`, or not, and make it again; then `index check` finds no difference."""
        self.start(0)
        before = View(root=self.root).content(without=("locks", "incoming", "credentials"))
        if deletes:
            shutil.rmtree(self.root / "index")
        done = rebuild.rebuild(self.stores[1])
        assert (done.problems, done.recorded) == ([], [])
        self.observer.a_rebuild_makes_the_same(before)
        assert list(verify.check(self.stores[0], hashes=True)) == []
        self.observer.the_search_index_has_all_projects()

    @rule(by=st.sampled_from([0, 1]))
    def update_the_search_index(self, by: int) -> None:
        """Update what changed since the last time, by any process."""
        SearchIndex(self.stores[by]).refresh()
        self.observer.the_search_index_has_all_projects()

    @invariant()
    def the_volume_is_as_the_model(self) -> None:
        view = self.observer.check()
        self.marked = sorted(name for name in view.marks if not name.startswith("."))
        assert seen(view) == self.model

    def teardown(self) -> None:
        for store in self.stores:
            store.area.close()
        shutil.rmtree(self.root)


def made_alone(volume: Volume, operation: Operation) -> Outcome:
    """Make a change as a command does: with a store of its own, and the list of projects at the end."""
    store = Store(volume)
    try:
        return operation.make(store)
    finally:
        if store.root_is_old.is_set():
            store.write_root()
        store.area.close()


def test_changes_in_any_order_keep_the_invariants() -> None:
    run_state_machine_as_test(StoreMachine, settings=machine_settings(examples=20, steps=30))
