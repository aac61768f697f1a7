"""The files of shared environments that `/env/` serves from disk, derived from the project's folder alone.

    index/env/<name>/<revision>/<file>   the forms of the list, from the revision's wheel
    index/env/<name>/latest              a link to the latest revision that is not yanked; missing if there is none
    index/env/<name>/log.json            the owner, and who changed what when

Only the link moves, so all files of `latest` change to the next revision in one step; each names its revision. One
that an older ppm accepted, and that breaks a rule of today, gets no files here.
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
from ppmctl.distributions import environment_revision
from ppmctl.distributions.environment_revision import ABOUT, NUMBER, environment_of
from ppmctl.distributions.environment_wheel import NotARevision, is_accepted, read_forms
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume
from ppmctl.index.project_folder import NOBODY, Folder, StoredFile

LATEST = "latest"
LOG = "log.json"


@dataclass(frozen=True, kw_only=True)
class StoredRevision:
    """A revision in its project's folder."""

    number: int
    file: StoredFile


def revisions(content: Folder) -> tuple[StoredRevision, ...]:
    """Return the revisions in an environment's folder, in order; other files are ignored."""
    name = environment_of(content.project) or ""
    numbered = ((environment_revision.number_of(name, file.filename), file) for file in content.files)
    return tuple(StoredRevision(number=number, file=file) for number, file in numbered if number is not None)


def owner(content: Folder) -> str | None:
    """Return an environment's owner: the user that uploaded the first of its revisions; None if no user did."""
    first = next(iter(revisions(content)), None)
    by = "" if first is None else first.file.record.uploaded_by.partition("+")[0]
    return by if by and by not in NOBODY else None


def is_shared(volume: Volume, content: Folder) -> bool:
    """Return whether the newest revision, yanked or not, lets all users change the environment."""
    for revision in reversed(revisions(content)):
        forms = _forms(volume, content, revision)
        if forms is not None:
            return json.loads(forms[ABOUT]).get("shared") is True
    return False


@contextlib.contextmanager
def prepared(volume: Volume, content: Folder, *, thorough: bool) -> Iterator[Callable[[], bool]]:
    """Write the changes of an environment's files to temporary files; yield a function that publishes them.

    The function returns whether anything changed; for an ordinary project it does nothing. The files of a revision
    never change, so those that exist are not read; `thorough` compares them with the wheels.
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
        link = None
        if plan.latest is not None and _target(plan.top / LATEST) != plan.latest:
            link = files.temporary_name(plan.top / LATEST)
            link.symlink_to(plan.latest)
            written.callback(link.unlink, missing_ok=True)
        yield lambda: _show(plan, replacements, link)


def differences(volume: Volume, content: Folder) -> list[str]:
    """Return the paths below index/env/<name> that are missing, differ from the folder, or should not exist."""
    name = environment_of(content.project)
    if name is None:
        return []
    plan = _Plan.of(volume, content, name, thorough=True)
    paths = [str(path.relative_to(plan.top)) for path in (*plan.wanted, *plan.surplus)]
    return sorted(paths if _target(plan.top / LATEST) == plan.latest else [*paths, LATEST])


def drop_temporaries(volume: Volume, project: str) -> None:
    """Remove the temporary files of writers that died. The caller holds the project's lock."""
    name = environment_of(project)
    if name is not None:
        top = volume.environment(name)
        for folder in (top, *(path for path in _entries(top) if NUMBER.fullmatch(path.name))):
            files.drop_temporaries(folder)


