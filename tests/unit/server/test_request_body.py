"""Bodies of requests that are incomplete or broken, and what reading them raises."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ppmctl.errors import Refused
from ppmctl.server.request_body import Body


class Broken:
    """A body whose second read fails."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.reads = 0

    def read(self, _size: int) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise self._failure
        return b"half"


def body(source: Any, length: str | None = None) -> Body:
    return Body({"wsgi.input": source} | ({} if length is None else {"CONTENT_LENGTH": length}))


def test_a_whole_body_is_read_as_it_is() -> None:
    whole = body(io.BytesIO(b"all of it"), "9")
    assert (whole.read(0), whole.read(3), whole.read(100), whole.read(100)) == (b"", b"all", b" of it", b"")
    assert body(io.BytesIO(b"all of it"), "9").read() == b"all of it"
    assert body(io.BytesIO(b"chunked")).read() == b"chunked"
    assert body(io.BytesIO(b""), "0").read(5) == b""


@pytest.mark.parametrize("size", [-1, 4, 100])
def test_a_body_that_ends_early_is_refused(size: int) -> None:
    """Otherwise the version 1.0 would be removed where 1.0.1 was sent."""
    cut = body(io.BytesIO(b"version=1.0"), "13")
    with pytest.raises(Refused) as refused:
        list(iter(lambda: cut.read(size), b""))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("failure", "status"),
    [(TimeoutError(), 408), (ConnectionResetError(), 400), (ValueError(), 400), (Exception("a chunk"), 400)],
)
def test_a_body_that_breaks_is_refused_and_not_read_again(failure: Exception, status: int) -> None:
    """After a timeout nobody waits for a second one."""
    source = Broken(failure)
    broken = body(source, "100")
    assert broken.read(4) == b"half"
    for _again in range(2):
        with pytest.raises(Refused) as refused:
            broken.read(4)
        assert refused.value.status == status
    assert source.reads == 2
