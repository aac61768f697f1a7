"""The page of a project: what it is, how to install it, its files and its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from werkzeug.wrappers import Response

from ppmctl.distributions.distribution import normalise, parse_filename
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.distributions.names import is_name
from ppmctl.distributions.project_page import ProjectPage, Release
from ppmctl.errors import InvalidDistribution, PpmError, Refused
from ppmctl.index import project_details, project_folder
from ppmctl.index.layout import InvalidName
from ppmctl.index.project_folder import NOBODY, Folder
from ppmctl.server import simple_api
from ppmctl.web import download_plots, install_commands, package_facts
from ppmctl.web.package_facts import Dependency
from ppmctl.web.route import Route
from ppmctl.web.visit import HEADERS, Visit

T = TypeVar("T")

# Entries of a list; all with ?all. So a page has 30 kB besides its description.
_RELEASES = 30
_FILES = 20
_DETAILS = 15  # dependencies, links, classifiers and keywords
_ENVIRONMENTS = 10  # that use the project


@dataclass(frozen=True, kw_only=True)
class _Some:
    """The first entries of a list, and the number of all."""

    shown: tuple[Any, ...]
    number: int


def _project(visit: Visit, name: str, version: str = "") -> Response:
    normal = normalise(name) if is_name(name) else ""
    if normal and visit.may_read(normal):
        visit.services.store.cache.require(normal)
    content = project_folder.read(visit.services.store.volume, normal) if normal and visit.may_read(normal) else None
    claim = visit.services.store.last_claim_of(normal) if normal and visit.may_read(normal) else None
    if content is None and claim is None:
        return _missing(visit, name, normal)
    page = project_details.page(content) if content is not None else ProjectPage(name=normal, files=())
    release = page.latest
    if version:
        try:
            release = page.release(version)
        except PpmError as exc:
            return visit.page(
                "missing.html", status=404, name=name, message=exc.phrase, hint=exc.hint, project=normal
            )
    if name != normal or (version and release is not None and version != str(release.version)):
        return visit.redirect(f"/project/{normal}/{f'{release.version}/' if version and release is not None else ''}")
    values = _about(visit, page, release, content)
    return visit.page("project.html", page=page, release=release, claim=claim, version=version, **values)


def _about(visit: Visit, page: ProjectPage, release: Release | None, content: Folder | None) -> dict[str, Any]:
    """Return the values of the template that need more than the project's page."""
    services = visit.services
    files = release.files if release is not None else ()
    facts = services.metadata.of(files)
    records = {file.filename: file.record for file in content.files} if content is not None else {}
    requirement = page.name if release in (None, page.latest) else f"{page.name}=={release.version}"
    dependencies = _some(visit, facts.requirements)
    environments, number = services.environments.using(page.name, limit=_ENVIRONMENTS, readable=visit.readable)
    by = {name: record.uploaded_by.partition("+")[0] for name, record in records.items()} if visit.is_known else {}
    return {
        "facts": facts,
        "summary": facts.summary or next((records[file.filename].summary or "" for file in files), ""),
        "description": services.descriptions.show(facts.description, facts.description_type)
        if facts.description
        else None,
        "files": _some(visit, files, _FILES),
        "releases": _some(visit, page.releases, _RELEASES),
        "classifiers": _some(visit, facts.classifiers),
        "keywords": _some(visit, facts.keywords),
        "links": _some(visit, facts.links),
        "dependencies": _Some(
            shown=tuple(_linked(visit, package_facts.dependency(each)) for each in dependencies.shown),
            number=dependencies.number,
        ),
        "by": {name: user for name, user in by.items() if user not in NOBODY},
        "installs": install_commands.of(requirement, visit.base, redirects=services.settings.upstream == "redirect"),
        "environments": _Some(shown=environments, number=number),
        "environment": environment_of(page.name),
        "plots": download_plots.of(services.store.volume, page.name),
    }


def _some(visit: Visit, entries: Sequence[T], most: int = _DETAILS) -> _Some:
    return _Some(shown=tuple(entries if "all" in visit.request.args else entries[:most]), number=len(entries))


def _linked(visit: Visit, dependency: Dependency) -> tuple[Dependency, bool]:
    """Return a dependency, and whether the visitor can see it in this index."""
    name = dependency.project
    return dependency, bool(name) and visit.may_read(name) and visit.services.store.has_project(name)


def _download(visit: Visit, name: str, filename: str) -> Response:
    """Send a file to a browser with a session; installers get it below /packages/."""
    simple_api.require_readable(visit.by, name, simple_api.NO_FILE)
    kind = {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"}
    try:
        parse_filename(filename, project=name)  # not a file beside a distribution
        visit.services.store.cache.require(name)
        path = visit.services.store.cache.fetch_served(name, filename)
        return simple_api.send(visit.request, path, HEADERS | kind)
    except (FileNotFoundError, InvalidDistribution, InvalidName) as exc:
        raise Refused(404, simple_api.NO_FILE) from exc


def _missing(visit: Visit, name: str, normal: str) -> Response:
    settings = visit.services.settings
    hint = ""
    if normal and settings.upstream == "redirect" and not settings.is_private(normal):
        hint = "pip and other clients get it from the public index if that has it: this index redirects them."
    message = f"There is no project {normal or 'of this name'} in this index"
    return visit.page("missing.html", status=404, name=name, message=message, hint=hint, project="")


ROUTES = (
    Route(method="GET", path="/project/<name>/", handler=_project, need="read"),
    Route(method="GET", path="/project/<name>/files/<filename>", handler=_download, need="read"),
    Route(method="GET", path="/project/<name>/<version>/", handler=_project, need="read"),
)
