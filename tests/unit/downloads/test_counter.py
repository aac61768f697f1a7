"""Tests of counting: each line of a log once, whatever happens to the log and to the process."""

from __future__ import annotations

import gzip
import logging
import os
import random
import shutil
import sqlite3
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ppmctl.downloads import counter, database, log_file, report, request_line, tally, traffic, usage
from ppmctl.downloads.counter import Counter
from ppmctl.downloads.request_log import RequestLog
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

WHEEL = "sea_maps-1.0-py3-none-any.whl"
PATH = f"/packages/sea-maps/{WHEEL}"
PIP = 'pip/26.0.1 {"ci":true,"python":"3.13.2"}'
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
YESTERDAY = NOON.date()


def line(
    path: str = PATH,
    *,
    status: int = 200,
    sent: int = 100,
    length: int | None = 100,
    method: str = "GET",
    agent: str = PIP,
    part: str = "",
    at: datetime = NOON,
    second: float = 0,
) -> bytes:
    return request_line.line(
        time=at.timestamp() + second,
        sent=sent,
        length=length,
        status=status,
        method=method,
        path=path,
        agent=agent,
        content_range=part,
    )


def lines(number: int, start: int = 0) -> bytes:
    """Return so many installs, each with another time."""
    return b"".join(line(second=(start + each) / 1000) for each in range(number))


@pytest.fixture
def log(volume: Volume) -> Path:
    volume.requests.parent.mkdir()
    return volume.requests


@pytest.fixture
def count(volume: Volume) -> Callable[[], int]:
    """Count, and return how many installs there are now."""

    def count() -> int:
        assert Counter(volume).count() is not None
        return report.read(volume).installs

    return count


def test_what_is_an_install(volume: Volume, log: Path) -> None:
    log.write_bytes(
        line()
        + line(agent="uv/0.11.4")
        + line(agent="bandersnatch/7.0")
        + line(f"{PATH}.metadata")
        + line(method="HEAD", sent=0)
        + line(status=304, sent=0, length=None)
        + line(sent=99)
        + line(status=404)
        + line(status=206, sent=50, length=50, part="bytes 50-99/100", agent="x")
        + line("/simple/sea-maps/")
        + line("/env/tools/requirements.txt")
        + line(f"/project/sea-maps/files/{WHEEL}", agent="Mozilla/5.0")
        + line("/legacy/", method="POST", length=None)
    )
    counted = Counter(volume).count()
    assert counted is not None
    assert (counted.lines, counted.broken) == (13, 0)
    found = report.read(volume)
    assert found.days == {YESTERDAY: 3}
    assert (found.mirrors, found.metadata, found.in_ci) == (1, 1, 1)
    assert found.clients == {"pip": 1, "uv": 1, "browser": 1}
    assert found.pythons == {"3.13": 1, "unknown": 2}
    assert [(each.name, each.installs, each.last) for each in found.entries] == [("sea-maps", 3, YESTERDAY)]
    of_project = report.read(volume, project="sea-maps")
    assert [(each.name, each.installs) for each in of_project.entries] == [(WHEEL, 3)]
    assert [(each.name, each.installs) for each in of_project.releases] == [("1.0", 3)]
    assert traffic.totals(volume) == {
        ("file", 200): 5, ("file", 304): 1, ("file", 404): 1, ("file", 206): 1, ("metadata", 200): 1,
        ("page", 200): 1, ("environment", 200): 1, ("web", 200): 1, ("other", 200): 1,
    }  # fmt: skip


def test_a_redirect_to_the_bucket_is_an_install(log: Path, count: Callable[[], int]) -> None:
    """Another redirect is none: to a project's other name, or to the upstream index."""
    log.write_bytes(
        line(status=302, sent=39, length=39)
        + line(f"/project/sea-maps/files/{WHEEL}", status=302)
        + line("/simple/other/", status=302)
        + line(status=301)
    )
    assert count() == 1


