"""Renewals of the certificate by another container are recorded once each, as its file tells them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.server.renewals import NAME, Renewals


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / NAME


def tell(path: Path, time: str, *, succeeded: bool, detail: str = "") -> None:
    path.write_text(json.dumps({"succeeded": succeeded, "detail": detail, "time": time}))


def test_each_result_is_recorded_once_also_after_a_restart(volume: Volume, told: Path, tmp_path: Path) -> None:
    renewals = Renewals(volume, tmp_path / "fullchain.pem")
    assert not renewals.look()
    tell(told, "2026-11-30T10:00:00+00:00", succeeded=False, detail="port 80 is closed.\nOpen it.")
    assert renewals.look()
    assert not renewals.look()
    assert not Renewals(volume, tmp_path / "fullchain.pem").look()
    last = operation_result.read(volume, "certificate")
    assert last is not None
    assert (last.succeeded, last.detail) == (False, "port 80 is closed. Open it")
    tell(told, "2026-11-30T11:00:00+00:00", succeeded=True, detail="valid until 2027-02-28")
    assert renewals.look()
    last = operation_result.read(volume, "certificate")
    assert last is not None
    assert last.succeeded
    audited = [json.loads(line) for line in volume.audit.read_text().splitlines()]
    assert [line["action"] for line in audited] == ["certificate"] * 2


def test_a_file_of_another_form_is_ignored(volume: Volume, told: Path, tmp_path: Path) -> None:
    for content in (b"", b"[1]", b'{"time": 1}', b"\xff", b"[" * 100_000):
        told.write_bytes(content)
        assert not Renewals(volume, tmp_path / "fullchain.pem").look()
    assert operation_result.read(volume, "certificate") is None
