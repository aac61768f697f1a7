"""Import the users of another server's htpasswd file, with their passwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ppmctl.access import credential_files, htpasswd, rights, rules
from ppmctl.access.account import Actor
from ppmctl.access.htpasswd import Line
from ppmctl.access.shared_credentials import repeated
from ppmctl.errors import UsageError
from ppmctl.index.layout import Volume


@dataclass(frozen=True, kw_only=True)
class ImportedLine:
    """The result for a line: `refused` is the reason if it was not imported, else "".

    `milliseconds`: the processor time of each request with it.
    """

    number: int
    name: str
    kind: str
    milliseconds: float
    refused: str


def parse(text: str) -> tuple[tuple[int, Line], ...]:
    """Return the lines of an htpasswd file with their numbers, without empty lines and comments."""
    lines = [htpasswd.parse(line.removesuffix("\r")) for line in text.split("\n")]
    return tuple((number, line) for number, line in enumerate(lines, start=1) if not line.is_nothing)


@repeated
def import_users(
    volume: Volume,
    actor: Actor,
    lines: Sequence[tuple[int, Line]],
    *,
    role: str,
    projects: Sequence[str] = (),
    reads: Sequence[str] = (),
    limit: float,
    dry_run: bool = False,
) -> tuple[ImportedLine, ...]:
    """Create a user for each valid line that costs `limit` milliseconds at most and whose name is free."""
    pattern = rules.new_entry(actor, "", {"role": role, "projects": projects, "reads": reads})
    accepted: dict[str, Line] = {}
    results: list[ImportedLine] = []
    with credential_files.changing(volume, dry_run=dry_run) as change:
        named = change.named
        for number, line in lines:
            milliseconds = htpasswd.cost(line) * 1000
            refused = _refusal(line, milliseconds, limit)
            if not refused and line.name in named:
                refused = "refused: there is a credential with this name already"
            if not refused and line.name in accepted:
                refused = "refused: an earlier line has the same name"
            kind = line.kind.name if line.kind else "?"
            result = ImportedLine(
                number=number, name=line.name or "?", kind=kind, milliseconds=round(milliseconds, 3), refused=refused
            )
            results.append(result)
            if not refused:
                accepted[line.name] = line
        change.put(*(replace(pattern, name=name) for name in accepted))
        for name, line in accepted.items():
            change.put_hash(name, line.stored)
    for each in () if dry_run else results:
        if not each.refused:
            actor.record(volume, "user import", f"{rules.granted(replace(pattern, name=each.name))}, {each.kind}")
    return tuple(results)


def _refusal(line: Line, milliseconds: float, limit: float) -> str:
    if not line.name:
        return "refused: it is not NAME:HASH"
    try:
        rights.check_form(line.name)
    except UsageError:
        return "refused: a name has only letters, digits, and . _ @ -"
    try:
        rights.check_name(line.name)
    except UsageError as exc:
        return f"refused: {exc.phrase}"
    if "+" in line.name:
        return "refused: a + is for the tokens of a user"
    if line.kind is None:
        return "refused: not a hash that nginx and ppm both know"
    if milliseconds > limit:
        return f"refused: over the limit of {limit:g} ms (--force imports it)"
    return ""
