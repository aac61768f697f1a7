"""Compare an index of real files with a folder of them (`make corpus`). tests/e2e/test_corpus.py takes some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support import clients, corpus
from support.servers import Server


def test_all_files_are_found_as_in_a_folder(serve: Callable[..., Server], tmp_path: Path) -> None:
    corpus.compare(
        corpus.listed(), tmp_path / "corpus", serve, lambda server: clients.machine(tmp_path / "home", server)
    )
