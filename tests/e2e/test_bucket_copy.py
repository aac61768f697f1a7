"""`ppmctl storage`, and what check, rebuild and backup do with a bucket: moving there and back, killed, damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from support import backups as made
from support import buckets, environments, readme, servers, wheels
from support.backups import own_files
from support.buckets import Bucket
from support.servers import Server, ppmctl
from support.stock import links, stock_pypiserver

from ppmctl.storage import bucket as storage
from ppmctl.storage import configured

SAME = ("packages/", "quarantine/", "claims/")


@dataclass(frozen=True, kw_only=True)
class Filled:
    """An index with everything that a volume can have, and no bucket. It runs."""

    server: Server
    secrets: dict[str, str]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    server = servers.start(tmp_path_factory.mktemp("filled") / "root", options=("--upstream", "none"))
    try:
        yield Filled(server=server, secrets=_fill(server))
    finally:
        server.kill()


def _fill(server: Server) -> dict[str, str]:
    root = ("--root", str(server.root))
    for name in ("alpha", "beta", "gamma", "delta"):
        for version in ("1.0", "2.0"):
            assert server.upload(wheels.wheel(name, version)).status_code == 200
    assert server.upload(wheels.wheel("heavy", "1.0", files={"heavy.py": os.urandom(6_000_000)})).status_code == 200
    signed = wheels.wheel("signed", "1.0")
    assert server.upload(signed, fields={"attestations": wheels.attestations(signed)}).status_code == 200
    assert server.upload(wheels.sdist("alpha", "1.0")).status_code == 200
    environments.fill(server)
    ppmctl("package", "yank", "beta", "1.0", "--reason", "too old", *root)
    ppmctl("package", "remove", "gamma", "1.0", "--yes", *root)
    ppmctl("package", "status", "delta", "quarantined", "--reason", "looked at", *root)
    ppmctl("package", "claim", "requests", *root)
    secrets = {"admin": server.secret}
    for name in ("alice", "disabled"):
        secrets[name] = ppmctl("user", "add", name, "--role", "publisher", *root).stdout.strip()
    ppmctl("user", "disable", "disabled", *root)
    return secrets


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with buckets.serving() as bucket:
        yield bucket


def environ(bucket: Bucket, node: str = "copy") -> dict[str, str]:
    """Return the environment of a command that has the bucket's credentials, and not its address."""
    return {**os.environ, **bucket.credentials(node)}


def own(filled: Filled, folder: Path) -> Path:
    """Return a copy of the filled volume that no server uses."""
    root = folder / "own"
    subprocess.run(["cp", "-a", filled.server.root, root], check=True, timeout=60)
    for path in (root / "servers").iterdir():
        path.unlink()
    return root


def copy(root: Path, bucket: Bucket, *options: str, expect: int = 0) -> dict[str, Any]:
    """Run `ppmctl storage copy`, by default to the bucket."""
    options = options or ("--to", bucket.address)
    printed = ppmctl(
        "storage", "copy", *options, "--json", "--root", str(root), env=environ(bucket), expect=expect
    ).stdout
    done: dict[str, Any] = json.loads(printed)
    return done


def check(root: Path, bucket: Bucket, *options: str) -> list[dict[str, str]]:
    done = servers.run_ppmctl(("index", "check", "--json", *options, "--root", str(root)), env=environ(bucket))
    assert done.returncode in (0, 1), done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def rebuild(root: Path, bucket: Bucket, *, expect: int = 0) -> dict[str, Any]:
    """Run `ppmctl index rebuild` on a node, whose volume may be empty."""
    env = environ(bucket) | {"PPM_STORAGE": bucket.address}
    ppmctl("init", "--root", str(root), env=env)
    done: dict[str, Any] = json.loads(
        ppmctl("index", "rebuild", "--json", "--root", str(root), env=env, expect=expect).stdout
    )
    return done


def pages(root: Path) -> dict[str, Any]:
    """Return the JSON pages of all projects, without their serials."""
    found = {}
    for path in (root / "index/simple").rglob("index.json"):
        page = json.loads(path.read_text())
        page["meta"].pop("_last-serial")
        found[str(path.relative_to(root))] = page
    return found


