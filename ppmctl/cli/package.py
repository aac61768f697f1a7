"""`ppmctl package`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.options import json_option
from ppmctl.cli.place import connected, index_options, place_options, volume_meant
from ppmctl.cli.volume import find_volume, open_store, there
from ppmctl.errors import PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.browse import Browser
    from ppmctl.packages import RemotePackages
    from ppmctl.shelf import Shelf
    from ppmctl.store import Store

_STATES = ["active", "archived", "quarantined", "deprecated"]
_FOUND = 100  # projects that a search shows

_MAX_REASON = 500  # characters, as over HTTP


def _one_line(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if len(text) > _MAX_REASON or not text.isprintable():
        raise UsageError(f"The reason is one line of text, of {_MAX_REASON} characters at most.")
    return text


@click.group()
def package() -> None:
    """List, show, search and download packages; yank, unyank or remove them; set a project's status.

    What reads works against any index with a Simple API (--index) and beside a volume (--root); downloads are of an
    index. What changes runs beside the volume, or over HTTP with a credential that may do it.
    """


@package.command("list")
@place_options
@json_option
def list_(root: Path | None, index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Print the names of all projects of an index, one a line."""
    with _shelves(root, index, credential_file) as browser:
        names = browser.names()
    if as_json:
        output.as_json(names)
        return
    for name in names:
        output.data(name)


