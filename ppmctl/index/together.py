"""Publish the files of a project that wait at the same moment together: its folder is synced and its pages are
written once for all of them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from ppmctl.distributions.distribution import Filename
from ppmctl.errors import Refused
from ppmctl.index import change_rules, lookup, pages, transaction
from ppmctl.index.layout import Volume


@dataclass(eq=False, kw_only=True)
class Waiting:
    """A received file, and its side files by suffix. `is_new` becomes whether it was published now.

    `require` raises what prevents it, as the project is then. Without `show`, the project's pages stay unchanged, and
    marked.
    """

    name: Filename
    path: Path
    sha256: str
    side_files: dict[str, Path]
    show: bool
    require: Callable[[], None] | None = None
    is_new: Future[bool] = field(default_factory=Future)


class Queue:
    """The files that wait, by project. `publish` takes those of a project with `take`, and sets their `is_new`."""

    def __init__(self, publish: Callable[[str], None]) -> None:
        self._publish = publish
        self._guard = threading.Lock()
        self._waiting: dict[str, list[Waiting]] = {}

    def put(self, file: Waiting) -> bool:
        """Return whether `file` is new, once it is published; raise what prevents this.

        The thread of the first file waits for the project's lock, and publishes those that come meanwhile too.
        """
        project = file.name.project
        with self._guard:
            waiting = self._waiting.setdefault(project, [])
            waiting.append(file)
        if waiting[0] is file:
            try:
                self._publish(project)
            except BaseException as exc:
                with self._guard:
                    if self._waiting.get(project) is waiting:  # the lock could not be taken
                        del self._waiting[project]
                _fail(waiting, exc)
        return file.is_new.result()

    def take(self, project: str) -> list[Waiting]:
        """Return the files of a project that have come; those that come from now on wait for the next time."""
        with self._guard:
            return self._waiting.pop(project)


def publish(volume: Volume, project: str, waiting: Sequence[Waiting]) -> bool:
    """Publish files in a project's folder; return whether the list of projects may be out of date.

    The caller holds the project's lock, and has repaired it. What can't be published leaves nothing behind. All are
    answered at the end: who is refused for a file that waited too finds it on the page.
    """
    tried, linked, made_project = 0, [], False
    refused: list[tuple[Waiting, Exception]] = []
    for file in waiting:
        try:
            if change_rules.is_published(volume, file.name, file.sha256):
                continue
            if file.require is not None:
                file.require()
            if not tried:
                pages.mark(volume, project)
            tried += 1
            made_project |= transaction.commit(volume, file.name, file.path, file.side_files)
            linked.append(file)
        except FileExistsError as exc:
            refused.append((file, _taken(volume, file.name, exc)))
        except Exception as exc:
            refused.append((file, exc))
    try:
        if linked:
            transaction.sync(volume, project, is_new=made_project)
        if tried and any(file.show for file in waiting):
            _write_pages(volume, project, linked)
    except Exception as exc:
        _fail(waiting, exc)  # the others too: what they were refused for may be gone again
    for file, why in refused:
        _fail([file], why)
    for file in waiting:
        if not file.is_new.done():
            file.is_new.set_result(file in linked)
    return made_project or len(linked) < tried  # after a failure too: the list may have been written meanwhile


def _write_pages(volume: Volume, project: str, linked: Sequence[Waiting]) -> None:
    """Write the project's pages; if that fails, remove the files again, which no page lists yet."""
    try:
        pages.refresh(volume, project)
    except OSError:
        for file in linked:
            volume.file(project, file.name.filename).unlink()
            transaction.drop_leftovers(volume, project, file.name.filename)
        with contextlib.suppress(OSError):  # else the mark stays, and the pages are written later
            pages.refresh(volume, project)
            pages.unmark(volume, project)
        raise
    pages.unmark(volume, project)


def _taken(volume: Volume, name: Filename, cause: FileExistsError) -> Refused:
    # a file system without flock: the record may be this upload's now, so it can't tell whose file it is
    refused = Refused(409, f"{name.filename} was published by another upload at the same moment")
    if not lookup.has_file(volume, name.project, name.filename):
        path = f"packages/{name.project}/{name.filename}"
        refused = Refused(409, f"{path} exists but is not a regular file; ask an administrator")
    refused.__cause__ = cause
    return refused


def _fail(waiting: Sequence[Waiting], exc: BaseException) -> None:
    for file in waiting:
        if not file.is_new.done():
            file.is_new.set_exception(exc)
