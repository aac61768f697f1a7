"""Changes of an index in random orders, with crashes and several processes, compared with a simple model.

After each step all invariants of docs/volume.md are checked. `make fuzz ARGS=store` tries many more orders.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support.generated import CHOICES, machine_settings, st
from support.invariants import Observer
from support.processes import Child, Killed
from support.store_model import MOMENTS, PROJECTS, Model, Outcome, is_between, made_alone, pick, seen
from support.volume_view import View

from ppmctl.index import rebuild, recovery, verify
from ppmctl.index.layout import Volume
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store


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

    @rule(numbers=CHOICES, by=st.sampled_from([0, 1]))
    def change(self, numbers: tuple[int, ...], by: int) -> None:
        """Make a change. What is refused changes nothing; what is answered is on the pages."""
        # what a crash left is repaired by whatever comes next
        operation = pick(self.model, numbers, self.marked or PROJECTS)
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
        operation = pick(self.model, numbers)
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
        pair = (pick(self.model, numbers), pick(self.model, others))
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


def test_changes_in_any_order_keep_the_invariants() -> None:
    run_state_machine_as_test(StoreMachine, settings=machine_settings(examples=20, steps=30))
