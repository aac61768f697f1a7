"""The staged copy of a volume: what is in it, what is linked, and what a second backup leaves as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import environments, wheels
from support.volumes import put

from ppmctl.access import accounts
from ppmctl.access.account import SERVER
from ppmctl.backup import staging
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store

pytestmark = pytest.mark.usefixtures("few_parts")


def publish(store: Store, name: str, version: str = "1.0") -> str:
    return put(store, wheels.wheel(name, version))


def tree(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_copy_has_what_a_volume_owns_and_nothing_that_is_derived(store: Store) -> None:
    volume = store.volume
    kept, hidden = publish(store, "kept"), publish(store, "hidden")
    gone = publish(store, "kept", "2.0")
    store.remove("kept", "2.0")
    store.yank("kept", "1.0", "too old")
    store.set_status("hidden", "quarantined", "looks strange")
    store.claim("public-name", by="alice")
    accounts.create_user(volume, SERVER, "alice", role="admin")
    for folder in (volume.sessions, volume.login_links, volume.operations):
        folder.mkdir()
        (folder / "entry.json").write_text("{}")
    volume.settings.write_text("port: 8081\n")
    volume.first_credential.write_text("alice:secret\n")
    (volume.root / "audit-20261130T040000Z.jsonl").write_text("{}\n")
    (volume.root / "later").mkdir()
    (volume.root / "later" / "file").write_text("of a release to come\n")
    (volume.drop / "file.whl").write_text("not imported yet\n")
    os.mkfifo(volume.root / "pipe")

    files = tree(staging.stage(volume))
    beside = {name.rpartition(".")[2] for name in files if name.startswith(f"packages/kept/{kept}.")}
    assert beside == {"metadata", "upload", "yanked"}
    assert f"packages/kept/{gone}.removed" in files
    assert f"packages/kept/{gone}" not in files
    assert {f"quarantine/hidden/{hidden}", "packages/hidden/.status", "claims/public-name"} <= files.keys()
    assert {"credentials/htpasswd", "credentials/access.yml", "first-credential", "ppm.yml"} <= files.keys()
    assert {"audit.jsonl", "audit-20261130T040000Z.jsonl", "operations/entry.json", "later/file"} <= files.keys()
    assert {name.partition("/")[0] for name in files} & staging.DERIVED == set()
    assert [name for name in files if name.startswith(("credentials/nginx", "credentials/s", "credentials/l"))] == []
    assert files[f"packages/kept/{kept}"] == volume.file("kept", kept).read_bytes()
    assert volume.staging.stat().st_mode & 0o777 == volume.backup.stat().st_mode & 0o777 == 0o700


def test_a_restored_copy_without_a_file_that_was_staged_is_refused(store: Store) -> None:
    """As restic makes it if a file or folder can't be read: what is missing has no record either."""
    volume = store.volume
    publish(store, "a")
    publish(store, "b")
    accounts.create_user(volume, SERVER, "alice", role="admin")
    volume.audit.write_text("{}\n")
    top = staging.stage(volume)
    staging.require_all_counted(top)
    shutil.rmtree(top / "packages" / "b")
    with pytest.raises(PpmError, match=r"incomplete \(packages: 3 of 6 files\); nothing was changed"):
        staging.require_all_counted(top)
    staging.stage(volume)
    for path in (top / "credentials" / "htpasswd", top / "audit.jsonl"):
        path.unlink()
    with pytest.raises(PpmError, match=r"audit.jsonl: 0 of 1 files, credentials: \d of \d files"):
        staging.require_all_counted(top)
    staging.stage(volume)
    counts = top / ".counts.json"
    counts.write_text("[1]")
    with pytest.raises(PpmError, match="damaged counts"):
        staging.require_all_counted(top)
    counts.unlink()  # of an old release
    staging.require_all_counted(top)


