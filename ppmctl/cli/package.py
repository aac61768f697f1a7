"""`ppmctl package`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli import suggestions
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer, ask, exclusive, json_option
from ppmctl.cli.package_prune import prune
from ppmctl.cli.package_source import Place, connected, index_options, place_command
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.distributions.names import is_name
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.project_folder import MAX_REASON, STATUSES, is_reason

if TYPE_CHECKING:
    from ppmctl.client.package_admin import RemotePackages
    from ppmctl.index.store import Store

_MAX_FOUND = 100  # projects that a search shows
_KEYS = ("name", "version", "summary")


def _one_line(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not is_reason(text):
        raise UsageError(f"The reason must be one line of text, of at most {MAX_REASON} characters.")
    return text


@click.group(cls=Group)
def package() -> None:
    """List, show, search, download, yank and remove packages; set a project's status; claim a name.

    Commands that read work with any index that has a Simple API (--index), or with a volume on this machine (--root);
    download needs an index. Commands that change packages need a volume, or an index and a credential with the right
    to change them.
    """


package.add_command(prune)


@package.command("list")
@place_command
def list_(place: Place) -> Answer:
    """Print the names of all projects, one per line."""
    with place.query() as query:
        names = query.names()
    return Answer(names, lambda: output.data(*names))


@package.command()
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("version", required=False)
@place_command
def show(place: Place, project: str, version: str | None) -> Answer:
    """Show the metadata of PROJECT's latest release (or of VERSION), and all releases."""
    from ppmctl.cli import project as renderer

    with place.query() as query:
        project_ = query.project(project, version)
    return Answer(renderer.as_values(project_), lambda: renderer.show(project_))


@package.command()
@click.argument("words", nargs=-1, required=True)
@click.option(
    "--limit", type=click.IntRange(1), default=_MAX_FOUND, show_default=True, help="Show at most this many."
)
@place_command
def search(place: Place, words: tuple[str, ...], limit: int) -> Answer:
    """Find the projects that have all WORDS in their name, summary, keywords or description, the best match first.

    A word also matches longer words that begin with it, and any part of a name.

    On an index that is not served by ppm, this reads the names and summaries of all projects; with more than 100
    projects, it searches only names.
    """
    with place.query() as query:
        results = query.search(" ".join(words), limit=limit)
    rows = [(item.name, item.version, item.summary) for item in results]

    def show() -> None:
        if rows:
            output.table(("NAME", "LATEST", "SUMMARY"), rows)
        more = " or more (--limit)" if len(rows) == limit else ""
        output.say(f"{output.count(len(rows), 'project')}{more}.")

    return Answer([dict(zip(_KEYS, [text or None for text in row], strict=True)) for row in rows], show)


