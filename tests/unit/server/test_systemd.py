"""A service as described by its manager's variables."""

from __future__ import annotations

import os

import pytest

from ppmctl.errors import UsageError
from ppmctl.server.systemd import Service, take


def test_without_variables_it_is_not_a_service() -> None:
    service = take({})
    assert service == Service(sockets=0, notify_address="", watchdog=None)
    assert not service.is_managed
    service.notify("READY=1")  # without an address it does nothing


def test_variables_for_this_process_are_used() -> None:
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
    # gunicorn needs these, and must not see the others
    assert environ == {"LISTEN_PID": mine, "LISTEN_FDS": "2"}


def test_variables_for_another_process_are_ignored() -> None:
    """A child process inherits its parent's variables."""
    other = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "1500000"}
    assert take(other) == Service()
    assert take({"WATCHDOG_USEC": "1500000"}).watchdog == 1.5  # without a PID it is for any process


@pytest.mark.parametrize("variable", ["LISTEN_PID", "LISTEN_FDS", "WATCHDOG_PID", "WATCHDOG_USEC"])
@pytest.mark.parametrize("value", ["", "one", "-1"])
def test_an_invalid_number_is_reported_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"{variable} is {value!r}"):
        take({variable: value})