@package.command()
@click.argument("project")
@click.argument("version", required=False)
@place_options
@json_option
def show(
    project: str,
    version: str | None,
    root: Path | None,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Show PROJECT: what its latest release (or VERSION) says of itself, and all releases."""
    from ppmctl.cli import project as rendered

    with _shelves(root, index, credential_file) as browser:
        found = browser.project(_name(project), version)
    if as_json:
        output.as_json(rendered.as_values(found))
    else:
        rendered.show(found)


@package.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=_FOUND, show_default=True, help="Show so many at most.")
@place_options
@json_option
def search(
    words: tuple[str, ...],
    limit: int,
    root: Path | None,
    index: str | None,
    credential_file: Path | None,
    as_json: bool,
) -> None:
    """Find the projects that have all WORDS in their name or summary.

    Of an index that ppm does not serve, the pages of all projects are read; with over 100, only names are searched.
    """
    with _shelves(root, index, credential_file) as browser, output.progress("Projects") as step:
        answer = browser.search(" ".join(words), limit=limit, step=step)
    found = answer.holdings
    if answer.by_name_alone:
        output.say("This index has too many projects to read all summaries: only names were searched.")
    if as_json:
        keys = ("name", "version", "summary")
        output.as_json([{key: getattr(item, key) or None for key in keys} for item in found])
        return
    if found:
        output.table(("NAME", "LATEST", "SUMMARY"), [(item.name, item.version, item.summary) for item in found])
    output.say(f"{len(found)} projects{' or more (--limit)' if len(found) == limit else ''}.")


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
    if of_all and version is not None:
        raise UsageError("--all and a version are two things.", hint="Give one of them.")
    done = []
    with _browser(index, credential_file) as browser:
        for file in browser.files(project, version, of_all=of_all):
            name = _shown(file.filename)
            if file.yanked is not None:
                output.say(f"{name} is yanked{f': {_shown(file.yanked)}' if file.yanked else '.'}")
            with output.progress(name, file.size, unit="bytes") as step:
                here = browser.download(file, dest, step=step)
            if not here.is_verified:
                output.say(f"{name}: the index has no hash to compare it with.")
            done.append(here)
            if not as_json:
                output.data(f"{here.state:10}  {here.path}  {here.sha256}")
    if as_json:
        output.as_json([{"path": str(here.path), "sha256": here.sha256, "state": here.state} for here in done])


@package.command()
@click.argument("project")
@click.argument("version")
@click.option("--reason", default="", callback=_one_line, help="Why, for the people whose resolver skips it.")
@place_options
def yank(
    project: str, version: str, reason: str, root: Path | None, index: str | None, credential_file: Path | None
) -> None:
    """Yank VERSION of PROJECT (or one file of it): resolvers skip it, who pins it still gets it (PEP 592)."""
    with _packages(root, index, credential_file) as packages:
        _report(packages, "yank", packages.yank(_name(project), version, reason))


@package.command()
@click.argument("project")
@click.argument("version")
@place_options
def unyank(project: str, version: str, root: Path | None, index: str | None, credential_file: Path | None) -> None:
    """Take the yank of VERSION of PROJECT (or of one file of it) back."""
    with _packages(root, index, credential_file) as packages:
        _report(packages, "unyank", packages.unyank(_name(project), version))


@package.command()
@click.argument("project")
@click.argument("version")
@click.option("--yes", is_flag=True, help="Do not ask.")
@place_options
def remove(
    project: str, version: str, yes: bool, root: Path | None, index: str | None, credential_file: Path | None
) -> None:
    """Remove VERSION of PROJECT (or one file of it) for good; the names of its files can't be used again."""
    with _packages(root, index, credential_file) as packages:
        if not yes:
            output.say(
                f"{project} {version} will be gone, and its file names can't be used again. To yank is milder."
            )
            _confirm(project)
        _report(packages, "remove", packages.remove(_name(project), version))


@package.command()
@click.argument("project")
@click.argument("state", required=False, type=click.Choice(_STATES))
@click.option("--reason", default="", callback=_one_line, help="Why, for the people who install it.")
@place_options
def status(
    project: str,
    state: str | None,
    reason: str,
    root: Path | None,
    index: str | None,
    credential_file: Path | None,
) -> None:
    """Show or set PROJECT's status (PEP 792).

    archived takes no uploads; quarantined takes none and hides all files; deprecated is a word of warning.
    """
    if state is None and volume_meant(root, index) is None:
        with _browser(index, credential_file) as browser:
            page = browser.project(_name(project)).page
        output.data(f"{_shown(page.status)}  {_shown(page.status_reason)}".rstrip())
        return
    with _packages(root, index, credential_file) as packages:
        if state is not None:
            found = packages.set_status(_name(project), state, reason)
            _audit(packages, "status", f"{_name(project)} {state}")
        else:
            found = packages.read(_name(project)).status  # type: ignore[union-attr]  # a volume's, as was seen above
    output.data(f"{_shown(found.state)}  {_shown(found.reason)}".rstrip())


def _confirm(project: str) -> None:
    """Have the project's name typed. UsageError where nobody is there to do it, PpmError where it is another."""
    from ppmctl.dists import normalise

    try:
        typed = click.prompt("Type the name of the project to go on", err=True)
    except click.Abort as exc:
        if sys.stdin.isatty():  # somebody typed Ctrl-C
            raise
        output.say("")
        raise UsageError(
            "Nobody is there to type the name; nothing was removed.", hint="Without a terminal, say --yes."
        ) from exc
    if normalise(typed.strip()) != normalise(project):
        raise PpmError("That is another name; nothing was removed.")


def _name(project: str) -> str:
    from ppmctl.dists import is_name, normalise

    if not is_name(project):
        raise PpmError(f"{project!r} is not a name of a project.")
    return normalise(project)


def _shown(text: str) -> str:
    from ppmctl.dists import one_line

    return one_line(text)


@contextmanager
def _browser(index: str | None, credential_file: Path | None) -> Iterator[Browser]:
    from ppmctl.browse import Browser
    from ppmctl.simple import Index

    with connected(index, credential_file) as (address, transport):
        yield Browser(Index(address, transport), transport)


@contextmanager
def _shelves(root: Path | None, index: str | None, credential_file: Path | None) -> Iterator[Browser | Shelf]:
    """What the volume has, or the index, whichever is meant."""
    volume = volume_meant(root, index)
    if volume is not None:
        from ppmctl.shelf import Shelf
        from ppmctl.store import Store

        yield Shelf(Store(find_volume(there(volume))))
        return
    with _browser(index, credential_file) as browser:
        yield browser


@contextmanager
def _packages(root: Path | None, index: str | None, credential_file: Path | None) -> Iterator[Store | RemotePackages]:
    """The packages of the volume, or of the index, whichever is meant."""
    volume = volume_meant(root, index)
    if volume is not None:
        yield open_store(there(volume))
        return
    from ppmctl.packages import RemotePackages

    with connected(index, credential_file) as (address, transport):
        yield RemotePackages(address, transport)


def _report(packages: Store | RemotePackages, action: str, filenames: list[str]) -> None:
    for filename in filenames:
        _audit(packages, action, filename)
        output.data(f"{action}  {_shown(filename)}")


def _audit(packages: Store | RemotePackages, action: str, what: str) -> None:
    from ppmctl import audit
    from ppmctl.store import Store

    if isinstance(packages, Store):  # else the server does it
        from ppmctl.cli.actor import actor

        by = actor()
        audit.write(packages.volume, action=action, by=by.name, origin=by.origin, what=what, result="done")
