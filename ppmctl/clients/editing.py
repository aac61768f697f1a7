"""The clients whose files are edited: what is to be done to one, and how it is undone. Pure: lines in, lines out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ppmctl.clients import IndexTarget, Scope, ini, pip, poetry, tables, twine, uv
from ppmctl.clients.lines import Add, Body, Plan, undone

_INI = {"pip": pip, "twine": twine}
_WORD = r"[\w.\"'-]*"
_KINDS = "passw|token|secret|api[-_]?key|private[-_]?key"
_SECRET = re.compile(rf"(?i)^([-+ ]?(?:# \(ppmctl [^)]*\) )?[#;\s]*{_WORD}(?:{_KINDS}){_WORD}\s*[:=]).*")
_USERINFO = re.compile(r"//[^/@\s]*@")


def plan(client: str, body: Body, target: IndexTarget, where: Scope) -> Plan:
    """What makes a client's file say what is wanted. Unreadable where that can't be done."""
    if client == "uv":
        return uv.plan(body, target, where)
    if client == "poetry":
        return poetry.plan(body, target)
    planned: Plan = _INI[client].plan(body, target)
    return planned


def undo(client: str, body: Body, puts: Sequence[Add], mark: str) -> tuple[Body, tuple[str, ...]]:
    """The file without what was put in, and what of it had to stay."""
    check: Callable[[Body], Any] = uv.check if client == "uv" else tables.parsed
    if client in _INI:
        normal = _INI[client].normal
        return undone(body, puts, mark, ini.take, lambda each: ini.values(each, normal))
    return undone(body, puts, mark, tables.take, check)


def masked(line: str, known: str | None) -> str:
    """A line of a diff as it may be shown: no password, of a URL's user no more than the name that is known, and
    nothing that a terminal obeys."""
    line = _SECRET.sub(
        r"\1 ***", "".join(letter if letter.isprintable() or letter == "\t" else "?" for letter in line)
    )
    return _USERINFO.sub(lambda found: found[0] if known and found[0] == f"//{known}@" else "//***@", line)
