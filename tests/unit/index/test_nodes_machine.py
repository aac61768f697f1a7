"""Changes at three nodes of one bucket in random orders, with crashes and lost answers, compared with a simple model.

After each step the bucket has what the model has. A node that compares itself with it then shows exactly that, and
keeps the invariants of docs/volume.md. `make fuzz ARGS=nodes` tries many more orders.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.folder_bucket import FolderBucket
from support.generated import CHOICES, machine_settings, st
from support.invariants import Observer
from support.processes import Child, Killed
from support.store_model import Model, Outcome, Project, made_alone, pick, seen

from ppmctl.index import recovery
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.storage import configured

NODES = st.sampled_from([0, 1, 2])
AWAY = 503


def in_bucket(objects: dict[str, bytes]) -> Model:
    """Return what a bucket has, as a model. Every file of a head has to be there."""
    model: Model = {}
    for key, content in objects.items():
        if not key.startswith("projects/"):
            continue
        name = key.removeprefix("projects/").removesuffix(".json")
        head: dict[str, Any] = json.loads(gzip.decompress(content))
        project = Project(removed=set(head["removed"]), status=(head["status"]["state"], head["status"]["reason"]))
        for filename, entry in head["files"].items():
            path = f"packages/{name}/{entry['record']['sha256']}/{filename}"
            assert not filename.endswith(".whl") or f"{path}.metadata" in objects
            project.files[filename] = (objects[path], entry.get("yanked"))
        model[name] = project
    names = {name for key in objects if key.startswith("names/") for name in json.loads(objects[key])}
    assert model.keys() <= names, "every project is in the list"
    return model


class NodesMachine(RuleBasedStateMachine):
    """Three nodes, and processes on their volumes that come and are killed."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="ppm-nodes-"))
        self.bucket = FolderBucket("memory://nodes", self.root / "bucket")
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(configured, "opened", lambda _address: self.bucket)
        self.volumes = [Volume(root=self.root / f"node-{number}", storage="memory://nodes") for number in range(3)]
        self.stores: list[Store] = []
        self.observers: list[Observer] = []
        for volume in self.volumes:
            volume.prepare()
            self.stores.append(Store(volume))
            self.observers.append(Observer(volume.root))
        self.model: Model = {}

    @rule(numbers=CHOICES, by=NODES)
    def change(self, numbers: tuple[int, ...], by: int) -> None:
        """Make a change. Its answer is that of an index that all nodes share."""
        operation = pick(self.model, numbers)
        expected, self.model = operation.expected(self.model)
        assert operation.make(self.stores[by]) == expected

    @rule(numbers=CHOICES, by=NODES, write=st.integers(1, 6), is_made=st.booleans())
    def lose_an_answer(self, numbers: tuple[int, ...], by: int, write: int, is_made: bool) -> None:
        """Make a change, and lose the n-th request to the bucket, or the answer to it."""
        operation = pick(self.model, numbers)
        expected, after = operation.expected(self.model)
        self.bucket.trouble(lost=[write] if is_made else [], cut=[] if is_made else [write])
        outcome = operation.make(self.stores[by])
        self.bucket.trouble()
        now = self.now()
        if outcome == AWAY:
            assert now in (self.model, after)
        else:
            assert (outcome, now) == (expected, after)
        self.model = now

    @rule(numbers=CHOICES, by=NODES)
    def take_the_bucket_away(self, numbers: tuple[int, ...], by: int) -> None:
        """Try a change without the bucket: nothing changes, and what the node has shown it still shows."""
        operation = pick(self.model, numbers)
        before = seen_by(self.stores[by])
        self.bucket.is_away = True
        outcome = operation.make(self.stores[by])
        self.bucket.is_away = False
        assert outcome == AWAY or operation.kind == "refresh"
        assert seen_by(self.stores[by]) == before

    @rule(numbers=CHOICES, by=NODES, at=st.integers(1, 40), folder=st.sampled_from(["bucket", "bucket", "."]))
    def crash(self, numbers: tuple[int, ...], by: int, at: int, folder: str) -> None:
        """Make a change in a process that is killed right before a request to the bucket, or a change of a file."""
        operation = pick(self.model, numbers)
        expected, after = operation.expected(self.model)
        at = at % 7 + 1 if folder == "bucket" else at
        outcome = Child(partial(made_alone, self.volumes[by], operation), self.root / folder, at=at).result()
        now = self.now()
        if isinstance(outcome, Killed):
            assert now in (self.model, after), f"killed before {outcome.before}"
        else:
            assert (outcome, now) == (expected, after)
        self.model = now

    @rule(numbers=CHOICES, others=CHOICES, nodes=st.permutations([0, 1, 2]), at=st.integers(1, 7))
    def interleave(self, numbers: tuple[int, ...], others: tuple[int, ...], nodes: list[int], at: int) -> None:
        """Make two changes at two nodes, the second while the first stands still right before a request."""
        pair = (pick(self.model, numbers), pick(self.model, others))
        works = [partial(made_alone, self.volumes[node], each) for node, each in zip(nodes, pair, strict=False)]
        one = Child(works[0], self.root / "bucket", at=at, stops=True)
        one.wait()
        two = Child(works[1], self.root)
        two.wait(0.2)
        one.go_on()
        outcomes, now = [one.result(), two.result()], self.now()
        possible = []
        for order in ((0, 1), (1, 0)):
            model, expected = self.model, list[Outcome]([0, 0])
            for number in order:
                expected[number], model = pair[number].expected(model)
            possible.append((expected, model))
        assert (outcomes, now) in possible
        self.model = now

    @rule(by=NODES)
    def look(self, by: int) -> None:
        """Compare a node with the bucket, and read all files there."""
        store = self.stores[by]
        assert store.mirror is not None
        for project in store.mirror.names():
            store.pull(project)
            for file in store.read(project).files if store.has_project(project) else ():
                store.mirror.fetch(project, file.filename)
                if file.record.core_metadata:
                    store.mirror.fetch(project, file.filename + ".metadata")
        store.write_root()
        view = self.observers[by].check()
        assert seen(view) == self.model
        assert {name for name in view.marks if not name.startswith(".")} == set()

    @rule(by=NODES)
    def start(self, by: int) -> None:
        """Start a node again."""
        self.stores[by].area.close()
        self.stores[by] = Store(self.volumes[by])
        recovery.repair(self.stores[by])
        self.observers[by].a_start_leaves_nothing_of_the_dead(alive=0)

    @rule(by=NODES)
    def lose_a_node(self, by: int) -> None:
        """Start a node again with an empty volume."""
        self.stores[by].area.close()
        shutil.rmtree(self.volumes[by].root)
        self.volumes[by].prepare()
        self.stores[by] = Store(self.volumes[by])
        self.observers[by] = Observer(self.volumes[by].root)

    @rule(by=NODES)
    def forget_files(self, by: int) -> None:
        """Remove the files of a node, as its limit of space does."""
        for suffix in ("*.whl", "*.tar.gz", "*.metadata"):
            for path in self.volumes[by].packages.glob(f"*/{suffix}"):
                path.unlink()

    @invariant()
    def the_bucket_is_as_the_model(self) -> None:
        assert self.now() == self.model

    def now(self) -> Model:
        objects = {}
        for key in self.bucket.keys(""):
            found = self.bucket.read(key)
            assert found is not None
            objects[key] = found.content
        return in_bucket(objects)

    def teardown(self) -> None:
        for store in self.stores:
            store.area.close()
        self.patch.undo()
        shutil.rmtree(self.root)


def seen_by(store: Store) -> dict[str, bytes]:
    """Return the pages of a node."""
    return {str(path): path.read_bytes() for path in store.volume.simple.glob("*/*.json")}


def test_changes_at_three_nodes_are_those_of_one_index() -> None:
    run_state_machine_as_test(NodesMachine, settings=machine_settings(examples=12, steps=25))
