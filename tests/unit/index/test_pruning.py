"""What `package prune` selects, what it never selects, and the waiting time before a removal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from support import wheels

from ppmctl.distributions import distribution, environment_wheel
from ppmctl.distributions.environment_revision import Revision, RevisionHead
from ppmctl.downloads.usage import LastInstalls
from ppmctl.errors import PpmError
from ppmctl.index import environment_files, named_releases, project_folder, pruning
from ppmctl.index.layout import RECORD
from ppmctl.index.pruning import Rules, Step
from ppmctl.index.store import Store

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LOCK = """\
lock-version = "1.0"
created-by = "a test"

[[packages]]
name = "app"
version = "1.0.0"

[[packages.wheels]]
name = "app-1.0.0-py3-none-any.whl"
url = "https://x.test/app-1.0.0-py3-none-any.whl"
hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
"""


@dataclass(kw_only=True)
class Counted:
    """Downloads that were counted."""

    since: date | None = None
    until: date = date.max
    days: dict[tuple[str, str], date] = field(default_factory=dict)

    def gap(self, start: date, today: date) -> str:
        return LastInstalls(since=self.since, until=self.until).gap(start, today)

    def of(self, project: str, version: str) -> date | None:
        return self.days.get((project, version))


NOTHING_COUNTED = Counted()


def put(store: Store, name: str, content: bytes, *, days_old: int = 400) -> None:
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        dist = distribution.inspect(received.path, name)
        when = project_folder.timestamp(NOW - days_old * DAY)
        assert store.put(received, dist, by="tester", upload_time=when)


def publish(store: Store, *versions: str, project: str = "app", days_old: int = 400) -> None:
    for version in versions:
        put(store, *wheels.wheel(project, version), days_old=days_old)


def environment(store: Store, number: int, *requirements: str, lock: str | None = None) -> None:
    revision = Revision(name="ml", number=number, requirements=requirements, change="made", lock=lock)
    put(store, revision.filename, environment_wheel.to_wheel(revision))


def run(store: Store, rules: Rules, counted: Counted = NOTHING_COUNTED, *, now: datetime = NOW) -> list[Step]:
    """Plan and apply."""
    steps = pruning.plan(store, rules, counted, now=now)
    assert list(pruning.apply(store, steps, now=now)) == [
        (step.action, name, step.why) for step in steps if step.action != "keep" for name in step.filenames
    ]
    return steps


def chosen(steps: list[Step], action: str = "yank") -> list[str]:
    return [step.version for step in steps if step.action == action]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(keep=1), ["1.0.0", "1.0.1", "1.1.0"]),
        (Rules(keep=2), ["1.0.0"]),
        (Rules(prereleases=90 * DAY), ["1.1.0rc1", "2.0.0a1"]),
        (Rules(keep=3, prereleases=500 * DAY), []),
        (Rules(keep=1, projects=("other-*",)), []),
        (Rules(unused=10 * DAY), []),  # nothing was counted
    ],
)
def test_rules_select_releases(store: Store, rules: Rules, expected: list[str]) -> None:
    publish(store, "1.0.0", "1.0.1", "1.0.2", "1.1.0rc1", "1.1.0", "1.1.1", "2.0.0a1")
    assert chosen(pruning.plan(store, rules, NOTHING_COUNTED, now=NOW)) == expected


def test_a_release_is_unused_only_if_installs_were_counted_for_so_long(store: Store) -> None:
    publish(store, "1.0", "1.1", "1.2")
    publish(store, "1.3", days_old=5)
    publish(store, "2.0", days_old=300)
    rules = Rules(unused=90 * DAY)
    last = {("app", "1.1"): NOW.date() - 89 * DAY, ("app", "1.2"): NOW.date() - 91 * DAY}
    counted = Counted(since=NOW.date() - 90 * DAY, days=last)
    assert chosen(pruning.plan(store, rules, counted, now=NOW)) == ["1.0", "1.2"]
    for since, until in ((89, 0), (90, 2)):
        counted = Counted(since=NOW.date() - since * DAY, until=NOW.date() - until * DAY, days=last)
        assert pruning.plan(store, rules, counted, now=NOW) == []


def test_what_could_be_installed_in_a_gap_after_its_yank_is_not_removed(store: Store) -> None:
    publish(store, "1.0.0", "1.0.1")
    assert chosen(run(store, Rules(keep=1))) == ["1.0.0"]
    later = NOW + 40 * DAY
    for since, until, expected in ((29, 0, "without a gap only since"), (400, 3, "not been counted since")):
        counted = Counted(since=later.date() - since * DAY, until=later.date() - until * DAY)
        (step,) = run(store, Rules(keep=1), counted, now=later)
        assert step.action == "keep"
        assert expected in step.why
    counted = Counted(since=later.date() - 30 * DAY)
    assert chosen(run(store, Rules(keep=1), counted, now=later), "remove") == ["1.0.0"]


def test_the_latest_release_stays_also_if_all_are_prereleases(store: Store) -> None:
    publish(store, "1.0a1", "1.0a2")
    assert chosen(pruning.plan(store, Rules(prereleases=DAY), NOTHING_COUNTED, now=NOW)) == ["1.0a1"]


@pytest.mark.parametrize(
    ("requirements", "lock"), [(("App==1.0",), None), (("app===1.0.0",), None), (("app>1",), LOCK)]
)
def test_what_an_environment_names_stays_in_any_of_its_revisions(
    store: Store, requirements: tuple[str, ...], lock: str | None
) -> None:
    publish(store, "1.0.0", "1.0.1", "1.0.2")
    environment(store, 1, *requirements, lock=lock)
    environment(store, 2, "other")
    steps = run(store, Rules(keep=1))
    assert (chosen(steps), chosen(steps, "keep")) == (["1.0.1"], ["1.0.0"])
    assert "ml@1" in steps[0].why
    store.set_status("ppm-env-ml", "archived")  # as `env delete` does
    assert chosen(pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)) == ["1.0.0"]


def test_revisions_of_environments_stay(store: Store) -> None:
    for number in (1, 2, 3):
        environment(store, number, "app")
    assert pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW) == []


def test_a_yanked_release_is_removed_after_the_waiting_time(store: Store) -> None:
    rules = Rules(keep=1, wait=30 * DAY)
    publish(store, "1.0.0", "1.0.1")
    put(store, *wheels.sdist("app", "1.0.0"))
    assert chosen(run(store, rules)) == ["1.0.0"]
    assert [file.yanked for file in store.read("app").files] == [
        *["Pruned: not among the newest 1 of 1.0"] * 2,
        None,
    ]
    assert run(store, rules, now=NOW + 29 * DAY) == []
    assert chosen(run(store, rules, now=NOW + 30 * DAY), "remove") == ["1.0.0"]
    assert [file.record.version for file in store.read("app").files] == ["1.0.1"]
    assert store.volume.pruned.read_text() == "{}\n"


def test_what_was_unyanked_installed_or_named_meanwhile_is_not_removed(store: Store) -> None:
    rules = Rules(keep=1, wait=30 * DAY)
    publish(store, "1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4")
    assert chosen(run(store, rules)) == ["1.0.0", "1.0.1", "1.0.2", "1.0.3"]
    store.unyank("app", "1.0.0")
    environment(store, 1, "app==1.0.1")
    counted = Counted(since=NOW.date(), days={("app", "1.0.2"): NOW.date() + DAY})
    for days in (1, 31):
        steps = run(store, rules, counted, now=NOW + days * DAY)
    assert chosen(steps, "remove") == ["1.0.3"]
    assert {step.version: step.why for step in steps if step.action == "keep"} == {
        "1.0.0": "it was unyanked after an earlier run",
        "1.0.1": "the environment ml@1 names it",
        "1.0.2": "it was installed on 2026-06-02, after the yank",
    }


def test_what_another_node_unyanked_is_not_removed(here: Store, other: Store) -> None:
    publish(here, "1.0.0", "1.0.1")
    (step,) = run(here, Rules(keep=1, wait=DAY))
    other.unyank("app", "1.0.0")
    assert list(pruning.apply(here, [replace(step, action="remove")])) == []
    assert [file.yanked for file in here.read("app").files] == [None, None]


def test_what_became_the_latest_after_its_yank_is_not_removed(store: Store) -> None:
    publish(store, "1.0.0", "1.0.1", "1.1.0a1")
    assert chosen(run(store, Rules(keep=1))) == ["1.0.0"]
    store.yank("app", "1.0.1", "broken")
    (step,) = run(store, Rules(keep=1), now=NOW + 31 * DAY)
    assert (step.version, step.action, step.why) == ("1.0.0", "keep", "no newer release is left")  # 1.1.0a1 is none
    store.unyank("app", "1.0.1")
    assert chosen(run(store, Rules(keep=1), now=NOW + 31 * DAY), "remove") == ["1.0.0"]


def test_what_was_changed_since_the_plan_is_left_to_the_next(store: Store) -> None:
    publish(store, "1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4", "1.0.5")
    rules = Rules(keep=1)
    run(store, rules)
    steps = pruning.plan(store, rules, NOTHING_COUNTED, now=NOW + 31 * DAY)
    assert chosen(steps, "remove") == ["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4"]
    store.remove("app", "1.0.0")
    store.unyank("app", "1.0.1")
    environment(store, 1, "app==1.0.2")
    changes = pruning.apply(store, steps, now=NOW + 31 * DAY)
    assert next(changes)[:2] == ("remove", "app-1.0.3-py3-none-any.whl")
    changes.close()  # what was done is noted, also after an error
    assert "app-1.0.3-py3-none-any.whl" not in store.volume.pruned.read_text()
    assert "app-1.0.4-py3-none-any.whl" in store.volume.pruned.read_text()


def test_a_yank_by_a_person_is_never_followed_by_a_removal(store: Store) -> None:
    """Not even with the reason of a run: a publisher may yank, and not remove."""
    publish(store, "1.0.0", "1.0.1")
    store.yank("app", "1.0.0", "Pruned: not among the newest 1 of 1.0")
    assert run(store, Rules(keep=1), now=NOW + 999 * DAY) == []
    store.unyank("app", "1.0.0")
    assert chosen(run(store, Rules(keep=1))) == ["1.0.0"]
    store.unyank("app", "1.0.0")
    store.yank("app", "1.0.0", "broken")
    assert run(store, Rules(keep=1), now=NOW + 999 * DAY) == []


def test_an_interrupted_run_is_continued_by_the_next(store: Store) -> None:
    publish(store, "1.0.0", "1.0.1", "1.0.2")
    rules = Rules(keep=1)
    changes = pruning.apply(store, pruning.plan(store, rules, NOTHING_COUNTED, now=NOW), now=NOW)
    next(changes)
    changes.close()
    assert chosen(run(store, rules)) == ["1.0.1"]
    assert chosen(run(store, rules, now=NOW + 30 * DAY), "remove") == ["1.0.0", "1.0.1"]


def test_a_damaged_list_or_lock_stops_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "1.0.0", "1.0.1")
    for damaged in ("", "[1]", '{"a": 1}', '{"a": {"yanked": "yesterday"}}'):
        store.volume.pruned.write_text(damaged)
        with pytest.raises(PpmError, match="is not a list"):
            pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)
    store.volume.pruned.unlink()
    environment(store, 1, "app", lock=LOCK)
    monkeypatch.setattr(
        named_releases, "read_forms", lambda _path: {"pylock.toml": b"packages = 1", "requirements.txt": b""}
    )
    with pytest.raises(PpmError, match="ml@1 can't be read, so nothing is pruned"):
        pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)


def test_a_damaged_revision_of_an_environment_stops_it(store: Store) -> None:
    publish(store, "1.0.0", "1.0.1")
    environment(store, 1, "app==1.0.0")
    name = store.read("ppm-env-ml").files[0].filename
    path = project_folder.locate(store.volume, "ppm-env-ml", name)
    content = path.read_bytes()
    for damaged in (content[:-40], content.replace(b"ppm-env/", b"ppm-enw/")):
        path.chmod(0o644)
        path.write_bytes(damaged)
        with pytest.raises(PpmError, match=f"{name} is damaged or missing, so nothing is pruned"):
            pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)
    path.write_bytes(content)
    assert chosen(pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW), "keep") == ["1.0.0"]
    store.volume.side_file("ppm-env-ml", name, RECORD).write_text("damaged")
    with pytest.raises(PpmError, match=f"{name} has no record, so nothing is pruned"):
        pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)


def test_a_wheel_that_only_has_the_name_of_a_revision_names_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, "1.0.0", "1.0.1")
    monkeypatch.setattr(environment_wheel, "check", lambda *_values: RevisionHead(number=1, shared=False))
    put(store, *wheels.wheel("ppm-env-ml", "1"))
    assert environment_files.revisions(store.read("ppm-env-ml"))
    assert chosen(pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)) == ["1.0.0"]


def test_a_revision_that_is_removed_meanwhile_names_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "1.0.0", "1.0.1")
    environment(store, 1, "app==1.0.0")
    (file,) = store.read("ppm-env-ml").files

    def removed(_path: object) -> dict[str, bytes]:
        store.remove("ppm-env-ml", file.filename)
        raise FileNotFoundError

    monkeypatch.setattr(named_releases, "read_forms", removed)
    assert chosen(pruning.plan(store, Rules(keep=1), NOTHING_COUNTED, now=NOW)) == ["1.0.0"]
