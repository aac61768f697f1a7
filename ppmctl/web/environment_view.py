"""What the page of an environment shows: its requirements with their projects, its revisions, and commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from ppmctl.distributions import lock as locks
from ppmctl.distributions.distribution import normalise
from ppmctl.distributions.environment_revision import (
    CONDA,
    CONSTRAINTS,
    LOCK,
    LOCKED,
    REQUIREMENTS,
    Revision,
    change_of,
    parse_requirements,
)
from ppmctl.distributions.shareable import requirement
from ppmctl.errors import UsageError
from ppmctl.index.environment_files import StoredRevision
from ppmctl.server.environment_changes import State
from ppmctl.web.visit import Visit

SHOWN = 50  # revisions on one page


@dataclass(frozen=True, kw_only=True)
class Required:
    """A requirement. `project` is one of this index that the visitor may read, or "". `versions`: those of the lock.

    `is_missing`: neither this index nor the public one, to which it may redirect, answers for the name.
    """

    text: str
    project: str
    versions: str
    is_missing: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A revision. `added` and `removed` are the difference to the one before, None if a list can't be read.

    `deleted` is the reason of its deletion, None if it is not deleted.
    """

    number: int
    by: str
    at: str
    change: str
    added: tuple[str, ...] | None
    removed: tuple[str, ...] | None
    deleted: str | None


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to copy, and what it does."""

    purpose: str
    text: str


def one_line(revision: Revision) -> str:
    """Return the requirements as `pip install` takes them from a shell."""
    return " ".join(shlex.quote(text) for text in revision.requirements)


def required(visit: Visit, revision: Revision) -> list[Required]:
    """Return the requirements of a revision, with the versions of its lock."""
    pinned = locks.read(revision.lock).versions if revision.lock is not None else {}
    return [_required(visit, text, pinned) for text in revision.requirements]


def _required(visit: Visit, text: str, pinned: dict[str, tuple[str, ...]]) -> Required:
    name, is_direct = _parsed(text)
    settings = visit.services.settings
    is_here = name != "" and visit.may_read(name) and visit.services.store.has_project(name)
    is_private = settings.upstream == "none" or any(fnmatchcase(name, glob) for glob in settings.private_names)
    return Required(
        text=text,
        project=name if is_here else "",
        versions=", ".join(pinned.get(name, ())),
        is_missing=is_private and not is_here and not is_direct,
    )


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> tuple[str, bool]:
    """Return the project of a requirement, "" for an invalid one of an older release, and whether it has a URL."""
    try:
        parsed = requirement(text)
    except UsageError:
        return "", True
    return normalise(parsed.name), parsed.url is not None


def history(visit: Visit, state: State, *, before: int | None = None) -> tuple[list[Row], int | None]:
    """Return the newest revisions of a state, those before a number if one is given; and whether there are older.

    The second value is the number before which the next page begins, None on the last page.
    """
    wanted = [stored for stored in reversed(state.revisions) if before is None or stored.number < before]
    shown, older = wanted[:SHOWN], wanted[SHOWN : SHOWN + 1]
    lists = {stored.number: _list(visit, state, stored.number) for stored in (*shown, *older)}
    before_each = [*(stored.number for stored in wanted[1 : SHOWN + 1]), 0]  # nothing is before the first
    pairs = zip(shown, before_each, strict=False)
    rows = [_row(stored, lists[stored.number], lists.get(previous, set())) for stored, previous in pairs]
    return rows, shown[-1].number if older else None


def _row(stored: StoredRevision, now: set[str] | None, old: set[str] | None) -> Row:
    record, are_known = stored.file.record, now is not None and old is not None
    return Row(
        number=stored.number,
        by=record.uploaded_by.partition("+")[0],
        at=record.upload_time,
        change=change_of(record.summary or ""),
        added=tuple(sorted((now or set()) - (old or set()))) if are_known else None,
        removed=tuple(sorted((old or set()) - (now or set()))) if are_known else None,
        deleted=stored.file.yanked,
    )


def _list(visit: Visit, state: State, number: int) -> set[str] | None:
    path = visit.services.store.volume.environment(state.name) / str(number) / REQUIREMENTS
    try:
        return set(parse_requirements(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None


def commands(visit: Visit, revision: Revision) -> list[Command]:
    """Return what installs an environment, as docs/environments.md has it."""
    name = revision.name

    def url(file: str) -> str:
        return shlex.quote(f"{visit.base}/env/{name}/{file}")

    listed = [
        Command(purpose="The latest revision, as a package", text=f"pip install --upgrade {revision.project}"),
        Command(
            purpose="This revision, which never changes", text=f"pip install {revision.project}=={revision.number}"
        ),
        Command(purpose="A virtual environment in .venv, made or updated", text=f"ppmctl env install {name}"),
        Command(purpose="The list as a file", text=f"pip install -r {url(REQUIREMENTS)}"),
        Command(purpose="The same with uv", text=f"uv pip install -r {url(REQUIREMENTS)}"),
        Command(
            purpose="Its versions as limits for whatever you install",
            text=f"export PIP_CONSTRAINT={url(CONSTRAINTS)}",
        ),
        Command(
            purpose="With conda, after a download",
            text=f"curl --netrc -O {url(CONDA)} && conda env create -f {CONDA}",
        ),
    ]
    if revision.lock is not None:
        listed += [
            Command(purpose="Exactly the locked files", text=f"pip install --require-hashes -r {url(LOCKED)}"),
            Command(purpose="The same with uv", text=f"uv pip sync {url(LOCK)}"),
            Command(purpose="The same in a virtual environment", text=f"ppmctl env install {name} --locked --exact"),
        ]
    return listed
