"""The text that a client needs for an index, to paste by hand."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl.client import netrc_file
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address
from ppmctl.client_config import file_edit, file_locations
from ppmctl.client_config.index_target import DEFAULT_NAME, IndexTarget, Machine, Scope, Snippet, form_for
from ppmctl.secret import Secret

# for people who look at a web page: any user's machine
_MACHINE = Machine(environ={}, home=Path("/home/you"), cwd=Path("/home/you/project"))


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What to paste for a client, the file it belongs in, notes, and the index as the client has to know it."""

    client: str
    target: IndexTarget
    place: str
    text: str
    notes: tuple[str, ...]


def snippet(client: str, target: IndexTarget, place: str, scope: Scope | None) -> Snippet:
    """Return what to paste into the file at `place`; `scope` is None for a client without a file of its own."""
    if scope is not None and client in file_edit.EDITORS:
        return file_edit.snippet(client, target, place, scope)
    module: Any = importlib.import_module(f"ppmctl.client_config.{client}")
    made: Snippet = module.render(target) if scope is None else module.render(target, place)
    return made


def for_user(clients: tuple[str, ...], base: str, *, username: str | None, redirects: bool) -> Iterator[Printed]:
    """Yield what these clients need, each of which has a file, to use the index at `base` as the user `username`.

    `redirects`: whether the index redirects other names to the public one.
    """
    address = Address(base=base, upload=f"{base}/legacy/")
    for client in clients:
        form = form_for(client, given=None, redirects=redirects)
        target = IndexTarget(name=DEFAULT_NAME, address=address, form=form, username=username)
        scope = file_locations.choose_scope(client, target, None)
        place = "pyproject.toml" if scope == "project" else _place(client, scope)
        made = snippet(client, target, place, scope)
        yield Printed(client=client, target=target, place=place, text=made.text, notes=made.notes)


def netrc_line(base: str, name: str, secret: Secret) -> str:
    """Return the line of a netrc that has this credential for the index at `base`. It is a secret."""
    sent = Credential(username=name, secret=secret, source="the index")
    return netrc_file.line(Address(base=base, upload="").host, sent)


def _place(client: str, scope: Scope) -> str:
    return _MACHINE.shown(file_locations.path(client, scope, _MACHINE, exists=lambda _path: False))
