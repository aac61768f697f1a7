"""What `/env/` serves from disk: the files of every revision, and which of them is the latest; derived.

    index/env/<name>/<revision>/<file>   the forms of the list, as the revision's wheel has them
    index/env/<name>/latest              a link to the latest revision that is not yanked; gone while there is none
    index/env/<name>/log.json            who changed what when, and whose it is

The link is what moves, so all files of the latest go from one revision to the next in one step; each says which
revision it is of. The whole is a function of the project's folder alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ppmctl import files
from ppmctl.distributions import environment_revision as formats
from ppmctl.distributions.environment_revision import ABOUT, NUMBER, environment_of
from ppmctl.distributions.environment_wheel import NotARevision, read_forms
from ppmctl.index.layout import Volume
from ppmctl.index.project_folder import Folder, StoredFile

LATEST = "latest"
LOG = "log.json"
# What a record says where nobody uploaded it: these own nothing (drop folder, import, rebuild).
NOBODY = frozenset({"drop", "adopt", "rebuild"})


@dataclass(frozen=True, kw_only=True)
class Issue:
    """A revision as the folder has it."""

    number: int
    file: StoredFile


def issues(content: Folder) -> tuple[Issue, ...]:
    """The revisions that an environment's folder has, in order; what else may lie there is none."""
    name = environment_of(content.project) or ""
    found = ((formats.number_of(name, file.filename), file) for file in content.files)
    return tuple(Issue(number=number, file=file) for number, file in found if number is not None)


def owner(content: Folder) -> str | None:
    """Whose environment it is: the user that uploaded the first revision that is here; None where nobody did."""
    first = next(iter(issues(content)), None)
    by = "" if first is None else first.file.record.uploaded_by.partition("+")[0]
    return by if by and by not in NOBODY else None


def is_shared(volume: Volume, content: Folder) -> bool:
    """Whether the newest revision, yanked or not, says that everybody may change the environment."""
    for issue in reversed(issues(content)):
        forms = _forms(volume, content, issue)
        if forms is not None:
            return json.loads(forms[ABOUT]).get("shared") is True
    return False


@contextlib.contextmanager
def prepared(volume: Volume, content: Folder, *, thorough: bool) -> Iterator[Callable[[], bool]]:
    """What is to change in an environment's files, written beside them; call what this gives to let it be seen.

    That says whether anything changed. For an ordinary project there is nothing to do. Revisions that are there are
    taken to be what was written, since they never change; `thorough` compares them with their wheels.
    """
    name = environment_of(content.project)
    if name is None:
        yield lambda: False
        return
    plan = _Plan.of(volume, content, name, thorough=thorough)
    with contextlib.ExitStack() as written:
        replacements = []
        for path, (form, mtime) in plan.wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            replacements.append((written.enter_context(files.replacement(path, form, mtime=mtime)), path))
        yield lambda: _show(plan, replacements)


def differences(volume: Volume, content: Folder) -> list[str]:
    """What is missing below index/env/<name>, or is not what the folder says, or should not be there."""
    name = environment_of(content.project)
    if name is None:
        return []
    plan = _Plan.of(volume, content, name, thorough=True)
    found = [str(path.relative_to(plan.top)) for path in (*plan.wanted, *plan.surplus)]
    return sorted(found if _target(plan.top / LATEST) == plan.latest else [*found, LATEST])


def drop_temporaries(volume: Volume, project: str) -> None:
    """Remove what writers of an environment's files left that died. The caller holds the project's lock."""
    name = environment_of(project)
    if name is not None:
        top = volume.environment(name)
        for folder in (top, *(path for path in _entries(top) if NUMBER.fullmatch(path.name))):
            files.drop_temporaries(folder)


