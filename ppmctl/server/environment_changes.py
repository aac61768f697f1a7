"""Create, change and delete shared environments, for the HTTP API and for the pages.

A change is the upload of a revision's wheel, with the checks of every upload (`uploads.publish`). A revision has the
number after those that were read: of two changes of the same revision the index takes one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from werkzeug.wrappers import Request

from ppmctl.access import audit_log
from ppmctl.access.account import Actor
from ppmctl.access.rights import Access
from ppmctl.distributions.environment_revision import MAX_CHANGE, PREFIX, Revision
from ppmctl.distributions.environment_wheel import from_wheel, to_wheel
from ppmctl.errors import Refused
from ppmctl.index import environment_files, project_folder
from ppmctl.index.environment_files import StoredRevision
from ppmctl.index.project_folder import CLOSED, Folder
from ppmctl.index.store import Store
from ppmctl.server import environment_policy, json_api, uploads
from ppmctl.server.public_names import PublicNames

_DELETED = "This environment was deleted"  # the reason of the status and of the yanks


class Exists(Refused):
    """A new environment has the name of one that exists."""

    def __init__(self, name: str) -> None:
        super().__init__(409, f"There is an environment {name} already")


class Changed(Refused):
    """Another user has changed an environment meanwhile; `state` is what it is now."""

    def __init__(self, state: State) -> None:
        now = "it was deleted" if state.number is None else f"it is at revision {state.number}"
        super().__init__(412, f"{state.name} was changed by another user: {now}")
        self.state = state


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who asks for a change. `attempt` is what the audit records if it is refused."""

    by: Access
    actor: Actor
    attempt: audit_log.Attempt

    @classmethod
    def of(cls, request: Request, by: Access) -> Sender:
        """Return the sender of a request."""
        return cls(by=by, actor=json_api.actor(request, by), attempt=audit_log.Attempt.of(request.environ))

    def tries(self, action: str, what: str) -> None:
        """Set what the audit records if the rest is refused."""
        self.attempt.action, self.attempt.what = action, what


@dataclass(frozen=True, kw_only=True)
class State:
    """An environment in the index. `content` is None if it never existed, `latest` if it does not exist now."""

    name: str
    content: Folder | None = None
    latest: StoredRevision | None = None

    @property
    def project(self) -> str:
        return PREFIX + self.name

    @property
    def number(self) -> int | None:
        """Return the number of the latest revision."""
        return None if self.latest is None else self.latest.number

    @property
    def revisions(self) -> tuple[StoredRevision, ...]:
        """Return all revisions, also deleted ones, in order."""
        return () if self.content is None else environment_files.revisions(self.content)

    @property
    def left(self) -> list[StoredRevision]:
        """Return the revisions that are not deleted."""
        return [revision for revision in self.revisions if revision.file.yanked is None]


