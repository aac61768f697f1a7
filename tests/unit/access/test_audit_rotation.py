"""Rotation of the audit log: when, how much stays, and no line lost or repeated for writers and readers."""

from __future__ import annotations

import json
import multiprocessing
import os
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.evidence import until

from ppmctl import files
from ppmctl.access import audit_log, audit_pages, audit_query, audit_rotation
from ppmctl.access.audit_query import Selection
from ppmctl.access.audit_rotation import Limits
from ppmctl.cli import commands
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ALWAYS = Limits(size=1, files=1_000, days=36_500)


def write(volume: Volume, *whats: str) -> None:
    for what in whats:
        audit_log.write(volume, action="publish", by="ann", origin="192.0.2.1", what=what, result="done")


def names(volume: Volume) -> list[str]:
    return [path.name for path in audit_log.paths(volume)]


def read(volume: Volume) -> list[str]:
    return [entry.what for entry in audit_query.read(volume).entries]


# when, and what stays


def test_a_file_is_rotated_when_it_is_large_enough(volume: Volume) -> None:
    assert audit_rotation.rotate(volume, ALWAYS, now=NOW) is None, "there is none yet"
    write(volume, "a")
    size = volume.audit.stat().st_size
    assert audit_rotation.rotate(volume, Limits(size=size + 1, files=9, days=9)) is None
    rotated = audit_rotation.rotate(volume, Limits(size=size, files=9, days=9999), now=NOW)
    assert rotated == volume.root / "audit-20261130T120000Z.jsonl"
    assert rotated.stat().st_mode & 0o777 == 0o640
    assert not volume.audit.exists()
    write(volume, "b")
    assert (names(volume), read(volume)) == (["audit-20261130T120000Z.jsonl", "audit.jsonl"], ["a", "b"])
    assert volume.audit.stat().st_mode & 0o777 == 0o640


def test_a_file_is_rotated_when_its_first_line_is_old(volume: Volume) -> None:
    write(volume, "a")
    limits = Limits(size=1 << 20, files=9, days=9999)
    later = datetime.now(UTC) + audit_rotation.MAX_AGE
    assert audit_rotation.rotate(volume, limits, now=later - timedelta(minutes=1)) is None
    assert audit_rotation.rotate(volume, limits, now=later + timedelta(minutes=1)) is not None
    volume.audit.write_bytes(b"no JSON\n")
    assert audit_rotation.rotate(volume, limits, now=later + timedelta(days=999)) is None


def test_names_sort_by_time_whatever_the_clock_does(volume: Volume) -> None:
    """Two rotations in a second, and one after the clock was set back: no file is replaced."""
    for what, now in {"a": NOW, "b": NOW, "c": NOW - timedelta(days=400)}.items():
        write(volume, what)
        audit_rotation.rotate(volume, ALWAYS, now=now)
    assert names(volume) == [f"audit-20261130T12000{second}Z.jsonl" for second in range(3)]
    assert [json.loads(path.read_bytes())["what"] for path in audit_log.paths(volume)] == ["a", "b", "c"]


