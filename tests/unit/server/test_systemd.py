"""What a service manager's variables say."""

from __future__ import annotations

import os

import pytest

from ppmctl.errors import UsageError
from ppmctl.server.systemd import Service, take


def test_a_person_sets_none_of_it() -> None:
    service = take({})
    assert service == Service(sockets=0, notify_address="", watchdog=None)
    assert not service.is_managed
    service.notify("READY=1")  # nobody listens, and that is no error


def test_what_is_meant_for_this_process_is_taken() -> None:
    mine = str(os.getpid())
    environ = {
        "LISTEN_PID": mine,
        "LISTEN_FDS": "2",
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_PID": mine,
        "WATCHDOG_USEC": "1500000",
    }
    service = take(environ)
    assert service == Service(sockets=2, notify_address="/run/x", watchdog=1.5)
    assert service.is_managed
    # gunicorn reads these itself, and must not read the others
    assert environ == {"LISTEN_PID": mine, "LISTEN_FDS": "2"}


def test_what_is_meant_for_another_process_is_not() -> None:
    """A child inherits its parent's variables; NOTIFY_SOCKET is for whoever has it."""
    other = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1500000"}
    assert take(other) == Service()
    assert take({"WATCHDOG_USEC": "1500000"}).watchdog == 1.5  # sd_watchdog_enabled(3): without a PID it is meant


@pytest.mark.parametrize("variable", ["LISTEN_PID", "LISTEN_FDS", "WATCHDOG_PID", "WATCHDOG_USEC"])
@pytest.mark.parametrize("value", ["", "one", "-1"])
def test_a_number_that_is_none_is_named(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{variable} is {value!r}"):
        take({variable: value})
