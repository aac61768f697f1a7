"""Check the table of Accept headers in ppmctl/server/content_negotiation.py with real clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from pypi_simple import PyPISimple
from support import clients, wheels
from support.clients import Installer, Machine
from support.recorder import Recorder, recording
from support.servers import Server

from ppmctl.server import content_negotiation

BEFORE_JSON = "22.1"  # of pip: 22.2 was the first to ask for JSON


@pytest.fixture(scope="module")
def filled(index: Server) -> Server:
    assert index.upload(wheels.wheel("asked-for", "1.0")).status_code == 200
    return index


def expect(recorder: Recorder, client: str, row: str) -> None:
    """Assert that the client sent the Accept header of the table's row, and got its form."""
    ((header, form),) = [(header, form) for name, header, form in content_negotiation.TABLE if name == row]
    asked = [exchange for exchange in recorder.exchanges if exchange.path == "/simple/asked-for/"]
    answered = [exchange for exchange in asked if exchange.status == 200]
    assert answered, f"{client} got no page: {[(exchange.path, exchange.status) for exchange in recorder.exchanges]}"
    for exchange in asked:
        assert exchange.headers["Accept"] == header, (
            f"{client} sends another Accept header than ppmctl.server.content_negotiation has for {row!r}:"
            " add it to the table"
        )
    for exchange in answered:
        assert exchange.answered_as == form.content_type, f"{client} got a form that the table does not have for it"


@pytest.mark.parametrize(
    ("name", "row"),
    [("pip", "pip from 22.2"), ("old pip", "pip from 22.2"), ("uv", "uv")],
    ids=["pip", "old pip", "uv"],
)
def test_installers_send_what_the_table_says(
    name: str, row: str, filled: Server, installer_of: Callable[..., Installer]
) -> None:
    """nginx compares the exact header: a client that changes it would go to the application."""
    with recording(filled.port) as recorder:
        installer_of(name, filled).install("asked-for", index=f"{recorder.url}/simple/")
    expect(recorder, name, row)


def test_a_pip_without_json_sends_what_the_table_says(filled: Server, new_machine: Callable[..., Machine]) -> None:
    """The last pip that requests only HTML still installs."""
    pip = Installer(name="pip", machine=new_machine(filled), library=clients.pip_library(BEFORE_JSON))
    with recording(filled.port) as recorder:
        # with --no-input it reads no netrc
        url = recorder.url.replace("://", f"://{filled.user}:{filled.secret}@")
        pip.install("asked-for", index=f"{url}/simple/")
    assert pip.version("asked-for") == "1.0"
    expect(recorder, f"pip {BEFORE_JSON}", "pip before 22.2")


def test_pypi_simple_sends_what_the_table_says(filled: Server) -> None:
    """A client library, with its default header."""
    with recording(filled.port) as recorder, PyPISimple(f"{recorder.url}/simple/", auth=filled.auth) as client:
        client.get_project_page("asked-for", timeout=60)
    expect(recorder, "pypi-simple", "pypi-simple")


def test_curl_and_requests_send_what_the_table_says(
    filled: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """The default headers of scripts."""
    with recording(filled.port) as recorder:
        new_machine(filled).run("curl", "-sS", "--fail", "--netrc", f"{recorder.url}/simple/asked-for/")
    expect(recorder, "curl", "curl, requests")
    with recording(filled.port) as recorder:
        requests.get(f"{recorder.url}/simple/asked-for/", auth=filled.auth, timeout=60)
    expect(recorder, "requests", "curl, requests")


def test_every_header_of_the_table_gets_its_form(filled: Server) -> None:
    """Browsers too, which are not run here: their rows are from their documentation."""
    for client, header, form in content_negotiation.TABLE:
        answer = filled.get("/simple/asked-for/", headers={"Accept": header})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, form.content_type), client
