"""Tests of the bucket of the other tests: that it decides between two writers, counts, and is disturbed as told."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import requests
from support import buckets
from support.buckets import PREFIX, Bucket

CREATE = {"If-None-Match": "*"}
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20261130/us-east-1/s3/aws4_request"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with buckets.serving() as serving:
        yield serving


def ask(bucket: Bucket, method: str, path: str, content: bytes = b"", **headers: str) -> requests.Response:
    signed = {name.replace("_", "-"): value for name, value in headers.items()} | SIGNED
    url = f"{bucket.url}/{bucket.name}{path}"
    return requests.request(method, url, data=content, headers=signed, timeout=30)


def put(bucket: Bucket, key: str, content: bytes, **headers: str) -> requests.Response:
    return ask(bucket, "PUT", f"/{PREFIX}/{key}", content, **headers)


def get(bucket: Bucket, key: str) -> requests.Response:
    return ask(bucket, "GET", f"/{PREFIX}/{key}")


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Let threads of this process take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("impatient_threads")
def test_one_of_many_writers_creates_or_replaces_an_object(bucket: Bucket) -> None:
    """Guards the lock around each request: moto alone lets several win."""
    for number in range(10):
        with ThreadPoolExecutor(8) as pool:
            created = list(pool.map(lambda each, at=number: put(bucket, f"{at}", b"%d" % each, **CREATE), range(8)))
            tag = next(answer for answer in created if answer.ok).headers["ETag"]
            replaced = list(
                pool.map(lambda each, at=number, tag=tag: put(bucket, f"{at}", b"+%d" % each, If_Match=tag), range(8))
            )
        for answers in (created, replaced):
            assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]


def test_requests_are_counted_by_kind_key_and_node(bucket: Bucket) -> None:
    with bucket.recording() as found:
        put(bucket, "a/1", b"one", **CREATE)
        get(bucket, "a/1")
        ask(bucket, "GET", f"?list-type=2&prefix={PREFIX}/a/")
        ask(bucket, "DELETE", f"/{PREFIX}/a/1")
    assert [str(request) for request in found] == ["write a/1", "read a/1", "list a/", "delete a/1"]
    assert [request.status for request in found] == [200, 200, 200, 204]
    assert (found[0].node, found[0].conditions, found[0].body) == ("a", ("If-None-Match",), b"one")
    assert bucket.objects("a/") == []


def test_a_request_is_refused_cut_or_loses_its_answer(bucket: Bucket) -> None:
    acts = []
    for number, fate in enumerate(("refused", "cut", "lost", "handled")):
        key = f"fate/{number}"
        came = bucket.at(2, fate, of=lambda each: each.kind == "write", act=lambda at=fate: acts.append(at))
        assert put(bucket, "before", b"").ok
        assert get(bucket, "before").ok
        assert not came.is_set()
        if fate in ("cut", "lost"):
            with pytest.raises(requests.ConnectionError):
                put(bucket, key, b"content")
        else:
            assert put(bucket, key, b"content").status_code == (503 if fate == "refused" else 200)
        assert came.is_set()
        assert (key in bucket.objects()) == (fate in ("lost", "handled"))
    assert acts == ["refused", "cut", "lost", "handled"]
    assert bucket.content("fate/2") == b"content"


def test_a_bucket_that_is_away_has_its_objects_afterwards(bucket: Bucket) -> None:
    put(bucket, "kept", b"content")
    with bucket.away(), pytest.raises(requests.ConnectionError):
        get(bucket, "kept")
    assert get(bucket, "kept").content == b"content"


def test_a_hanging_bucket_answers_afterwards(bucket: Bucket) -> None:
    answers: list[bool] = []
    with bucket.hanging():
        waiting = threading.Thread(target=lambda: answers.append(put(bucket, "late", b"").ok))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join()
    assert answers == [True]


def test_requests_overtake_each_other_with_jitter() -> None:
    with buckets.serving(jitter=0.05) as slow:
        handled: list[int] = []
        for number in range(16):
            matches = (lambda at: lambda each: each.key == f"{at}")(number)
            slow.at(1, "handled", of=matches, act=(lambda at: lambda: handled.append(at))(number))
        with ThreadPoolExecutor(16) as pool:
            assert all(answer.ok for answer in pool.map(lambda each: put(slow, f"{each}", b""), range(16)))
    assert sorted(handled) == list(range(16))
    assert any(after < before for before, after in pairwise(handled))


def test_a_bucket_in_a_process() -> None:
    with buckets.in_a_process(latency=0.01) as environ:
        name = environ["PPM_STORAGE"].split("/")[2]
        answer = requests.put(f"{environ['AWS_ENDPOINT_URL']}/{name}/key", b"content", timeout=30)
    assert answer.ok
    assert answer.elapsed.total_seconds() > 0.01
