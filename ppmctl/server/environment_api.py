"""Answer `/api/environments`: create, read, change and delete shared environments as JSON.

A change makes the same revision as an upload of its wheel, which passes the same checks (`uploads.publish`), so a
program that only knows JSON, such as a web page, needs no wheel. `docs/http.md` describes the requests and answers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access.credential_files import Access
from ppmctl.distributions import environment_revision, shareable
from ppmctl.distributions.environment_revision import MAX_CHANGE, PREFIX, Revision
from ppmctl.distributions.environment_wheel import from_wheel, to_wheel
from ppmctl.errors import Refused, UsageError
from ppmctl.index import environment_files, project_folder
from ppmctl.index.environment_files import StoredRevision
from ppmctl.index.project_folder import CLOSED, Folder
from ppmctl.index.store import Store
from ppmctl.server import environment_policy, json_api, uploads
from ppmctl.server.public_names import PublicNames
from ppmctl.server.waiting import MAX_SMALL_BODY

_PATH = "/api/environments"
_ROUTES = json_api.routes(
    ("POST", _PATH, "create"),
    ("GET", f"{_PATH}/<name>", "show"),
    ("PUT", f"{_PATH}/<name>", "change"),
    ("DELETE", f"{_PATH}/<name>", "delete"),
)
_DELETED = "This environment was deleted"  # the reason of the status and of the yanks


@dataclass(frozen=True, kw_only=True)
class _State:
    """An environment in the index. `content` is None if it never existed, `latest` if it does not exist now."""

    name: str
    content: Folder | None
    latest: StoredRevision | None

    @property
    def project(self) -> str:
        return PREFIX + self.name

    @property
    def etag(self) -> str:
        return "" if self.latest is None else str(self.latest.number)


class EnvironmentApi:
    """Answers requests below /api/environments."""

    def __init__(self, store: Store, public_names: PublicNames) -> None:
        self._store = store
        self._public_names = public_names

    def answer(self, request: Request, by: Access) -> Response | None:
        """Return the response, or None for other paths.

        Raise Refused, or another error with its status: 400, 403, 404, 405, 409, 411, 412, 413, 415, 428.
        """
        if request.path.split("/")[1:3] != ["api", "environments"]:
            return None
        return json_api.dispatch(self, _ROUTES, request, by)

    def show(self, _request: Request, by: Access, name: str) -> Response:
        """Return the latest revision; its number is the ETag."""
        name = _normalised(name)
        state = self._state(name) if by.may("read", PREFIX + name) else _State(name=name, content=None, latest=None)
        return self._shown(state)

    def create(self, request: Request, by: Access) -> Response:
        """Publish the first revision of an environment, or the next one of a deleted environment."""
        json_api.attempt(request, "publish", request.path)
        body = json_api.body(request, "name", "requirements", "shared", "change", limit=MAX_SMALL_BODY)
        named = body.get("name")
        if not isinstance(named, str):
            raise UsageError("The body needs 'name', a text: the name of the new environment.")
        name = environment_revision.normalise(named)
        self._require_right(request, by, "publish", name)
        requirements = _requirements(body)
        state = self._state(name)
        if state.latest is not None:
            raise _exists(name)
        if state.content is not None and state.content.status.state == "archived":
            environment_policy.require_status(self._store, state.project, by)
            self._set_status(request, by, state.project, "active")
        made = Revision(
            name=name,
            number=environment_policy.next_number(self._store, state.project),
            requirements=requirements,
            change=_change(body, (), requirements),
            shared=body.get("shared", False),
        )
        try:
            self._publish(request, by, made)
        except Refused as exc:
            raise _exists(name) if exc.status == 409 else exc from exc
        return self._shown(self._state(name), status=201)

    def change(self, request: Request, by: Access, name: str) -> Response:
        """Publish a list as the next revision. `If-Match` has the revision that was read and edited."""
        name = _normalised(name)
        self._require_right(request, by, "publish", name)
        body = json_api.body(request, "requirements", "shared", "change", limit=MAX_SMALL_BODY)
        if "If-Match" not in request.headers:
            raise Refused(428, f"Send If-Match with the ETag of the revision that you have read (GET {_PATH}/{name})")
        requirements = _requirements(body)
        state = self._state(name)
        before = self._latest(state)
        _require_match(request, state)
        shared = body.get("shared", before.shared)
        if (requirements, shared, None) == (before.requirements, before.shared, before.lock):
            return self._shown(state)
        made = Revision(
            name=name,
            number=environment_policy.next_number(self._store, state.project),
            requirements=requirements,
            base=before.number,
            change=_change(body, before.requirements, requirements),
            shared=shared,
        )
        try:
            self._publish(request, by, made)
        except Refused as exc:  # another user was faster
            raise _changed(self._state(name)) if exc.status == 409 else exc from exc
        return self._shown(self._state(name))

    def delete(self, request: Request, by: Access, name: str) -> Response:
        """Archive an environment, so that no revision comes in between, then yank each revision.

        It can be repeated after an interruption.
        """
        name = _normalised(name)
        self._require_right(request, by, "status", name)
        environment_policy.require_change(self._store, PREFIX + name, by)
        state = self._state(name)
        if not _left(state):
            raise _missing(name)
        _require_match(request, state)
        json_api.body(request)
        self._set_status(request, by, state.project, "archived", _DELETED)
        deleted = _left(self._state(name))  # with the revisions that were published until then
        for revision in deleted:
            reason = environment_policy.signed_reason(_DELETED, state.project, by)
            for filename in self._store.yank(state.project, str(revision.number), reason):
                json_api.actor(request, by).record(self._store.volume, "yank", filename)
        return json_api.answer({"name": name, "deleted": [revision.number for revision in deleted]})

    def _require_right(self, request: Request, by: Access, action: str, name: str) -> None:
        """Raise Refused (403) before the answer reveals what the index has."""
        project = PREFIX + name
        json_api.attempt(request, action, project)
        if not by.may("publish", project):
            raise Refused(403, f"The credential {by.name} may not publish {project}")

    def _state(self, name: str) -> _State:
        content = project_folder.read(self._store.volume, PREFIX + name)
        stored = () if content is None or content.status.state in CLOSED else environment_files.revisions(content)
        latest = next((revision for revision in reversed(stored) if revision.file.yanked is None), None)
        return _State(name=name, content=content, latest=latest)

    def _latest(self, state: _State) -> Revision:
        if state.latest is None:
            raise _missing(state.name)
        filename = state.latest.file.filename
        return from_wheel(project_folder.locate(self._store.volume, state.project, filename))

    def _set_status(self, request: Request, by: Access, project: str, status: str, reason: str = "") -> None:
        among = None if by.may("manage", project) else environment_policy.OWNERS_STATUSES
        self._store.set_status(project, status, reason, among=among)
        json_api.actor(request, by).record(self._store.volume, "status", f"{project} {status}")

    def _publish(self, request: Request, by: Access, revision: Revision) -> None:
        json_api.attempt(request, "publish", revision.filename)
        upload = uploads.Upload(by=by, actor=json_api.actor(request, by), filename=revision.filename)
        try:
            upload.content = self._store.area.new_file()
            upload.content.write(to_wheel(revision))
            uploads.publish(self._store, upload, self._public_names)
        finally:
            upload.close()

    def _shown(self, state: _State, *, status: int = 200) -> Response:
        if state.content is None or state.latest is None:
            raise _missing(state.name)
        revision, record = self._latest(state), state.latest.file.record
        values = {
            "name": state.name,
            "project": state.project,
            "owner": environment_files.owner(state.content),
            "shared": revision.shared,
            "revision": revision.number,
            "requirements": list(revision.requirements),
            "locked": revision.lock is not None,
            "change": revision.change,
            "by": record.uploaded_by.partition("+")[0],
            "at": record.upload_time,
        }
        answer = json_api.answer(values, status=status)
        answer.set_etag(state.etag)
        if status == 201:
            answer.headers["Location"] = f"{_PATH}/{state.name}"
        return answer


def _normalised(name: str) -> str:
    try:
        return environment_revision.normalise(name)
    except UsageError as exc:
        raise Refused(404, "That is not a valid name of an environment") from exc


def _left(state: _State) -> list[StoredRevision]:
    """Return the revisions that are not yanked."""
    stored = environment_files.revisions(state.content) if state.content is not None else ()
    return [revision for revision in stored if revision.file.yanked is None]


def _missing(name: str) -> Refused:
    return Refused(404, f"There is no environment {name} in this index")


def _exists(name: str) -> Refused:
    return Refused(409, f"There is an environment {name} already; PUT {_PATH}/{name} changes it")


def _changed(state: _State) -> Refused:
    now = f"it is at revision {state.etag}" if state.etag else "it was deleted"
    return Refused(412, f"{state.name} was changed by another user: {now}; read it again (GET {_PATH}/{state.name})")


def _require_match(request: Request, state: _State) -> None:
    """Raise Refused (412) if the request is about another revision than the latest."""
    if "If-Match" in request.headers and not request.if_match.contains(state.etag):
        raise _changed(state)


def _requirements(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the requirements of a body, sorted. Raise UsageError for one that can't be shared."""
    texts = body.get("requirements")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError("The body needs 'requirements', a list of texts such as numpy>=2.")
    return environment_revision.ordered(str(shareable.requirement(text)) for text in texts)


def _change(body: dict[str, Any], before: Iterable[str], after: Iterable[str]) -> str:
    """Return the description of a change: that of the body, or what is added and removed."""
    if (given := body.get("change")) is not None:
        if not isinstance(given, str):
            raise UsageError("'change' must be a text: it describes the change in one line.")
        return given
    old, new = set(before), set(after)
    lists = (("add", new - old), ("remove", old - new))
    parts = [f"{verb} {', '.join(sorted(texts))}" for verb, texts in lists if texts]
    return textwrap.shorten(
        "; ".join(parts) or ("the same list" if new else "an empty list"), MAX_CHANGE, placeholder=" …"
    )