def audit(root: Path) -> list[dict[str, Any]]:
    """Return the lines of the audit log, without the nodes where they were written."""
    lines = [json.loads(line) for line in (root / "audit.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "node"} for line in lines]


def content(root: Path) -> dict[str, Any]:
    """Return the own files of a volume; of JSON and of credentials only what they say counts."""
    found: dict[str, Any] = {}
    for name, written in own_files(root).items():
        if name.endswith((".upload", ".status")):
            values = json.loads(written)
            if values == {"state": "active", "reason": ""}:
                continue
            found[name] = {key: value for key, value in values.items() if key not in ("attestations", "provenance")}
        elif name.startswith(SAME):
            found[name] = written
        elif name in ("credentials/htpasswd", "credentials/access.yml"):
            found[name] = sorted(written.splitlines())
    return found


def test_an_index_is_copied_to_a_bucket_while_it_is_served_and_back(
    filled: Filled, bucket: Bucket, tmp_path: Path
) -> None:
    root = filled.server.root
    done = copy(root, bucket, expect=1)
    assert done["problems"] == []
    assert f"127.0.0.1 port {filled.server.port}" in done["server"]
    assert (done["projects"], done["is_complete"]) == (8, False)
    assert done["bytes"] > 6_000_000

    with bucket.recording() as recorded:
        copy(root, bucket, expect=1)
    assert [request for request in recorded if request.kind == "write" and request.key != "ppm.json"] == []

    stopped = own(filled, tmp_path)
    done = copy(stopped, bucket)
    assert (done["files"], done["is_complete"]) == (0, True)

    node = tmp_path / "node"
    assert rebuild(node, bucket)["problems"] == []
    assert pages(node) == pages(root)
    assert check(node, bucket) == []

    back = tmp_path / "back"
    done = copy(back, bucket, "--from", bucket.address)
    assert (done["problems"], done["is_complete"]) == ([], True)
    assert content(back) == content(root)
    assert audit(back) == audit(root)
    assert pages(back) == pages(root)
    assert [item for item in check(back, bucket) if "search" not in item["where"]] == []
    assert copy(back, bucket, "--from", bucket.address)["files"] == 0

    with stock_pypiserver(back / "packages", tmp_path / "stock.log") as url:  # which leaves ppm and the bucket
        for project in ("alpha", "beta", "heavy"):
            served = {path.name for path in (back / "packages" / project).glob("*.whl")}
            assert {name for name in links(f"{url}/simple/{project}/") if name.endswith(".whl")} == served != set()
        assert "delta" not in requests.get(f"{url}/packages/", timeout=60).text, "it is quarantined"


@pytest.fixture(scope="module")
def shared(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bucket, Path]]:
    """Return a bucket to which the filled volume was copied, and that volume, now its cache. Tests change neither."""
    with buckets.serving() as bucket:
        root = own(filled, tmp_path_factory.mktemp("shared"))
        copy(root, bucket)
        yield bucket, root


def test_a_copy_that_is_killed_goes_on_where_it_was(filled: Filled, bucket: Bucket, tmp_path: Path) -> None:
    root = own(filled, tmp_path)
    command = [*servers.PPMCTL, "storage", "copy", "--to", bucket.address, "--root", str(root)]
    for number in (3, 14, 15, 9):
        process = subprocess.Popen(command, env=environ(bucket), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        came = bucket.at(number, "cut", of=lambda request: request.kind == "write", act=process.kill)
        process.wait(timeout=120)
        assert came.is_set()
        bucket.untroubled()
        refused = ppmctl(
            "index", "rebuild", "--root", str(tmp_path / "node"), env=started(bucket, tmp_path), expect=1
        )
        assert f"A copy to {bucket.address} is not complete" in refused.stderr
    process = subprocess.Popen(command, env=environ(bucket), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bucket.at(2, "cut", of=lambda request: request.kind == "write" and request.key == "ppm.json", act=process.kill)
    process.wait(timeout=120)
    bucket.untroubled()
    assert configured.noted(root) == bucket.address  # it was at its last write
    done = copy(root, bucket)
    assert (done["problems"], done["is_complete"]) == ([], True)
    node = tmp_path / "node"
    assert rebuild(node, bucket)["problems"] == []
    assert pages(node) == pages(filled.server.root)
    assert check(node, bucket) == []


def started(bucket: Bucket, folder: Path) -> dict[str, str]:
    """Return the environment of a node; its volume is made."""
    env = environ(bucket) | {"PPM_STORAGE": bucket.address}
    if not (folder / "node").exists():
        ppmctl("init", "--root", str(folder / "node"), env=env)
    return env


def test_what_is_published_yanked_and_removed_between_two_copies_is_in_the_second(
    filled: Filled, bucket: Bucket, tmp_path: Path
) -> None:
    root = own(filled, tmp_path)
    server = servers.start(root, options=("--upstream", "none"))
    try:
        copy(root, bucket, expect=1)
        assert server.upload(wheels.wheel("alpha", "3.0")).status_code == 200
        assert server.upload(wheels.wheel("omega", "1.0")).status_code == 200
        for arguments in (
            ("remove", "alpha", "1.0", "--yes"),
            ("yank", "beta", "2.0"),
            ("unyank", "beta", "1.0"),
            ("status", "delta", "active"),
            ("unclaim", "requests"),
            ("claim", "flask"),
        ):
            ppmctl("package", *arguments, "--root", str(root))
    finally:
        assert server.stop() == 0
    done = copy(root, bucket)
    assert (done["problems"], done["is_complete"]) == ([], True)
    back = tmp_path / "back"
    copy(back, bucket, "--from", bucket.address)
    assert content(back) == content(root)
    assert pages(back) == pages(root)
    assert [key for key in bucket.objects("packages/alpha/") if "alpha-1.0" in key] == []


def test_a_bucket_with_an_index_is_not_written_to(
    shared: tuple[Bucket, Path], filled: Filled, tmp_path: Path
) -> None:
    bucket, root = shared
    other = own(filled, tmp_path)
    (other / "storage" / "node").unlink(missing_ok=True)
    before = {key: bucket.content(key) for key in bucket.objects()}
    refused = ppmctl(
        "storage", "copy", "--to", bucket.address, "--root", str(other), env=environ(bucket), expect=1
    ).stderr
    assert f"{bucket.address} has an index already; nothing was changed" in refused
    elsewhere = f"{bucket.address}-other"
    refused = ppmctl("storage", "copy", "--to", elsewhere, "--root", str(root), env=environ(bucket), expect=1).stderr
    assert f"{root} is a cache of {bucket.address}, so it may lack files" in refused
    assert copy(root, bucket)["is_complete"]
    assert {key: bucket.content(key) for key in bucket.objects()} == before


def test_a_volume_that_was_not_copied_is_not_served_with_a_bucket(
    bucket: Bucket, filled: Filled, tmp_path: Path
) -> None:
    root = own(filled, tmp_path)
    env = environ(bucket) | {"PPM_STORAGE": bucket.address}
    for command in (
        ("serve", "--port", str(servers.free_port())),
        ("user", "add", "carol", "--role", "reader"),
        ("index", "check"),
    ):
        refused = servers.run_ppmctl((*command, "--root", str(root)), env=env)
        assert refused.returncode == 1, command
        assert f"{root} has projects that were not copied to {bucket.address}" in refused.stderr
        assert f"ppmctl storage copy --root {root} --to {bucket.address}" in refused.stderr
    assert bucket.requests == []


def test_a_cache_is_neither_backed_up_nor_restored_and_a_copy_is(shared: tuple[Bucket, Path], tmp_path: Path) -> None:
    bucket, root = shared
    backups = made.backups(root, tmp_path / "backup", **bucket.credentials("backup"))
    printed = backups.run("create", expect=1)
    assert f"{root} is a cache of {bucket.address}, so a backup of it would lack files" in printed
    assert f"ppmctl storage copy --root FOLDER --from {bucket.address}" in printed
    back = tmp_path / "back"
    copy(back, bucket, "--from", bucket.address)
    backups.run("create", root=back)
    backups.run("drill", root=back)
    for options in ((), ("--project", "alpha"), ("--credentials", "--force")):
        assert "a restore to it would not change the bucket" in backups.run("restore", *options, expect=1)
    backups.run("restore", root=tmp_path / "restored")
    assert content(tmp_path / "restored") == content(back)
    copy(tmp_path / "again", bucket, "--from", bucket.address)
    backups.run("create", root=tmp_path / "again")  # of the same index, so without --force


def test_the_self_check_of_a_node_writes_nothing_to_its_bucket(shared: tuple[Bucket, Path]) -> None:
    bucket, root = shared
    env = environ(bucket) | {"PPM_STORAGE": bucket.address}
    with bucket.recording(lambda request: request.kind in ("write", "delete")) as written:
        ppmctl("self-check", "--root", str(root), env=env)
    assert written == []


def test_the_status_names_the_bucket_and_how_much_is_on_the_volume(
    shared: tuple[Bucket, Path], filled: Filled, tmp_path: Path
) -> None:
    bucket, root = shared
    found = json.loads(ppmctl("storage", "status", "--json", "--root", str(root), env=environ(bucket)).stdout)
    assert (found["bucket"], found["state"], found["projects"]) == (bucket.address, "in use", 8)
    assert found["files"] == found["recorded"] == 14
    node = tmp_path / "node"
    rebuild(node, bucket)
    found = json.loads(ppmctl("storage", "status", "--json", "--root", str(node), env=environ(bucket)).stdout)
    assert (found["recorded"], found["files"]) == (14, 2)  # those of environments
    printed = ppmctl("storage", "status", "--root", str(filled.server.root)).stdout
    assert "uses no bucket: it has all files itself" in printed
    with bucket.away():
        printed = ppmctl("storage", "status", "--root", str(root), env=environ(bucket), expect=1).stderr
        assert f"The bucket {bucket.address} can't be used now" in printed


def set_age(bucket: Bucket, key: str, age: timedelta) -> None:
    """Have the bucket say that an object was written so long ago."""
    with bucket._handling:
        bucket._stored()[f"{buckets.PREFIX}/{key}"].last_modified -= age


def test_a_check_finds_what_a_bucket_lacks_and_a_rebuild_writes_it_again(
    filled: Filled, bucket: Bucket, tmp_path: Path
) -> None:
    root = own(filled, tmp_path)
    copy(root, bucket)
    assert check(root, bucket) == []
    wheel, metadata = (
        next(key for key in bucket.objects("packages/alpha/") if key.endswith(end))
        for end in ("alpha-1.0-py3-none-any.whl", "alpha-2.0-py3-none-any.whl.metadata")
    )
    heavy = next(key for key in bucket.objects("packages/heavy/") if key.endswith(".whl"))
    node = node_of(bucket)
    node.delete(wheel, metadata)
    node.write(heavy, b"x" * filled.server.page("heavy")["files"][0]["size"])
    found = {(item["where"], item["what"]): item["repair"] for item in check(root, bucket)}
    assert found == {
        (wheel, "is missing in the bucket"): "ppmctl index rebuild",
        (metadata, "is missing in the bucket"): "ppmctl index rebuild",
        (heavy, "does not have the sha256 of its record in the bucket"): "ppmctl index rebuild",
    }
    assert {item["where"] for item in check(root, bucket, "--quick")} == {wheel, metadata}

    empty = tmp_path / "node"
    done = rebuild(empty, bucket, expect=1)
    assert [problem.partition(" ")[0] for problem in done["problems"]] == [wheel, metadata]
    assert {item["repair"] for item in check(empty, bucket, "--quick")} == {
        "restore it from a backup, or remove it: ppmctl package remove"
    }
    done = rebuild(root, bucket)
    assert (sorted(done["uploaded"]), done["problems"]) == (sorted([wheel, metadata, heavy]), [])
    assert check(root, bucket) == []
    assert rebuild(empty, bucket)["problems"] == []
    assert check(empty, bucket) == []


def node_of(bucket: Bucket) -> storage.Bucket:
    return storage.Bucket(bucket.address, environ=bucket.credentials("test"))


def test_files_that_no_project_lists_are_removed_when_they_are_old(
    filled: Filled, bucket: Bucket, tmp_path: Path
) -> None:
    root = own(filled, tmp_path)
    copy(root, bucket)
    old, new, nameless = "packages/alpha/00/old.whl", "packages/alpha/00/new.whl", "packages/never/00/never.whl"
    node = node_of(bucket)
    for key in (old, new, nameless):
        node.write(key, b"left by a node that was killed")
    for key in (old, nameless):
        set_age(bucket, key, timedelta(days=2))
    differences = check(root, bucket)
    assert {(item["where"], item["what"]) for item in differences} == {
        (key, "belongs to no file that was published") for key in (old, nameless)
    }
    done = rebuild(root, bucket)
    assert sorted(done["cleaned"]) == [old, nameless]
    assert new in bucket.objects()
    assert old not in bucket.objects()
    assert check(root, bucket) == []


def test_a_lost_head_deletes_nothing_and_is_written_again_by_a_node_that_has_it(
    filled: Filled, bucket: Bucket, tmp_path: Path
) -> None:
    root, head = own(filled, tmp_path), "projects/alpha.json"
    copy(root, bucket)
    rebuild(root, bucket)  # it reads the heads
    before = {key: bucket.content(key) for key in bucket.objects()}
    node_of(bucket).delete(head)
    for key in bucket.objects("packages/alpha/"):
        set_age(bucket, key, timedelta(days=2))
    empty = tmp_path / "node"
    done = rebuild(empty, bucket, expect=1)
    assert done["cleaned"] == []
    (problem,) = done["problems"]
    assert "packages/alpha/ has files, and the bucket has no head of the project" in problem
    assert [item["where"] for item in check(empty, bucket)] == ["packages/alpha/"]
    assert {(item["where"], item["repair"]) for item in check(root, bucket)} == {(head, "ppmctl index rebuild")}
    later = "packages/alpha/00/published-by-another-node.whl"  # after this node has read the head
    node_of(bucket).write(later, b"")
    set_age(bucket, later, timedelta(days=2))
    done = rebuild(root, bucket, expect=1)
    assert (done["uploaded"], done["cleaned"], len(done["problems"])) == ([], [], 1)
    node_of(bucket).delete(later)

    done = rebuild(root, bucket)
    assert (done["uploaded"], done["cleaned"], done["problems"]) == ([head], [], [])
    assert {key: bucket.content(key) for key in bucket.objects()} == before
    assert check(root, bucket) == []


def test_a_rebuild_from_the_bucket_alone_brings_back_names_and_folders(
    filled: Filled, bucket: Bucket, tmp_path: Path
) -> None:
    root = own(filled, tmp_path)
    copy(root, bucket)
    shard = next(key for key in bucket.objects("names/") if b'"alpha"' in bucket.content(key))
    node_of(bucket).write(shard, b"[]\n")
    assert (shard, "does not have alpha") in {(item["where"], item["what"]) for item in check(root, bucket)}
    (root / "packages/beta" / next(path.name for path in (root / "packages/beta").glob("*1.0*.yanked"))).unlink()
    (root / "packages/gamma" / next(path.name for path in (root / "packages/gamma").glob("*.removed"))).unlink()
    done = rebuild(root, bucket)
    assert (done["uploaded"], done["problems"]) == ([shard], [])
    assert check(root, bucket) == []
    assert content(root) == content(filled.server.root)
    assert pages(root) == pages(filled.server.root)


def test_the_commands_of_the_documentation(filled: Filled, bucket: Bucket, tmp_path: Path) -> None:
    root = own(filled, tmp_path)
    backups = made.backups(root, tmp_path / "backup")
    bin_folder = Path(sys.executable).parent
    env = backups.variables() | environ(bucket) | {"PPM_ROOT": str(root)}
    env["PATH"] = f"{bin_folder}{os.pathsep}{env['PATH']}"
    sections = readme.blocks("docs/storage.md")
    titles = (
        "Move an index into a bucket",
        "Look at it",
        "Check and repair",
        "Move it back",
        "Back up a bucket",
    )
    assert {title for title, found in sections.items() if found} == set(titles)
    replaced = {
        "s3://packages/restored": f"{bucket.address}-restored",
        "s3://packages/index": bucket.address,
        "/srv/ppm-new": str(tmp_path / "new"),
        "/srv/ppm": str(root),
        "/mnt": str(tmp_path),
    }
    for block in (block for title in titles for block in sections[title]):
        for old, new in replaced.items():
            block = block.replace(old, new)
        readme.paste(block, tmp_path, env)
    assert content(tmp_path / "new") == content(tmp_path / "restored") == content(root)
