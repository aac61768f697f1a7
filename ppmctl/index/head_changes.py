"""Change a project whose truth is in a bucket: what is decided on the local folder replaces the project's head.

The caller holds the project's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ppmctl.distributions.distribution import Filename
from ppmctl.errors import PpmError
from ppmctl.index import change_rules, lookup, project_folder
from ppmctl.index.layout import Volume
from ppmctl.index.mirror import Mirror, NewFile
from ppmctl.index.project_folder import Status
from ppmctl.storage.head import Head


class HeadChanges:
    """The changes of an index's projects in its bucket."""

    def __init__(self, volume: Volume, mirror: Mirror) -> None:
        self._volume = volume
        self._mirror = mirror

    def send(self, name: Filename, new: NewFile) -> None:
        """Write a new file to the bucket, unless the local folder shows already that it is refused or published.

        The project need not be locked: nobody sees the file before its head names it.
        """
        try:
            if change_rules.is_published(self._volume, name, new.record.sha256):
                return
        except PpmError:  # another node may know better; `put` finds it out
            return
        self._mirror.send(name.project, new, self._mirror.applied(name.project))

    def put(self, name: Filename, new: NewFile, require: Callable[[], None] | None = None) -> bool:
        """Publish a file; return False if it is there with the same content. `require` is as in `Store.put`."""

        def decide(head: Head) -> Head | None:
            if change_rules.is_published(self._volume, name, new.record.sha256):
                return None
            if require is not None:
                require()
            return head.with_file(name.filename, new.record.values())

        return self._mirror.change(name.project, decide, new)

    def yank(self, project: str, version_or_filename: str, reason: str | None) -> list[str]:
        """Yank files, or with the reason None revert it; return the filenames. Raise NotHere."""
        return self._each(project, version_or_filename, lambda head, chosen: head.yanked(chosen, reason))

    def remove(self, project: str, version_or_filename: str, *, only_yanked: bool) -> list[str]:
        """Remove files; return their names. Raise NotHere."""
        when = project_folder.now()

        def without(head: Head, chosen: list[str]) -> Head:
            return head.without(chosen, at=when)

        return self._each(project, version_or_filename, without, only_yanked=only_yanked)

    def _each(
        self,
        project: str,
        version_or_filename: str,
        change: Callable[[Head, list[str]], Head],
        *,
        only_yanked: bool = False,
    ) -> list[str]:
        chosen: list[str] = []

        def decide(head: Head) -> Head:
            content = lookup.read(self._volume, project)
            chosen[:] = lookup.choose(content, version_or_filename, only_yanked=only_yanked)
            return change(head, chosen)

        self._mirror.change(project, decide)
        return chosen

    def set_status(
        self, project: str, status: Status, *, among: Collection[str] | None, require: Callable[[], None] | None
    ) -> None:
        """Set a project's status. Raise NotHere; Refused if the old or the new one is not `among` these."""

        def decide(head: Head) -> Head:
            if not self._volume.project(project).is_dir():
                raise lookup.missing(project)
            change_rules.require_among(project, among, self._volume, status.state)
            if require is not None:
                require()
            return head.with_status(status.state, status.reason)

        self._mirror.change(project, decide)
