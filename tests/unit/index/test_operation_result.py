"""Recurring operations: their last result, what is kept of an earlier success, and the audit line."""

from __future__ import annotations

import json

import pytest

from ppmctl.access import operation_log
from ppmctl.access.account import SERVER
from ppmctl.cli import commands
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import OperationResult


def test_a_failure_keeps_the_time_of_the_last_success_and_is_in_the_audit(volume: Volume) -> None:
    good = operation_log.record(volume, SERVER, OperationResult(name="backup", succeeded=True, figures={"files": 3}))
    bad = operation_log.record(volume, SERVER, OperationResult(name="backup", succeeded=False, detail="no space"))
    assert operation_result.read_all(volume) == {"backup": bad}
    assert bad.last_success == good.finished == good.last_success
    lines = [json.loads(line) for line in volume.audit.read_text().splitlines()]
    assert [(line["action"], line["result"]) for line in lines] == [("backup", "done"), ("backup", "no space")]


def test_a_damaged_result_counts_as_none(volume: Volume) -> None:
    volume.operations.mkdir()
    for content in (b"", b"{", b"[]", b'{"name": "backup"}', b'{"name": "backup", "succeeded": true, "x": 1}'):
        volume.operation("backup").write_bytes(content)
        assert operation_result.read(volume, "backup") is None


def test_since_when_backups_are_expected(volume: Volume) -> None:
    assert operation_result.expected_since(volume) == ""
    operation_result.note_expected(volume, is_expected=True)
    volume.operation("backups-expected").write_text('"2026-11-01T00:00:00Z"\n')
    operation_result.note_expected(volume, is_expected=True)
    assert operation_result.expected_since(volume) == "2026-11-01T00:00:00Z"
    operation_result.note_expected(volume, is_expected=False)
    assert operation_result.expected_since(volume) == ""


def test_other_programs_record_results_by_the_command(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(volume.root)]
    assert commands.run(["operation", "record", "certificate", "--failed", "see the journal", *root]) == 0
    capsys.readouterr()
    assert commands.run(["operation", "list", "--json", *root]) == 0
    (result,) = json.loads(capsys.readouterr().out)["operations"]
    assert (result["name"], result["succeeded"], result["detail"]) == ("certificate", False, "see the journal")
    assert commands.run(["operation", "record", "unknown", *root]) == 2
