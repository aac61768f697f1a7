"""A table of attacks on a deployed index from outside: the requests, and how they must be refused.

`run(target)` runs all of them against any deployed index, on this machine or a host; `slow_clients` runs the slow
ones; `table` prints them. `secrets_sent` returns the secrets that no log may contain afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from support.attacks import (
    access,
    bodies,
    foreign_pages,
    framing,
    lists,
    model,
    names,
    odd_names,
    paths,
    random_requests,
    uploads,
    web_pages,
)
from support.attacks.model import Attack, Outcome
from support.attacks.paths import PROJECT as QUARANTINED_PROJECT
from support.attacks.paths import QUARANTINED
from support.attacks.slow import slow_clients
from support.raw import Target, basic, send

# groups for every way to serve an index, also without nginx
COSTLY = (bodies.bodies, foreign_pages.foreign_pages, odd_names.odd_names, uploads.hostile)
RANDOM = random_requests.random_requests  # last, because it changes its own projects
__all__ = [
    "QUARANTINED",
    "QUARANTINED_PROJECT",
    "RANDOM",
    "Attack",
    "Outcome",
    "every",
    "run",
    "secrets_sent",
    "slow_clients",
    "table",
    "wrong",
]


def run(target: Target, attacks: Iterable[Attack] | None = None) -> list[Outcome]:
    """Run the attacks, four at a time."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda attack: _outcome(target, attack), attacks or every(target)))


def every(target: Target) -> Iterator[Attack]:
    """Yield all rows."""
    groups = (
        paths.traversal,
        paths.side_files,
        paths.quarantine,
        access.strangers,
        access.limited_reads,
        access.stray_secrets,
        access.no_secrets,
        names.poison,
        names.hosts,
    )
    groups += (framing.smuggling, framing.oversized, lists.lists, lists.globs, web_pages.web_pages, *COSTLY, RANDOM)
    return chain.from_iterable(group(target) for group in groups)


def _outcome(target: Target, attack: Attack) -> Outcome:
    reply = send(target, attack.sent, sni=attack.sni, plain=attack.plain, head=attack.head, patience=attack.patience)
    return Outcome(attack=attack, reply=reply, problem=model.problem(attack, reply, target))


def table(outcomes: list[Outcome]) -> str:
    """Return the rows as text, with failures marked; rows that differ only in a file's name are merged."""
    rows: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        attack = outcome.attack
        rows.setdefault((attack.group, attack.shown, attack.expected), []).append(outcome)
    lines = []
    for (group, shown, expected), same in rows.items():
        replies = " | ".join(sorted({str(outcome.reply) for outcome in same}))
        problems = "; ".join(sorted({outcome.problem for outcome in same if outcome.problem}))
        times = f" ({len(same)} times)" if len(same) > 1 else ""
        mark = f"WRONG: {problems}" if problems else "ok"
        lines.append(f"{group:12} {shown}{times}\n{'':12}   must be: {expected}   was: {replies}   {mark}")
    return "\n".join(lines)


def wrong(outcomes: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.problem]


def secrets_sent(target: Target) -> list[str]:
    """Return the secrets that the attacks sent, also URL-encoded and in Base64; no log may contain them."""
    encoded = [basic(name, "").removeprefix("Basic ")[:40] for name in (model.STRAY_SECRET,)]
    return [
        *model.SPELLINGS,
        model.STRAY_SECRET[4:],
        target.secret,
        target.credential.removeprefix("Basic "),
        *encoded,
    ]
