"""`ppmctl package`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers, ask, json_option
from ppmctl.cli.package_source import Place, connected, index_options, pass_place
from ppmctl.distributions.distribution import is_name, normalise, one_line
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.project_folder import MAX_REASON, STATUSES, is_reason

if TYPE_CHECKING:
    from ppmctl.client.package_admin import RemotePackages
    from ppmctl.index.store import Store

_FOUND = 100  # projects that a search shows
_KEYS = ("name", "version", "summary")


def _one_line(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not is_reason(text):
        raise UsageError(f"The reason is one line of text, of {MAX_REASON} characters at most.")
    return text


@click.group()
def package() -> None:
    """List, show, search and download packages; yank, unyank or remove them; set a project's status.

    What reads works against any index with a Simple API (--index) and beside a volume (--root); downloads are of an
    index. What changes runs beside the volume, or over HTTP with a credential that may do it.
    """


@package.command("list")
@pass_place
@answers
def list_(place: Place) -> Answer:
    """Print the names of all projects of an index, one a line."""
    with place.query() as query:
        names = query.names()
    return Answer(names, lambda: output.data(*names))


@package.command()
@click.argument("project")
@click.argument("version", required=False)
@pass_place
@answers
def show(place: Place, project: str, version: str | None) -> Answer:
    """Show PROJECT: what its latest release (or VERSION) says of itself, and all releases."""
    from ppmctl.cli import project as rendered

    with place.query() as query:
        found = query.project(project, version)
    return Answer(rendered.as_values(found), lambda: rendered.show(found))


@package.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=_FOUND, show_default=True, help="Show so many at most.")
@pass_place
@answers
def search(place: Place, words: tuple[str, ...], limit: int) -> Answer:
    """Find the projects that have all WORDS in their name or summary.

    Of an index that ppm does not serve, the pages of all projects are read; with over 100, only names are searched.
    """
    with place.query() as query:
        found = query.search(" ".join(words), limit=limit)
    rows = [(item.name, item.version, item.summary) for item in found]

    def show() -> None:
        if rows:
            output.table(("NAME", "LATEST", "SUMMARY"), rows)
        more = " or more (--limit)" if len(found) == limit else ""
        output.say(f"{output.count(len(found), 'project')}{more}.")

    return Answer([dict(zip(_KEYS, [text or None for text in row], strict=True)) for row in rows], show)


@package.command()
@click.argument("project")
@click.argument("version", required=False)
@click.option("--all", "of_all", is_flag=True, help="Every release, yanked ones too.")
@click.option(
    "--dest",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder for the files; by default this one.",
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
    """Download the files of PROJECT's latest release, of VERSION, or one file by its name; no dependencies.

    Each is compared with the sha256 of the index's page, and is there whole or not at all. One that is here already
    with the same content is left alone. Prints a line for each file: what became of it, its path, its sha256.
    """
    from ppmctl.client.query import Query, SimpleApi

    if of_all and version is not None:
        raise UsageError("--all and a version are two things.", hint="Give one of them.")
    done = []
    with connected(index, credential_file) as (address, transport):
        projects = SimpleApi(address, transport)
        for file in Query(projects).files(project, version, of_all=of_all):
            if file.yanked is not None:
                output.say(
                    f"{one_line(file.filename)} is yanked{f': {one_line(file.yanked)}' if file.yanked else '.'}"
                )
            here = projects.download(file, dest)
            done.append(here)
            if not as_json:  # at once: a later file may fail
                output.data(f"{here.state:10}  {here.path}  {here.sha256}")
    if as_json:
        output.as_json(done)


@package.command()
@click.argument("project")
@click.argument("version")
@click.option("--reason", default="", callback=_one_line, help="Why, for the people whose resolver skips it.")
@pass_place
@answers
def yank(place: Place, project: str, version: str, reason: str) -> Answer:
    """Yank VERSION of PROJECT (or one file of it): resolvers skip it, who pins it still gets it (PEP 592)."""
    name = _name(project)
    with place.packages() as packages:
        return _changed(packages, "yank", name, packages.yank(name, version, reason))


@package.command()
@click.argument("project")
@click.argument("version")
@pass_place
@answers
def unyank(place: Place, project: str, version: str) -> Answer:
    """Take the yank of VERSION of PROJECT (or of one file of it) back."""
    name = _name(project)
    with place.packages() as packages:
        return _changed(packages, "unyank", name, packages.unyank(name, version))


@package.command()
@click.argument("project")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_place
@answers
def remove(place: Place, project: str, version: str, yes: bool) -> Answer:
    """Remove VERSION of PROJECT (or one file of it) for good; the names of its files can't be used again."""
    name = _name(project)
    with place.packages() as packages:
        if not yes:
            output.say(
                f"{project} {version} will be gone, and its file names can't be used again. To yank is milder."
            )
            _confirm(name)
        return _changed(packages, "remove", name, packages.remove(name, version))


@package.command()
@click.argument("project")
@click.argument("state", required=False, type=click.Choice(STATUSES))
@click.option("--reason", default="", callback=_one_line, help="Why, for the people who install it.")
@pass_place
@answers
def status(place: Place, project: str, state: str | None, reason: str) -> Answer:
    """Show or set PROJECT's status (PEP 792).

    archived takes no uploads; quarantined takes none and hides all files; deprecated is a word of warning.
    """
    if state is None:
        with place.query() as query:
            page = query.page(project)
        name, now, why = page.name, page.status, page.status_reason
    else:
        name = _name(project)
        with place.packages() as packages:
            found = packages.set_status(name, state, reason)
            _audit(packages, "status", f"{name} {state}")
        now, why = found.state, found.reason
    line = f"{one_line(now)}  {one_line(why)}".rstrip()
    return Answer({"project": name, "status": now, "reason": why}, lambda: output.data(line))


def _confirm(project: str) -> None:
    """Have the project's name typed. UsageError where nobody is there to do it, PpmError where it is another."""
    question = "Type the name of the project to go on"
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

    if isinstance(packages, Store):  # else the server does it
        from ppmctl.cli.volume import actor

        actor().record(packages.volume, action, what)
