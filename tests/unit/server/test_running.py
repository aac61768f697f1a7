"""The records of running servers: who reads them, and when they are stale. tests/e2e/test_health.py has servers."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ppmctl.index.layout import Volume
from ppmctl.server import running
from ppmctl.server.running import Registration
from ppmctl.server.settings import server_settings


@pytest.fixture
def registration(volume: Volume) -> Registration:
    return Registration(volume, read_access="public")


def test_a_record_exists_while_its_server_runs(volume: Volume, registration: Registration) -> None:
    assert running.servers(volume) == []
    registration.begin(("127.0.0.1", 8081))
    (server,) = running.servers(volume)
    assert (server.where, server.pid, server.hint) == ("127.0.0.1 port 8081", os.getpid(), "")
    assert replace(server, machine="4f5e6d").hint.startswith("It runs on 4f5e6d, which can be a container")
    settings = server_settings(volume.root, flags=server.flags, environ={"PPM_PORT": "1"})
    assert (settings.host, settings.port, settings.read_access) == ("127.0.0.1", 8081, "public")
    registration.end()
    assert (running.servers(volume), running.newest(volume)) == ([], None)
    assert list(volume.servers.iterdir()) == []


def test_addresses_of_all_kinds(volume: Volume) -> None:
    for address, where in (
        ("/run/ppm/ppm.sock", "unix:/run/ppm/ppm.sock"),
        (("::1", 8080, 0, 0), "::1 port 8080"),
        (("0.0.0.0", 80), "0.0.0.0 port 80"),
    ):
        registration = Registration(volume, read_access="authenticated")
        registration.begin(address)
        assert [server.where for server in running.servers(volume)] == [where]
        registration.end()


def test_a_record_without_a_lock_is_ignored_and_removed_by_the_next_server(
    volume: Volume, registration: Registration
) -> None:
    """A killed server can't remove its record."""
    registration.begin(("127.0.0.1", 8081))
    (record,) = volume.servers.iterdir()
    content = record.read_text()
    registration.end()
    record.write_text(content)
    assert running.servers(volume) == []
    registration.begin(("127.0.0.1", 8082))
    assert record not in volume.servers.iterdir()
    assert [server.port for server in running.servers(volume)] == [8082]


def test_workers_of_one_server_count_once(volume: Volume) -> None:
    registrations = [Registration(volume, read_access="public") for _ in range(3)]
    for registration, pid in zip(registrations, (7, 7, 8), strict=True):
        registration.begin(("127.0.0.1", 8080), pid=pid)
    assert sorted(server.pid for server in running.servers(volume)) == [7, 8]
    for registration in registrations:
        registration.end()


def test_a_damaged_record_is_ignored(volume: Volume, registration: Registration) -> None:
    registration.begin(("127.0.0.1", 8081))
    (record,) = volume.servers.iterdir()
    for damaged in ("", "[]", "{}", '{"host": 1}'):
        record.write_text(damaged)
        assert running.servers(volume) == []
    registration.end()


def test_a_server_that_can_not_write_its_record_serves_nevertheless(
    volume: Volume, registration: Registration, caplog: pytest.LogCaptureFixture
) -> None:
    volume.servers.write_text("a file in the folder's place")
    registration.begin(("127.0.0.1", 8081))
    assert "can't find this server: File exists" in caplog.text
    registration.end()
