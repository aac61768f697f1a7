"""The pages of all environments: list them, create one, and delete those of the visitor after a question."""

from __future__ import annotations

from collections.abc import Sequence

from werkzeug.wrappers import Response

from ppmctl.distributions.environment_revision import MAX_NAME, PREFIX, named, ordered
from ppmctl.environments.requirement import flat, group
from ppmctl.errors import PpmError, Refused, UsageError
from ppmctl.server.environment_changes import Changed, Sender, State
from ppmctl.web import environment_edit
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

LIST = "/environments/"
_SHOWN = 100  # environments of others on one page
_MOST_DELETED = 200  # with one question


def _list(visit: Visit) -> Response:
    return show(visit)


def show(
    visit: Visit, *, problem: PpmError | None = None, name: str = "", packages: str = "", shared: bool = False
) -> Response:
    """Return the list, with the form for a new environment; with a problem it has what was typed."""
    listing = visit.services.environments
    mine = listing.mine(visit.by.owner, readable=visit.readable)
    after = visit.request.args.get("after", "")[:MAX_NAME]
    page = listing.page(after=after, limit=_SHOWN, owner=None, readable=visit.readable)
    return visit.page(
        "environments.html",
        status=200 if problem is None else problem.status,
        mine=mine,
        others=[entry for entry in page.environments if entry["owner"] != visit.by.owner],
        after=page.after,
        is_first=not after,
        problem=problem,
        name=name,
        packages=packages,
        shared=shared,
    )


def _create(visit: Visit) -> Response:
    typed, packages, shared = visit.form.get("name", ""), visit.form.get("packages", ""), "shared" in visit.form
    sender = Sender.of(visit.request, visit.by)
    try:
        name = named(typed.strip())
        requirements = ordered(flat(group(environment_edit.requirements(packages))))
        visit.services.environment_changes.create(sender, name, requirements, shared=shared)
    except (UsageError, Refused) as exc:
        if exc.status >= 500:
            raise
        sender.attempt.reason = exc.message
        return show(visit, problem=exc, name=typed, packages=packages, shared=shared)
    return visit.redirect(f"/environment/{name}/")


def _ask(visit: Visit) -> Response:
    return question(visit, _own(visit), f"{LIST}delete")


def _delete(visit: Visit) -> Response:
    return delete(visit, _own(visit), f"{LIST}delete")


def _own(visit: Visit) -> list[State]:
    """Return the visitor's own environments, without those that their credential may not change."""
    mine = visit.services.environments.mine(visit.by.owner, readable=visit.readable)
    names = [entry["name"] for entry in mine if visit.by.may("publish", PREFIX + entry["name"])]
    states = map(visit.services.environment_changes.state, names[:_MOST_DELETED])
    return [state for state in states if state.latest is not None]


def question(visit: Visit, states: Sequence[State], path: str, *, is_changed: bool = False) -> Response:
    """Return the page that asks whether to delete these environments. `is_changed`: others were confirmed."""
    return visit.page(
        "environments_delete.html",
        status=409 if is_changed else 200,
        path=path,
        states=states,
        confirmed=_confirmed(states),
        is_changed=is_changed,
    )


def delete(visit: Visit, states: Sequence[State], path: str) -> Response:
    """Delete these environments if they are what was confirmed, else ask again. Raise Refused."""
    sender = Sender.of(visit.request, visit.by)
    if visit.form.get("confirmed", "") != _confirmed(states):
        sender.attempt.reason = "What was to be deleted has changed meanwhile"
        return question(visit, states, path, is_changed=True)
    for number, state in enumerate(states):
        try:
            visit.services.environment_changes.delete(sender, state.name, seen=state)
        except Changed:
            left = [visit.services.environment_changes.state(other.name) for other in states[number:]]
            return question(visit, [other for other in left if other.latest is not None], path, is_changed=True)
    return visit.redirect(LIST)


def _confirmed(states: Sequence[State]) -> str:
    """Return the names and revisions that a question names: web@3 data@1."""
    return " ".join(f"{state.name}@{state.number}" for state in states if state.number is not None)


ROUTES = (
    Route(method="GET", path=LIST, handler=_list, need="read"),
    Route(method="POST", path=LIST, handler=_create, need="publish"),
    Route(method="GET", path=f"{LIST}delete", handler=_ask, need="publish"),
    Route(method="POST", path=f"{LIST}delete", handler=_delete, need="publish"),
)
