"""How many connections a server has, and what it does when there is no descriptor for another."""

from __future__ import annotations

import pytest

from ppmctl.server.gunicorn import most_connections


@pytest.mark.parametrize(
    ("threads", "descriptors", "connections"),
    [(16, 1024, 768), (16, 16_384, 1000), (16, 1 << 40, 1000), (2, 256, 112), (16, 256, 17), (512, 1024, 513)],
)
def test_connections_leave_descriptors_for_requests(threads: int, descriptors: int, connections: int) -> None:
    """With 1,000 connections and a limit of 1,024, as Debian has it, no upload could open its files."""
    assert most_connections(threads, descriptors) == connections
