"""Read, publish, delete and unarchive the environments of an index over HTTP.

A revision is never replaced: the index accepts the first upload of a number, and answers 409 to all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from ppmctl.client import upload
from ppmctl.client.download import Source
from ppmctl.client.http import Answer, Transport, failed
from ppmctl.client.index_url import Address
from ppmctl.client.package_admin import RemotePackages
from ppmctl.client.retry import Retries
from ppmctl.client.simple_api import Index
from ppmctl.distributions import distribution
from ppmctl.distributions.environment_revision import PREFIX, Revision, change_of, number_of
from ppmctl.distributions.environment_wheel import NotARevision, from_wheel, to_wheel
from ppmctl.distributions.project_page import PageFile
from ppmctl.environments.log import Journal, Line, journal
from ppmctl.errors import NOT_SUCH_JSON, PpmError, Unreachable

_T = TypeVar("_T")

_PAGE_SIZE = 1000  # environments
_MAX_WHEEL = 32 << 20  # bytes
_DELETED = "This environment was deleted"  # the reason of the status and of the yanks


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A revision in the index; `deleted` is the reason of its yank, None if it is not yanked."""

    number: int
    file: PageFile
    deleted: str | None

    @property
    def time(self) -> datetime | None:
        return self.file.upload_time


@dataclass(frozen=True, kw_only=True)
class History:
    """The revisions of an environment, the oldest first. An archived environment was deleted."""

    name: str
    entries: tuple[Entry, ...]
    is_archived: bool = False

    @property
    def head(self) -> int:
        """The highest number that was used, or 0."""
        return max((entry.number for entry in self.entries), default=0)

    @property
    def latest(self) -> Entry | None:
        """The revision that an installer takes; None if all are deleted."""
        if self.is_archived:
            return None
        return next((entry for entry in reversed(self.entries) if entry.deleted is None), None)

    def entry(self, number: int) -> Entry:
        """Return the revision `number`, deleted or not. Raise PpmError if there is none."""
        for entry in self.entries:
            if entry.number == number:
                return entry
        raise PpmError(
            f"The environment {self.name} has no revision {number}.",
            hint=f"It has 1 to {self.head}." if self.head else "",
        )


class Remote:
    """The environments of the index at `address`. Raises as `Index` does, and retries while the index restarts."""

    def __init__(self, address: Address, transport: Transport, *, retries: Callable[[], Retries] = Retries) -> None:
        self.address = address
        self.transport = transport
        self.index = Index(address, transport)
        self._source = Source(transport)
        self._packages = RemotePackages(address, transport)
        self._retries = retries

    def history(self, name: str) -> History | None:
        """Return the revisions of the environment `name`, or None if the index never had it."""
        page = self._retries().retry(lambda: self.index.project(PREFIX + name))
        if page is None:
            return None
        numbered = ((number_of(name, file.filename), file) for file in page.files)
        entries = [Entry(number=number, file=file, deleted=file.yanked) for number, file in numbered if number]
        entries.sort(key=lambda entry: entry.number)
        return History(name=name, entries=tuple(entries), is_archived=page.status == "archived")

    def read(self, entry: Entry) -> Revision:
        """Return a revision as it was published. Raise PpmError if the file is wrong or not a revision."""
        content = self._retries().retry(lambda: self._source.content(entry.file, limit=_MAX_WHEEL))
        try:
            return from_wheel(content)
        except NotARevision as exc:
            project = entry.file.filename.partition("-")[0].replace("_", "-")
            hint = f"If it is yanked, the one before is the latest: ppmctl package yank {project} {entry.number}"
            raise NotARevision(f"{entry.file.filename}: {exc.message}", hint=hint) from exc

    def publish(self, revision: Revision) -> bool:
        """Publish the next revision; return False if another user has published another one with its number."""
        content = to_wheel(revision)

        def send() -> Answer:
            fields = {"metadata_version": "2.4", "name": revision.project, "version": str(revision.number)}
            form = upload.wheel_form(revision.filename, content, fields)
            answer = upload.send(form, self.address.upload, self.transport)
            return self.transport.checked(answer, f"{revision.filename} could not be uploaded")

        answer = self._retries().retry(send, Unreachable)
        if answer.status not in (200, 409):
            raise failed(answer, f"{revision.filename} was refused")
        return answer.status == 200

    def journal(self, name: str) -> Journal | None:
        """Return the record of an environment; None if the index never had it, or has no records."""
        return self._get(f"/env/{name}/", journal)

    def listing(self, owner: str | None = None) -> Iterator[Journal]:
        """Yield the environments by name, all or those of `owner`, each with its last change only."""
        query = {"limit": str(_PAGE_SIZE)} | ({"owner": owner} if owner is not None else {})
        after: str | None = ""
        while after is not None:
            entries, following = self._get(f"/env/?{urlencode(query | {'after': after})}", _page) or ([], "")
            yield from (entry for entry in entries if entry.latest is not None)
            if following is not None and not after < following:
                raise self._no_record()
            after = following

    def lines(self, name: str) -> tuple[Line, ...]:
        """Return the record's lines; without a record those of the project's page, which has no users' names."""
        record = self.journal(name)
        if record is not None:
            return record.lines
        history = self.history(name)
        return tuple(
            Line(
                revision=entry.number,
                by="",
                at=f"{entry.time:%Y-%m-%dT%H:%M:%SZ}" if entry.time else "",
                change=change_of(distribution.summary(self._source.metadata(entry.file) or b"")),
                deleted=entry.deleted is not None,
                why=entry.deleted or "",
            )
            for entry in (history.entries if history is not None else ())
        )

    def unarchive(self, name: str) -> None:
        """Let an archived environment have new revisions again."""
        self._set_status(name, "active")

    def delete(self, name: str, *, step: Callable[[int], None]) -> int:
        """Delete an environment, call `step` after each revision, and return their number. Raise PpmError if missing.

        It is archived first, so that no new revision comes in between. No resolver and no list has it then, but
        pinned revisions can still be installed. A second call resumes an interrupted one.
        """
        history = self.history(name)
        if history is None or not history.entries:
            raise PpmError(f"There is no environment {name}.", hint="All environments: ppmctl env list")
        if history.is_archived and all(entry.deleted is not None for entry in history.entries):
            raise PpmError(f"The environment {name} was deleted already.")
        self._set_status(name, "archived", _DELETED)
        history = self.history(name) or history  # with the revisions published until then
        left = [entry.number for entry in history.entries if entry.deleted is None]
        for number in left:
            self._retries().retry(partial(self._packages.yank, PREFIX + name, str(number), _DELETED))
            step(1)
        return len(left)

    def _set_status(self, name: str, state: str, reason: str = "") -> None:
        self._retries().retry(lambda: self._packages.set_status(PREFIX + name, state, reason))

    def _get(self, path: str, read: Callable[[dict[str, Any]], _T]) -> _T | None:
        """Return `read` of the JSON that the index has at `path`; None if it has nothing at that path."""
        url, headers = self.address.base + path, {"Accept": "application/json"}
        answer = self._retries().retry(lambda: self.transport.ask("GET", url, headers=headers))
        if answer.status in (404, 405, 410):
            return None
        try:
            return read(answer.values)
        except NOT_SUCH_JSON as exc:
            raise self._no_record() from exc

    def _no_record(self) -> PpmError:
        return PpmError(
            f"The index at {self.address.base} has no readable record of environments.",
            hint="Is it served by ppm of this version?",
        )


def _page(values: dict[str, Any]) -> tuple[list[Journal], str | None]:
    after = values["after"]
    return [journal(entry) for entry in values["environments"]], None if after is None else str(after)
