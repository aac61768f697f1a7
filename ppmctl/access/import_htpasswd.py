"""Users of another server's htpasswd file, taken over with the passwords that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ppmctl.access import credential_files, htpasswd, rights
from ppmctl.access.account import Actor, granted, new_entry
from ppmctl.access.htpasswd import Line
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of a line: `refused` says why it was not taken, "" if it was.

    `milliseconds` of processor time are what each request with it costs.
    """

    number: int
    name: str
    kind: str
    milliseconds: float
    refused: str


def parse(text: str) -> tuple[tuple[int, Line], ...]:
    """The lines of an htpasswd file that are not empty and no comments, each with its number."""
    lines = [htpasswd.parse(line.removesuffix("\r")) for line in text.split("\n")]
    return tuple((number, line) for number, line in enumerate(lines, start=1) if not line.is_nothing)


def take(
    volume: Volume,
    actor: Actor,
    lines: Sequence[tuple[int, Line]],
    *,
    role: str,
    projects: Sequence[str] = (),
    limit: float,
    dry_run: bool = False,
) -> tuple[Taken, ...]:
    """Make a user of each line that can be one, costs `limit` milliseconds at most, and has a name that is free."""
    pattern = new_entry(actor, "", {"role": role, "projects": projects})
    accepted: dict[str, Line] = {}
    done: list[Taken] = []
    with credential_files.changing(volume, dry_run=dry_run) as change:
        named = change.named
        for number, line in lines:
            milliseconds = htpasswd.cost(line) * 1000
            refused = _refusal(line, milliseconds, limit)
            if not refused and line.name in named:
                refused = "refused: there is a credential of that name already"
            if not refused and line.name in accepted:
                refused = "refused: the name stands in an earlier line"
            done.append(
                Taken(
                    number=number,
                    name=line.name or "?",
                    kind=line.kind.name if line.kind else "?",
                    milliseconds=round(milliseconds, 3),
                    refused=refused,
                )
            )
            if not refused:
                accepted[line.name] = line
        change.put(*(replace(pattern, name=name) for name in accepted))
        for name, line in accepted.items():
            change.put_hash(name, line.stored)
    for each in () if dry_run else done:
        if not each.refused:
            actor.record(volume, "user import", f"{granted(replace(pattern, name=each.name))}, {each.kind}")
    return tuple(done)


def _refusal(line: Line, milliseconds: float, limit: float) -> str:
    if not line.name:
        return "refused: no credential, NAME:HASH"
    try:
        rights.check_name(line.name)
    except UsageError:
        return "refused: a name here has letters, digits, and . _ @ -"
    if "+" in line.name:
        return "refused: a + is for the tokens of a user"
    if line.kind is None:
        return "refused: not a hash that nginx and ppm both know"
    if milliseconds > limit:
        return f"refused: over the limit of {limit:g} ms (--force takes it)"
    return ""