@pytest.mark.parametrize(
    ("parts", "installs"),
    [
        ([(0, 60), (60, 40)], 1),
        ([(0, 60), (50, 50)], 1),
        ([(0, 100)], 1),
        ([(0, 30), (30, 30), (60, 40)], 1),
        ([(0, 60), (60, 30), (90, 10)], 1),
        ([(60, 40)], 0),
        ([(0, 60), (70, 30)], 0),
        ([(0, 60)], 0),
        ([(0, 60), (60, 40), (0, 60), (60, 40)], 2),
        ([(50, 50), (0, 50)], 0),
    ],
    ids=str,
)
def test_parts_that_together_are_the_file_are_an_install(
    log: Path, count: Callable[[], int], parts: list[tuple[int, int]], installs: int
) -> None:
    """An interrupted download and its rest are one, also if each is counted in another run."""
    for start, sent in parts:
        with log.open("ab") as file:
            file.write(line(status=206, sent=sent, length=sent, part=f"bytes {start}-{start + sent - 1}/100"))
        count()
    assert count() == installs


def test_an_interrupted_download_that_is_resumed_is_one_install(log: Path, count: Callable[[], int]) -> None:
    log.write_bytes(line(sent=60) + line(status=206, sent=40, length=40, part="bytes 60-99/100"))
    assert count() == 1
    with log.open("ab") as file:
        file.write(line(sent=60) + line(status=206, sent=40, length=40, part="bytes 60-99/100", agent="uv/0.11.4"))
    assert count() == 1, "another client"


def test_new_lines_are_counted_once(volume: Volume, log: Path, count: Callable[[], int]) -> None:
    log.write_bytes(lines(3))
    assert count() == 3
    assert count() == 3
    with log.open("ab") as file:
        file.write(lines(2, 3))
    assert count() == 5
    with log.open("ab") as file:
        file.write(lines(2, 5)[:-10])
    assert count() == 6, "half a line waits"
    with log.open("ab") as file:
        file.write(lines(2, 5)[-10:] + lines(1, 7))
    assert count() == 8
    assert volume.downloads.stat().st_mode & 0o777 == 0o640


def test_renamed_and_created_logs(log: Path, count: Callable[[], int]) -> None:
    """Workers of nginx still write to the renamed file for a moment."""
    log.write_bytes(lines(3))
    assert count() == 3
    with log.open("ab") as worker:
        log.rename(f"{log}.1")
        log.write_bytes(lines(2, 10))
        assert count() == 5
        worker.write(lines(1, 3))
    assert count() == 6
    Path(f"{log}.1").rename(f"{log}.2")
    log.rename(f"{log}.1")
    log.write_bytes(b"")
    assert count() == 6
    Path(f"{log}.2").rename(f"{log}-{YESTERDAY:%Y%m%d}")
    assert count() == 6


def test_copied_and_truncated_logs(log: Path, count: Callable[[], int]) -> None:
    log.write_bytes(lines(3))
    assert count() == 3
    with log.open("ab") as file:
        file.write(lines(2, 3))
    shutil.copy(log, f"{log}.1")
    os.truncate(log, 0)
    assert count() == 5
    with log.open("ab") as file:
        file.write(lines(4, 10))
    assert count() == 9, "the new beginning is another log"
    with log.open("ab") as file:
        file.write(lines(4, 20))
    assert count() == 13


@pytest.mark.parametrize("grown", [0, 1, 20], ids=["shorter", "one line more", "longer than before"])
def test_logs_that_are_cut_in_the_middle(log: Path, count: Callable[[], int], grown: int) -> None:
    """Lines up to the last time were counted; newer ones were not."""
    log.write_bytes(lines(10))
    assert count() == 10
    os.truncate(log, len(lines(4)))
    with log.open("ab") as file:
        file.write(lines(grown, 10))
    assert count() == 10 + grown
    with log.open("ab") as file:
        file.write(lines(2, 50))
    assert count() == 12 + grown


