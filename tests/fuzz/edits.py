"""Files of users that `ppmctl login` and `ppmctl client-config --write` edit; an edit can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from support import client_files

from fuzz import text_of
from ppmctl.client import netrc_file
from ppmctl.client.index_url import resolve
from ppmctl.client_config import lines
from ppmctl.client_config.file_edit import EDITORS, mask
from ppmctl.client_config.index_target import Form, IndexTarget
from ppmctl.client_config.lines import Unreadable

HOSTS = ("index.test", "", "a")


def netrc(data: bytes) -> None:
    """Read a netrc. Entries do not overlap."""
    text = data.decode("utf-8", "surrogateescape")
    end = 0
    for entry in netrc_file.entries(text):
        assert end <= entry.start < entry.end <= len(text)
        end = entry.end
        assert text[entry.start :].startswith(("machine", "default"))
    for host in HOSTS:
        netrc_file.entry_of(text, host)


def netrc_seeds() -> Iterator[bytes]:
    yield b"machine index.test login ann password ppm_x\ndefault login anonymous password x\n"
    yield b'# mine\nmacdef init\ncd /\n\nmachine "a b" account x user "b\\"c" password # no\nmachine\tindex.test\n'
    yield b"machine index.test\r\n  login a\r\n  password b\r\n\r\nmachine default machine x login"


def _edited(client: str, data: bytes) -> None:
    try:
        before = lines.read(data)
    except Unreadable:
        return
    for form in client_files.FORMS[client]:
        _edited_as(client, before, form)
    for line in text_of(data).splitlines()[:20]:
        assert mask(line, "ann").isprintable() or "\t" in line


def _edited_as(client: str, before: lines.Body, form: Form) -> None:
    address = resolve(client_files.URL, environ={}, home=Path("/nowhere"))
    target = IndexTarget(name="internal", address=address, form=form)
    mark = lines.marker(client, target.name)
    try:
        after, puts = EDITORS[client].plan(before, target, "user").apply(mark)
    except Unreadable:
        return
    assert EDITORS[client].plan(after, target, "user").is_empty
    assert lines.undo(EDITORS[client].File, after, puts, mark) == (before, ())


def pip(data: bytes) -> None:
    """Edit a pip.conf."""
    _edited("pip", data)


def pip_seeds() -> Iterator[bytes]:
    yield from filter(None, client_files.PIP.values())


def pypirc(data: bytes) -> None:
    """Edit a .pypirc."""
    _edited("twine", data)


def pypirc_seeds() -> Iterator[bytes]:
    yield from filter(None, client_files.TWINE.values())


def toml(data: bytes) -> None:
    """Edit a uv.toml, and a pyproject.toml with the same content."""
    _edited("uv", data)
    _edited("poetry", data)


def toml_seeds() -> Iterator[bytes]:
    yield from filter(None, (*client_files.UV.values(), *client_files.PYPROJECT.values()))
