"""Which names an index has, itself or by way of the index that it sends on to; a suggestion for those it has not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain

from ppmctl.client.http import Answer, Transport
from ppmctl.client.simple_api import ACCEPT, Index
from ppmctl.errors import CredentialError, PpmError, Unavailable

_FEW = 5  # names that are asked for one by one; for more, the list of all is read first
_AT_ONCE = 8
_COMPARED = 20_000  # names, which takes a second
_FOUND, _MISSING = 200, (404, 410)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is not there, in order; and what could not be asked for (an upstream that does not answer), with why."""

    missing: tuple[str, ...]
    unsure: tuple[tuple[str, str], ...]
    suggestions: dict[str, str]

    def error(self) -> PpmError:
        """What to say of what is missing."""
        said = ", ".join(self.missing)
        meant = [f"{name}: {self.suggestions[name]}?" for name in self.missing if name in self.suggestions]
        return PpmError(
            f"The index has no {'project' if len(self.missing) == 1 else 'projects'} {said}.",
            hint=f"{'Is it ' + ' '.join(meant) + ' ' if meant else ''}--no-check takes them as they are.",
        )


def look_up(names: Sequence[str], index: Index, transport: Transport) -> Known:
    """Ask the index for each of the normalised `names`. CredentialError, Unreachable as of `Index`."""
    all_names: list[str] | None = None
    left = list(names)
    if len(left) > _FEW:
        all_names = index.names()
        here = set(all_names)
        left = [name for name in left if name not in here]
    answers = _ask(left, index, transport)
    missing = [name for name in left if answers[name] == ""]
    unsure = [(name, why) for name in left if (why := answers[name])]
    suggestions = _suggest(missing, index.names() if all_names is None and missing else all_names or ())
    return Known(missing=tuple(missing), unsure=tuple(unsure), suggestions=suggestions)


def _ask(names: Sequence[str], index: Index, transport: Transport) -> dict[str, str | None]:
    """Return for each name None where it is there, "" where it is not, else why that is not known."""

    def ask_in_turn(part: Sequence[str]) -> list[tuple[str, str | None]]:
        # a connection of one's own: they are not shared between threads
        with Transport(transport.credential, index.address.base) as own:
            return [(name, _ask_for(f"{index.address.simple}{name}/", own)) for name in part]

    parts = [names[start::_AT_ONCE] for start in range(min(_AT_ONCE, len(names)))]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(chain.from_iterable(pool.map(ask_in_turn, parts)))


def _ask_for(url: str, transport: Transport) -> str | None:
    def ask(there: str) -> Answer:
        return transport.ask("HEAD", there, headers={"Accept": ACCEPT})

    try:
        answer = ask(url)
    except Unavailable as exc:
        return exc.message
    if answer.location:
        try:
            answer = transport.followed(answer.location, ask)
        except CredentialError:
            raise
        except PpmError as exc:  # of another server
            return exc.message
    if answer.status == _FOUND:
        return None
    return "" if answer.status in _MISSING else f"{answer.url} answered {answer.status}."


def _suggest(missing: Sequence[str], names: Iterable[str]) -> dict[str, str]:
    names = [name for name in names if not name.startswith("ppm-env-")]
    if len(names) > _COMPARED:
        return {}
    return {one: close for one in missing[:5] for close in get_close_matches(one, names, n=1, cutoff=0.75)}