@package.command()
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("version", required=False)
@click.option("--all", "of_all", is_flag=True, help="Download every release, also yanked ones.")
@click.option(
    "--dest",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder for the files. Default: the current folder.",
)
@index_options
@json_option
def download(
    project: str,
    version: str | None,
    of_all: bool,
    dest: Path,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Download PROJECT's latest release, VERSION, or one file by its name, without dependencies.

    Checks each file against the sha256 of the index's page, and never leaves a partial file. Skips a file that exists
    already with the same content. Prints one line per file: the outcome, the path and the sha256.
    """
    from ppmctl.client.query import Query, SimpleApi

    if of_all and version is not None:
        raise exclusive("--all", "a version")
    done = []
    with connected(index, credential_file) as (address, transport):
        projects = SimpleApi(address, transport)
        for file in Query(projects).files(project, version, of_all=of_all):
            if file.yanked is not None:
                reason = f": {one_line(file.yanked)}" if file.yanked else "."
                output.say(f"{one_line(file.filename)} is yanked{reason}")
            downloaded = projects.download(file, dest)
            done.append(downloaded)
            if not as_json:  # at once: a later file may fail
                output.data(f"{downloaded.state:10}  {downloaded.path}  {downloaded.sha256}")
    if as_json:
        output.as_json(done)


@package.command()
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("version")
@click.option("--reason", default="", callback=_one_line, help="The reason, for people whose resolver skips it.")
@place_command
def yank(place: Place, project: str, version: str, reason: str) -> Answer:
    """Yank VERSION of PROJECT, or one file of it: resolvers skip it, exact pins still install it (PEP 592)."""
    name = _name(project)
    with place.packages() as packages:
        return _changed(packages, "yank", name, packages.yank(name, version, reason))


@package.command()
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("version")
@place_command
def unyank(place: Place, project: str, version: str) -> Answer:
    """Undo the yank of VERSION of PROJECT, or of one file of it."""
    name = _name(project)
    with place.packages() as packages:
        return _changed(packages, "unyank", name, packages.unyank(name, version))


@package.command()
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@place_command
def remove(place: Place, project: str, version: str, yes: bool) -> Answer:
    """Remove VERSION of PROJECT, or one file of it, permanently; its file names can't be used again."""
    name = _name(project)
    with place.packages() as packages:
        if not yes:
            output.say(
                f"This removes {project} {version} permanently; its file names can't be used again."
                " Consider yanking it instead."
            )
            _confirm(name)
        return _changed(packages, "remove", name, packages.remove(name, version))


@package.command()
@click.argument("project", shell_complete=suggestions.projects)
@click.argument("state", required=False, type=click.Choice(STATUSES))
@click.option("--reason", default="", callback=_one_line, help="The reason, for people who install the project.")
@place_command
def status(place: Place, project: str, state: str | None, reason: str) -> Answer:
    """Show or set PROJECT's status (PEP 792).

    archived: no uploads. quarantined: no uploads, and all files are hidden. deprecated: a warning.
    """
    if state is None:
        with place.query() as query:
            page = query.page(project)
        name, now, why = page.name, page.status, page.status_reason
    else:
        name = _name(project)
        with place.packages() as packages:
            changed = packages.set_status(name, state, reason)
            _audit(packages, "status", f"{name} {state}")
        now, why = changed.state, changed.reason
    line = f"{one_line(now)}  {one_line(why)}".rstrip()
    return Answer({"project": name, "status": now, "reason": why}, lambda: output.data(line))


@package.command()
@click.argument("name", shell_complete=suggestions.projects)
@place_command
def claim(place: Place, name: str) -> Answer:
    """Let every publisher upload the first file of NAME, although it is a much used public name.

    For an index whose setting public_names is admin or deny. Until that file, NAME is looked up as before.
    """
    from ppmctl.index.store import Store

    project = _name(name)
    with place.packages() as packages:
        if isinstance(packages, Store):
            from ppmctl.cli.volume import actor

            claimed = packages.claim(project, by=actor().name)
        else:
            claimed = packages.claim(project)
        _audit(packages, "claim", project)
    line = f"claimed  {project}  by {one_line(claimed.by or 'hand')}"
    return Answer({"project": project, "claim": claimed.to_json()}, lambda: output.data(line))


@package.command()
@click.argument("name", shell_complete=suggestions.projects)
@place_command
def unclaim(place: Place, name: str) -> Answer:
    """Undo the claim of NAME; a project that has files keeps them."""
    project = _name(name)
    with place.packages() as packages:
        packages.unclaim(project)
        _audit(packages, "unclaim", project)
    return Answer({"project": project, "claim": None}, lambda: output.data(f"unclaimed  {project}"))


def _confirm(project: str) -> None:
    """Ask for the project's name. Raise UsageError without a terminal, and PpmError for another name."""
    question = "Type the name of the project to confirm"
    typed: str = ask(lambda: click.prompt(question, err=True), "type the name; nothing was removed")
    if normalise(typed.strip()) != project:
        raise PpmError("That is another name; nothing was removed.")


def _name(project: str) -> str:
    if not is_name(project):
        raise PpmError(f"{project!r} is not a name of a project.")
    return normalise(project)


def _changed(packages: Store | RemotePackages, action: str, project: str, filenames: list[str]) -> Answer:
    for filename in filenames:
        _audit(packages, action, filename)
    lines = [f"{action}  {one_line(filename)}" for filename in filenames]
    return Answer({"project": project, "action": action, "files": filenames}, lambda: output.data(*lines))


def _audit(packages: Store | RemotePackages, action: str, what: str) -> None:
    from ppmctl.index.store import Store

    if isinstance(packages, Store):  # an index over HTTP writes its own audit
        from ppmctl.cli.volume import actor

        actor().record(packages.volume, action, what)
