"""Comparisons with the bucket: how often, how many at once, what they mark, and what happens while it is away."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import evidence

from ppmctl.index import freshness as freshness_module
from ppmctl.index.freshness import ROOT, Freshness
from ppmctl.index.layout import Volume
from ppmctl.index.pages import JSON_PAGE
from ppmctl.storage.bucket import Missing, Unavailable


class Bucket:
    """What `pull` asks: the times at which it was asked, and what it does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.does: Callable[[str], object] = lambda project: None

    def pull(self, project: str) -> None:
        self.asked.append(project)
        self.does(project)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def away(_project: str) -> None:
    raise Unavailable("The bucket does not answer.")


def waiting(begun: threading.Event, goes_on: threading.Event) -> Callable[[str], object]:
    """Return what tells that it has begun, and then waits."""

    def wait(_project: str) -> None:
        begun.set()
        goes_on.wait(10)

    return wait


def has_page(volume: Volume, project: str) -> None:
    volume.pages(project).mkdir(parents=True)
    (volume.pages(project) / JSON_PAGE).write_text("{}")


def test_a_comparison_counts_for_less_than_a_second(volume: Volume, bucket: Bucket) -> None:
    now = [100.0]
    freshness = Freshness(volume, bucket.pull, clock=lambda: now[0])
    for later in (0.0, 0.3, 0.69):
        now[0] = 100.0 + later
        assert freshness.compare("a")
    assert bucket.asked == ["a"]
    assert freshness.compare("b")
    now[0] = 100.91
    assert freshness.compare("a")
    assert bucket.asked == ["a", "b", "a"]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the time, which stands still."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    return now


def mark_of(volume: Volume, project: str, *, since: float, used: float) -> None:
    """Set the times of a project's mark."""
    os.utime(volume.current_mark(project), (used, since), follow_symlinks=False)


@pytest.mark.parametrize(
    ("age", "used", "is_away", "is_renewed"),
    [
        (0.81, 0.8, False, True),
        (0.89, 0.8, False, True),
        (0.85, 0.85, False, False),
        (0.7, 0.6, False, False),
        (0.85, 0.8, True, False),
    ],
)
def test_a_project_that_was_read_is_compared_again_before_its_mark_ends(
    volume: Volume, bucket: Bucket, now: float, age: float, used: float, is_away: bool, is_renewed: bool
) -> None:
    freshness = Freshness(volume, bucket.pull)
    has_page(volume, "a")
    assert freshness.compare("a")
    if is_away:
        bucket.does = away
        assert not freshness.compare("b")
    bucket.asked.clear()
    mark_of(volume, "a", since=now - age, used=now - used)
    assert freshness.sweep()
    evidence.until(lambda: not freshness._running, "the comparison ends")
    assert bucket.asked == (["a"] if is_renewed else [])
    if is_renewed:
        found = volume.current_mark("a").lstat()
        assert found.st_mtime == pytest.approx(now, abs=0.001)
        assert found.st_atime == found.st_mtime, "the next time it has to be used again"


def test_a_read_through_a_mark_uses_it(volume: Volume, bucket: Bucket, now: float) -> None:
    has_page(volume, "a")
    assert Freshness(volume, bucket.pull).compare("a")
    mark_of(volume, "a", since=now - 10, used=now - 10)
    assert (volume.current_mark("a") / "index" / "simple" / "a" / JSON_PAGE).read_text() == "{}"
    found = volume.current_mark("a").lstat()
    assert found.st_atime > found.st_mtime


def test_renewals_leave_threads_for_requests(volume: Volume, bucket: Bucket, now: float) -> None:
    goes_on, names = threading.Event(), [f"p{number}" for number in range(20)]
    freshness = Freshness(volume, bucket.pull)
    for name in names:
        has_page(volume, name)
        assert freshness.compare(name)
    bucket.does = lambda _project: goes_on.wait(10)
    for name in names:
        mark_of(volume, name, since=now - 0.85, used=now - 0.1)
    assert freshness.sweep()
    assert len(freshness._running) == 8
    goes_on.set()


def test_requests_at_the_same_time_share_one_comparison(volume: Volume, bucket: Bucket) -> None:
    freshness, begun, goes_on = Freshness(volume, bucket.pull), threading.Event(), threading.Event()
    bucket.does = waiting(begun, goes_on)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(freshness.compare, "a") for _ in range(8)]
        assert begun.wait(10)
        goes_on.set()
        assert all(answer.result(10) for answer in answers)
    assert bucket.asked == ["a"]


def test_a_comparison_that_began_long_before_a_request_does_not_count_for_it(volume: Volume, bucket: Bucket) -> None:
    now, begun, goes_on = [100.0], threading.Event(), threading.Event()
    freshness = Freshness(volume, bucket.pull, clock=lambda: now[0])
    bucket.does = waiting(begun, goes_on)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(freshness.compare, "a")
        assert begun.wait(10)
        now[0] = 102.0
        second = pool.submit(freshness.compare, "a")
        goes_on.set()
        assert first.result(10)
        assert second.result(10)
    assert bucket.asked == ["a", "a"]


def test_a_mark_is_of_the_begin_and_only_with_a_page(volume: Volume, bucket: Bucket) -> None:
    freshness = Freshness(volume, bucket.pull)
    has_page(volume, "a")
    bucket.does = lambda _project: time.sleep(0.2)
    before = time.time()
    assert freshness.compare("a")
    assert freshness.compare("without-page")
    assert [path.name for path in volume.current.iterdir()] == ["a"]
    assert before - 0.01 <= volume.current_mark("a").lstat().st_mtime <= before + 0.15
    assert freshness.sweep()
    assert not freshness.sweep(age=0.1)
    assert list(volume.current.iterdir()) == []


