"""`ppmctl backup` with a real restic: what a backup holds, what comes back, what is refused, what damage does."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from support import backups as made
from support import crashing, environments, readme, servers, wheels
from support.backups import PASSWORD, Backups, own_files
from support.crashing import Plan
from support.invariants import Observer
from support.receiver import SECRET, receiving
from support.servers import Server, ppmctl
from support.volume_view import View
from support.volumes import reachable

from ppmctl import files
from ppmctl.backup import create, identity
from ppmctl.backup.restic import Repository
from ppmctl.backup.snapshot import TAG, Keep
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret


@dataclass(frozen=True, kw_only=True)
class Filled:
    """An index with everything that a volume can have, and one backup of it; its server has ended."""

    backups: Backups
    secrets: dict[str, str]
    before: dict[str, bytes]
    audit: str

    def restored(self, root: Path) -> Path:
        """Restore it to a new folder, and return that."""
        self.backups.run("restore", root=root)
        return root


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("filled")
    server = servers.start(folder / "root", options=("--upstream", "none"))
    try:
        secrets = _fill(server)
        backups = made.backups(server.root, folder / "backup")
        created = backups.json("create")
        assert created["files"] > 20
        assert created["bytes_added"] > 1000
        before = own_files(server.root)
        assert server.stop() == 0
    except BaseException:
        server.kill()
        raise
    return Filled(backups=backups, secrets=secrets, before=before, audit=(server.root / "audit.jsonl").read_text())


def _fill(server: Server) -> dict[str, str]:
    """Fill an index, and return secrets by what became of them."""
    root = ("--root", str(server.root))
    for version in ("1.0", "2.0"):
        for name in ("alpha", "beta", "gamma", "delta"):
            assert server.upload(wheels.wheel(name, version)).status_code == 200
    # so that the files are more than what a backup stores about them
    large = wheels.wheel("heavy", "1.0", files={"heavy.py": os.urandom(200_000)})
    assert server.upload(large).status_code == 200
    assert server.upload(wheels.sdist("alpha", "1.0")).status_code == 200
    environments.fill(server)
    ppmctl("package", "yank", "beta", "1.0", "--reason", "too old", *root)
    ppmctl("package", "remove", "gamma", "1.0", "--yes", *root)
    ppmctl("package", "status", "delta", "quarantined", *root)
    ppmctl("package", "claim", "requests", *root)
    secrets = {"admin": server.secret}
    for name in ("alice", "disabled"):
        secrets[name] = ppmctl("user", "add", name, "--role", "publisher", *root).stdout.strip()
    for name in ("alice+ci", "alice+old"):
        secrets[name] = ppmctl("token", "create", name, "--role", "publisher", *root).stdout.strip()
    ppmctl("token", "revoke", "alice+old", *root)
    ppmctl("user", "disable", "disabled", *root)
    return secrets


def works(server: Server, name: str, secret: str) -> bool:
    return requests.get(server.simple, auth=(name, secret), timeout=60).status_code == 200


def differences(root: Path) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(ppmctl("index", "check", "--json", "--root", str(root)).stdout)
    return listed


# what comes back


def test_a_restored_index_is_the_one_that_was_backed_up(
    filled: Filled, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    root = filled.restored(tmp_path / "new" / "root")
    assert own_files(root) == filled.before
    assert differences(root) == []
    Observer(root).check()
    assert not (root / "backup" / "restore").exists()
    audit = (root / "audit.jsonl").read_text()
    assert filled.audit.startswith(audit[: audit.rindex('{"time"')])
    *_, last = map(json.loads, audit.splitlines())
    assert (last["action"], last["what"]) == ("backup restore", "index")
    assert last["result"].startswith("done: snapshot ")

    server = serve("--upstream", "none", root=root)
    for name in ("admin", "alice", "alice+ci"):
        assert works(server, name, filled.secrets[name]), name
    for name in ("alice+old", "disabled"):
        assert not works(server, name, filled.secrets[name]), name
    assert server.upload(wheels.wheel("gamma", "1.0")).status_code == 409
    assert server.filenames("delta") == set()
    assert next(file for file in server.page("beta")["files"] if "-1.0-" in file["filename"])["yanked"] == "too old"
    assert "sea-maps" in server.get("/env/team/requirements.txt").text


def test_a_volume_with_projects_is_replaced_only_with_force_and_after_a_backup_of_it(
    filled: Filled, tmp_path: Path
) -> None:
    root, backups = filled.restored(tmp_path / "root"), filled.backups
    server = servers.start(root)
    try:
        assert server.upload(wheels.wheel("made-later", "1.0")).status_code == 200
        printed = backups.run("restore", "--force", root=root, expect=1)
        assert "is running" in printed
        assert "systemctl stop ppm.socket" in printed
    finally:
        server.stop()
    now = own_files(root)
    assert "which a restore would replace; nothing was changed" in backups.run("restore", root=root, expect=1)
    assert own_files(root) == now
    done = backups.json("restore", "--force", root=root)
    assert own_files(root) == filled.before
    assert differences(root) == []
    assert not (root / "index" / "simple" / "made-later").exists()
    kinds = {each["id"]: each["kind"] for each in backups.json("list")["snapshots"]}
    assert kinds[done["before"]] == "before-restore"
    assert kinds[done["snapshot"]] == "backup"
    backups.run("restore", "--snapshot", done["before"], root=tmp_path / "undone")
    assert own_files(tmp_path / "undone") == now


@pytest.mark.parametrize(
    ("event", "pattern", "begun"),
    [
        ("os.rename", r"/\.step\.[0-9a-f]+\.tmp -> .*/backup/restore/step$", False),
        ("os.rename", r"/root/packages/[^/]+ -> .*/restore/old/packages/", True),
        ("os.rename", r"/restore/new/packages/[^/]+ -> .*/root/packages/", True),
        ("os.remove", r"/backup/restore/step$", True),
    ],
    ids=["before the first change", "old files", "new files", "at the end"],
)
def test_a_killed_restore_leaves_the_old_files_or_is_completed(
    filled: Filled, tmp_path: Path, event: str, pattern: str, begun: bool
) -> None:
    root, backups = tmp_path / "root", filled.backups
    server = servers.start(root)
    assert server.upload(wheels.wheel("old", "1.0")).status_code == 200
    assert server.upload(wheels.wheel("older", "1.0")).status_code == 200
    server.stop()
    old, plan = own_files(root), Plan(tmp_path / "plan")
    count = 2 if "packages" in pattern else 1
    plan.arm(event, pattern, count=count)
    command = [*crashing.COMMAND, "backup", "restore", "--force", "--root", str(root)]
    killed = subprocess.run(
        command, env={**backups.variables(), **plan.environ}, start_new_session=True, capture_output=True, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert plan.disarm()
    if begun:
        refused = ppmctl("serve", "--root", str(root), "--port", str(servers.free_port()), expect=1)
        assert "was interrupted" in refused.stderr
        assert "ppmctl backup restore" in refused.stderr
        assert "was interrupted" in backups.run("create", root=root, expect=1)
        assert backups.json("restore", root=root)["completed"] is True
    else:
        assert own_files(root) == old
        assert differences(root) == []
        backups.run("restore", "--force", root=root)
    assert own_files(root) == filled.before
    assert differences(root) == []
    assert not (root / "backup" / "restore").exists()


def test_one_project_and_one_environment_come_back_without_what_was_removed(filled: Filled, tmp_path: Path) -> None:
    root, backups = filled.restored(tmp_path / "root"), filled.backups
    server = servers.start(root)  # it goes on serving
    try:
        alpha, beta = root / "packages" / "alpha", root / "packages" / "beta"
        ppmctl("package", "remove", "beta", "2.0", "--yes", "--root", str(root))
        assert server.upload(wheels.wheel("alpha", "3.0")).status_code == 200
        (alpha / "alpha-1.0-py3-none-any.whl").write_bytes(b"damaged")
        (alpha / "alpha-2.0-py3-none-any.whl").unlink()
        (alpha / "alpha-2.0-py3-none-any.whl.upload").unlink()
        for name in ("gamma", "ppm-env-team"):
            shutil.rmtree(root / "packages" / name)
        done = backups.json("restore", "--project", "alpha", root=root)
        assert done["restored"] == ["alpha-1.0-py3-none-any.whl", "alpha-2.0-py3-none-any.whl"]
        assert done["same"] == ["alpha-1.0.tar.gz"]
        done = backups.json("restore", "--project", "beta", root=root)
        assert list(done["left"]) == ["beta-2.0-py3-none-any.whl"]
        backups.run("restore", "--project", "gamma", root=root)
        backups.run("restore", "--environment", "team", root=root)
        assert "has no project 'unknown'" in backups.run("restore", "--project", "unknown", root=root, expect=1)
        assert len(server.filenames("alpha")) == 4
        assert server.filenames("beta") == {"beta-1.0-py3-none-any.whl"}
        assert server.upload(wheels.wheel("gamma", "1.0")).status_code == 409
        assert server.get("/env/team/requirements.txt").status_code == 200
    finally:
        server.stop()
    now = own_files(root)
    assert {name for name in filled.before if filled.before[name] != now.get(name)} == {
        f"packages/beta/beta-2.0-py3-none-any.whl{suffix}" for suffix in ("", ".metadata", ".upload")
    }
    assert not beta.joinpath("beta-2.0-py3-none-any.whl").exists()
    assert differences(root) == []


def test_the_credentials_alone_come_back(filled: Filled, tmp_path: Path) -> None:
    root, backups = filled.restored(tmp_path / "root"), filled.backups
    server = servers.start(root)
    try:
        ppmctl("user", "remove", "alice", "--root", str(root))
        new = ppmctl("user", "add", "made-later", "--role", "reader", "--root", str(root)).stdout.strip()
        assert server.upload(wheels.wheel("made-later", "1.0")).status_code == 200
        assert "has credentials" in backups.run("restore", "--credentials", root=root, expect=1)
        assert works(server, "made-later", new)
        done = backups.json("restore", "--credentials", "--force", root=root)
        assert works(server, "alice", filled.secrets["alice"])
        assert works(server, "alice+ci", filled.secrets["alice+ci"])
        assert not works(server, "alice+old", filled.secrets["alice+old"])
        assert not works(server, "made-later", new)
        assert server.page("made-later")
    finally:
        server.stop()
    saved = {each["id"] for each in backups.json("list")["snapshots"] if each["kind"] == "before-restore"}
    assert done["before"] in saved


def test_users_of_a_volume_without_projects_are_replaced_only_with_force(filled: Filled, tmp_path: Path) -> None:
    root, backups = tmp_path / "root", filled.backups
    ppmctl("init", "--root", str(root))
    ppmctl("user", "add", "carol", "--role", "admin", "--root", str(root))
    assert "has users, which a restore would replace" in backups.run("restore", root=root, expect=1)
    assert "carol" in ppmctl("user", "list", "--root", str(root)).stdout
    before = backups.json("restore", "--force", root=root)["before"]
    assert before in {each["id"] for each in backups.json("list")["snapshots"] if each["kind"] == "before-restore"}
    assert own_files(root) == filled.before


def test_a_first_credential_that_nobody_has_used_is_replaced(
    filled: Filled, tmp_path: Path, serve: Callable[..., Server]
) -> None:
    root = tmp_path / "root"
    assert serve(root=root).stop() == 0
    filled.backups.run("restore", root=root)
    assert own_files(root) == filled.before


# drills and damage


def test_a_drill_serves_the_backup_and_leaves_nothing(filled: Filled, tmp_path: Path) -> None:
    backups, scratch = filled.backups, tmp_path / "scratch"
    before = own_files(backups.root)
    done = backups.json("drill", "--sample", "3", "--scratch", scratch)
    assert (done["installed"], done["environments"], done["locked_files"]) == (3, 1, 1)
    assert done["projects"] == 7
    result = backups.result("drill")
    assert result["succeeded"] is True
    assert result["figures"]["snapshot"] == done["snapshot"]
    assert (list(scratch.iterdir()), own_files(backups.root)) == ([], before)


def test_a_killed_drill_is_cleaned_up_by_the_next_one(filled: Filled, tmp_path: Path) -> None:
    """Its server too, which goes on running."""
    backups, scratch = filled.backups, tmp_path / "scratch"
    command = [
        sys.executable,
        "-m",
        "ppmctl",
        "backup",
        "drill",
        "--root",
        str(backups.root),
        "--scratch",
        str(scratch),
    ]
    process = subprocess.Popen(command, env=backups.variables(), start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (records := list(scratch.glob("*/volume/servers/*.json"))):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait(timeout=30)
    (record,) = records
    number = _number(record)
    process.kill()
    process.wait(timeout=30)
    assert Path(f"/proc/{number}").exists()
    backups.run("drill", "--sample", "0", "--scratch", scratch)
    assert list(scratch.iterdir()) == []
    until = time.monotonic() + 60
    while Path(f"/proc/{number}").exists():
        assert time.monotonic() < until
        time.sleep(0.05)


def _number(record: Path) -> int:
    """Return the process of a server from its record, once it is written."""
    until = time.monotonic() + 30
    while not (text := record.read_text()):
        assert time.monotonic() < until
        time.sleep(0.01)
    number: int = json.loads(text)["pid"]
    return number


def test_a_drill_sends_no_event_of_the_restored_index(filled: Filled, tmp_path: Path) -> None:
    root = filled.restored(tmp_path / "root")
    backups = made.backups(root, tmp_path / "backup")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with receiving() as receiver:
        entry = {"name": "one", "url": receiver.url, "secret_file": str(secret)}
        (root / "ppm.yml").write_text(json.dumps({"webhooks": [entry]}))
        ppmctl("webhook", "test", "one", "--root", str(root))  # it can be reached
        backups.run("create")
        backups.run("drill", "--sample", "1")
        assert [message["type"] for message in receiver.messages] == ["webhook.test"]


def test_the_commands_of_the_documentation(filled: Filled, tmp_path: Path) -> None:
    """Those of docs/backup.md with ppmctl, pasted into one shell; hosts and compose have theirs."""
    root, new = filled.restored(tmp_path / "root"), tmp_path / "new"
    apt, setup, *online, restore, force, parts = readme.blocks("docs/backup.md")["With ppmctl"]
    assert apt == "sudo apt install restic\n"
    into_new = "".join(f"rm -rf {new}; PPM_ROOT={new} {line}\n" for line in restore.splitlines())
    first = 'python3 -c \'import json, sys; print(json.load(sys.stdin)["snapshots"][0]["id"])\''
    typed = f"{setup}{''.join(online)}id=$(ppmctl backup list --json | {first})\n{into_new}{force}{parts}"
    for written, here in {
        "/srv/ppm": str(root),
        "/mnt/backup/ppm": str(tmp_path / "repository"),
        "/etc/ppm/": f"{tmp_path}/",
        "4859d663": '"$id"',
        "--project hello": "--project alpha",
        "--environment tools": "--environment team",
    }.items():
        assert written in typed
        typed = typed.replace(written, here)
    readme.paste(typed, tmp_path, {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
    assert own_files(new) == filled.before
    assert own_files(root) == filled.before


@pytest.fixture
def own(filled: Filled, tmp_path: Path) -> Backups:
    """Return a copy of the filled index's repository, and a copy of its volume: for a test that damages them."""
    root = filled.restored(tmp_path / "own" / "root")
    backups = made.backups(root, tmp_path / "own" / "backup")
    shutil.copytree(filled.backups.location, backups.location)
    return backups


