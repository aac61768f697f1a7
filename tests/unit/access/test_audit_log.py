"""The audit log: its lines, writing by several processes, rotation, and limits for refused writes."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ppmctl.access import audit_log, audit_query
from ppmctl.access.audit_log import Attempt, Refusals
from ppmctl.cli import commands
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

SECRET = "ppm_" + "aB3_" * 10 + "xyz"


def lines(volume: Volume) -> list[dict[str, str]]:
    return [json.loads(line) for line in volume.audit.read_text(encoding="utf-8").splitlines()]


def write(volume: Volume, what: str, *, by: str = "alice", action: str = "publish", result: str = "done") -> None:
    audit_log.write(volume, action=action, by=by, origin="192.0.2.7", what=what, result=result)


# a line


def test_a_line_has_time_action_user_address_object_and_result(volume: Volume) -> None:
    before = datetime.now(UTC)
    write(volume, "x-1.0.tar.gz")
    (line,) = lines(volume)
    assert before <= datetime.fromisoformat(line.pop("time")) <= datetime.now(UTC)
    assert line == {
        "action": "publish",
        "by": "alice",
        "from": "192.0.2.7",
        "what": "x-1.0.tar.gz",
        "result": "done",
    }
    assert volume.audit.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "evil",
    [
        'x\n{"time": "2026-01-01T00:00:00Z", "action": "publish", "by": "bob"}',
        "x\r\nfaked",
        "\x1b[2J\x1b]0;title\x07",
        "\x9b31m",
        "a\u2028b\u2029c\x85d",
        "\u202egnp.exe",
        "nul\x00",
        '"}',
        "\\",
        "\udcff\udcfe",
        "🐍 漢",
    ],
)
def test_control_characters_and_newlines_stay_in_their_field(evil: str, volume: Volume) -> None:
    """They cause no second line and no escape sequence in a terminal, and are read back unchanged."""
    write(volume, evil, by=evil)
    raw = volume.audit.read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.decode("utf-8").rstrip("\n").isprintable()
    (line,) = lines(volume)
    assert (line["what"], line["by"]) == (evil, evil)


def test_secrets_are_masked_in_every_field(volume: Volume) -> None:
    write(volume, f"a {SECRET} b", by=SECRET, result=f"refused: {SECRET}")
    Refusals(volume).write(Attempt(origin="", what=f"/{SECRET}", claimed=SECRET, reason=SECRET), 401)
    assert SECRET not in volume.audit.read_text()
    assert lines(volume)[0]["what"] == "a ppm_*** b"


def test_a_project_name_with_the_prefix_of_a_secret_is_not_masked(volume: Volume) -> None:
    name = "ppm_env_for_everybody_who_learns_machines-1.0.0-py3-none-any.whl"
    write(volume, name)
    assert lines(volume)[0]["what"] == name


def test_a_line_is_written_with_one_call(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    written = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: (written.append(data), real(descriptor, data))[1])
    write(volume, "x" * 5_000)
    assert len(written) == 1
    assert len(lines(volume)[0]["what"]) == 1_000


def test_an_audit_log_that_cannot_be_written_raises_nothing(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    volume.audit.mkdir()
    write(volume, "x")
    assert "can't be written" in caplog.text


# several processes, and rotation


EACH_ROUND = 30  # lines of each process


def _write_rounds(root: Path, who: int, start: Barrier, rounds: int) -> None:
    for number in range(rounds * EACH_ROUND):
        if number % EACH_ROUND == 0:
            start.wait()
        write(Volume(root=root), f"{who} {number} {'x' * 700}", by=f"writer{who}")


def _write_while(volume: Volume, meanwhile: Callable[[], object], *, rounds: int = 12) -> None:
    """Write with four processes, call `meanwhile` in each round, and check that each line is there once."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(5, timeout=60)
    writers = [context.Process(target=_write_rounds, args=(volume.root, who, start, rounds)) for who in range(4)]
    for writer in writers:
        writer.start()
    for _round in range(rounds):
        start.wait()
        meanwhile()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    result = audit_query.read(volume)
    assert result.broken == 0
    expected = [f"{who} {number} {'x' * 700}" for who in range(4) for number in range(rounds * EACH_ROUND)]
    assert sorted(entry.what for entry in result.entries) == sorted(expected)


def test_lines_of_several_processes_never_mix(volume: Volume) -> None:
    _write_while(volume, lambda: None, rounds=10)


