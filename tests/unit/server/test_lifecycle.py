"""What a server does after a boot of its machine."""

from __future__ import annotations

import errno
import json
from unittest.mock import Mock

import pytest
from support import wheels

from ppmctl.distributions import distribution
from ppmctl.index import pages
from ppmctl.index.store import Store
from ppmctl.server import lifecycle


def test_a_page_that_could_not_be_written_after_a_boot_is_written_at_the_next_start(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filename, content = wheels.wheel("x", "1.0")
    with store.area.new_file() as received:
        received.write(content)
        received.finish()
        store.put(received, distribution.inspect(received.path, filename), by="ann")
    page = store.volume.pages("x") / pages.JSON_PAGE
    page.write_bytes(b"")  # as after a power failure
    store.volume.boot.write_text("another boot\n")
    with monkeypatch.context() as full:
        full.setattr(pages, "write_project", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        lifecycle._after_reboot(store)
    assert "x: [Errno 28] No space left on device" in caplog.text
    lifecycle._after_reboot(store)
    assert [file["filename"] for file in json.loads(page.read_bytes())["files"]] == [filename]