def back_up(own: Backups, staged: Path) -> None:
    """Back up a folder as the volume would."""
    volume = Volume(root=own.root)
    repository = Repository(own.location, Secret(PASSWORD), cache=None, environ=os.environ)
    stored = repository.backup(staged, tags=[TAG, *identity.made(volume).tags])
    identity.record(volume, repository, stored.snapshot)


def test_a_snapshot_with_a_link_is_not_restored(own: Backups, tmp_path: Path) -> None:
    """Of a repository that somebody else can write: what is moved to the volume would come from where it leads."""
    staged, elsewhere = tmp_path / "staged", tmp_path / "elsewhere"
    for folder in (staged / "packages", elsewhere / "secret"):
        folder.mkdir(parents=True)
    (staged / "claims").symlink_to(elsewhere)
    back_up(own, staged)
    for words in (("restore",), ("drill",)):
        printed = own.run(*words, root=own.root if words == ("drill",) else tmp_path / "new", expect=1)
        assert "has 'claims', which is no file or folder; nothing was changed" in printed
    assert (elsewhere / "secret").is_dir()


def test_a_damaged_repository_is_found_by_everything_that_reads_it(own: Backups) -> None:
    own.run("verify")
    largest = max(own.packs(), key=lambda path: path.stat().st_size)
    largest.chmod(0o600)
    content = bytearray(largest.read_bytes())
    content[10] ^= 1
    largest.write_bytes(content)
    assert "restic check failed" in own.run("verify", expect=1)
    printed = own.run("drill", expect=1)
    assert "restic restore failed" in printed
    assert "ppmctl backup verify" in printed
    result = own.result("drill")
    assert (result["succeeded"], result["last_success"]) == (False, "")
    assert "restic restore failed" in result["detail"]
    line = json.loads((own.root / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["action"], line["result"]) == ("drill", result["detail"])
    assert [path.name for path in (own.root / "backup").iterdir() if "drill" in path.name] == []
    before = own_files(own.root)
    assert "restic restore failed" in own.run("restore", "--force", expect=1)
    assert own_files(own.root) == before
    assert differences(own.root) == []
    assert not (own.root / "backup" / "restore").exists()


def test_a_drill_fails_if_the_backed_up_files_were_damaged_or_incomplete(own: Backups) -> None:
    """restic stores what it is given: only the records and locks show that a file was wrong already."""
    (record,) = (own.root / "packages" / "sea-maps").glob("*-1.0-*.upload")
    wheel = record.with_suffix("")
    whole = wheel.read_bytes()
    wheel.unlink()
    wheel.write_bytes(whole[:-1] + b"?")
    own.run("create")
    assert "does not have the size and sha256 of its record" in own.run("drill", "--sample", "0", expect=1)
    for path in record.parent.glob("*-1.0-*"):
        path.unlink()
    own.run("create")
    assert "the backup lacks its file" in own.run("drill", "--sample", "0", expect=1)


@pytest.mark.parametrize("counted", [True, False])
def test_a_snapshot_without_some_files_is_not_restored(own: Backups, tmp_path: Path, counted: bool) -> None:
    """A snapshot that restic made although it could not read a folder; that of an old release has no counts."""
    own.run("create")
    staged = own.root / "backup" / "staging"
    shutil.rmtree(staged / "packages" / "alpha")
    if not counted:
        (staged / ".counts.json").unlink()
    back_up(own, staged)
    for words in (("restore",), ("drill", "--sample", "0")):
        printed = own.run(*words, root=own.root if "drill" in words else tmp_path / "new", expect=int(counted))
        assert ("The snapshot is incomplete (packages: " in printed) is counted
    assert (tmp_path / "new" / "packages").exists() is not counted


# repositories and refusals


def test_what_a_backup_stores_keeps_and_says(own: Backups) -> None:
    first = own.json("create", "--keep-daily", "1")
    second = own.json("create", "--keep-daily", "1")
    assert (second["snapshots_removed"], second["files"]) == (1, first["files"] + 1)  # the result of the first
    assert second["bytes_added"] < first["bytes"] / 4
    # with those of the volume that it was restored from, and of what a restore of another test replaced
    name = (own.root / "backup" / "volume-id").read_text().split()[0]
    listed = [each["id"] for each in own.json("list")["snapshots"] if each["volume"] == name]
    assert listed == [second["snapshot"]]
    result = own.result("backup")
    assert result["succeeded"] is True
    assert {name: result["figures"][name] for name in ("snapshot", "files", "bytes_added")} == {
        name: second[name] for name in ("snapshot", "files", "bytes_added")
    }
    own.password_file.write_text("another\n")
    assert "does not open the repository" in own.run("list", expect=1)
    assert "does not open the repository" in own.run("create", expect=1)
    assert own.result("backup")["succeeded"] is False
    own.password_file.unlink()
    assert "can't be read: No such file" in own.run("create", expect=1)
    assert own.result("backup")["last_success"] == result["finished"]


def test_a_backup_succeeds_if_only_the_removal_of_old_ones_waits_for_a_lock(
    own: Backups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while `backup verify` reads all data. The next backup removes what this one left."""
    monkeypatch.setattr("ppmctl.backup.restic._WAITS", 0.0)
    locked, programs = tmp_path / "locked", tmp_path / "bin"
    programs.mkdir()
    refusal = 'echo "unable to create lock: repository is already locked by PID 1" >&2; exit 1'
    (programs / "restic").write_text(
        f'#!/bin/sh\n[ -e {locked} ] && [ "$1" = forget ] && {{ {refusal}; }}\nexec {shutil.which("restic")} "$@"\n'
    )
    (programs / "restic").chmod(0o755)
    environ = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    repository = Repository(own.location, Secret(PASSWORD), cache=None, environ=environ)
    volume, keep = Volume(root=own.root, storage=""), Keep(daily=1)
    create.create(volume, repository, keep=keep)
    locked.touch()
    done = create.create(volume, repository, keep=keep)
    assert done.note.startswith("old snapshots stay until the next backup: Another process has locked")
    assert "note" not in done.figures()
    locked.unlink()
    done = create.create(volume, repository, keep=keep)
    assert (done.snapshots_removed, done.note) == (2, "")


def test_a_repository_that_vanished_is_not_made_again(own: Backups) -> None:
    """As when its disk is not mounted: an empty one would hide that all backups are missing."""
    own.run("create")
    shutil.rmtree(own.location)
    assert "There is no backup repository" in own.run("drill", expect=1)
    assert "is missing, and it has had backups" in own.run("create", expect=1)
    assert not Path(own.location).exists()
    assert "There is no backup repository" in own.run("list", expect=1)


def test_another_index_is_not_added_to_a_repository_by_mistake(own: Backups, tmp_path: Path) -> None:
    """As by the timer of a new host, before its volume was restored: the empty index would be the latest backup."""
    empty = tmp_path / "empty"
    ppmctl("init", "--root", str(empty))
    before = own.json("list")
    printed = own.run("create", root=empty, expect=1)
    assert "has backups, and none with the id of this index; nothing was stored" in printed
    assert "ppmctl backup restore" in printed
    assert own.json("list") == before
    own.run("create", "--force", root=empty)
    own.run("create", root=empty)
    own.run("create")
    assert len({each["index"] for each in own.json("list")["snapshots"] if each["kind"] == "backup"}) == 2
    assert "several indexes" in own.run("restore", root=tmp_path / "new", expect=1)
    assert own.json("restore", "--force")["projects"] == 7
    assert own.json("restore", "--force", root=empty)["projects"] == 0


def test_a_restored_volume_continues_the_index_and_not_the_other_snapshots(own: Backups, tmp_path: Path) -> None:
    """A replaced host needs nothing else; after a rehearsal the latest of both machines has to be chosen."""
    first, other = own.json("create")["snapshot"], tmp_path / "other"
    assert own.json("restore", root=other)["snapshot"] == first
    assert (other / "index-id").read_text() == (own.root / "index-id").read_text()
    assert own.json("create", "--keep-daily", "1", root=other)["snapshots_removed"] == 0
    drilled = own.json("drill", "--sample", "0", root=other)
    assert drilled["snapshot"] != first
    assert not [note for note in drilled["notes"] if "--snapshot" in note]
    last = own.json("create", "--keep-daily", "1")["snapshot"]
    assert "several machines" in own.run("restore", root=tmp_path / "new", expect=1)
    drilled = own.json("drill", "--sample", "0")
    assert drilled["snapshot"] == last
    assert [note for note in drilled["notes"] if "--snapshot: The repository has backups of several machines" in note]
    assert "several machines" in own.result("drill")["detail"]
    assert own.json("restore", "--snapshot", last, root=tmp_path / "new")["projects"] == 7


def test_a_drill_fails_if_the_latest_backup_is_not_that_of_this_volume(own: Backups, tmp_path: Path) -> None:
    """A copy of the volume, with its ids, backs up on another machine."""
    made_here, copy = own.json("create")["snapshot"], tmp_path / "copy"
    shutil.copytree(own.root, copy)
    made_there = own.json("create", root=copy)["snapshot"]
    printed = own.run("drill", "--sample", "0", expect=1)
    assert f"is {made_there} of " in printed
    assert f", and not {made_here}, which it made last" in printed
    assert own.result("drill")["succeeded"] is False


def test_only_one_backup_runs_at_a_time(own: Backups) -> None:
    before = own.json("list")
    descriptor = files.try_lock(own.root / "locks" / "backup")
    assert descriptor is not None
    assert "Another backup or restore" in own.run("create", expect=75)
    assert "Another backup or restore" in own.run("restore", "--force", expect=75)
    os.close(descriptor)
    assert own.json("list") == before
    assert not (own.root / "operations" / "drill.json").exists()


def test_without_restic_the_message_says_how_to_install_it(own: Backups) -> None:
    without = made.Backups(
        root=own.root, location=own.location, password_file=own.password_file, environ={"PATH": "/nonexistent"}
    )
    assert "sudo apt install restic" in without.run("create", expect=1)


def test_root_backs_up_as_the_owner_of_the_volume(tmp_path: Path) -> None:
    """The password is read before: only root may read it."""
    root = tmp_path / "root"
    reachable(tmp_path)
    ppmctl("init", "--root", str(root))
    backups = made.backups(root, tmp_path / "backup")
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (root, *root.rglob("*"), tmp_path / "backup"):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    backups.run("create")
    backups.run("list")
    backups.run("verify", "--subset", "50%")
    owners = {path.stat().st_uid for path in (*root.rglob("*"), *Path(backups.location).rglob("*"))}
    assert owners == {root.stat().st_uid}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """Run an S3 server, and return the location of a repository in a bucket of it."""
    port = servers.free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                requests.put(f"http://127.0.0.1:{port}/backups", timeout=30).raise_for_status()
                break
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield f"s3:http://127.0.0.1:{port}/backups/index"
    finally:
        process.kill()
        process.wait(timeout=30)


def test_a_repository_in_a_bucket_whose_secrets_are_in_no_argument(
    filled: Filled, bucket: str, tmp_path: Path
) -> None:
    seen, programs = tmp_path / "arguments", tmp_path / "bin"
    programs.mkdir()
    (programs / "restic").write_text(f'#!/bin/sh\necho "$@" >>{seen}\nexec {shutil.which("restic")} "$@"\n')
    (programs / "restic").chmod(0o755)
    root = filled.restored(tmp_path / "root")
    keys = {"AWS_ACCESS_KEY_ID": "backup-key", "AWS_SECRET_ACCESS_KEY": "backup-secret-key"}
    backups = made.backups(
        root, tmp_path / "backup", location=bucket, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", **keys
    )
    backups.run("create", "--keep-daily", "3")
    backups.run("verify")
    backups.run("restore", root=tmp_path / "new")
    assert own_files(tmp_path / "new") == filled.before
    arguments = seen.read_text()
    assert "--keep-daily=3" in arguments
    assert [text for text in (bucket, PASSWORD, *keys.values()) if text in arguments] == []


def test_a_secret_in_the_location_is_in_no_message(own: Backups) -> None:
    secret = "rest:http://backup:kept-secret@127.0.0.1:9/"
    elsewhere = made.Backups(root=own.root, location=secret, password_file=own.password_file)
    printed = elsewhere.run("create", expect=1)
    assert "rest:http://***@127.0.0.1:9/" in printed
    written = printed + (own.root / "operations" / "backup.json").read_text() + (own.root / "audit.jsonl").read_text()
    assert "kept-secret" not in written


# the promise: what was acknowledged before a backup began is in it, and nothing that was not


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change that was acknowledged, with the times of the request and of the answer."""

    what: str
    began: float
    ended: float


KINDS = ("upload", "remove", "yank", "create", "revoke")


class Load:
    """Clients of one index that change it all the time, without retries; every answer has to be a success."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stopping = False
        self.changes: dict[str, dict[str, Change]] = {}
        self.contents: dict[str, bytes] = {}
        self.failures: list[str] = []

    def did(self, kind: str, what: str, ask: Callable[[], requests.Response]) -> None:
        began = time.monotonic()
        answer = ask()
        if answer.status_code not in (200, 201):
            self.failures.append(f"{kind} {what}: {answer.status_code} {answer.text[:200]}")
            return
        self.changes.setdefault(kind, {})[what] = Change(what=what, began=began, ended=time.monotonic())

    def upload(self, name: str, version: str) -> str:
        filename, content = wheels.wheel(name, version)
        self.contents[filename] = content
        self.did("upload", filename, lambda: self.server.upload((filename, content)))
        return filename

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, f"{self.server.url}/api/{path}", auth=self.server.auth, timeout=60, **options)

    def publish_and_lock(self, number: int) -> None:
        """Publish a file in a new project, then lock it in an environment."""
        filename = self.upload(f"locked-{number}", "1.0")
        digest = hashlib.sha256(self.contents[filename]).hexdigest()
        lock = (
            f'lock-version = "1.0"\ncreated-by = "a test"\n\n[[packages]]\nname = "locked-{number}"\n'
            f'version = "1.0"\n\n[[packages.wheels]]\nurl = "http://x/{filename}"\nhashes = {{sha256 = "{digest}"}}\n'
        )
        made = environments.revision("busy", number, f"locked-{number}", lock=lock)
        self.contents[made[0]] = made[1]
        self.did("upload", made[0], lambda: self.server.upload(made))

    def publish_and_remove(self, number: int) -> None:
        """Publish two files; remove one, yank the other."""
        version = f"1.{number}"
        removed, yanked = f"removed-{number % 7}", f"yanked-{number % 7}"
        filename = self.upload(removed, version)
        self.did("remove", filename, lambda: self.api("DELETE", f"packages/{removed}/{version}"))
        filename = self.upload(yanked, version)
        self.did("yank", filename, lambda: self.api("PUT", f"packages/{yanked}/{version}/yank"))

    def create_and_revoke(self, number: int) -> None:
        """Create a token. Revoke it at once if its number is odd, else 100 numbers later: a user has 100 at most."""
        name, old = f"token-{number}", number if number % 2 else number - 100
        rights = {"name": name, "role": "reader"}
        self.did("create", name, lambda: self.api("POST", "tokens", json=rights))
        if old > 0:
            revoked = f"token-{old}"
            self.did("revoke", revoked, lambda: self.api("DELETE", f"tokens/{self.server.user}+{revoked}"))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        def repeat(change: Callable[[int], None]) -> None:
            number = 0
            while not self.stopping:
                number += 1
                try:
                    change(number)
                except requests.RequestException as exc:
                    self.failures.append(f"{change}: {exc}")

        work = (self.publish_and_lock, self.publish_and_remove, self.create_and_revoke)
        threads = [threading.Thread(target=repeat, args=(change,)) for change in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping = True
            for thread in threads:
                thread.join(timeout=120)

    def check(self, root: Path, began: float, ended: float) -> dict[str, int]:
        """Compare a restored volume with what was acknowledged; return how many of each kind counted."""
        view = View(root=root)
        here = {name: path.read_bytes() for project in view.projects.values() for name, path in project.files.items()}
        tombstones = {name for project in view.projects.values() for name in project.removed}
        yanked = {
            name for project in view.projects.values() for name in project.files if project.yanked(name) is not None
        }
        hashes = {line.partition(":")[0] for line in (root / "credentials/htpasswd").read_text().splitlines()}
        entries = (root / "credentials/access.yml").read_text()
        uploads, removals = self.changes["upload"], self.changes["remove"]
        counted = {"held": 0, "gone": 0, "yanked": 0, "tokens": 0, "revoked": 0}
        assert here.keys() <= uploads.keys(), "files that were never acknowledged"
        for name, upload in uploads.items():
            removal = removals.get(name)
            if name in here:
                assert upload.began < ended, f"{name} is of later"
                assert here[name] == self.contents[name], name
            if upload.ended < began and (removal is None or removal.began > ended):
                assert name in here, f"{name} was acknowledged before the backup began"
                counted["held"] += 1
            if removal is not None and removal.ended < began:
                assert name not in here, f"{name} was removed before the backup began"
                assert name in tombstones, f"{name} has no tombstone"
                counted["gone"] += 1
        for name, yank in self.changes["yank"].items():
            if yank.ended < began:
                assert name in yanked, f"{name} was yanked before the backup began"
                counted["yanked"] += 1
            assert name not in yanked or yank.began < ended
        for name, creation in self.changes["create"].items():
            token, revocation = f"{self.server.user}+{name}", self.changes["revoke"].get(name)
            assert token not in hashes or creation.began < ended
            if creation.ended < began and (revocation is None or revocation.began > ended):
                assert token in hashes, f"{token} was created before the backup began"
                assert f'{token}"' in entries or f"{token}:" in entries, token
                counted["tokens"] += 1
            if revocation is not None and revocation.ended < began:
                assert token not in hashes, f"{token} was revoked before the backup began"
                assert f'{token}"' not in entries, token
                counted["revoked"] += 1
        return counted


def test_a_backup_holds_what_was_acknowledged_while_an_index_is_changed(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve("--upstream", "none")
    backups, load = made.backups(server.root, tmp_path / "backup"), Load(server)
    windows: dict[str, tuple[float, float]] = {}
    with load.running():
        for number in (1, 2, 3):
            until = time.monotonic() + 120
            while min(len(load.changes.get(kind, ())) for kind in KINDS) < 5 * number:
                assert time.monotonic() < until, load.failures
                time.sleep(0.05)
            began = time.monotonic()
            created = backups.json("create")
            windows[created["snapshot"]] = began, time.monotonic()
    assert load.failures == []
    backups.run("drill", "--sample", "4")
    for snapshot, (began, ended) in windows.items():
        root = tmp_path / snapshot
        backups.run("restore", "--snapshot", snapshot, root=root)
        counted = load.check(root, began, ended)
        assert min(counted.values()) > 3, counted
        Observer(root).check()
        assert differences(root) == []
        # each lock of the environment names a file that is here
        for path in (root / "index" / "env" / "busy").glob("*/pylock.toml"):
            url = next(line for line in path.read_text().splitlines() if line.startswith("url"))
            name = url.rpartition("/")[2].strip('"')
            assert list((root / "packages").glob(f"*/{name}")), f"{path} locks {name}"