def test_compressed_rotated_logs(log: Path, count: Callable[[], int]) -> None:
    log.write_bytes(lines(30))
    assert count() == 30
    with log.open("ab") as file:
        file.write(lines(2, 30))
    Path(f"{log}.2.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.write_bytes(lines(1, 90))
    assert count() == 33
    assert count() == 33
    Path(f"{log}.2.gz").rename(f"{log}.3.gz")
    Path(f"{log}.4.gz").write_bytes(gzip.compress(lines(5, 200)))
    assert count() == 38


def test_a_log_that_is_put_back_is_not_counted_again(log: Path, count: Callable[[], int]) -> None:
    log.write_bytes(lines(30))
    assert count() == 30
    kept = log.read_bytes()
    log.write_bytes(lines(1, 40))
    assert count() == 31
    Path(f"{log}.5").write_bytes(kept)
    assert count() == 31
    Path(f"{log}.6").write_bytes(kept[: len(lines(20))])
    assert count() == 31, "nor a part of it"
    Path(f"{log}.5").write_bytes(kept + lines(1, 30))
    assert count() == 32


def test_damaged_and_foreign_files(volume: Volume, log: Path, caplog: pytest.LogCaptureFixture) -> None:
    log.write_bytes(lines(2))
    Path(f"{log}.1.gz").write_bytes(gzip.compress(lines(50, 50))[:-40])
    os.mkfifo(f"{log}.2")
    Path(f"{log}.3").mkdir()
    Path(f"{log}.old").write_bytes(lines(50, 200))
    counted = Counter(volume).count()
    assert counted is not None
    assert report.read(volume).installs == 2
    assert {each.partition(":")[0] for each in counted.unreadable} == {f"{log}.1.gz", f"{log}.2", f"{log}.3"}


def test_a_log_that_is_renamed_after_it_was_listed(
    volume: Volume, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(lines(2))
    monkeypatch.setattr(log_file, "found", lambda log: [log.with_name("gone"), log])
    counted = Counter(volume).count()
    assert counted is not None
    assert (counted.lines, counted.unreadable) == (2, ())


def test_a_failed_run_is_logged_once_and_tried_again(
    volume: Volume, log: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log.write_bytes(lines(2))
    tried = Counter(volume)
    stop = threading.Event()
    outcomes: list[Exception | None] = [ValueError("a bug"), ValueError("a bug"), OSError("a disk"), None]

    def count() -> None:
        outcome = outcomes.pop(0)
        if not outcomes:
            stop.set()
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(tried, "count", count)
    tried.run(every=0.001, stop=stop)
    assert outcomes == []
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["a bug", "a disk"]


def test_hostile_lines(volume: Volume, log: Path) -> None:
    """Nothing that a client can get into a log, or a damaged disk, breaks the counting or counts something else."""
    good = line(agent="pip/1.0")
    hostile = [
        b"",
        b"\n",
        b"\t\t\t\t\t\t\t",
        b"GET / HTTP/1.1",
        b"\xff\xfe\x00" * 300,
        good[:30],
        good.replace(b"\t100\t", b"\t" + b"9" * 5_000 + b"\t"),
        b"99999999999.000" + good[14:],
        b"-1" + good[2:],
        b"0000000000.000" + good[14:],
        good[:-1] + b"\textra",
        line(agent="x" * (1 << 20)),
        line("/packages/sea-maps/" + "x" * (1 << 20)),
        line(agent=f"x\n{good.decode()}"),
        line(f"{PATH}\t200\tGET\t{PATH}"),
        line(method="GET\t/x"),
        line(status=206, sent=0, length=0, part="bytes 0-0/0", agent="\x00"),
        b"x" * (3 << 20),
    ]
    log.write_bytes(b"\n".join(each.removesuffix(b"\n") for each in [*hostile, good, *hostile, good]) + b"\n")
    counted = Counter(volume).count()
    assert counted is not None
    found = report.read(volume)
    assert found.clients["pip"] == 2
    assert found.installs <= 6
    assert counted.broken > 20
    assert {kind for kind, _status in traffic.totals(volume)} <= set(request_line.KINDS)


def test_random_bytes_break_nothing(volume: Volume, log: Path) -> None:
    chance = random.Random(18)
    alphabet = [
        b"\t",
        b"\n",
        b"200",
        b"GET",
        PATH.encode(),
        b"1764478800.123",
        b"\\",
        b'"',
        b"{",
        b"\xff",
        b"bytes 0-9/10",
    ]
    log.write_bytes(b"".join(chance.choices(alphabet, k=50_000)))
    counted = Counter(volume).count()
    assert counted is not None
    assert counted.lines + counted.broken > 1_000


def test_lines_over_the_size_of_a_block(log: Path, count: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks end anywhere; lines that are too long are left out, and the ones after them are not."""
    monkeypatch.setattr(log_file, "_CHUNK", 700)
    monkeypatch.setattr(log_file, "_LONGEST_LINE", 2_000)
    log.write_bytes(lines(20) + b"x" * 9_000 + b"\n" + lines(20, 20) + b"y" * 5_000)
    assert count() == 40
    with log.open("ab") as file:
        file.write(b"y" * 5_000 + b"\n" + lines(3, 40) + line(agent="z" * 1_500))
    assert count() == 44
    log.rename(f"{log}.1")
    assert count() == 44


def test_a_crash_counts_nothing_twice(volume: Volume, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may end at any point: before and after each transaction, and within."""
    monkeypatch.setattr(log_file, "_CHUNK", 1_000)
    log.write_bytes(lines(40))
    move, crashes = counter._Positions.move, iter(range(1, 100))

    def crash(*arguments: object) -> object:
        if next(crashes) % 3 == 0:
            raise KeyboardInterrupt
        made = move(*arguments)  # type: ignore[arg-type]  # the arguments are those of move
        if next(crashes) % 5 == 0:
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(counter._Positions, "move", crash)
    for _attempt in range(60):
        with pytest.MonkeyPatch.context():
            try:
                if Counter(volume).count() is not None:
                    break
            except KeyboardInterrupt:
                continue
    assert report.read(volume).installs == 40
    assert sum(traffic.totals(volume).values()) == 40


def test_only_one_process_counts(volume: Volume, log: Path) -> None:
    from ppmctl import files

    log.write_bytes(lines(1))
    held = files.try_lock(volume.downloads_lock)
    assert held is not None
    assert Counter(volume).count() is None
    os.close(held)
    assert Counter(volume).count() is not None


def test_clients_are_bounded(volume: Volume, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_MOST_CLIENTS", 10)
    monkeypatch.setattr(tally, "_CACHED", 5)
    log.write_bytes(b"".join(line(agent=f"pip/{number}.0") for number in range(100)))
    Counter(volume).count()
    assert report.read(volume).clients == {"pip": 100}
    with database.reading(volume) as connection:
        assert connection is not None
        assert connection.execute("SELECT count(*) FROM clients").fetchone() == (11,)


def test_remembered_logs_and_parts_are_bounded(volume: Volume, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter, "_MOST_LOGS", 3)
    monkeypatch.setattr(tally, "_MOST_PARTS", 3)
    for number in range(8):
        log.unlink(missing_ok=True)
        log.write_bytes(line(agent=f"x/{number}", sent=5, second=number))
        Counter(volume).count()
    with database.reading(volume) as connection:
        assert connection is not None
        assert connection.execute("SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM parts)").fetchone() == (
            3,
            3,
        )


def test_old_days_are_added_up_by_month(volume: Volume, log: Path) -> None:
    old = datetime(2024, 3, 9, 12, tzinfo=UTC)
    log.write_bytes(b"".join(line(at=old + timedelta(days=day)) for day in range(30)) + lines(2))
    Counter(volume).count()
    found = report.read(volume)
    assert found.days == {date(2024, 3, 1): 23, date(2024, 4, 1): 7, YESTERDAY: 2}
    assert found.months == {"2024-03": 23, "2024-04": 7, f"{YESTERDAY:%Y-%m}": 2}
    assert found.since == date(2024, 3, 9)
    assert report.read(volume, start=YESTERDAY).installs == 2


def test_last_installs(volume: Volume, log: Path) -> None:
    assert usage.last_installs(volume).since is None
    assert usage.last_installs(volume).of("sea-maps", "1.0") is None
    later = NOON + timedelta(days=1)
    log.write_bytes(
        line(at=later)
        + line()
        + line(PATH.replace("1.0", "2.0+a.1"))
        + line(PATH.replace("1.0", "3.0"), agent="bandersnatch/7")
    )
    Counter(volume).count()
    installs = usage.last_installs(volume)
    assert installs.since == installs.until == database.day_of(database.today())
    assert installs.of("sea-maps", "1.0") == later.date()
    assert installs.of("sea-maps", "2.0+a.1") == YESTERDAY
    assert installs.of("sea-maps", "3.0") is None, "only by a mirror"


DAY = timedelta(days=1)


def test_what_was_installed_in_a_gap_is_not_known(
    volume: Volume, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While the log is there that was read last, a pause is no gap; after a month the clock must have been wrong."""
    today = database.day_of(database.today())

    def since(*, paused: float, text: bytes, mode: str = "ab") -> date | None:
        """Return since when installs are known, if they were counted for 100 days and then not for some."""
        with database.writing(volume) as connection:
            seconds = 100 * 86_400, int(paused * 86_400)
            connection.execute("UPDATE counted SET first = last - ?, last = last - ?", seconds)
        with log.open(mode) as file:
            file.write(text)
        assert Counter(volume).count() is not None
        return usage.last_installs(volume).since

    log.write_bytes(lines(1))
    Counter(volume).count()
    assert since(paused=0.9, text=line(agent="x"), mode="wb") == today - 100 * DAY
    assert since(paused=29, text=b"") == today - 100 * DAY
    assert since(paused=29, text=line(second=1)) == today - 100 * DAY
    log.rename(log.with_name(f"{log.name}.1"))
    assert since(paused=3, text=line(second=2)) == today - 100 * DAY
    assert caplog.text == ""
    log.with_name(f"{log.name}.1").unlink()
    assert since(paused=3, text=line(agent="y", second=3), mode="wb") == today
    assert "not counted for 3 days" in caplog.text
    assert since(paused=31, text=b"") == today
    gap = usage.last_installs(volume).gap
    assert gap(today, today) == ""
    assert f"without a gap only since {today}" in gap(today - DAY, today)
    assert f"not been counted since {today}" in gap(today - DAY, today + 2 * DAY)


def test_counting_that_fails_is_a_gap(volume: Volume, log: Path) -> None:
    assert "No downloads have been counted" in usage.last_installs(volume).gap(YESTERDAY, YESTERDAY)
    log.write_bytes(line(at=datetime(1970, 1, 3, tzinfo=UTC)))  # the clock was wrong
    Counter(volume).count()
    known = usage.last_installs(volume)
    assert known.since == known.until == database.day_of(database.today())
    with database.writing(volume) as connection:
        connection.execute("UPDATE counted SET last = last - 5 * 86400, first = last - 9 * 86400")
    log.with_name(f"{log.name}.1.gz").write_bytes(b"\x1f\x8bdamaged")
    counted = Counter(volume).count()
    assert counted is not None
    assert counted.unreadable
    assert usage.last_installs(volume).until == known.until - 5 * DAY


def test_an_old_log_of_the_server_says_nothing_about_the_log_of_nginx(
    volume: Volume, log: Path, tmp_path: Path
) -> None:
    """The server's thread reads the log that it wrote before nginx was in front."""
    nginx = tmp_path / "nginx.log"
    log.write_bytes(lines(1))
    nginx.write_bytes(lines(1, 1))
    server, timer = Counter(volume), Counter(volume, [nginx])
    server.count()
    timer.count()
    with database.writing(volume) as connection:
        connection.execute("UPDATE counted SET last = last - 3 * 86400, first = last - 9 * 86400")
    before = usage.last_installs(volume)
    server.count()
    assert usage.last_installs(volume) == before, "nothing is known of nginx's log"
    with nginx.open("ab") as file:
        file.write(lines(1, 2))
    timer.count()
    after = usage.last_installs(volume)
    assert after.since == before.since, "no gap"
    assert after.until == database.day_of(database.today())


def test_a_log_with_a_time_that_is_to_come_is_not_the_one_in_use(volume: Volume, log: Path) -> None:
    old = log.with_name(f"{log.name}.1")
    old.write_bytes(line(at=NOON + 1000 * DAY))
    log.write_bytes(lines(1))
    Counter(volume).count()
    with database.writing(volume) as connection:
        connection.execute("UPDATE counted SET last = last - 3 * 86400, first = last - 9 * 86400")
    before = usage.last_installs(volume).since
    old.unlink()
    Counter(volume).count()
    assert usage.last_installs(volume).since == before
    assert usage.last_installs(volume).until == database.day_of(database.today())


@pytest.mark.parametrize(
    ("age", "counted_again", "is_gap"),
    [(7, True, False), (4, True, True), (0.5, False, False)],
    ids=["counted before", "lost", "may be repaired"],
)
def test_a_rotated_log_that_stays_unreadable_ends_nothing_for_ever(
    volume: Volume, log: Path, age: float, counted_again: bool, is_gap: bool
) -> None:
    log.write_bytes(lines(1))
    Counter(volume).count()
    with database.writing(volume) as connection:
        connection.execute("UPDATE counted SET last = last - 5 * 86400, first = last - 9 * 86400")
    before = usage.last_installs(volume)
    damaged = log.with_name(f"{log.name}.3.gz")
    damaged.write_bytes(b"\x1f\x8bdamaged")
    changed = datetime.now(UTC).timestamp() - age * 86_400
    os.utime(damaged, (changed, changed))
    for _run in range(2):
        Counter(volume).count()
    today = database.day_of(database.today())
    after = usage.last_installs(volume)
    assert after.until == (today if counted_again else before.until)
    assert after.since == (today if is_gap else before.since)


def test_a_log_in_use_that_is_unreadable_is_never_counted(volume: Volume, log: Path) -> None:
    log.mkdir()
    os.utime(log, (1, 1))
    Counter(volume).count()
    assert usage.last_installs(volume).until is None


def test_counts_of_an_older_release_are_kept(volume: Volume, log: Path, count: Callable[[], int]) -> None:
    log.write_bytes(lines(1))
    count()
    with database.writing(volume) as connection:
        connection.execute("DROP TABLE counted")
    assert usage.last_installs(volume).since is traffic.last_run(volume) is None
    assert count() == 1
    assert usage.last_installs(volume).since is not None
    assert traffic.last_run(volume) == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


def test_what_a_limited_reader_sees(volume: Volume, log: Path) -> None:
    log.write_bytes(lines(2) + line("/packages/hidden/hidden-1.0.tar.gz", agent="uv/0.1"))
    Counter(volume).count()
    found = report.read(volume, may_read=lambda project: project == "sea-maps")
    assert (found.installs, dict(found.clients), [each.name for each in found.entries]) == (
        2,
        {"pip": 2},
        ["sea-maps"],
    )
    assert report.read(volume, project="hidden", may_read=lambda project: project == "sea-maps").installs == 0
    assert report.Downloads.from_json(found.to_json()) == found
    of_project = report.read(volume, project="hidden", start=YESTERDAY)
    assert report.Downloads.from_json(of_project.to_json()) == of_project


def test_reports_of_all_projects_are_kept_until_something_is_counted(volume: Volume, log: Path) -> None:
    reports = report.Reports(volume)
    assert reports.read(None, None, None).installs == 0
    log.write_bytes(lines(2))
    Counter(volume).count()
    first = reports.read(None, None, None)
    assert first.installs == 2
    assert reports.read(None, None, None) is first
    assert [reports.read(None, date(2020, 1, day), None).installs for day in range(1, 12)] == [2] * 11
    with log.open("ab") as file:
        file.write(lines(1, 2))
    Counter(volume).count()
    assert reports.read(None, None, None).installs == 3
    assert reports.read("sea-maps", None, None).installs == 3


def test_damaged_counts_are_an_error_with_a_remedy(volume: Volume, log: Path) -> None:
    log.write_bytes(lines(2))
    Counter(volume).count()
    content = volume.downloads.read_bytes()
    volume.downloads.write_bytes(b"x" * 5_000)
    with pytest.raises(PpmError, match=r"can't be used") as caught:
        report.read(volume)
    assert f"mv {volume.downloads}" in caught.value.hint
    with pytest.raises(PpmError, match=r"can't be used"):
        Counter(volume).count()
    volume.downloads.write_bytes(content)
    with sqlite3.connect(volume.downloads) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(PpmError, match="not a file with counts of this release"):
        report.read(volume)


def test_the_log_of_a_server(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It begins a new log when one is large, and keeps two; a log that can't be written is reported once."""
    monkeypatch.setattr("ppmctl.downloads.request_log.LARGEST", 2_000)
    monkeypatch.setattr("ppmctl.downloads.request_log._CHECKED_EVERY", 500)
    written = RequestLog(volume)
    for number in range(100):
        written.write(line(second=number))
        Counter(volume).count()
    assert report.read(volume).installs == 100
    assert {path.name for path in volume.requests.parent.iterdir()} == {
        f"requests.log{end}" for end in ("", ".1", ".2")
    }
    shutil.rmtree(volume.requests.parent)
    volume.requests.parent.touch()
    with caplog.at_level(logging.WARNING):
        written.write(line())
        written.write(line())
    assert len(caplog.records) == 1
    assert "Downloads are not counted" in caplog.text


def test_memory_does_not_grow_with_the_log(volume: Volume, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "_CHUNK", 100_000)
    monkeypatch.setattr(tally, "_CACHED", 100)
    with log.open("wb") as file:
        for number in range(150):
            file.write(b"".join(line(agent=f"{PIP} {number}.{each}", second=number) for each in range(100)))
    tracemalloc.start()
    try:
        Counter(volume).count()
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.read(volume).installs == 15_000
    assert peak < log.stat().st_size / 2
