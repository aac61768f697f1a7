"""Which volumes may be used with a bucket, and which alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support import volumes, wheels

from ppmctl.access import accounts
from ppmctl.access.account import Actor
from ppmctl.errors import PpmError
from ppmctl.index import cache_mark
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.migration import copy_to, shared_files
from ppmctl.server import exclusive
from ppmctl.server.running import Registration
from ppmctl.storage import configured
from ppmctl.storage.bucket import Bucket

HERE, OTHER = "s3://packages/index", "s3://packages/other"


@pytest.fixture(autouse=True)
def _without_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PPM_STORAGE", raising=False)


def test_an_empty_volume_becomes_a_cache(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PPM_STORAGE", HERE)
    cache_mark.require_usable(Volume(root=volume.root))
    assert configured.noted(volume.root) == HERE
    cache_mark.serve(Volume(root=volume.root))
    monkeypatch.delenv("PPM_STORAGE")
    cache_mark.serve(Volume(root=volume.root))
    assert configured.address_of(volume.root) == HERE


def test_a_volume_without_a_bucket_gets_no_mark(volume: Volume) -> None:
    cache_mark.serve(Volume(root=volume.root))
    assert not volume.copied_from.parent.exists()


def test_projects_that_were_not_copied_are_not_hidden_by_a_bucket(store: Store) -> None:
    volumes.put(store, wheels.wheel("alpha", "1.0"))
    store.volume.settings.write_text(f"storage: {HERE}\n")
    with pytest.raises(PpmError, match=r"has projects that were not copied to s3://packages/index") as raised:
        cache_mark.serve(Volume(root=store.volume.root))
    assert f"ppmctl storage copy --root {store.volume.root} --to {HERE}" in raised.value.hint
    assert configured.noted(store.volume.root) == ""


def test_a_cache_of_another_bucket_is_refused(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_mark.become_cache(volume, HERE)
    monkeypatch.setenv("PPM_STORAGE", OTHER)
    with pytest.raises(PpmError, match=r"is a cache of s3://packages/index, not of s3://packages/other"):
        cache_mark.require_usable(Volume(root=volume.root))


def test_a_complete_copy_is_one_until_a_server_starts(store: Store) -> None:
    volumes.put(store, wheels.wheel("alpha", "1.0"))
    cache_mark.become_cache(store.volume, HERE)
    cache_mark.become_copy(store.volume, HERE)
    cache_mark.require_usable(Volume(root=store.volume.root))
    assert cache_mark.copied_from(store.volume) == HERE
    assert configured.address_of(store.volume.root) == ""
    cache_mark.serve(Volume(root=store.volume.root))
    assert cache_mark.copied_from(store.volume) == ""


def test_a_complete_copy_can_be_a_cache_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    volumes.put(store, wheels.wheel("alpha", "1.0"))
    cache_mark.become_cache(store.volume, HERE)
    cache_mark.become_copy(store.volume, HERE)
    monkeypatch.setenv("PPM_STORAGE", HERE)
    cache_mark.serve(Volume(root=store.volume.root))
    assert configured.noted(store.volume.root) == HERE
    assert cache_mark.copied_from(store.volume) == ""


def test_what_waits_while_an_index_is_moved_to_a_bucket_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison with the bucket would undo it: a revoked secret would work again."""
    volume, me = Volume(root=store.volume.root), Actor(name="unix:ada", origin="here")
    volumes.put(store, wheels.wheel("alpha", "1.0"))
    accounts.create_user(volume, me, "ann", role="reader")
    cache_mark.require_usable(volume)  # as each command does first
    changes: list[Callable[[], object]] = [
        lambda: store.yank("alpha", "1.0"),
        lambda: store.claim("beta", by="ann"),
        lambda: accounts.disable(volume, me, "ann"),
        lambda: accounts.remove(volume, me, "ann"),
        lambda: Registration(volume, read_access="public").begin(("127.0.0.1", 8081)),
        lambda: exclusive.alone(volume).__enter__(),
    ]
    copy, waiting = shared_files.copy, list[Future[object]]()
    with ThreadPoolExecutor(len(changes)) as threads:

        def last_step(volume: Volume, bucket: Bucket) -> None:
            waiting.extend(map(threads.submit, changes))
            copy(volume, bucket)

        monkeypatch.setattr(shared_files, "copy", last_step)
        address = f"memory://{volume.root.name}-moved"
        assert copy_to.copy(Volume(root=volume.root, storage=""), address).is_complete
    for each in waiting:
        with pytest.raises(PpmError, match=r"was moved to memory://\S+ meanwhile\. Nothing was changed"):
            each.result()
    assert not store.read("alpha").files[0].yanked
    assert [account.access.disabled for account in accounts.accounts(volume)] == [False]
    moved = Store(Volume(root=volume.root))
    moved.yank("alpha", "1.0")
    assert moved.read("alpha").files[0].yanked is not None
