"""Warn before an upload if the name of a new project is one of another index that clients install from.

Once this index has the name, everyone who installs it from here gets this project. Nothing here fails a publish.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ppmctl.client import pip_config
from ppmctl.client.discovery import discover
from ppmctl.client.http import Answer, Transport, origin
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import ACCEPT, NOT_FOUND
from ppmctl.errors import PpmError, some

_SECONDS = 5.0  # for all names: a network that swallows requests delays a publish by no more than this
_ONE_REQUEST = 3.0


def warnings(names: Sequence[str], address: Address, transport: Transport) -> list[str]:
    """Return a line for each of `names`, which the index at `address` does not have, that another index has.

    That is the index to which this one redirects the name; if it redirects none, those that pip asks on this machine.
    A private name of an index that ppm serves is asked about nowhere.
    """
    answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            # a thread can't share a connection; other indexes get no credential, and have other authorities
            with (
                Transport(transport.credential, address.base, ca=transport.authorities) as own,
                Transport(None, "") as others,
            ):
                for line in (line for name in names for line in _of(name, address, own, others)):
                    answers.put(line)
        except Exception as exc:  # whatever is wrong with another index or its network, the publish goes on
            answers.put(_unknown(names, exc.phrase if isinstance(exc, PpmError) else type(exc).__name__))
        answers.put(None)

    lines: list[str] = []
    if names:
        threading.Thread(target=ask, daemon=True).start()
        until = time.monotonic() + _SECONDS
        try:
            while (line := answers.get(timeout=max(until - time.monotonic(), 0))) is not None:
                lines.append(line)
        except queue.Empty:
            lines.append(_unknown(names, f"no answer within {_SECONDS:.0f} seconds"))
    return lines


def _unknown(names: Sequence[str], why: str) -> str:
    return f"It is not known whether another index has {some(names)} too: {why}."


def _of(name: str, address: Address, own: Transport, others: Transport) -> Iterator[str]:
    for url in _elsewhere(name, address, own):
        answer, host = Transport.followed(url, lambda page: _ask(others, page)), urlsplit(url).hostname
        if answer.status == 200:
            yield (
                f"Warning: {name} is a project of {host} too. Once it is in the index at {address.base}, everyone who"
                f" installs {name} from there gets yours. Is the name right?"
            )
        elif answer.status not in NOT_FOUND:
            yield _unknown([name], f"{host} answered {answer.status}")


def _elsewhere(name: str, address: Address, own: Transport) -> list[str]:
    """Return the URLs of a name's page on other indexes."""
    answer = _ask(own, f"{address.simple}{name}/")
    if answer.location:
        return [] if own.is_home(answer.location) else [answer.location]
    with Transport(None, address.base, ca=own.authorities) as anonymous:
        offer = discover(address, anonymous)
    if offer is not None and offer.upstream == "redirect":  # the name is private
        return []
    known = pip_config.indexes(os.environ, Path.home())
    return [f"{simple}{name}/" for simple in known if origin(simple) != origin(address.base)]


def _ask(transport: Transport, url: str) -> Answer:
    return transport.request("HEAD", url, headers={"Accept": ACCEPT}, read_timeout=_ONE_REQUEST)
