"""Test what `ppm.json` says: who may use a bucket, and when."""

from __future__ import annotations

import secrets

import pytest

from ppmctl.errors import PpmError
from ppmctl.storage import bucket_layout, keys
from ppmctl.storage.bucket import Bucket


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(f"memory://{secrets.token_hex(8)}")


def test_the_first_node_gives_an_empty_bucket_its_layout_and_the_others_use_it(bucket: Bucket) -> None:
    bucket_layout.join(bucket)
    first = bucket_layout.read(bucket)
    bucket_layout.join(bucket)
    assert first is not None
    assert (first.number, first.copying) == (1, "")
    assert bucket_layout.read(bucket) == first


def test_no_node_uses_a_bucket_before_the_copy_to_it_is_complete(bucket: Bucket) -> None:
    bucket_layout.begin_copy(bucket, "one")
    bucket_layout.begin_copy(bucket, "one")
    with pytest.raises(PpmError, match=r"A copy to memory://.* is not complete"):
        bucket_layout.join(bucket)
    bucket_layout.end_copy(bucket)
    bucket_layout.end_copy(bucket)
    bucket_layout.join(bucket)


def test_a_copy_goes_to_an_empty_bucket_or_to_its_own(bucket: Bucket) -> None:
    bucket_layout.begin_copy(bucket, "one")
    with pytest.raises(PpmError, match="has the copy of another volume already"):
        bucket_layout.begin_copy(bucket, "two")
    bucket_layout.end_copy(bucket)
    with pytest.raises(PpmError, match="has an index already"):
        bucket_layout.begin_copy(bucket, "one")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"layout": 2}', "has layout 2, and this release"), (b"[]", "is not that of an index"), (b"{", "is not that")],
)
def test_an_unknown_layout_is_refused(bucket: Bucket, content: bytes, message: str) -> None:
    bucket.write(keys.LAYOUT, content)
    for refused in (bucket_layout.join, bucket_layout.read, bucket_layout.end_copy):
        with pytest.raises(PpmError, match=message):
            refused(bucket)


class _Unconditional(Bucket):
    """A bucket as old S3 servers are: it ignores conditions."""

    def replace(self, key: str, content: bytes, tag: str) -> str:
        assert tag
        self.write(key, content)
        return "another"


def test_a_bucket_without_conditional_writes_is_refused(bucket: Bucket) -> None:
    bucket_layout.require_conditional_writes(bucket)
    assert list(bucket.keys("probe/")) == []
    with pytest.raises(PpmError, match="no conditional writes"):
        bucket_layout.require_conditional_writes(_Unconditional(bucket.address))
