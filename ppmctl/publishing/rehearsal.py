"""A release that is not done: what it would change, as a diff; and made in a copy, to be built there."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ppmctl.errors import UsageError
from ppmctl.publishing import git
from ppmctl.publishing.raising import Raise
from ppmctl.publishing.unfinished import Edit, Notebook


def diff(raised: Raise) -> str:
    """The edits of a release, as `diff -u` shows them; "" where nothing is edited, or has been already."""
    folder = raised.project.folder
    lines: list[str] = []
    for edit in raised.edits:
        name = Path(os.path.relpath(edit.path, folder)).as_posix()
        now, then = (text.decode("utf-8", "replace").splitlines() for text in (edit.current, edit.new))
        lines += difflib.unified_diff(now, then, f"a/{name}", f"b/{name}", lineterm="")
    return "\n".join(lines)


@contextmanager
def in_copy(raised: Raise, copy: Path) -> Iterator[None]:
    """Have in `copy`, a copy of the project's folder that is this process's own, what the release would change.

    Where its commit and tag come before the build they are made there. UsageError in a worktree, whose tags are those
    of the repository.
    """
    is_early = raised.note.is_early
    top = git.checkout(copy)
    if is_early and top is not None and (top / ".git" / "commondir").exists():
        raise UsageError(
            "A dry run would have to make the tag, and in a worktree it would be made in the repository.",
            hint="Try it in the repository's main checkout, or in a clone.",
        )
    edits = tuple(
        Edit(path=copy / os.path.relpath(edit.path, raised.project.folder), old=edit.old, new=edit.new)
        for edit in raised.edits
    )
    with tempfile.TemporaryDirectory(prefix="ppmctl-release-") as folder:
        Raise(
            project=raised.project,
            note=replace(raised.note, edits=edits),
            repository=git.repository(copy) if is_early else None,
            notebook=Notebook(folder=Path(folder)),
        ).apply()
        yield
