"""The page of an environment: its packages, its revisions, and the forms that change it."""

from __future__ import annotations

from collections.abc import Callable

from werkzeug.wrappers import Response

from ppmctl.distributions.environment_revision import MAX_NAME, NUMBER, Revision, normalise
from ppmctl.errors import PpmError, Refused, UsageError
from ppmctl.index import environment_files
from ppmctl.server import environment_policy
from ppmctl.server.environment_changes import Sender, State, missing
from ppmctl.web import environment_edit, environment_view, environments
from ppmctl.web.environment_edit import Edit
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_PATH = "/environment/<name>/"


def _show(visit: Visit, name: str) -> Response:
    normal = _normal(name)
    if normal != name:
        return visit.redirect(_path(normal))
    return _page(visit, visit.services.environment_changes.visible(name, visit.by))


def _page(visit: Visit, state: State, *, problem: PpmError | None = None, packages: str = "") -> Response:
    """Return the page; with a problem it has what was typed. Raise Refused (404)."""
    if state.content is None or state.latest is None:
        raise missing(state.name)
    revision = visit.services.environment_changes.revision(state)
    arguments, store = visit.request.args, visit.services.store
    rows, older = environment_view.history(visit, state, before=_number(arguments.get("before", "")))
    since = _number(arguments.get("since", ""))
    return visit.page(
        "environment.html",
        status=200 if problem is None else problem.status,
        name=state.name,
        revision=revision,
        owner=environment_files.owner(state.content),
        changed=state.latest.file.record,
        line=environment_view.one_line(revision),
        required=environment_view.required(visit, revision),
        commands=environment_view.commands(visit, revision),
        rows=rows,
        older=older,
        since=since,
        is_unchanged="unchanged" in arguments,
        may_change=environment_policy.may_change(store, state.project, visit.by),
        is_owner=visit.may_publish and environment_policy.owns(state.content, visit.by),
        problem=problem,
        conflicts=problem.conflicts if isinstance(problem, environment_edit.Conflicting) else (),
        packages=packages,
    )


def _add(visit: Visit, name: str) -> Response:
    packages = visit.form.get("packages", "")
    return _change(visit, name, lambda: environment_edit.added(packages), packages=packages)


def _remove(visit: Visit, name: str) -> Response:
    return _change(visit, name, lambda: environment_edit.removed(visit.form.get("requirement", "")))


def _roll_back(visit: Visit, name: str) -> Response:
    changes, number = visit.services.environment_changes, _required_number(visit, "to")
    sender, state = Sender.of(visit.request, visit.by), changes.visible(_normal(name), visit.by)
    changes.require_change(sender, state.name)
    if state.latest is None:
        raise missing(state.name)
    old = changes.revision(state, number)
    line = f"roll back to revision {number}"
    return _change(visit, name, lambda: environment_edit.restored(old), line=line, source=old)


def _change(
    visit: Visit,
    name: str,
    edit: Callable[[], Edit],
    *,
    line: str | None = None,
    source: Revision | None = None,
    packages: str = "",
) -> Response:
    """Make a change of the list, and return to the page; if it is refused, with the reason and what was typed."""
    name, changes, sender = _normal(name), visit.services.environment_changes, Sender.of(visit.request, visit.by)
    seen = _required_number(visit, "revision")
    try:
        changes.require_change(sender, name)
        done = environment_edit.change(changes, sender, name, edit(), seen=seen, line=line, source=source)
    except (UsageError, Refused) as exc:
        return _refused(visit, name, exc, packages)
    asked = "" if done.is_new else "?unchanged=1"
    return visit.redirect(_path(name) + (f"?since={seen}" if done.is_new and done.others else asked))


def _refused(visit: Visit, name: str, refused: UsageError | Refused, packages: str = "") -> Response:
    Sender.of(visit.request, visit.by).attempt.reason = refused.message
    state = visit.services.environment_changes.visible(name, visit.by)
    if state.latest is not None and refused.status < 500:
        return _page(visit, state, problem=refused, packages=packages)
    if packages and state.content is not None and refused.status < 500:
        gone = Refused(409, f"{name} was deleted meanwhile", hint="Create it again with what you typed, or leave it.")
        return environments.show(visit, problem=gone, name=name, packages=packages)
    raise refused


def _share(visit: Visit, name: str) -> Response:
    """Let every publisher change an environment, or only its owner. Its list and its lock stay."""
    changes, sender = visit.services.environment_changes, Sender.of(visit.request, visit.by)
    name, shared = _normal(name), visit.form.get("shared") == "yes"
    changes.require_change(sender, name)
    state = changes.state(name)
    now = changes.revision(state)
    line = "share it" if shared else "stop sharing it"
    try:
        changes.change(sender, state, now.requirements, shared=shared, change=line, lock=now.lock)
    except (UsageError, Refused) as exc:
        return _refused(visit, name, exc)
    return visit.redirect(_path(name))


def _ask(visit: Visit, name: str) -> Response:
    name = _normal(name)
    return environments.question(visit, [_deletable(visit, name)], f"{_path(name)}delete")


def _delete(visit: Visit, name: str) -> Response:
    name = _normal(name)
    return environments.delete(visit, [_deletable(visit, name)], f"{_path(name)}delete")


def _deletable(visit: Visit, name: str) -> State:
    state = visit.services.environment_changes.require_deletion(Sender.of(visit.request, visit.by), name)
    if state.latest is None:
        raise missing(name)
    return state


def _path(name: str) -> str:
    return f"/environment/{name}/"


def _normal(name: str) -> str:
    try:
        return normalise(name)
    except UsageError as exc:
        raise missing(name[:MAX_NAME]) from exc


def _number(text: str) -> int | None:
    return int(text) if NUMBER.fullmatch(text) else None


def _required_number(visit: Visit, field: str) -> int:
    number = _number(visit.form.get(field, ""))
    if number is None:
        raise Refused(400, f"The form has no number of a revision in its field {field!r}")
    return number


ROUTES = (
    Route(method="GET", path=_PATH, handler=_show, need="read"),
    Route(method="POST", path=f"{_PATH}add", handler=_add, need="publish"),
    Route(method="POST", path=f"{_PATH}remove", handler=_remove, need="publish"),
    Route(method="POST", path=f"{_PATH}rollback", handler=_roll_back, need="publish"),
    Route(method="POST", path=f"{_PATH}share", handler=_share, need="publish"),
    Route(method="GET", path=f"{_PATH}delete", handler=_ask, need="publish"),
    Route(method="POST", path=f"{_PATH}delete", handler=_delete, need="publish"),
)
