"""What restic prints, as values: 0.14 of Debian 12 and 0.18 of Debian 13."""

from __future__ import annotations

import pytest

from ppmctl.backup.restic import _is_locked, _line, reason
from ppmctl.backup.snapshot import (
    Keep,
    Series,
    Snapshot,
    Summary,
    choose,
    read_removed,
    read_snapshots,
    read_summary,
)
from ppmctl.errors import PpmError

OLD = (
    '{"message_type":"summary","files_new":1,"dirs_new":2,"data_added":1054,"total_files_processed":3,'
    '"total_bytes_processed":20,"total_duration":0.2,"snapshot_id":"e5f18cb8"}'
)
NEW = (
    '{"message_type":"summary","dry_run":false,"files_new":1,"data_added":1054,"data_added_packed":800,'
    '"total_files_processed":3,"total_bytes_processed":20,"backup_start":"2026-11-30T04:44:04Z",'
    '"snapshot_id":"e5f18cb871f338d86a64a9b37a5e12cca0374ac5de503cba3270a524437c3022"}'
)


@pytest.mark.parametrize("printed", [OLD, NEW, f'{{"message_type":"status","percent_done":1}}\n{NEW}\n'])
def test_the_summary_of_a_backup(printed: str) -> None:
    assert read_summary(printed) == Summary(snapshot="e5f18cb8", files=3, size=20, added=1054)


def test_a_backup_without_a_summary_is_an_error() -> None:
    with pytest.raises(PpmError, match="no summary"):
        read_summary('{"message_type":"status"}\nnonsense\n')


def test_snapshots_are_sorted_by_time_and_may_have_no_tags() -> None:
    printed = (
        '[{"time":"2026-11-30T02:00:00.069219478+02:00","tags":["ppm"],"id":"aa"},'
        '{"time":"2026-11-30T01:00:00Z","tags":null,"id":"bbbbbbbbbbbb"}]'
    )
    first, second = read_snapshots(printed)
    assert (first.id, first.time, first.tags) == ("aa", "2026-11-30T00:00:00.069219Z", ("ppm",))
    assert (second.id, second.tags) == ("bbbbbbbb", ())
    assert read_snapshots("null") == []
    with pytest.raises(PpmError):
        read_snapshots("nonsense")


def test_the_latest_backup_is_no_copy_of_what_a_restore_replaced() -> None:
    backup = Snapshot(id="aaaa1111", time="1", tags=("ppm",))
    replaced = Snapshot(id="aaaa2222", time="2", tags=("ppm", "before-restore"))
    assert choose([backup, replaced], None) == choose([backup, replaced], "latest") == backup
    assert choose([backup, replaced], "aaaa2222ffff") == replaced
    for wanted, message in (("aaaa", "several"), ("b", "no snapshot")):
        with pytest.raises(PpmError, match=message):
            choose([backup, replaced], wanted)
    with pytest.raises(PpmError, match="no backup"):
        choose([replaced], None)


def of(index: str, volume: str, *times: str) -> list[Snapshot]:
    """Return a volume's backups, with the time and the volume in the id; the first one is no longer there."""
    since, *times = times
    tags = ("ppm", *Series(index=index, volume=volume, since=since).tags)
    return [Snapshot(id=f"{time}{volume}", time=time, tags=tags) for time in times]


def by_time(*several: list[Snapshot]) -> list[Snapshot]:
    return sorted((each for snapshots in several for each in snapshots), key=lambda each: each.time)


def test_the_latest_backup_of_an_index_that_moved_is_that_of_its_last_volume() -> None:
    unnamed = [Snapshot(id="old", time="0", tags=("ppm",))]
    moved = by_time(unnamed, of("i", "lost", "1", "2"), of("i", "new", "3", "4", "5"))
    for index in ("i", "", "empty"):
        assert choose(moved, None, index=index).id == "5new"
    assert choose(unnamed, None).id == "old"
    assert (moved[-1].index, moved[-1].volume, unnamed[0].index) == ("i", "new", "")


