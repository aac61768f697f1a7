"""The thinnest path: publish and see it."""

from __future__ import annotations

from support import wheels
from support.servers import Server


def test_an_uploaded_wheel_is_on_its_page(index: Server) -> None:
    assert index.upload(wheels.wheel("smoke", "1.0")).status_code == 200
    assert index.filenames("smoke") == {"smoke-1.0-py3-none-any.whl"}
