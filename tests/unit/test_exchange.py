"""Tests of replacing a file by exchanging two names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppmctl import exchange


@pytest.mark.parametrize("way", ["exchange", "no system call", "not supported"])
def test_the_new_file_gets_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    new, path = tmp_path / "new", tmp_path / "path"
    if way == "no system call":
        monkeypatch.setattr(exchange, "_renameat2", None)
    if way == "not supported":
        monkeypatch.setattr(exchange, "_renameat2", lambda *_arguments: -1)
    new.write_text("first")
    exchange.exchange(new, path)
    assert (path.read_text(), new.exists()) == ("first", False)
    new.write_text("second")
    exchange.exchange(new, path)
    assert path.read_text() == "second"
    assert (new.read_text() if new.exists() else None) == ("first" if way == "exchange" else None)


def test_a_file_is_never_missing_while_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that supports it no rename takes place, which is what makes ext4 write to the disk."""
    new, path = tmp_path / "new", tmp_path / "path"
    new.write_text("new")
    path.write_text("old")
    inode = new.stat().st_ino
    monkeypatch.setattr(os, "replace", None)
    exchange.exchange(new, path)
    assert path.stat().st_ino == inode


def test_an_error_is_that_of_a_rename(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exchange.exchange(tmp_path / "new", tmp_path / "path")