@pytest.mark.parametrize("index", ["i", ""])
def test_it_has_to_be_chosen_if_two_machines_back_up_one_index(index: str) -> None:
    """As a machine on which a restore was rehearsed, and which goes on."""
    both = by_time(of("i", "live", "1", "5"), of("i", "copy", "2", "6"))
    with pytest.raises(PpmError, match=r"several machines.*6copy of 6 from copy, 5live of 5 from live") as error:
        choose(both, None, index=index)
    assert "--snapshot ID" in error.value.hint
    assert choose(both, "5live", index=index).time == "5"


@pytest.mark.parametrize("index", ["i", ""])
@pytest.mark.parametrize("time", ["2", "6"])
def test_it_has_to_be_chosen_if_a_machine_without_ids_goes_on(index: str, time: str) -> None:
    """As the live host of an older release, after a rehearsal with a new one; or after a rollback."""
    unnamed = [Snapshot(id=f"{time}old", time=time, tags=("ppm",))]
    both = by_time(of("i", "new", "1", "5"), unnamed)
    with pytest.raises(PpmError, match=rf"several machines.*5new of 5 from new, {time}old of {time} from unknown"):
        choose(both, None, index=index)


def test_it_has_to_be_chosen_if_there_are_several_indexes_and_none_is_this_one() -> None:
    several = by_time(of("i", "one", "1", "2"), of("j", "two", "2", "3"))
    assert (choose(several, None, index="i").id, choose(several, None, index="j").id) == ("2one", "3two")
    for index in ("", "empty"):
        with pytest.raises(PpmError, match="several indexes"):
            choose(several, None, index=index)


def test_a_volume_that_became_another_index_has_no_several_indexes() -> None:
    """As after a restore of another index's snapshot: the next backups are of that one."""
    changed = by_time(of("i", "here", "1", "2"), of("j", "here", "1", "3"))
    assert (choose(changed, None).id, choose(changed, None, index="j").id) == ("3here", "3here")


def test_removed_snapshots_are_counted_before_the_text_that_old_releases_print() -> None:
    assert read_removed('[{"keep":[1],"remove":[{"id":"a"},{"id":"b"}]},{"remove":null}]\nloading indexes...\n') == 2
    assert read_removed("[]") == read_removed("nothing") == 0


def test_only_given_numbers_keep_snapshots() -> None:
    assert Keep().options() == ()
    assert Keep(daily=7, monthly=6).options() == ("--keep-daily=7", "--keep-monthly=6")


@pytest.mark.parametrize(
    "printed",
    [
        "Fatal: wrong",
        '{"message_type":"exit_error","code":12,"message":"Fatal: wrong"}',
        '{"message_type":"error","error":{"message":"Fatal: wrong"},"during":"archival"}',
        '{"message_type":"error","error":"Fatal: wrong"}',
    ],
)
def test_an_error_is_read_in_each_form(printed: str) -> None:
    assert _line(printed) == "Fatal: wrong"


def test_a_locked_repository_is_recognised_by_code_or_words() -> None:
    assert _is_locked(11, "")
    assert _is_locked(1, "unable to create lock in backend: repository is already locked exclusively by PID 12")
    assert not _is_locked(1, "no space left")


def test_the_reason_of_a_failure_is_one_line_without_advice() -> None:
    printed = (
        "using temporary cache in /tmp/x\ncreate exclusive lock for repository\nload indexes\n"
        "Pack ID does not match: error in 5a\nrestic repair packs 5a\nDamaged pack files; please open an issue at X\n"
        "Fatal: repository contains errors\n"
    )
    assert reason(printed) == "Pack ID does not match: error in 5a; repository contains errors"
    assert reason("Fatal: odd\n") == "odd"
    assert reason("") == "it said nothing"