def remove(volume: Volume, project: str) -> None:
    """Remove the files of an environment whose project is not here."""
    name = environment_of(project)
    if name is not None:
        shutil.rmtree(volume.environment(name), ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What makes the files of an environment what its folder says: those to write, with their mtime, to take away,
    and where the link is to point; nothing of an environment that has no revision."""

    top: Path
    wanted: dict[Path, tuple[bytes, int]]
    surplus: tuple[Path, ...]
    latest: str | None

    @classmethod
    def of(cls, volume: Volume, content: Folder, name: str, *, thorough: bool) -> _Plan:
        top = volume.environment(name)
        listed = () if content.status.state == "quarantined" else issues(content)
        wanted: dict[Path, tuple[bytes, int]] = {}
        surplus: list[Path] = []
        laid_out: list[Issue] = []
        mtime = 0
        for issue in listed:
            # nginx makes an ETag of size and mtime, in seconds: no two revisions may have the same
            mtime = max(int(datetime.fromisoformat(issue.file.record.upload_time).timestamp()), mtime + 1)
            folder = top / str(issue.number)
            if not thorough and (folder / ABOUT).exists():
                laid_out.append(issue)
                continue
            forms = _forms(volume, content, issue)
            if forms is None:
                continue
            laid_out.append(issue)
            # ABOUT comes last: where it is, the others are
            order = sorted(forms, key=lambda form: (form == ABOUT, form))
            wanted |= {
                folder / form: (forms[form], mtime) for form in order if not files.holds(folder / form, forms[form])
            }
            surplus += [path for path in _entries(folder) if path.name not in forms]
        latest = next((issue for issue in reversed(laid_out) if issue.file.yanked is None), None)
        if issues(content):
            log = _log(volume, content, name, latest)
            if not files.holds(top / LOG, log):
                wanted[top / LOG] = (log, max(int(time.time()), 1 + files.changed_at(top / LOG)))
        kept = {LOG, LATEST, *(str(issue.number) for issue in laid_out)} if issues(content) else set()
        surplus += [path for path in _entries(top) if path.name not in kept]
        return cls(
            top=top,
            wanted=wanted,
            surplus=tuple(surplus),
            latest=None if latest is None else str(latest.number),
        )


def _show(plan: _Plan, replacements: list[tuple[Path, Path]]) -> bool:
    for temporary, path in replacements:
        os.replace(temporary, path)
    moved = _target(plan.top / LATEST) != plan.latest
    if moved and plan.latest is None:
        (plan.top / LATEST).unlink(missing_ok=True)
    elif moved:
        link = files.temporary_name(plan.top / LATEST)
        link.symlink_to(plan.latest or "")
        os.replace(link, plan.top / LATEST)
    for path in plan.surplus:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        plan.top.rmdir()  # of an environment without a revision
    return bool(replacements or moved or plan.surplus)


def _log(volume: Volume, content: Folder, name: str, latest: Issue | None) -> bytes:
    forms = (_forms(volume, content, latest) if latest is not None else None) or {}
    values: dict[str, Any] = {
        "name": name,
        "project": content.project,
        "owner": owner(content),
        "shared": is_shared(volume, content),
        "status": content.status.state,
        "reason": content.status.reason,
        "latest": None if latest is None else latest.number,
        "requirements": len(formats.parse_requirements(forms.get(formats.REQUIREMENTS, b""))),
        "locked": formats.LOCK in forms,
        "revisions": [
            {
                "revision": issue.number,
                "by": issue.file.record.uploaded_by.partition("+")[0],
                "at": issue.file.record.upload_time,
                "change": formats.change_of(issue.file.record.summary or ""),
                "yanked": False if issue.file.yanked is None else issue.file.yanked or True,
            }
            for issue in issues(content)
        ],
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _forms(volume: Volume, content: Folder, issue: Issue) -> dict[str, bytes] | None:
    """What a revision's wheel carries; None of a file that has the name of one and is none (it was adopted, say)."""
    try:
        return read_forms(volume.file(content.project, issue.file.filename))
    except (NotARevision, FileNotFoundError):
        return None


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, without what is being written there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [folder / name for name in os.listdir(folder) if not name.startswith(".")]
    return []
