"""Which volumes may be used with a bucket, and which alone."""

from __future__ import annotations

import pytest
from support import volumes, wheels

from ppmctl.errors import PpmError
from ppmctl.index import cache_mark
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.storage import configured

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
