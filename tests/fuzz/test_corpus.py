"""Every input that once broke something, and every seed of the fuzzer, is handled: quickly, in little memory."""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import fuzz

TARGETS = {name: fuzz.load(name) for name in fuzz.TARGETS}
SAVED = [(target.name, path) for target in TARGETS.values() for path in target.saved()]


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("name", "path"), SAVED, ids=[f"{name}/{path.name}" for name, path in SAVED])
def test_an_input_of_the_corpus_is_handled(name: str, path: Path) -> None:
    check(TARGETS[name], path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_handled(name: str) -> None:
    for seed in TARGETS[name].seeds():
        check(TARGETS[name], seed)


def check(target: fuzz.Target, data: bytes) -> None:
    target.run(data)  # what is made once for all inputs is not of this one
    gc.collect()
    assert target.measured(data) < fuzz.MAX_SECONDS
    tracemalloc.start()
    try:
        target.run(data)
        assert tracemalloc.get_traced_memory()[1] < fuzz.MAX_MEMORY
    finally:
        tracemalloc.stop()


def test_every_file_of_the_corpus_belongs_to_a_target() -> None:
    assert {path.parent.name for path in fuzz.CORPUS.rglob("*") if path.is_file()} <= set(TARGETS)
