"""Manage a project: yank its releases, set its status, remove a release. For publishers and administrators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packaging.version import Version
from werkzeug.wrappers import Response

from ppmctl.distributions.distribution import normalise
from ppmctl.distributions.names import is_name
from ppmctl.errors import PpmError, Refused
from ppmctl.index.lookup import NotHere, choose
from ppmctl.index.project_folder import MAX_REASON, StoredFile
from ppmctl.server import json_api, package_changes
from ppmctl.server.simple_api import normalised
from ppmctl.web.account import reason_of
from ppmctl.web.route import Route
from ppmctl.web.visit import Visit

_PATH = "/project/<name>/manage"
_FIELDS = ("release", "reason", "status")


@dataclass(frozen=True, kw_only=True)
class _Release:
    """A release with its files. `yanked` is the reason of its yank, None if a file of it is not yanked."""

    version: str
    files: tuple[StoredFile, ...]

    @property
    def yanked(self) -> str | None:
        reasons = [file.yanked for file in self.files]
        return None if None in reasons else reasons[0]

    @property
    def has_yanked(self) -> bool:
        return any(file.yanked is not None for file in self.files)


def _project(visit: Visit, name: str) -> str:
    """Return the normalised name of a project that the visitor may manage in part. Raise Refused: 403, 404."""
    project = normalised(name)
    if not visit.may_read(project):
        raise Refused(404, f"There is no project {project} in this index")
    if not visit.by.may("publish", project):
        raise Refused(403, f"The credential {visit.by.name} may not publish {project}")
    visit.services.store.cache.require(project)
    return project


def _show(visit: Visit, name: str, *, problem: str = "", status: int = 200) -> Response:
    project, store = _project(visit, name), visit.services.store
    content = store.read(project)
    return visit.page(
        "manage.html",
        status=status,
        project=project,
        now=content.status,
        releases=_releases(content.files),
        may_remove=package_changes.may(store, visit.by, "remove", project),
        may_yank=package_changes.may(store, visit.by, "yank", project),
        statuses=package_changes.statuses(store, visit.by, project),
        max_reason=MAX_REASON,
        values={field: visit.form.get(field, "") if problem else "" for field in _FIELDS},
        problem=problem,
    )


def _releases(files: tuple[StoredFile, ...]) -> list[_Release]:
    """Return the releases, newest first."""
    by_version: dict[Version, list[StoredFile]] = {}
    for file in files:
        by_version.setdefault(Version(file.record.version), []).append(file)
    return [_Release(version=str(version), files=tuple(by_version[version])) for version in sorted(by_version)][::-1]


def _changing(action: str, work: Callable[[Visit, str], object]) -> Callable[[Visit, str], Response]:
    """Return the handler of a form, which `work` does with the project's normalised name."""

    def handle(visit: Visit, name: str) -> Response:
        project = normalise(name) if is_name(name) else name
        what = visit.form.get("status" if action == "status" else "release", "")
        json_api.attempt(visit.request, action, f"{project} {what}")
        project = _project(visit, name)
        try:
            work(visit, project)
        except PpmError as exc:
            reason = reason_of(visit, exc)
            if isinstance(exc, NotHere) and not visit.services.store.has_project(project):
                raise
            page = _ask if action == "remove" and exc.status == 400 else _show
            return page(visit, project, problem=reason, status=exc.status)
        return visit.redirect(f"/project/{project}/manage")

    return handle


def _yank(visit: Visit, project: str) -> None:
    reason = visit.form.get("reason", "").strip()
    package_changes.yank(visit.services.store, visit.actor, project, visit.form.get("release", ""), reason)


def _unyank(visit: Visit, project: str) -> None:
    package_changes.unyank(visit.services.store, visit.actor, project, visit.form.get("release", ""))


def _set_status(visit: Visit, project: str) -> None:
    state, reason = visit.form.get("status", ""), visit.form.get("reason", "").strip()
    package_changes.set_status(visit.services.store, visit.actor, project, state, reason)


def _ask(visit: Visit, name: str, *, problem: str = "", status: int = 200) -> Response:
    """Return the page that asks before a release or a file is removed."""
    project = _project(visit, name)
    store = visit.services.store
    package_changes.require(store, visit.by, "remove", project)
    release = (visit.form if problem else visit.request.args).get("release", "")
    files = choose(store.read(project), release)
    return visit.page("remove.html", status=status, project=project, release=release, files=files, problem=problem)


def _remove(visit: Visit, project: str) -> None:
    package_changes.require(visit.services.store, visit.by, "remove", project)
    typed = visit.form.get("confirm", "").strip()
    if not is_name(typed) or normalise(typed) != project:
        raise Refused(400, f"Nothing was removed: type the project's name, {project}")
    package_changes.remove(visit.services.store, visit.actor, project, visit.form.get("release", ""))


ROUTES = (
    Route(method="GET", path=_PATH, handler=_show, need="publish"),
    Route(method="POST", path=f"{_PATH}/yank", handler=_changing("yank", _yank), need="publish"),
    Route(method="POST", path=f"{_PATH}/unyank", handler=_changing("unyank", _unyank), need="publish"),
    Route(method="POST", path=f"{_PATH}/status", handler=_changing("status", _set_status), need="publish"),
    Route(method="GET", path=f"{_PATH}/remove", handler=_ask, need="publish"),
    Route(method="POST", path=f"{_PATH}/remove", handler=_changing("remove", _remove), need="publish"),
)