def test_a_second_copy_touches_only_what_changed(store: Store) -> None:
    volume = store.volume
    same, removed = publish(store, "same"), publish(store, "other")
    top = staging.stage(volume)
    linked = top / "packages" / "same" / same
    assert linked.samefile(volume.file("same", same))
    before = linked.stat().st_ctime_ns, (top / "packages" / "same").stat().st_mtime_ns
    store.remove("other", "1.0")
    added = publish(store, "other", "2.0")
    staging.stage(volume)
    assert (linked.stat().st_ctime_ns, (top / "packages" / "same").stat().st_mtime_ns) == before
    names = set(os.listdir(top / "packages" / "other"))
    assert {added, f"{removed}.removed"} <= names
    assert removed not in names


def test_a_copy_forgets_what_the_volume_no_longer_has(store: Store) -> None:
    volume = store.volume
    publish(store, "deleted-by-hand")
    store.claim("free", by="alice")
    (volume.root / "netrc").write_text("machine here\n")
    (volume.root / "extra").mkdir()
    (volume.root / "extra" / "file").touch()
    top = staging.stage(volume)
    store.unclaim("free")
    for path in sorted(volume.project("deleted-by-hand").iterdir()):
        path.unlink()
    volume.project("deleted-by-hand").rmdir()
    (volume.root / "netrc").unlink()
    (volume.root / "extra" / "file").unlink()
    (top / "stray").mkdir()
    staging.stage(volume)
    assert [path for path in tree(top) if path.startswith(("packages", "claims", "netrc", "extra"))] == []
    assert not (top / "stray").exists()


def test_unfinished_changes_are_left_out() -> None:
    """As after a crash: side files without a file, a file that has its tombstone already, temporary files."""
    finished = {"a-1.whl", "a-1.whl.upload", "a-1.whl.metadata", "b-1.whl.removed", ".status"}
    begun = {"b-1.whl", "b-1.whl.upload", "c-1.whl.upload", "c-1.whl.metadata", ".a-1.whl.12.tmp", ".probe"}
    assert staging.wanted_names(finished | begun) == finished
    assert staging.wanted_names({"c-1.whl.upload", ".status"}) == frozenset()


def test_environments_are_copied_before_the_projects_that_they_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published meanwhile and then locked would otherwise be missing from the copy."""
    publish(store, "a-package")
    put(store, environments.revision("tools", 1, "a-package"))
    order: list[str] = []
    one = staging._project

    def staged(volume: Volume, top: Path, project: str) -> None:
        order.append(project)
        if project == "ppm-env-tools":
            publish(store, "b-package")  # made after the first look at packages/
        one(volume, top, project)

    monkeypatch.setattr(staging, "_project", staged)
    staging.stage(store.volume)
    assert order[0] == "ppm-env-tools"
    assert sorted(order[1:]) == ["a-package", "b-package"]


def test_a_database_is_copied_between_two_transactions(volume: Volume) -> None:
    with closing(sqlite3.connect(volume.root / "numbers.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE numbers (value)")
        connection.execute("INSERT INTO numbers VALUES (1)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO numbers VALUES (2)")
        top = staging.stage(volume)
        connection.execute("COMMIT")
    with closing(sqlite3.connect(top / "numbers.sqlite3")) as copied:
        assert copied.execute("SELECT value FROM numbers").fetchall() == [(1,)]
    assert [name for name in os.listdir(top) if name.startswith("numbers")] == ["numbers.sqlite3"]


def test_an_audit_log_that_is_rotated_meanwhile_is_copied_whole_and_once(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume.audit.write_text("first\n")
    copy, rotated = staging._copy_audit, volume.root / "audit-20261130T050000Z.jsonl"

    def rotating(source: Path, target: Path) -> None:
        if not rotated.exists():
            source.rename(rotated)
            source.write_text("second\n")
        copy(source, target)

    monkeypatch.setattr(staging, "_copy_audit", rotating)
    top = staging.stage(volume)
    assert (top / rotated.name).read_text() == "first\n"
    assert (top / "audit.jsonl").read_text() == "second\n"