def test_no_line_is_lost_in_a_rotation(volume: Volume) -> None:
    """As logrotate does it with `delaycompress`: rename, and compress what was renamed the time before."""

    def rotate() -> None:
        if not volume.audit.exists():  # nobody has written since
            return
        numbered = volume.root / "audit.jsonl.1"
        if numbered.exists():
            packed = volume.root / f"audit.jsonl.{2 + len(list(volume.root.glob('*.gz')))}.gz"
            with numbered.open("rb") as source, gzip.open(packed, "wb") as target:
                shutil.copyfileobj(source, target)
        volume.audit.replace(numbered)
        audit_query.read(volume)

    _write_while(volume, rotate)
    assert len(list(volume.root.glob("*.gz"))) > 3


def test_a_line_goes_into_the_new_file_if_it_was_rotated_meanwhile(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is rotated between open and lock: a line in the old file might be lost when that is compressed."""
    from ppmctl import files

    write(volume, "before")
    real, old = files.fcntl.flock, volume.root / "audit.jsonl.1"

    def rotated_first(descriptor: int, how: int) -> None:
        if not old.exists():
            volume.audit.rename(old)
        real(descriptor, how)

    monkeypatch.setattr(files.fcntl, "flock", rotated_first)
    write(volume, "after")
    assert [line["what"] for line in lines(volume)] == ["after"]
    assert "after" not in old.read_text()


# refused writes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def flood(refusals: Refusals, count: int, *, by: str = "", origin: str = "192.0.2.66") -> None:
    for number in range(count):
        refusals.write(Attempt(origin=origin, what=f"/{number}", by=by, claimed=f"u{number}", reason="no"), 401)


def test_a_refused_write_is_a_line_with_its_status(volume: Volume) -> None:
    attempt = Attempt(origin="192.0.2.66", what="x-1.0.zip", action="publish", by="bob", reason="It is taken.\x1b")
    Refusals(volume).write(attempt, 409)
    (line,) = lines(volume)
    assert {**line, "time": ""} == {
        "time": "",
        "action": "publish",
        "by": "bob",
        "from": "192.0.2.66",
        "what": "x-1.0.zip",
        "result": "It is taken.?",
        "status": 409,
    }


def test_refused_writes_are_limited_per_client_and_counted(volume: Volume) -> None:
    """The limit is the address's if the name has no correct secret; other clients still have their lines."""
    clock = Clock()
    refusals = Refusals(volume, clock=clock)
    flood(refusals, 20_000)
    assert len(lines(volume)) == audit_log.CLIENT_AT_ONCE
    flood(refusals, 3, by="bob", origin="192.0.2.66")
    assert [line["by"] for line in lines(volume)[-3:]] == ["bob"] * 3
    refusals.write_summary()
    assert lines(volume)[-1]["refused"] == 20_000 - audit_log.CLIENT_AT_ONCE
    assert "192.0.2.66" in lines(volume)[-1]["result"]
    before = len(lines(volume))
    refusals.write_summary()
    clock.now += 60
    flood(refusals, 100)
    assert len(lines(volume)) == before + audit_log.CLIENT_A_MINUTE


def test_refused_writes_of_all_clients_are_limited_to_megabytes_a_day(volume: Volume) -> None:
    """With the longest possible lines, from more than a thousand addresses; the later minutes are all alike."""
    clock = Clock()
    refusals = Refusals(volume, clock=clock)
    long = "漢" * 1_500
    minutes, sizes = 60, []
    for minute in range(minutes):
        clock.now = minute * 60.0
        for number in range(30 if minute else 3_000):
            attempt = Attempt(origin=f"2001:db8::{minute:x}:{number:x}", what=long, claimed=long, reason=long)
            refusals.write(attempt, 401)
        refusals.write_summary()
        sizes.append(volume.audit.stat().st_size)
    assert len(lines(volume)) <= audit_log.ALL_AT_ONCE + minutes * (audit_log.ALL_A_MINUTE + 1)
    a_minute = (sizes[-1] - sizes[0]) / (minutes - 1)
    assert sizes[0] + 24 * 60 * a_minute < 30e6
    assert len(refusals._clients) <= 1_000


def test_changes_are_written_even_if_refused_writes_are_limited(volume: Volume) -> None:
    refusals = Refusals(volume, clock=Clock())
    flood(refusals, audit_log.CLIENT_AT_ONCE + 10)
    for number in range(audit_log.CLIENT_AT_ONCE + 10):
        write(volume, f"x-{number}.zip")
    assert sum(line["result"] == "done" for line in lines(volume)) == audit_log.CLIENT_AT_ONCE + 10


# reading


def entries(volume: Volume, **asked: str) -> list[str]:
    return [entry.what for entry in audit_query.read(volume, **asked).entries]


def test_entries_are_selected_by_project_and_user(volume: Volume) -> None:
    write(volume, "Foo.Bar-1.0.tar.gz")
    write(volume, "foo-bar archived", action="status", by="ops+laptop")
    write(volume, "Foo_Bar 2.0", action="yank", by="ops", result="There is no such release")
    write(volume, "other-1.0-py3-none-any.whl", by="opsy")
    write(volume, "ops+ci as publisher", action="token create", by="root")
    write(volume, "foo-bar as reader", action="user add", by="root")
    assert len(entries(volume)) == 6
    assert entries(volume, project="FOO.bar") == ["Foo.Bar-1.0.tar.gz", "foo-bar archived", "Foo_Bar 2.0"]
    assert entries(volume, user="ops") == ["foo-bar archived", "Foo_Bar 2.0", "ops+ci as publisher"]
    assert entries(volume, user="ops", project="foo-bar") == ["foo-bar archived", "Foo_Bar 2.0"]


def test_rotated_files_are_read_oldest_first(volume: Volume) -> None:
    for name in ("audit.jsonl.10.gz", "audit.jsonl.2.gz", "audit.jsonl.1", "audit.jsonl"):
        write(volume, name)
        text = volume.audit.read_bytes()
        volume.audit.unlink()
        (volume.root / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    (volume.root / "audit.jsonl.orig").write_text("not one of them\n")
    # compressed, and not removed yet
    (volume.root / "audit.jsonl.1.gz").write_bytes(gzip.compress((volume.root / "audit.jsonl.1").read_bytes()))
    names = ["audit.jsonl.10.gz", "audit.jsonl.2.gz", "audit.jsonl.1", "audit.jsonl"]
    assert entries(volume) == names
    (volume.root / "audit.jsonl.1").rename(volume.root / "audit.jsonl-20261101")
    assert entries(volume) == names


def test_invalid_lines_are_counted(volume: Volume) -> None:
    write(volume, "x-1.0.zip")
    with volume.audit.open("ab") as file:
        file.write(b'half\n\n[]\n{"time": 5}\n{"time": "now", "by": 1}\n\xff\n{"time":"2026-01-01T00:00:00Z"}\n')
    result = audit_query.read(volume)
    assert [entry.what for entry in result.entries] == ["", "x-1.0.zip"]
    assert result.broken == 6


def test_a_truncated_gzip_file_is_named_in_the_error(volume: Volume) -> None:
    write(volume, "x")
    (volume.root / "audit.jsonl.2.gz").write_bytes(gzip.compress(b"x" * 100_000)[:-20])
    with pytest.raises(PpmError, match=r"audit\.jsonl\.2\.gz can't be read"):
        audit_query.read(volume)


def test_since_takes_durations_and_times() -> None:
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert audit_query.parse_since("90d", now=now) == now - timedelta(days=90)
    assert audit_query.parse_since("30m", now=now) == now - timedelta(minutes=30)
    assert audit_query.parse_since("2026-11-20", now=now) == datetime(2026, 11, 20, tzinfo=UTC)
    assert audit_query.parse_since("2026-11-20T10:00+02:00", now=now) == datetime(2026, 11, 20, 8, tzinfo=UTC)
    for nonsense in ("yesterday", "5", "5w", "-1d", "", "999999d", "0001-01-01T00:00+14:00"):
        with pytest.raises(UsageError, match="neither"):
            audit_query.parse_since(nonsense, now=now)


def test_the_audit_command_selects_and_escapes(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    write(volume, "x-1.0.zip")
    write(volume, "evil\x1b[2J", by="bob", result="no")
    root = ["--root", str(volume.root)]
    assert commands.run(["audit", *root, "--json", "--user", "bob", "--since", "1h"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["what"] == "evil\x1b[2J"
    assert commands.run(["audit", *root]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["TIME", "WHO", "FROM", "ACTION", "WHAT", "RESULT"]
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out
    assert commands.run(["audit", *root, "--since", "1d", "--project", "nothing"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert commands.run(["audit", *root, "--since", "soon"]) == 2