class EnvironmentChanges:
    """The environments of one index, as they are read and changed. `name` is normalised everywhere."""

    def __init__(self, store: Store, public_names: PublicNames) -> None:
        self._store = store
        self._public_names = public_names

    def state(self, name: str) -> State:
        """Return what the disk has of an environment."""
        content = project_folder.read(self._store.volume, PREFIX + name)
        if content is None or content.status.state in CLOSED:
            return State(name=name, content=content)
        stored = reversed(environment_files.revisions(content))
        latest = next((revision for revision in stored if revision.file.yanked is None), None)
        return State(name=name, content=content, latest=latest)

    def visible(self, name: str, by: Access) -> State:
        """Return the same for a reader, less than a second old: what they may not read never existed.

        Raise Unavailable if the bucket can't be asked, and the disk does not have it.
        """
        if not by.may("read", PREFIX + name):
            return State(name=name)
        self._store.cache.require(PREFIX + name)
        return self.state(name)

    def revision(self, state: State, number: int | None = None) -> Revision:
        """Return a revision, deleted or not; by default the latest. Raise Refused (404) if there is none."""
        if number is None and state.latest is None:
            raise missing(state.name)
        number = number or (state.latest.number if state.latest is not None else 0)
        for stored in state.revisions:
            if stored.number == number:
                path = self._store.cache.fetch(state.project, stored.file.filename)
                return from_wheel(path)
        raise Refused(404, f"The environment {state.name} has no revision {number}")

    def require_right(self, sender: Sender, action: str, name: str) -> None:
        """Raise Refused (403) before an answer reveals what the index has."""
        project = PREFIX + name
        sender.tries(action, project)
        if not sender.by.may("publish", project):
            raise Refused(403, f"The credential {sender.by.name} may not publish {project}")
        self._store.pull(project)

    def require_change(self, sender: Sender, name: str) -> None:
        """Raise Refused (403) unless the sender may change an environment, or make one of that name."""
        self.require_right(sender, "publish", name)
        environment_policy.require_change(self._store, PREFIX + name, sender.by)

    def create(
        self,
        sender: Sender,
        name: str,
        requirements: tuple[str, ...] = (),
        *,
        shared: bool = False,
        change: str | None = None,
    ) -> State:
        """Publish the first revision of an environment, or the next one of a deleted environment.

        Raise Exists, and what `uploads.publish` raises.
        """
        self.require_right(sender, "publish", name)
        state = self.state(name)
        if state.latest is not None:
            raise Exists(name)
        number = environment_policy.next_number(state.content)
        made = Revision(
            name=name,
            number=number,
            requirements=requirements,
            base=number - 1 or None,
            change=_described((), requirements) if change is None else change,
            shared=shared,
        )
        if state.content is not None and state.content.status.state == "archived":
            environment_policy.require_status(self._store, state.project, sender.by)
            self._set_status(sender, state.project, "active")
        try:
            self._publish(sender, made)
        except Refused as exc:
            raise Exists(name) if exc.status == 409 else exc from exc
        return self.state(name)

    def change(
        self,
        sender: Sender,
        state: State,
        requirements: tuple[str, ...],
        *,
        shared: bool | None = None,
        change: str | None = None,
        lock: str | None = None,
    ) -> State:
        """Publish a list as the revision after `state`, which was read and edited, and return the new state.

        Without `shared` that stays as it is. Nothing is published if nothing differs. Raise Refused (404), Changed,
        and what `uploads.publish` raises.
        """
        self.require_right(sender, "publish", state.name)
        before = self.revision(state)
        shared = before.shared if shared is None else shared
        if (requirements, shared, lock) == (before.requirements, before.shared, before.lock):
            return state
        made = Revision(
            name=state.name,
            number=environment_policy.next_number(state.content),
            requirements=requirements,
            base=before.number,
            change=_described(before.requirements, requirements) if change is None else change,
            shared=shared,
            lock=lock,
        )
        try:
            self._publish(sender, made)
        except Refused as exc:  # another user was faster
            raise Changed(self.state(state.name)) if exc.status == 409 else exc from exc
        return self.state(state.name)

    def require_deletion(self, sender: Sender, name: str) -> State:
        """Return the state of an environment that the sender may delete. Raise Refused: 403, 404."""
        self.require_right(sender, "status", name)
        environment_policy.require_change(self._store, PREFIX + name, sender.by)
        state = self.state(name)
        if not state.left:
            raise missing(name)
        return state

    def delete(self, sender: Sender, name: str, *, seen: State | None = None) -> list[int]:
        """Archive an environment, so that no revision comes in between, then yank each revision; return these.

        It can be repeated after an interruption. Raise Changed, before anything is deleted, if the latest revision is
        not that of `seen`; and what `require_deletion` raises.
        """

        def require() -> None:
            now = self.state(name)
            if seen is not None and now.number != seen.number:
                raise Changed(now)

        state = self.require_deletion(sender, name)
        self._set_status(sender, state.project, "archived", _DELETED, require=require)
        deleted = self.state(name).left  # with the revisions that were published until then
        for revision in deleted:
            reason = environment_policy.signed_reason(_DELETED, state.project, sender.by)
            for filename in self._store.yank(state.project, str(revision.number), reason):
                sender.actor.record(self._store.volume, "yank", filename)
        return [revision.number for revision in deleted]

    def _set_status(
        self,
        sender: Sender,
        project: str,
        status: str,
        reason: str = "",
        *,
        require: Callable[[], None] | None = None,
    ) -> None:
        among = None if sender.by.may("manage", project) else environment_policy.OWNERS_STATUSES
        self._store.set_status(project, status, reason, among=among, require=require)
        sender.actor.record(self._store.volume, "status", f"{project} {status}")

    def _publish(self, sender: Sender, revision: Revision) -> None:
        sender.tries("publish", revision.filename)
        upload = uploads.Upload(by=sender.by, actor=sender.actor, filename=revision.filename)
        try:
            upload.content = self._store.area.new_file()
            upload.content.write(to_wheel(revision))
            uploads.publish(self._store, upload, self._public_names)
        finally:
            upload.close()


def missing(name: str) -> Refused:
    """Return the refusal for an environment that does not exist, or not for this reader."""
    return Refused(404, f"There is no environment {name} in this index")


def _described(before: Iterable[str], after: Iterable[str]) -> str:
    """Return the description of a change: what is added and removed."""
    old, new = set(before), set(after)
    lists = (("add", new - old), ("remove", old - new))
    parts = [f"{verb} {', '.join(sorted(texts))}" for verb, texts in lists if texts]
    text = "; ".join(parts) or ("the same list" if new else "an empty list")
    return textwrap.shorten(text, MAX_CHANGE, placeholder=" …")
