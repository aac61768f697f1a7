"""Test reads and conditional writes of objects, and which addresses are accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ppmctl.errors import UsageError
from ppmctl.server.setting_table import SETTINGS
from ppmctl.storage import configured, keys
from ppmctl.storage.bucket import Bucket, Changed, Exists, NotChanged, checked_address


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Bucket:
    return Bucket(f"memory://{request.node.name}")


def test_an_object_is_created_once(bucket: Bucket) -> None:
    tag = bucket.create("a/b.json", b"1")
    with pytest.raises(Exists):
        bucket.create("a/b.json", b"2")
    found = bucket.read("a/b.json")
    assert found is not None
    assert (found.content, found.tag) == (b"1", tag)


def test_an_object_is_replaced_only_while_it_has_the_tag_that_was_read(bucket: Bucket) -> None:
    first = bucket.create("a", b"1")
    second = bucket.replace("a", b"2", first)
    assert second != first
    for key in ("a", "missing"):
        with pytest.raises(Changed):
            bucket.replace(key, b"3", first)
    found = bucket.read("a")
    assert found is not None
    assert found.content == b"2"


def test_a_conditional_read_says_that_nothing_changed(bucket: Bucket) -> None:
    tag = bucket.create("a", b"1")
    with pytest.raises(NotChanged):
        bucket.read("a", unless=tag)
    bucket.write("a", b"2")
    found = bucket.read("a", unless=tag)
    assert found is not None
    assert found.content == b"2"
    assert bucket.read("missing") is None
    assert bucket.counts["read"] == 3


def test_files_are_sent_streamed_listed_and_deleted(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 6_000_000)
    bucket.upload("packages/p/1/f", path)
    bucket.write("packages/p/2/f", b"2")
    assert b"".join(bucket.stream("packages/p/1/f")) == path.read_bytes()
    assert list(bucket.keys("packages/p/")) == ["packages/p/1/f", "packages/p/2/f"]
    assert list(bucket.keys("packages/p/", after="packages/p/1/f")) == ["packages/p/2/f"]
    listed = list(bucket.listing("packages/"))
    assert [(each.key, each.size) for each in listed] == [("packages/p/1/f", 6_000_000), ("packages/p/2/f", 1)]
    assert abs(datetime.now(UTC) - listed[0].modified) < timedelta(minutes=5)
    bucket.delete("packages/p/1/f", "packages/p/1/f")
    with pytest.raises(FileNotFoundError):
        list(bucket.stream("packages/p/1/f"))


def test_uploads_of_all_threads_need_little_memory(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(bucket, "_bulk", SimpleNamespace(put=lambda *_arguments, **options: sent.append(options)))
    bucket.upload("f", tmp_path / "file")
    threads = next(setting.default for setting in SETTINGS if setting.name == "threads")
    assert threads * sent[0]["chunk_size"] * sent[0]["max_concurrency"] <= 256 << 20, "of a limit of 1 GB"


@pytest.mark.parametrize(
    "address",
    ["", "bucket", "http://b/c", "s3:///prefix", "s3://user:secret@b/p", "s3://b?x=secret", "s3://secret@b"],
)
def test_another_address_is_refused_without_its_secrets(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_address(address)
    assert "secret" not in refused.value.message


def test_http_is_accepted_on_the_loopback_and_where_the_environment_allows_it() -> None:
    key = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    Bucket("s3://bucket/prefix", environ={"AWS_ENDPOINT_URL": "http://127.0.0.1:9", **key})
    far = {"AWS_ENDPOINT_URL": "http://s3.example.org:9", **key}
    with pytest.raises(UsageError, match="http"):
        Bucket("s3://bucket/prefix", environ=far)
    Bucket("s3://bucket/prefix", environ={**far, "AWS_ALLOW_HTTP": "true"})


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket", "AWS_ENDPOINT"),
        ("s3://bucket", "AWS_ENDPOINT_URL_S3"),
        ("az://container", "AZURE_ENDPOINT"),
        ("az://container", "AZURE_STORAGE_ENDPOINT"),
        ("gs://bucket", "GOOGLE_BASE_URL"),
    ],
)
def test_each_name_of_the_endpoint_is_checked(address: str, name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is http"):
        Bucket(address, environ={"AZURE_STORAGE_ACCOUNT_NAME": "a", name: "http://store.example.org:9"})


def test_the_address_is_in_the_environment_in_the_settings_or_noted(tmp_path: Path) -> None:
    assert configured.address_of(tmp_path, {}) == ""
    configured.note(tmp_path, "s3://noted")
    assert configured.address_of(tmp_path, {}) == "s3://noted"
    (tmp_path / "ppm.yml").write_text("storage: s3://set/prefix/\n", encoding="utf-8")
    assert configured.address_of(tmp_path, {}) == "s3://set/prefix"
    assert configured.address_of(tmp_path, {"PPM_STORAGE": "gs://given"}) == "gs://given"


def test_keys_of_the_audit_sort_as_their_numbers() -> None:
    sorted_keys = sorted(keys.audit("n", number) for number in (10, 9, 100))
    assert [keys.audit_number(key) for key in sorted_keys] == [9, 10, 100]
    assert keys.project_of_head(keys.head("a-b")) == "a-b"


def test_a_temporary_volume_uses_no_bucket_whatever_the_environment_says(tmp_path: Path) -> None:
    environ = {"PPM_STORAGE": "s3://packages/index"}
    assert configured.address_of(tmp_path, environ) == "s3://packages/index"
    configured.stay_alone(tmp_path)
    assert configured.address_of(tmp_path, environ) == ""
