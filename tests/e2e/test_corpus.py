"""Compare an index of a few real files with a folder of them; `make corpus` does it with all of tests/corpus/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support import corpus
from support.clients import Machine
from support.servers import Server

SOME = (
    "MarkupSafe-0.9.2.tar.gz",
    "zope.interface-3.6.7.zip",
    "cffi-1.2.0-1-cp35-none-win32.whl",
    "enum34-1.1.6-py2-none-any.whl",
    "Jinja2-2.11.3-py2.py3-none-any.whl",
    "jinja2-3.1.4-py3-none-any.whl",
    "requests-2.32.1-py3-none-any.whl",
    "requests-2.32.3-py3-none-any.whl",
)


def test_some_real_files_are_found_as_in_a_folder(
    serve: Callable[..., Server], new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    files = [file for file in corpus.listed() if file.filename in SOME]
    assert len(files) == len(SOME)
    corpus.compare(files, tmp_path / "corpus", serve, new_machine)
