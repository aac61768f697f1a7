"""Tests of changes of credentials: parallel changes are not lost, and a killed change gives no one more rights."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import warm

from ppmctl.access import accounts, credential_files, nginx_htpasswd
from ppmctl.access import rights as rights_module
from ppmctl.access.account import Actor
from ppmctl.index.layout import Volume

ME = Actor(name="unix:ada", origin="here")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir"}

PROCESSES = 12

Rights = dict[tuple[str, str], rights_module.Access]


CHANGES: dict[str, Callable[[Volume], object]] = {
    "user add": lambda volume: accounts.create_user(volume, ME, "new", role="publisher"),
    "token create": lambda volume: accounts.create_token(volume, ME, "ops+new", role="publisher", projects=["a-*"]),
    "token create, owner too": lambda volume: accounts.create_token(volume, ME, "ci+new", role="publisher"),
    "rotate": lambda volume: accounts.rotate(volume, ME, "ops"),
    "more": lambda volume: accounts.change(volume, ME, "scoped", role="admin", projects=[]),
    "less": lambda volume: accounts.change(volume, ME, "ops", role="reader"),
    "disable": lambda volume: accounts.disable(volume, ME, "ops"),
    "enable": lambda volume: accounts.enable(volume, ME, "away"),
    "enable with an expiry": lambda volume: accounts.enable(volume, ME, "over", expires="2999-01-01T00:00:00Z"),
    "remove": lambda volume: accounts.remove(volume, ME, "ops"),
    "revoke": lambda volume: accounts.remove(volume, ME, "ops+laptop"),
    "prune": lambda volume: accounts.prune(volume),
}


@pytest.fixture
def before(tmp_path: Path) -> Volume:
    """Return a volume with credentials of every kind; one has expired and is not pruned yet."""
    volume = Volume(root=tmp_path / "root")
    volume.prepare()
    for name, role in (("ops", "publisher"), ("ada", "admin"), ("away", "publisher"), ("over", "reader")):
        accounts.create_user(volume, ME, name, role=role)
    accounts.create_user(volume, ME, "scoped", role="publisher", projects=["acme-*"])
    accounts.create_token(volume, ME, "ops+laptop", role="publisher")
    accounts.disable(volume, ME, "away")
    live = volume.access.read_text()
    ended = live.replace('"over": {', '"over": {"expires": "2020-01-01T00:00:00Z", ')
    assert ended != live
    volume.access.write_text(ended)
    return volume


@pytest.mark.parametrize("name", CHANGES)
def test_a_killed_change_gives_no_credential_more_rights(name: str, before: Volume, tmp_path: Path) -> None:
    change, old = CHANGES[name], lines(before)
    whole = copy_of(before, tmp_path / "whole")
    dies_at(change, whole, sys.maxsize)
    allowed = (rights(before, old), rights(whole, old))
    reads = (read(before, old), read(whole, old))
    moment = died = 0
    for moment in range(1, 100):
        volume = copy_of(before, tmp_path / f"{moment}")
        if not dies_at(change, volume, moment):
            break
        died += 1
        for key, access in rights(volume, old).items():
            assert access in [each[key] for each in allowed if key in each], f"{name}, before change {moment}: {key}"
        assert read(volume, old) <= reads[0] | reads[1], f"{name}, before change {moment}"
        # the next start
        accounts.prune(volume)
        settled = rights(volume, old)
        assert read(volume, old) == set(settled), f"{name}, before change {moment}: nginx and the application differ"
        assert not list(volume.credentials.rglob("*.tmp"))
        shutil.rmtree(volume.root)
    assert died >= 3
    assert moment < 99


def test_parallel_changes_are_not_lost(before: Volume) -> None:
    """Each process creates a token, and every other one revokes another's."""
    root = ["--root", str(before.root)]
    for number in range(PROCESSES):
        accounts.create_token(before, ME, f"ops+old{number}", role="reader")
    commands = [["token", "create", f"ops+new{number}", "--role", "publisher"] for number in range(PROCESSES)]
    commands += [["token", "revoke", f"ops+old{number}"] for number in range(0, PROCESSES, 2)]
    with tempfile.TemporaryFile("w+") as printed:
        options: dict[str, Any] = {"environ": os.environ, "stdout": printed, "stderr": printed}
        running = [warm.start([*command, *root], **options) for command in commands]
        codes = {process.wait(timeout=120) for process in running}
        printed.seek(0)
        assert codes == {0}, printed.read()
    names = {"ops", "ops+laptop", *(f"ops+new{number}" for number in range(PROCESSES))}
    names |= {f"ops+old{number}" for number in range(1, PROCESSES, 2)}
    assert {each.access.name for each in accounts.accounts(before, owner="ops")} == names
    listed = {name for name in credential_files.read_htpasswd(before.htpasswd) if name.startswith("ops")}
    assert listed == names
    assert {name for name, _age in read(before, set()) if name.startswith("ops")} == names
    done = [json.loads(line)["what"] for line in before.audit.read_text().splitlines()]
    assert all(any(command[2] in what for what in done) for command in commands)


def copy_of(volume: Volume, root: Path) -> Volume:
    shutil.copytree(volume.root, root, copy_function=os.link)  # links are safe, as changes replace files
    return Volume(root=root)


def dies_at(change: Callable[[Volume], object], volume: Volume, moment: int) -> bool:
    """Run the change in a new process; return whether it died right before its `moment`th change of a file."""
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(_killer(str(volume.root), moment))
            change(volume)
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), "the change itself failed"
    return code == 9


def _killer(root: str, moment: int) -> Callable[[str, tuple[Any, ...]], None]:
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        is_change = event in _CHANGES or (event == "open" and (arguments[2] or 0) & _WRITING)
        if is_change and str(arguments[0]).startswith(root):
            seen += 1
            if seen == moment:
                os._exit(9)

    return hook


def lines(volume: Volume) -> set[str]:
    """Return the lines of the existing secrets."""
    known = credential_files.snapshot(volume)
    return {f"{name}:{stored}" for hashes in (known.hashes, known.parked) for name, stored in hashes.items()}


def rights(volume: Volume, old: set[str]) -> Rights:
    """Return the application's rights of each secret, by name and whether the secret is an old one."""
    rights_of = {}
    hashes, known = credential_files.read_htpasswd(volume.htpasswd), credential_files.read_access(volume.access)
    for name, stored in hashes.items():
        if name in known and known[name].is_live():
            limit = known[name].effective
            rights_of[name, _age(f"{name}:{stored}", old)] = rights_module.Access(
                name=name, role=limit.role, created="", projects=limit.projects, expires=limit.expires
            )
    return rights_of


def read(volume: Volume, old: set[str]) -> set[tuple[str, str]]:
    """Return the credentials that nginx accepts for reads."""
    accepted = set()
    for path in volume.parts.iterdir() if volume.parts.exists() else ():
        if path.name.startswith("."):  # a killed writer's temporary file
            continue
        for line in path.read_text().splitlines():
            name = line.partition(":")[0]
            assert path.name == f"{nginx_htpasswd.part_of(name):02d}"
            accepted.add((name, _age(line, old)))
    return accepted


def _age(line: str, old: set[str]) -> str:
    return "old" if line in old else "new"
