"""The facts of a host that the module probe_host reads from files."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.ppm.index.plugins.modules import probe_host


@pytest.mark.parametrize(
    ("path", "content", "is_limited"),
    [
        ("etc/systemd/journald.conf", "[Journal]\n#SystemMaxUse=\nSystemKeepFree=1G\n", False),
        ("etc/systemd/journald.conf", "[Journal]\n SystemMaxUse = 2G\n", True),
        ("etc/systemd/journald.conf.d/site.conf", "[Journal]\nSystemMaxUse=2G\n", True),
        ("usr/lib/systemd/journald.conf.d/10-vendor.conf", "[Journal]\nSystemMaxUse=2G\n", True),
        ("etc/systemd/journald.conf.d/ppm.conf", "[Journal]\nSystemMaxUse=500M\n", False),
        ("etc/systemd/journald.conf.d/site.conf.old", "[Journal]\nSystemMaxUse=2G\n", False),
    ],
)
def test_a_limit_of_the_journal_that_is_not_ppms(path: str, content: str, is_limited: bool, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(content)
    assert probe_host.has_journal_limit(tmp_path) is is_limited


STARTED = datetime(2020, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC)
RELOADED = datetime(2020, 1, 31, 14, 0, 0, 500_000, tzinfo=UTC)
TOMORROW = (datetime.now(UTC) + timedelta(days=1) - STARTED) // timedelta(seconds=1)


def shown(unit: str, *, active: str = "active", unloaded: str = "no", reloads: str = "no", files: str = "") -> str:
    """Return what systemctl prints of an enabled unit, which was started at noon and has changed its state at two."""
    return f"""Id={unit}
ActiveState={active}
UnitFileState=enabled
NeedDaemonReload={unloaded}
FragmentPath=/usr/lib/systemd/system/{unit}
DropInPaths={files}
EnvironmentFiles=/etc/none (ignore_errors=no)
EnvironmentFiles={files} (ignore_errors=yes)
CanReload={reloads}
InactiveExitTimestamp=Thu {STARTED:%Y-%m-%d %H:%M:%S.%f} UTC
StateChangeTimestamp=Thu {RELOADED:%Y-%m-%d %H:%M:%S.%f} UTC
"""


@pytest.mark.parametrize(
    ("seconds", "state", "wanted"),
    [
        (-1, {}, {"ready": ["u"]}),
        (1, {}, {"stale": ["u"]}),
        (1, {"reloads": "yes"}, {"ready": ["u"]}),
        (7201, {"reloads": "yes"}, {"stale": ["u"]}),
        (TOMORROW, {}, {"ready": ["u"]}),
        (1, {"active": "inactive"}, {}),
        (-1, {"unloaded": "yes"}, {"stale": ["u"], "unloaded": ["u"]}),
        (-1, {"unloaded": "yes", "active": "inactive"}, {"unloaded": ["u"]}),
    ],
    ids=[
        *("read", "written later", "reloaded", "written after the reload", "written with a wrong clock"),
        *("not running", "not loaded", "of a timer"),
    ],
)
@pytest.mark.parametrize("kind", ["drop-in", "link", "in a folder", "folder"])
def test_a_unit_whose_files_are_newer_than_its_start_is_stale(
    seconds: int,
    state: dict[str, str],
    wanted: dict[str, list[str]],
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a run that was interrupted between writing the files and the restart."""
    monkeypatch.setattr(probe_host, "_WRITTEN", (f"{tmp_path}/",))
    folder, path = tmp_path / "folder", tmp_path / "folder" / "file"
    folder.mkdir()
    if kind == "link":
        path.symlink_to("/")
    else:
        path.write_text("x")
    before, time = STARTED.timestamp() - 10, STARTED.timestamp() + seconds
    os.utime(path, (before, before) if kind == "folder" else (time, time), follow_symlinks=False)
    os.utime(folder, (time, time) if kind == "folder" else (before, before))
    read = {"drop-in": [], "link": [str(path)]}.get(kind, [str(folder)])
    output = shown("u", **state, files=str(path) if kind == "drop-in" else "/run/generated")
    found = probe_host.sort_units(f"{output}\n{shown('other')}", {"u": read, "other": []})
    assert found == {"ready": [], "off": [], "stale": [], "unloaded": []} | wanted | {
        "ready": [*wanted.get("ready", []), "other"]
    }


def test_files_that_systemd_generates_do_not_count() -> None:
    """It writes them again when a run lets it load others."""
    generated = "/proc/self/status"  # of this moment
    assert probe_host.sort_units(shown("u", files=generated), {"u": []})["ready"] == ["u"]