def remove(volume: Volume, project: str) -> None:
    """Remove the files of an environment whose project does not exist."""
    name = environment_of(project)
    if name is not None:
        shutil.rmtree(volume.environment(name), ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The changes that bring an environment's files in line with its folder.

    `wanted` maps each file to write to its content and mtime, `surplus` are the paths to remove, `latest` is the
    target of the link.
    """

    top: Path
    wanted: dict[Path, tuple[bytes, int]]
    surplus: tuple[Path, ...]
    latest: str | None

    @classmethod
    def of(cls, volume: Volume, content: Folder, name: str, *, thorough: bool) -> _Plan:
        top = volume.environment(name)
        listed = () if content.status.is_quarantined else revisions(content)
        wanted: dict[Path, tuple[bytes, int]] = {}
        surplus: list[Path] = []
        published: list[StoredRevision] = []
        mtime = before = 0
        for revision in listed:
            # nginx makes an ETag of size and mtime in seconds: each revision, also a removed one, has its own mtime
            uploaded = int(datetime.fromisoformat(revision.file.record.upload_time).timestamp())
            mtime, before = max(uploaded, mtime + revision.number - before), revision.number
            folder = top / str(revision.number)
            if not thorough and (folder / ABOUT).exists():
                published.append(revision)
                continue
            forms = _forms(volume, content, revision)
            if forms is None or not is_accepted(volume.file(content.project, revision.file.filename), forms):
                continue
            published.append(revision)
            # ABOUT comes last: if it exists, the others do
            order = sorted(forms, key=lambda form: (form == ABOUT, form))
            wanted |= {
                folder / form: (forms[form], mtime) for form in order if not files.holds(folder / form, forms[form])
            }
            surplus += [path for path in _entries(folder) if path.name not in forms]
        latest = next((revision for revision in reversed(published) if revision.file.yanked is None), None)
        names = {str(revision.number) for revision in published}
        if revisions(content):
            names |= {LOG, LATEST}
            log = _log(volume, content, name, latest)
            if not files.holds(top / LOG, log):
                wanted[top / LOG] = (log, max(int(time.time()), 1 + files.changed_at(top / LOG)))
        surplus += [path for path in _entries(top) if path.name not in names]
        target = None if latest is None else str(latest.number)
        return cls(top=top, wanted=wanted, surplus=tuple(surplus), latest=target)


def _show(plan: _Plan, replacements: list[tuple[Path, Path]], link: Path | None) -> bool:
    for temporary, path in replacements:
        os.replace(temporary, path)
    moved = _target(plan.top / LATEST) != plan.latest
    if link is not None:
        os.replace(link, plan.top / LATEST)
    elif moved:
        (plan.top / LATEST).unlink(missing_ok=True)
    for path in plan.surplus:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        plan.top.rmdir()  # of an environment without a revision
    return bool(replacements or moved or plan.surplus)


def _log(volume: Volume, content: Folder, name: str, latest: StoredRevision | None) -> bytes:
    forms = (_forms(volume, content, latest) if latest is not None else None) or {}
    requirements = forms.get(environment_revision.REQUIREMENTS, b"")
    values: dict[str, Any] = {
        "name": name,
        "project": content.project,
        "owner": owner(content),
        "shared": is_shared(volume, content),
        "status": content.status.state,
        "reason": content.status.reason,
        "latest": None if latest is None else latest.number,
        "requirements": len(environment_revision.parse_requirements(requirements)),
        "locked": environment_revision.LOCK in forms,
        "revisions": [
            {
                "revision": revision.number,
                "by": revision.file.record.uploaded_by.partition("+")[0],
                "at": revision.file.record.upload_time,
                "change": environment_revision.change_of(revision.file.record.summary or ""),
                "yanked": revision.file.yanked_in_json,
            }
            for revision in revisions(content)
        ],
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def _forms(volume: Volume, content: Folder, revision: StoredRevision) -> dict[str, bytes] | None:
    """Return the forms in a revision's wheel; None if the file only has such a name, as an adopted one may."""
    try:
        return read_forms(project_folder.locate(volume, content.project, revision.file.filename))
    except (NotARevision, FileNotFoundError):
        return None


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except OSError:
        return None


def _entries(folder: Path) -> list[Path]:
    """Return the content of a folder, without temporary files."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [folder / name for name in os.listdir(folder) if not name.startswith(".")]
    return []
