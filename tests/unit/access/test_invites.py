"""The file of invites: invalid lines, and codes that work for one user and a limited time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ppmctl.access import accounts, audit_log, credential_files, invites
from ppmctl.access.rights import Access
from ppmctl.index.layout import Volume

ANN = Access(name="ann", role="reader", created="2026-11-21T09:00:00Z")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(root=tmp_path)
    volume.prepare()
    return volume


def test_a_code_is_stored_as_a_hash_and_found_by_it(volume: Volume) -> None:
    code = invites.new_code()
    made = invites.new(ANN, code, by="unix:root")
    invites.write(volume, [made])
    assert invites.read(volume) == (made,)
    assert code not in volume.invites.read_text()
    assert volume.invites.stat().st_mode & 0o777 == 0o600
    assert invites.find(invites.read(volume), code) == made
    assert invites.find(invites.read(volume), invites.new_code()) is None


def test_an_invite_is_open_for_48_hours_and_only_for_its_user() -> None:
    made = invites.new(ANN, invites.new_code(), by="unix:root")
    now = datetime.now(UTC)
    assert made.is_open(ANN, now + timedelta(hours=47, minutes=59))
    assert not made.is_open(ANN, now + timedelta(hours=48, seconds=1))
    assert not made.is_open(None)
    later = "2026-11-21T09:00:01Z"
    for other in (replace(ANN, created=later), replace(ANN, disabled=True), replace(ANN, expires=later)):
        assert not made.is_open(other, now)


def test_a_new_invite_replaces_the_old_one_and_expired_ones_are_removed(volume: Volume) -> None:
    first, second = (invites.new(ANN, invites.new_code(), by="unix:root") for _ in range(2))
    for made in (first, second):
        with credential_files.changing(volume) as change:
            change.put_invite(made)
    assert invites.read(volume) == (second,)
    with credential_files.changing(volume) as change:
        change.drop_invites({"bob"})
    assert invites.read(volume) == (second,)
    volume.invites.write_text(volume.invites.read_text().replace(second.expires, "2020-01-01T00:00:00Z"))
    accounts.prune(volume)
    assert invites.read(volume) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "x"},
        {"hash": 5},
        {"expires": "2026-11-21T09:00:00"},
        {"expires": "soon"},
        {"name": None},
        {"by": ["a"]},
    ],
)
def test_an_invalid_line_is_ignored_and_logged(
    change: dict[str, object], volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    """The other lines still work."""
    made = invites.new(ANN, invites.new_code(), by="unix:root")
    invites.write(volume, [made])
    line = volume.invites.read_text()
    broken = json.dumps({**json.loads(line), **change})
    volume.invites.write_text(f"{broken}\n[]\n{{\n{line}")
    assert invites.read(volume) == (made,)
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        f"line {number} is not an invite; it invites nobody." for number in (1, 2, 3)
    ]


def test_the_audit_log_masks_codes(volume: Volume) -> None:
    code = invites.new_code()
    audit_log.write(volume, action="user join", by=code, origin="here", what=f"/api/join {code}", result="no")
    assert code not in volume.audit.read_text()
    assert "ppm_***" in volume.audit.read_text()