def test_marks_of_a_killed_process_and_of_another_clock_are_removed(volume: Volume, bucket: Bucket) -> None:
    freshness = Freshness(volume, bucket.pull)
    volume.current.mkdir(parents=True)
    for name, age in (("new", 0.0), ("old", 1.0), ("future", -600.0)):
        volume.current_mark(name).symlink_to("../..")
        os.utime(volume.current_mark(name), (time.time() - age,) * 2, follow_symlinks=False)
    assert freshness.sweep()
    assert [path.name for path in volume.current.iterdir()] == ["new"]
    freshness.sweep(age=0)
    assert list(volume.current.iterdir()) == []


def test_the_list_of_projects_has_a_mark_too(volume: Volume, bucket: Bucket) -> None:
    volume.simple.mkdir(parents=True, exist_ok=True)
    (volume.simple / JSON_PAGE).write_text("{}")
    assert Freshness(volume, bucket.pull).compare(ROOT)
    assert volume.current_mark(ROOT).exists()


def test_while_the_bucket_is_away_one_request_asks_and_the_others_do_not_wait(volume: Volume, bucket: Bucket) -> None:
    freshness, begun, goes_on = Freshness(volume, bucket.pull), threading.Event(), threading.Event()
    has_page(volume, "a")
    bucket.does = away
    assert not freshness.compare("a")
    assert freshness.is_away
    assert not volume.current.exists()

    def hang(project: str) -> None:
        begun.set()
        goes_on.wait(10)
        away(project)

    bucket.does = hang
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(freshness.compare, "a")
        assert begun.wait(10)
        started = time.monotonic()
        assert not any(freshness.compare(project) for project in ("a", "b", "c") * 10)
        assert time.monotonic() - started < 1
        goes_on.set()
        assert not asking.result(10)
    assert bucket.asked == ["a", "a"]
    bucket.does = lambda _project: None
    assert freshness.compare("a")
    assert not freshness.is_away
    assert volume.current_mark("a").exists()


def test_a_comparison_that_takes_long_is_not_waited_for_and_delays_no_other_project(
    volume: Volume, bucket: Bucket
) -> None:
    """As the first of an environment with many revisions, which are fetched: the bucket answers all the time."""
    freshness, begun, goes_on = Freshness(volume, bucket.pull, limit=0.1), threading.Event(), threading.Event()
    bucket.does = waiting(begun, goes_on)
    assert not freshness.compare("many")
    assert not freshness.is_away
    started = time.monotonic()
    assert not any(freshness.compare("many") for _again in range(50))
    assert time.monotonic() - started < 2, "one that takes long already is not waited for again"
    bucket.does = lambda _project: None
    assert freshness.compare("a")
    bucket.does = away
    assert not freshness.compare("b")
    assert freshness.is_away
    bucket.does = lambda _project: None
    assert freshness.compare("b"), "one that began long ago does not keep others from asking the bucket again"
    assert not freshness.is_away
    goes_on.set()


def test_many_comparisons_that_take_long_delay_another_project_by_a_second(
    volume: Volume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness_module, "_THREADS", 2)
    monkeypatch.setattr(freshness_module, "_QUEUE_LIMIT", 0.1)
    freshness, begun, goes_on = Freshness(volume, bucket.pull, limit=20), threading.Barrier(3), threading.Event()
    bucket.does = lambda _project: (begun.wait(10), goes_on.wait(20))
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(freshness.compare, project) for project in ("many", "much")]
        begun.wait(10)
        bucket.does = lambda _project: None
        started = time.monotonic()
        assert not any(freshness.compare("a") for _again in range(20))
        assert time.monotonic() - started < 2
        goes_on.set()
        assert all(each.result(20) for each in slow)
    assert freshness.compare("a")


def test_a_file_that_the_bucket_lost_does_not_show_that_it_is_away(volume: Volume, bucket: Bucket) -> None:
    freshness = Freshness(volume, bucket.pull)

    def lack(_project: str) -> None:
        raise Missing("The bucket does not have it.")

    bucket.does = lack
    assert not freshness.compare("a")
    assert not freshness.is_away


def test_the_bucket_is_asked_although_another_comparison_takes_long(volume: Volume, bucket: Bucket) -> None:
    freshness, begun, goes_on = Freshness(volume, bucket.pull), threading.Event(), threading.Event()
    bucket.does = away
    assert not freshness.compare("a")
    bucket.does = waiting(begun, goes_on)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(freshness.compare, "many")
        assert begun.wait(10)
        bucket.does = lambda _project: None
        assert not freshness.compare("b")
        assert freshness.compare("b", must_ask=True)
        assert not freshness.is_away
        goes_on.set()
        assert slow.result(10)


def test_no_mark_is_set_after_a_comparison_that_took_a_second(
    volume: Volume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_page(volume, "a")
    now = time.time()
    bucket.does = lambda _project: monkeypatch.setattr(time, "time", lambda: now + 1)
    assert Freshness(volume, bucket.pull).compare("a")
    assert not volume.current_mark("a").exists()


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), ValueError("a bug")])
def test_a_failed_comparison_is_tried_again(volume: Volume, bucket: Bucket, error: Exception) -> None:
    freshness = Freshness(volume, bucket.pull)

    def fail(_project: str) -> None:
        raise error

    bucket.does = fail
    if isinstance(error, OSError):
        assert not freshness.compare("a")
    else:
        with pytest.raises(ValueError, match="a bug"):
            freshness.compare("a")
    bucket.does = lambda _project: None
    assert freshness.compare("a")


def test_without_space_for_a_mark_the_application_answers(
    volume: Volume, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_page(volume, "a")
    volume.current.write_text("")  # where the folder should be
    assert Freshness(volume, bucket.pull).compare("a")
    assert not volume.current_mark("a").exists()
