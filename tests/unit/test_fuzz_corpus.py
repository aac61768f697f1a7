"""Every input that once broke something is handled: quickly, in little memory."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import fuzz
import pytest

TARGETS = {name: fuzz.load(name) for name in fuzz.TARGETS}
SAVED = [(target.name, path) for target in TARGETS.values() for path in target.saved()]


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("name", "path"), SAVED, ids=[f"{name}/{path.name}" for name, path in SAVED])
def test_an_input_of_the_corpus_is_handled(name: str, path: Path) -> None:
    target, data = TARGETS[name], path.read_bytes()
    target.run(data)  # what is made once for all inputs is not of this one
    assert target.measured(data) < fuzz.MAX_SECONDS
    tracemalloc.start()
    try:
        target.run(data)
        assert tracemalloc.get_traced_memory()[1] < fuzz.MAX_MEMORY
    finally:
        tracemalloc.stop()


def test_every_file_of_the_corpus_belongs_to_a_target() -> None:
    assert {path.parent.name for path in fuzz.CORPUS.rglob("*") if path.is_file()} <= set(TARGETS)
