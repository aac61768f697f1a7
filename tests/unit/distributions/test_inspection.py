"""Files are read in a child process; one that costs too much ends the child alone."""

from __future__ import annotations

import gzip
import os
import signal
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wheels

from ppmctl.distributions import budget, distribution, environment_wheel, inspection
from ppmctl.distributions.environment_revision import Revision, RevisionHead
from ppmctl.errors import InvalidDistribution


@pytest.fixture(autouse=True)
def _own_children() -> Iterator[None]:
    inspection._pool.cache_clear()
    yield
    inspection._pool(os.getpid()).end()
    inspection._pool.cache_clear()


def children() -> list[inspection._Child]:
    return inspection._pool(os.getpid())._idle


@pytest.mark.parametrize(
    "made", [wheels.wheel("x", "1.0", requires_python=">=3.9"), wheels.sdist("x", "1.0", summary="ä")]
)
def test_the_child_reads_what_this_process_would_read(tmp_path: Path, made: tuple[str, bytes]) -> None:
    path = wheels.write(tmp_path, made)
    assert inspection.inspect(path, path.name) == distribution.inspect(path, path.name)


def test_a_revision_of_an_environment_is_read(tmp_path: Path) -> None:
    revision = Revision(name="ml", number=3, requirements=("numpy",), change="add numpy", shared=True)
    path = wheels.write(tmp_path, (revision.filename, environment_wheel.to_wheel(revision)))
    assert inspection.inspect(path, path.name).revision == RevisionHead(number=3, shared=True, base=None)
    path = wheels.write(tmp_path, wheels.wheel("ppm-env-ml", "4"))
    with pytest.raises(InvalidDistribution, match="not the revision of an environment"):
        inspection.inspect(path, path.name)


def test_only_the_lock_of_a_new_revision_has_a_limit_of_4_mb(tmp_path: Path) -> None:
    """An older release published larger ones, which are still read and served."""
    lock = f'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n#{" " * (4 << 20)}'
    revision = Revision(name="ml", number=3, requirements=("numpy",), change="lock", lock=lock)
    path = wheels.write(tmp_path, (revision.filename, environment_wheel.to_wheel(revision)))
    with pytest.raises(InvalidDistribution, match="lock is over 4 MB"):
        inspection.inspect(path, path.name)
    assert inspection.inspect(path, path.name, old=True).revision == RevisionHead(number=3, shared=False, base=None)
    assert environment_wheel.from_wheel(path) == revision


def test_a_refusal_has_the_same_reason(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, ("x-1.0.tar.gz", b"nothing"))
    with pytest.raises(InvalidDistribution, match=r"x-1\.0\.tar\.gz is not a readable archive"):
        inspection.inspect(path, path.name)
    with pytest.raises(FileNotFoundError):
        inspection.inspect(tmp_path / "y-1.0.tar.gz", "y-1.0.tar.gz")
    folder = tmp_path / "z-1.0.tar.gz"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        inspection.inspect(folder, folder.name)


def test_one_child_reads_one_file_after_the_other(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    inspection.inspect(path, path.name)
    (first,) = children()
    inspection.inspect(path, path.name)
    assert children() == [first]


def test_more_children_read_at_the_same_time_than_before_but_not_more_than_the_limit(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    threads = [threading.Thread(target=inspection.inspect, args=(path, path.name)) for _number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(children()) <= inspection._CHILDREN


def test_uploads_are_read_in_half_of_the_servers_threads() -> None:
    inspection.start(threads=3)
    with inspection.uploading(), pytest.raises(inspection.Busy), inspection.uploading():
        pass
    with inspection.uploading():
        pass


def test_an_index_without_a_free_child_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    monkeypatch.setattr(inspection._pool(os.getpid()), "_slots", threading.BoundedSemaphore(1))
    with inspection._pool(os.getpid())._slots, pytest.raises(inspection.Busy):
        inspection.inspect(path, path.name, wait=0.01)
    assert inspection.inspect(path, path.name, wait=0.01).name.project == "x"


def test_too_much_processor_time_ends_the_child_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = tarfile.TarInfo("x-1.0/a").tobuf() * (budget.MAX_MEMBERS - 1)
    path = wheels.write(tmp_path, ("x-1.0.tar.gz", gzip.compress(headers, 1)))
    small = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    inspection.inspect(small, small.name)
    (before,) = children()
    monkeypatch.setattr(budget, "CPU_SECONDS", 0)
    with pytest.raises(InvalidDistribution, match="reading it takes more than 0 seconds of processor time"):
        inspection.inspect(path, path.name)
    monkeypatch.undo()
    assert inspection.inspect(small, small.name).name.project == "x"
    assert children() != [before]


def test_a_file_on_a_slow_disk_is_not_invalid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    inspection.inspect(path, path.name)
    (child,) = children()
    child._process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(budget, "MAX_SECONDS", 0.01)
    with pytest.raises(inspection.Busy, match=r"took more than 0\.01 seconds, the disk may be slow"):
        inspection.inspect(path, path.name)
    assert child._process.returncode == -signal.SIGKILL
    assert children() == []
    monkeypatch.undo()
    assert inspection.inspect(path, path.name).name.project == "x"


def test_too_much_memory_ends_the_child_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = wheels.metadata("x", "1.0") + b"x" * (budget.MAX_METADATA - 100)
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0", meta=meta))
    monkeypatch.setattr(budget, "MAX_MEMORY", 4 << 20)
    with pytest.raises(InvalidDistribution, match="reading it takes more than 4 MB of memory"):
        inspection.inspect(path, path.name)
    monkeypatch.undo()
    assert inspection.inspect(path, path.name).name.project == "x"


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    """The reader of a lock quotes its version."""
    lock = b'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "x"\nversion = "%s"\n' % (b"x" * (3 << 20))
    about = b'{"format": 2, "name": "ml", "revision": 1, "change": "x", "shared": false, "base": null}'
    folder = "ppm_env_ml-1.dist-info/ppm-env"
    made = wheels.wheel("ppm-env-ml", "1", files={f"{folder}/env.json": about, f"{folder}/pylock.toml": lock})
    path = wheels.write(tmp_path, made)
    with pytest.raises(InvalidDistribution, match="not a valid pylock") as refused:
        inspection.inspect(path, path.name)
    assert len(refused.value.message) <= budget.MAX_MESSAGE + 1


def test_a_large_answer_is_not_sent() -> None:
    with pytest.raises(inspection.Ended, match="gives more than 8 MB"):
        inspection.call("re:sub", "x", "y" * 5000, "x" * 2000, seconds=9)
    assert inspection.call("re:sub", "x", "y", "x", seconds=9) == "y"


def test_a_child_that_breaks_the_rules_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    inspection.inspect(path, path.name)
    (child,) = children()
    monkeypatch.setattr(budget, "MAX_ANSWER", 9)
    with pytest.raises(InvalidDistribution):
        inspection.inspect(path, path.name)
    assert child._process.returncode is not None
    assert children() == []


def test_a_child_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    inspection.inspect(path, path.name)
    (child,) = children()
    child._process.kill()
    child._process.wait()
    assert inspection.inspect(path, path.name).name.project == "x"


def test_a_child_has_nothing_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPMCTL_TOKEN", "ppm_secret")
    path = wheels.write(tmp_path, wheels.wheel("x", "1.0"))
    inspection.inspect(path, path.name)
    (child,) = children()
    assert b"ppm_secret" not in Path(f"/proc/{child._process.pid}/environ").read_bytes()
