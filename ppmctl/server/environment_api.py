"""Answer `/api/environments`: create, read, change and delete shared environments as JSON.

A change makes the same revision as an upload of its wheel (`environment_changes`), so a program that only knows JSON
needs no wheel. `docs/http.md` describes the requests and answers.
"""

from __future__ import annotations

from typing import Any

from werkzeug.wrappers import Request, Response

from ppmctl.access.credential_files import Access
from ppmctl.distributions import environment_revision, shareable
from ppmctl.errors import Refused, UsageError
from ppmctl.index import environment_files
from ppmctl.index.store import Store
from ppmctl.server import json_api
from ppmctl.server.environment_changes import Changed, EnvironmentChanges, Exists, Sender, State, missing
from ppmctl.server.public_names import PublicNames
from ppmctl.server.waiting import MAX_SMALL_BODY

_PATH = "/api/environments"
_ROUTES = json_api.routes(
    ("POST", _PATH, "create"),
    ("GET", f"{_PATH}/<name>", "show"),
    ("PUT", f"{_PATH}/<name>", "change"),
    ("DELETE", f"{_PATH}/<name>", "delete"),
)


class EnvironmentApi:
    """Answers requests below /api/environments."""

    def __init__(self, store: Store, public_names: PublicNames) -> None:
        self._changes = EnvironmentChanges(store, public_names)

    def answer(self, request: Request, by: Access) -> Response | None:
        """Return the response, or None for other paths.

        Raise Refused, or another error with its status: 400, 403, 404, 405, 409, 411, 412, 413, 415, 428.
        """
        if request.path.split("/")[1:3] != ["api", "environments"]:
            return None
        try:
            return json_api.dispatch(self, _ROUTES, request, by)
        except Changed as exc:
            raise _changed(exc.state) from exc

    def show(self, _request: Request, by: Access, name: str) -> Response:
        """Return the latest revision; its number is the ETag."""
        return self._shown(self._changes.visible(_normalised(name), by))

    def create(self, request: Request, by: Access) -> Response:
        """Publish the first revision of an environment, or the next one of a deleted environment."""
        json_api.attempt(request, "publish", request.path)
        body = json_api.body(request, "name", "requirements", "shared", "change", limit=MAX_SMALL_BODY)
        named = body.get("name")
        if not isinstance(named, str):
            raise UsageError("The body needs 'name', a text: the name of the new environment.")
        name = environment_revision.normalise(named)
        sender = Sender.of(request, by)
        self._changes.require_right(sender, "publish", name)
        requirements, change = _requirements(body), _change(body)
        try:
            state = self._changes.create(sender, name, requirements, shared=bool(_shared(body)), change=change)
        except Exists as exc:
            raise Refused(409, f"{exc.message}; PUT {_PATH}/{name} changes it") from exc
        return self._shown(state, status=201)

    def change(self, request: Request, by: Access, name: str) -> Response:
        """Publish a list as the next revision. `If-Match` has the revision that was read and edited."""
        name, sender = _normalised(name), Sender.of(request, by)
        self._changes.require_right(sender, "publish", name)
        body = json_api.body(request, "requirements", "shared", "change", limit=MAX_SMALL_BODY)
        if "If-Match" not in request.headers:
            raise Refused(428, f"Send If-Match with the ETag of the revision that you have read (GET {_PATH}/{name})")
        requirements, change = _requirements(body), _change(body)
        state = self._changes.state(name)
        if state.latest is None:
            raise missing(name)
        _require_match(request, state)
        return self._shown(self._changes.change(sender, state, requirements, shared=_shared(body), change=change))

    def delete(self, request: Request, by: Access, name: str) -> Response:
        """Delete an environment. It can be repeated after an interruption."""
        name, sender = _normalised(name), Sender.of(request, by)
        state = self._changes.require_deletion(sender, name)
        _require_match(request, state)
        json_api.body(request)
        deleted = self._changes.delete(sender, name, seen=state if "If-Match" in request.headers else None)
        return json_api.answer({"name": name, "deleted": deleted})

    def _shown(self, state: State, *, status: int = 200) -> Response:
        if state.content is None or state.latest is None:
            raise missing(state.name)
        revision, record = self._changes.revision(state), state.latest.file.record
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
        answer.set_etag(_etag(state))
        if status == 201:
            answer.headers["Location"] = f"{_PATH}/{state.name}"
        return answer


def _normalised(name: str) -> str:
    try:
        return environment_revision.normalise(name)
    except UsageError as exc:
        raise Refused(404, "That is not a valid name of an environment") from exc


def _etag(state: State) -> str:
    return "" if state.number is None else str(state.number)


def _changed(state: State) -> Refused:
    return Refused(412, f"{Changed(state).message}; read it again (GET {_PATH}/{state.name})")


def _require_match(request: Request, state: State) -> None:
    """Raise Refused (412) if the request is about another revision than the latest."""
    if "If-Match" in request.headers and not request.if_match.contains(_etag(state)):
        raise Changed(state)


def _requirements(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the requirements of a body, sorted. Raise UsageError for one that can't be shared."""
    texts = body.get("requirements")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError("The body needs 'requirements', a list of texts such as numpy>=2.")
    return environment_revision.ordered(str(shareable.requirement(text)) for text in texts)


def _change(body: dict[str, Any]) -> str | None:
    """Return the description of a change, None for what is added and removed."""
    given = body.get("change")
    if given is not None and not isinstance(given, str):
        raise UsageError("'change' must be a text: it describes the change in one line.")
    return given


def _shared(body: dict[str, Any]) -> bool | None:
    """Return whether others may change an environment; None if the body does not say it."""
    if "shared" in body and not isinstance(body["shared"], bool):
        raise UsageError("'shared' must be true or false: whether others may change the environment.")
    return body.get("shared")
