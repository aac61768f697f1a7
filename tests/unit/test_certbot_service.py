"""Tests of the service that renews the certificate in containers: its schedule, and how it replaces the files."""

from __future__ import annotations

import importlib
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.tls import Authority

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "docker" / "certbot", ROOT / "plugins" / "module_utils")
MODULES = ("ppm_certificate", "schedule", "place", "keep")
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(scope="module")
def service() -> Iterator[SimpleNamespace]:
    """Yield its modules, in one folder as in the image."""
    sys.path[:0] = [str(folder) for folder in FOLDERS]
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        del sys.path[: len(FOLDERS)]
        for name in MODULES:
            sys.modules.pop(name, None)


# the schedule


@pytest.mark.parametrize(
    ("lifetime", "longest"),
    [(90 * DAY, 12 * HOUR), (45 * DAY, 12 * HOUR), (6 * DAY, 12 * HOUR), (DAY, 4 * HOUR), (60.0, 10.0)],
)
def test_the_check_interval_suits_any_lifetime(lifetime: float, longest: float, service: SimpleNamespace) -> None:
    waits = [service.schedule.until_check(lifetime, chance / 10) for chance in range(11)]
    assert waits[0] == longest
    assert waits[-1] == pytest.approx(0.8 * longest)
    assert sorted(waits, reverse=True) == waits


def test_the_wait_grows_with_each_failure(service: SimpleNamespace) -> None:
    waits = [service.schedule.until_retry(streak) for streak in range(1, 50)]
    assert waits[:4] == [HOUR / 3, HOUR / 1.5, HOUR * 4 / 3, HOUR * 8 / 3]
    assert waits[-1] == 12 * HOUR
    assert waits == sorted(waits)


def test_at_most_three_failures_within_an_hour(service: SimpleNamespace) -> None:
    """However often the container restarts."""
    until, now = service.schedule.until_allowed, 1_000_000.0
    assert until([], now) == 0
    assert until([now - 10, now - 5], now) == 0
    assert until([now - 30, now - 20, now - 10], now) == HOUR - 30
    assert until([now - HOUR, now - 20, now - 10], now) == 0, "one is over an hour old"
    assert until([now - 50, now - 30, now - 20, now - 10], now) == HOUR - 30
    assert until([now + DAY] * 5, now) == 0, "a clock that was put right"


def test_failures_are_stored_and_cleared(tmp_path: Path, service: SimpleNamespace) -> None:
    failures, now = service.schedule.Failures(path=tmp_path / "failures"), 1_000_000.0
    failures.clear()
    assert failures.times() == []
    for when in (now - 2 * HOUR, now - 20, now):
        failures.add(when)
    assert service.schedule.Failures(path=failures.path).times() == [now - 20, now]
    failures.path.write_text("1\nhalf a li\n2.5\n")
    assert failures.times() == [1.0, 2.5]
    failures.clear()
    assert failures.times() == []


# the files


def pair(folder: Path, authority: Authority) -> Path:
    chain, key = authority.issue(folder, "index.test")
    chain.rename(folder / "fullchain.pem")
    key.rename(folder / "privkey.pem")
    return folder


def test_the_pair_is_replaced_atomically(tmp_path: Path, service: SimpleNamespace) -> None:
    """A reader of one file and then the other, during a change, gets a matching pair, or notices and reads again.

    So each pair is deleted only when the second one after it is written.
    """
    authority, place = Authority(), service.place.Place(root=tmp_path / "place")
    place.root.mkdir()
    assert place.is_empty
    pairs = [pair(tmp_path / str(number), authority) for number in range(3)]
    place.put(pairs[0], "a test")
    over, has_read, wrong = threading.Event(), threading.Semaphore(0), []

    def read() -> None:
        while not over.is_set():
            folder = (place.root / "fullchain.pem").resolve().parent
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    folder / "fullchain.pem", folder / "privkey.pem"
                )
            except (OSError, ssl.SSLError) as exc:
                wrong.append(str(exc))
            has_read.release()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(20):
            place.put(pairs[number % 3], f"test {number}")
            while has_read.acquire(blocking=False):
                pass
            assert has_read.acquire(timeout=60)  # at most one change during a read: the previous pair still exists
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert place.source == "test 19"
    assert place.has(pairs[1])
    assert not place.has(pairs[0])
    assert len([path for path in place.root.iterdir() if path.is_dir() and not path.is_symlink()]) == 2
    key = place.root / "privkey.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert str(key.readlink()) == "current/privkey.pem"


def test_a_key_of_another_certificate_is_rejected(tmp_path: Path, service: SimpleNamespace) -> None:
    authority, place = Authority(), service.place.Place(root=tmp_path / "place")
    place.root.mkdir()
    good, other = (pair(tmp_path / name, authority) for name in ("good", "other"))
    place.put(good, "a test")
    before = sorted(place.root.rglob("*"))
    (other / "privkey.pem").write_bytes((good / "privkey.pem").read_bytes())
    with pytest.raises(service.place.Unfit, match="do not belong together"):
        place.put(other, "another")
    assert (sorted(place.root.rglob("*")), place.source) == (before, "a test")


def test_a_temporary_certificate_is_valid_for_a_day(tmp_path: Path, service: SimpleNamespace) -> None:
    place = service.place.Place(root=tmp_path)
    place.put_temporary("index.test")
    assert place.validity().seconds == DAY
    assert place.source == "temporary index.test"


# the settings


def test_settings(service: SimpleNamespace) -> None:
    given = {"PPM_DOMAIN": "index.test", "PPM_ACME_EMAIL": "a@example.com"}
    read = service.keep.read_settings(given)
    assert (read.directory, read.check_first, read.source) == ("", True, "letsencrypt index.test default")
    other = {"PPM_ACME_DIRECTORY": "https://acme.test/dir", "PPM_ACME_CHECK_FIRST": "false"}
    read = service.keep.read_settings({**given, **other})
    assert (read.check_first, read.source) == (False, "letsencrypt index.test https://acme.test/dir")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "PPM_DOMAIN and PPM_ACME_EMAIL not set: set ppm_domain and ppm_acme_email in docker/settings.yml"),
        ({"PPM_DOMAIN": "index.test", "PPM_ACME_EMAIL": ""}, "^PPM_ACME_EMAIL not set"),
        ({"PPM_DOMAIN": "i", "PPM_ACME_EMAIL": "a", "PPM_ACME_CHECK_FIRST": "no"}, "it must be true or false"),
    ],
)
def test_invalid_settings_are_named(given: dict[str, str], message: str, service: SimpleNamespace) -> None:
    with pytest.raises(service.keep.Unusable, match=message):
        service.keep.read_settings(given)
