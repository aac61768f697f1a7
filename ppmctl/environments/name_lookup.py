"""Look up which projects an index and its upstream have, and suggest similar names for the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain

from ppmctl.client.http import Answer, Transport
from ppmctl.client.simple_api import ACCEPT, NOT_FOUND, Index
from ppmctl.errors import CredentialError, PpmError, Unavailable

_FEW = 5  # names that are requested one by one; for more, the list of all projects is read first
_CONNECTIONS = 8
_COMPARED = 20_000  # names, which takes a second


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """The names that are missing, and those that could not be looked up (the upstream is down), with the reason."""

    missing: tuple[str, ...]
    unsure: tuple[tuple[str, str], ...]
    suggestions: dict[str, str]

    def error(self) -> PpmError:
        """Return the error for the missing names."""
        similar = [f"{name}: {self.suggestions[name]}?" for name in self.missing if name in self.suggestions]
        return PpmError(
            f"The index has no {'project' if len(self.missing) == 1 else 'projects'} {', '.join(self.missing)}.",
            hint=f"{'Is it ' + ' '.join(similar) + ' ' if similar else ''}--no-check takes them as they are.",
        )


def look_up(names: Sequence[str], index: Index, transport: Transport) -> Lookup:
    """Look up the normalised `names` in the index. Raise CredentialError and Unreachable as `Index` does."""
    all_names = index.names() if len(names) > _FEW else []
    known = set(all_names)
    left = [name for name in names if name not in known]
    answers = _ask(left, index, transport)
    missing = tuple(name for name in left if answers[name] == "")
    unsure = tuple((name, why) for name in left if (why := answers[name]))
    suggestions = _suggest(missing, all_names or index.names()) if missing else {}
    return Lookup(missing=missing, unsure=unsure, suggestions=suggestions)


def _ask(names: Sequence[str], index: Index, transport: Transport) -> dict[str, str | None]:
    """Return for each name None if it exists, "" if it is missing, or the reason why that is not known."""

    def ask_in_turn(part: Sequence[str]) -> list[tuple[str, str | None]]:
        # threads can't share a connection
        with Transport(transport.credential, index.address.base) as own:
            return [(name, _ask_for(f"{index.address.simple}{name}/", own)) for name in part]

    parts = [names[start::_CONNECTIONS] for start in range(min(_CONNECTIONS, len(names)))]
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return dict(chain.from_iterable(pool.map(ask_in_turn, parts)))


def _ask_for(url: str, transport: Transport) -> str | None:
    def ask(page: str) -> Answer:
        return transport.ask("HEAD", page, headers={"Accept": ACCEPT})

    try:
        answer = ask(url)
    except Unavailable as exc:
        return exc.message
    if answer.location:
        try:
            answer = transport.followed(answer.location, ask)
        except CredentialError:
            raise
        except PpmError as exc:  # from another server
            return exc.message
    if answer.status == 200:
        return None
    return "" if answer.status in NOT_FOUND else f"{answer.url} answered {answer.status}."


def _suggest(missing: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    names = [name for name in names if not name.startswith("ppm-env-")]
    if len(names) > _COMPARED:
        return {}
    return {one: close for one in missing[:5] for close in get_close_matches(one, names, n=1, cutoff=0.75)}
