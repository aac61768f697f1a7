"""What unit tests share. They open no sockets: doing so fails the test."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from support.nodes import new_node

from ppmctl import events, output
from ppmctl.access import nginx_htpasswd
from ppmctl.index.layout import Volume
from ppmctl.index.store import Store
from ppmctl.storage import bucket, configured


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep hypothesis's plugin from importing hypothesis for a summary of nothing, which takes half a second."""
    if "hypothesis" not in sys.modules:
        session.config.pluginmanager.unregister(name="hypothesispytest")


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> NoReturn:
        raise AssertionError("a unit test opens no sockets")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync nothing: no test here cuts the power, and on a busy disk each sync takes a hundredth of a second."""
    monkeypatch.setattr(os, "fsync", os.fstat)  # which fails, too, where the file is closed


@pytest.fixture(autouse=True)
def _empty_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the buckets in memory of earlier tests, and of an earlier run in this process: `make mutation`."""
    monkeypatch.setattr(bucket, "_memory", {})
    monkeypatch.setattr(configured, "_opened", {})


@pytest.fixture
def few_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 3 parts of credentials for nginx, not 100: a volume's first user is written in 2 ms, not in 20."""
    monkeypatch.setattr(nginx_htpasswd, "PARTS", 3)


@pytest.fixture(autouse=True)
def _shown_events() -> None:
    """Show what code reports, as the command line does: a test reads it from stderr, alone or after others."""
    events.listen(events.Listener(note=output.say, progress=output.progress))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(root=tmp_path / "root")
    volume.prepare()
    return volume


@pytest.fixture
def store(volume: Volume) -> Iterator[Store]:
    store = Store(volume)
    yield store
    store.area.close()


@pytest.fixture
def here(tmp_path: Path) -> Store:
    """Return the store of a node of an empty bucket in memory."""
    return new_node(tmp_path / "here", f"memory://{tmp_path.name}")


@pytest.fixture
def other(tmp_path: Path, here: Store) -> Store:
    """Return the store of another node of the same bucket."""
    return new_node(tmp_path / "other", here.volume.bucket)
