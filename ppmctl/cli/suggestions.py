"""Suggest names to a shell's completion: read from the volume, or asked of the index, within SECONDS and silently.

A shell waits for the answer and would print an error into the line that is typed, so a failure suggests nothing.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import click

SECONDS = 2.0
_MOST = 1000  # names

_Source = Callable[[dict[str, Any]], Iterable[str]]


def _suggesting(source: _Source) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a `shell_complete` of click, which suggests the names of `source` for the options that were typed."""

    def suggest(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        names: list[str] = []

        def read() -> None:
            with suppress(Exception):
                names.extend(islice((name for name in source(context.params) if name.startswith(incomplete)), _MOST))

        with redirect_stderr(io.StringIO()):
            # not a pool: its threads would be waited for at the end
            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            reader.join(SECONDS)
        return list(names)

    return suggest


def _environments(params: dict[str, Any]) -> Iterable[str]:
    from ppmctl.cli.package_source import connected
    from ppmctl.environments.remote import Remote

    with connected(params.get("index"), params.get("credential_file")) as (address, transport):
        yield from (entry.name for entry in Remote(address, transport).listing())


def _projects(params: dict[str, Any]) -> Iterable[str]:
    from ppmctl.cli.package_source import Place

    index, file = params.get("index"), params.get("credential_file")
    with Place(root=None if index else params.get("root"), index=index, credential_file=file).query() as query:
        yield from query.names()


def _accounts(params: dict[str, Any]) -> Iterable[str]:
    from ppmctl.access import accounts
    from ppmctl.index.layout import Volume

    root: Path = params["root"]
    return [account.access.name for account in accounts.accounts(Volume(root=root.absolute()))]


environments = _suggesting(_environments)
projects = _suggesting(_projects)
accounts = _suggesting(_accounts)
users = _suggesting(lambda params: (name for name in _accounts(params) if "+" not in name))
tokens = _suggesting(lambda params: (name for name in _accounts(params) if "+" in name))
