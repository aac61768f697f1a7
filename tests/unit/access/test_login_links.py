"""Tests of the links of `ppmctl web`: each works once, for a minute, even if several try it at the same time."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ppmctl.access import login_links, secret_mask
from ppmctl.index.layout import Volume


def test_a_link_works_once(volume: Volume) -> None:
    code, expires = login_links.new(volume, "ann", "state")
    assert expires.endswith("Z")
    assert login_links.use(volume, "0" * 48) is None
    assert login_links.use(volume, f"../{code}") is None
    assert login_links.use(volume, code) == ("ann", "state")
    assert login_links.use(volume, code) is None
    assert list(volume.login_links.iterdir()) == []


def test_exactly_one_of_many_uses_at_the_same_time_wins(volume: Volume) -> None:
    for _ in range(20):
        code, _expires = login_links.new(volume, "ann", "state")
        start = threading.Barrier(8)

        def use(code: str = code, start: threading.Barrier = start) -> object:
            start.wait()
            return login_links.use(volume, code)

        with ThreadPoolExecutor(8) as pool:
            results = [each.result() for each in [pool.submit(use) for _ in range(8)]]
        assert results.count(None) == 7


def test_a_link_lasts_a_minute(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr(login_links.time, "time", lambda: now)
    codes = [login_links.new(volume, "ann", "state")[0] for _ in range(3)]
    now += login_links.LASTS - 1
    assert login_links.use(volume, codes[0]) is not None
    now += 1
    assert login_links.use(volume, codes[1]) is None
    login_links.new(volume, "bob", "state")
    assert len(list(volume.login_links.iterdir())) == 1, "the one that nobody used is removed"


def test_the_volume_has_nothing_that_a_browser_could_send(volume: Volume) -> None:
    code, _expires = login_links.new(volume, "ann", "state")
    (path,) = volume.login_links.iterdir()
    assert code not in path.name + path.read_text()
    assert (volume.login_links.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_code_is_no_secret_that_a_url_may_not_have(volume: Volume) -> None:
    codes = {login_links.new(volume, "ann", "state")[0] for _ in range(50)}
    assert len(codes) == 50
    assert not any(map(secret_mask.has_secret, codes))
    assert len(list(volume.login_links.iterdir())) == login_links._MOST


def test_a_damaged_file_is_no_link(volume: Volume, caplog: pytest.LogCaptureFixture) -> None:
    code, _expires = login_links.new(volume, "ann", "state")
    (path,) = volume.login_links.iterdir()
    path.write_text("[]")
    (volume.login_links / ".x.tmp").write_text("left by a writer that died")
    for each in volume.login_links.iterdir():
        os.utime(each, (0, 0))
    assert login_links.use(volume, code) is None
    assert "is not a link" in caplog.text
    login_links.new(volume, "ann", "state")
    assert len(list(volume.login_links.iterdir())) == 1