def test_the_oldest_files_are_removed_by_number_and_by_age(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(4):
        write(volume, str(number))
        audit_rotation.rotate(volume, ALWAYS, now=NOW + timedelta(days=number))
    (volume.root / "audit-notes.jsonl").write_text("somebody's own\n")
    (volume.root / "audit.jsonl.1").write_text("logrotate's\n")
    os.utime(volume.root / "audit.jsonl.1", (1, 1))
    audit_rotation.rotate(volume, Limits(size=1, files=3, days=9999), now=NOW + timedelta(days=4))
    assert read(volume) == ["1", "2", "3"]
    audit_rotation.rotate(volume, Limits(size=1, files=3, days=1), now=NOW + timedelta(days=3))
    assert read(volume) == ["2", "3"]
    assert names(volume)[0] == "audit.jsonl.1"
    assert (volume.root / "audit-notes.jsonl").exists()
    assert caplog.text.count("Removed") == 2


def test_an_error_is_logged_and_raises_nothing(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    write(volume, "a")
    (volume.root / "audit-20000101T000000Z.jsonl").mkdir()
    assert audit_rotation.rotate(volume, Limits(size=1, files=9, days=1), now=NOW) is None
    assert "can't be rotated" in caplog.text


# several processes


def test_a_second_rotation_at_the_same_time_does_nothing(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process rotates between the look at the size and the lock."""
    write(volume, "a")
    real = files.without_appends

    def rotated_first(path: Path) -> AbstractContextManager[int | None]:
        monkeypatch.setattr(files, "without_appends", real)
        assert audit_rotation.rotate(volume, ALWAYS, now=NOW) is not None
        write(volume, "b")
        return real(path)

    monkeypatch.setattr(files, "without_appends", rotated_first)
    limits = Limits(size=2 * volume.audit.stat().st_size, files=9, days=9999)
    write(volume, "a2")
    assert audit_rotation.rotate(volume, limits) is None
    assert read(volume) == ["a", "a2", "b"]


def _write_many(root: Path, who: int, lines: int, was_read: Event) -> None:
    """Write the second half only after the first has been read, so that some reads are between writes.

    Before each tenth, wait for one more rotation: rotators may get little time on a busy machine.
    """
    volume = Volume(root=root)
    for number in range(lines):
        if number == lines // 2:
            assert was_read.wait(60)
        if number % (lines // 10) == 0:
            tenth = number // (lines // 10)
            until(lambda least=tenth - 1: len(_rotated(volume)) >= least, "one more rotation")
        write(volume, f"{who} {number} {'x' * 500}")


def _rotated(volume: Volume) -> list[Path]:
    return [path for path in audit_log.paths(volume) if path != volume.audit]


def _rotate_until(root: Path, done: Event) -> None:
    volume, limits = Volume(root=root), Limits(size=5_000, files=1_000, days=36_500)
    while not done.is_set():
        audit_rotation.rotate(volume, limits)


def test_four_writers_two_rotators_and_readers_lose_and_repeat_no_line(volume: Volume) -> None:
    """Each reader sees, in each read, whole lines, each once, and from each writer all up to some number."""
    context = multiprocessing.get_context("fork")
    done, was_read, lines = context.Event(), context.Event(), 400
    writers = [
        context.Process(target=_write_many, args=(volume.root, who, lines, was_read), daemon=True) for who in range(4)
    ]
    rotators = [context.Process(target=_rotate_until, args=(volume.root, done), daemon=True) for _ in range(2)]
    for process in (*writers, *rotators):
        process.start()
    reads, seen = 0, [0] * 4
    while any(writer.is_alive() for writer in writers):
        result = audit_query.read(volume)
        assert result.broken == 0
        seen = _check([entry.what for entry in result.entries], seen)
        newest = audit_pages.read(volume, Selection(), limit=10_000, max_read=1 << 30)
        seen = _check([entry.what for entry in newest.entries][::-1], seen)
        reads += 1
        was_read.set()
    done.set()
    for process in (*writers, *rotators):
        process.join()
        assert process.exitcode == 0
    assert _check(read(volume), seen) == [lines] * 4
    assert len(_rotated(volume)) >= 8
    assert reads > 1


def _check(whats: list[str], before: list[int]) -> list[int]:
    """Return how many lines of each writer were read, in order and without a gap; no fewer than `before`."""
    counts = [0] * 4
    for what in whats:
        who, number, _rest = what.split()
        assert int(number) == counts[int(who)], "a line is missing, repeated or out of order"
        counts[int(who)] += 1
    assert all(now >= earlier for now, earlier in zip(counts, before, strict=True))
    return counts


# who does it


def test_the_command_of_the_timer_rotates(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    write(volume, "a")
    prune = ["token", "prune", "--root", str(volume.root)]
    assert commands.run(prune) == 0
    assert names(volume) == ["audit.jsonl"]
    volume.settings.write_text("audit_max_size: 10\n")
    assert commands.run(prune) == 0
    assert len(names(volume)) == 1
    assert not volume.audit.exists()
    assert read(volume) == ["a"]
    assert commands.run(["audit", "--root", str(volume.root)]) == 0
    assert "ann" in capsys.readouterr().out
    volume.settings.write_text("audit_max_size: many\n")
    write(volume, "b")
    assert commands.run(prune) == 0, "expired credentials are removed whatever the settings are"
    assert "not rotated, as its limits are not known" in capsys.readouterr().err
