"""Tests of what the index needs of a bucket, with each engine that runs here: a conditional write has one winner.

moto's S3 server is always there, also with Ceph's reading of tags. BUCKET_SERVERS="s3=http://127.0.0.1:7480
az=http://127.0.0.1:10000" adds an S3 server (tried: Debian's radosgw) with the key `node` and the secret `of-a-test`,
and Azurite; you start both.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support import buckets

from ppmctl.storage.bucket import Bucket, Changed, Exists, NotChanged, Unavailable

WRITERS = 16
ROUNDS = int(os.environ.get("BUCKET_ROUNDS", "3"))
_AZURITE = (
    "devstoreaccount1",
    # as in its documentation
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
)
_SERVERS = dict(pair.split("=", 1) for pair in os.environ.get("BUCKET_SERVERS", "").split())


@pytest.fixture(scope="module", params=["moto", "moto with bare tags", *_SERVERS])
def bucket(request: pytest.FixtureRequest) -> Iterator[Bucket]:
    """Return an empty bucket of an engine."""
    engine, name = request.param, f"of-a-test-{secrets.token_hex(4)}"
    if engine.startswith("moto"):
        with buckets.serving() as serving:
            serving.has_bare_tags = engine != "moto"
            yield Bucket(serving.address, environ=serving.credentials("node"))
    elif engine == "s3":
        environ = buckets.variables(_SERVERS[engine], "node")
        buckets.make(environ, name)
        yield Bucket(f"s3://{name}/ppm", environ=environ)
    else:
        account, key = _AZURITE
        url = f"{_SERVERS[engine]}/{account}"
        _make_container(f"{url}/{name}")
        environ = {
            "AZURE_STORAGE_ACCOUNT_NAME": account,
            "AZURE_STORAGE_ACCOUNT_KEY": key,
            "AZURE_STORAGE_ENDPOINT": url,
        }
        yield Bucket(f"az://{name}/ppm", environ=environ)


def _make_container(url: str) -> None:
    """Make a container, with a request signed as Azure's Shared Key."""
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate
    from urllib.parse import urlsplit

    account, key = _AZURITE
    date, path = formatdate(usegmt=True), urlsplit(url).path
    text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2023-11-03\n/{account}{path}\nrestype:container"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": "2023-11-03",
        "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}",
    }
    answer = requests.put(f"{url}?restype=container", headers=headers, timeout=60)
    assert answer.ok, answer.text


def winners(write: Callable[[int], object]) -> list[int]:
    """Call `write` in many threads at once, and return the numbers of those that raised no Exists or Changed."""

    def attempt(number: int) -> bool:
        try:
            write(number)
        except (Exists, Changed):
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(attempt, range(WRITERS)))
    return [number for number, has_won in enumerate(won) if has_won]


def test_one_of_many_writers_creates_and_one_replaces(bucket: Bucket) -> None:
    for number in range(ROUNDS):
        key = f"race/{number}"
        (first,) = winners(lambda writer, key=key: bucket.create(key, b"created by %d" % writer))
        found = bucket.read(key)
        assert found is not None
        assert found.content == b"created by %d" % first
        (second,) = winners(lambda writer, at=found.tag, key=key: bucket.replace(key, b"replaced by %d" % writer, at))
        found = bucket.read(key)
        assert found is not None
        assert found.content == b"replaced by %d" % second


def test_tags(bucket: Bucket) -> None:
    """A tag is of one version of an object: what the writer was told is what a reader sees."""
    assert bucket.read("tag") is None
    tag = bucket.create("tag", b"one")
    with pytest.raises(NotChanged):
        bucket.read("tag", unless=tag)
    newer = bucket.replace("tag", b"two", tag)
    found = bucket.read("tag", unless=tag)
    assert found is not None
    assert (found.content, found.tag) == (b"two", newer)
    with pytest.raises(Changed):
        bucket.replace("tag", b"three", tag)
    bucket.delete("tag")
    with pytest.raises(Changed):
        bucket.replace("tag", b"three", newer)
    assert bucket.read("tag", unless=newer) is None
    bucket.create("tag", b"again")


def test_names_of_files(bucket: Bucket) -> None:
    """Characters that versions and file names have are the same in a key, also in a listing."""
    names = ["a-1!2.0+local.1-py3-none-any.whl", "b-1.0.tar.gz", "c_d-1.0~x.zip"]
    for name in names:
        bucket.write(f"names/{name}", name.encode())
        assert b"".join(bucket.stream(f"names/{name}")) == name.encode()
    assert list(bucket.keys("names/")) == [f"names/{name}" for name in names]
    for name in names:
        answer = requests.get(bucket.signed_url(f"names/{name}", seconds=60), timeout=60)
        assert answer.content == name.encode()


def test_listings(bucket: Bucket) -> None:
    """They are of a folder, sorted, and can begin after a key."""
    for number in range(12):
        bucket.create(f"list/{number:03}", b"")
        bucket.create(f"list-other/{number:03}", b"")
    keys = [f"list/{number:03}" for number in range(12)]
    assert list(bucket.keys("list/")) == keys
    assert list(bucket.keys("list/", after=keys[8])) == keys[9:]
    assert list(bucket.keys("nothing/")) == []
    bucket.delete(*keys[1:], "list/none")
    assert list(bucket.keys("list/")) == keys[:1]


def test_a_large_file_is_sent_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    content = secrets.token_bytes(12 << 20)
    (tmp_path / "large").write_bytes(content)
    bucket.upload("large", tmp_path / "large")
    assert b"".join(bucket.stream("large")) == content
    with pytest.raises(FileNotFoundError):
        list(bucket.stream("none"))


def test_a_signed_url_ends(bucket: Bucket, request: pytest.FixtureRequest) -> None:
    """It gives one object to anyone, for its time; moto checks no signature, others do."""
    bucket.write("signed", b"content")
    url = bucket.signed_url("signed", seconds=2)
    assert requests.get(url, timeout=60).content == b"content"
    assert "Expires" in url or "se=" in url
    if not request.node.callspec.params["bucket"].startswith("moto"):
        time.sleep(3)
        assert requests.get(url, timeout=60).status_code == 403


def test_a_bucket_that_is_away_is_unavailable_soon() -> None:
    with buckets.serving() as serving:
        away = Bucket(serving.address, environ=serving.credentials("node"))
        with serving.away():
            began = time.monotonic()
            for ask in (lambda: away.read("x"), lambda: away.create("x", b""), lambda: list(away.keys("x/"))):
                with pytest.raises(Unavailable) as raised:
                    ask()
                assert serving.address in str(raised.value)
                assert "of-a-test" not in str(raised.value).replace(serving.name, "")  # the secret
            assert time.monotonic() - began < 20
        assert away.read("x") is None
