"""`ppmctl index`."""

from __future__ import annotations

from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.volume import open_store, root_option, there
from ppmctl.errors import EXIT_FAILED, PpmError


@click.group()
def index() -> None:
    """Rebuild, check or fill an index. Runs beside its volume; a server may run meanwhile."""


@index.command()
@root_option
@answers
def rebuild(root: Path) -> Answer:
    """Make the pages again where they differ, and records for files that have none.

    Everything below ROOT/index may be deleted beforehand: it is all derived.
    """
    from ppmctl.index.rebuild import rebuild as run

    store = open_store(root)
    done = run(store)

    def show() -> None:
        output.say(*(f"recorded  {path}" for path in done.recorded))
        output.say(*(f"left      {problem}" for problem in done.problems))
        projects, recorded = output.count(done.projects, "project"), output.count(len(done.recorded), "file")
        output.data(f"{projects}, {done.written} with new pages, {recorded} recorded.")

    return Answer(done, show, exit_code=EXIT_FAILED if done.problems else 0)


@index.command()
@root_option
@click.option("--quick", is_flag=True, help="Compare sizes alone; do not read the files to take their hashes.")
@answers
def check(root: Path, quick: bool) -> Answer:
    """Compare pages, side files and hashes with the folders, and name every difference. Exit 1 if there is one."""
    from ppmctl.index.verify import check as run

    store = open_store(there(root))
    projects = len(store.projects())
    found = list(run(store, hashes=not quick))

    def show() -> None:
        output.data(*(f"{item.where} {item.what}  ({item.mend})" for item in found))
        output.say(f"{output.count(projects, 'project')}, {output.count(len(found), 'difference')}.")

    return Answer(found, show, exit_code=EXIT_FAILED if found else 0)


@index.command()
@click.argument("folder", type=click.Path(path_type=Path))
@root_option
@click.option(
    "--hard-links",
    is_flag=True,
    help="Link instead of copying. The old server then writes into the same files: stop it for good first.",
)
@answers
def adopt(folder: Path, root: Path, hard_links: bool) -> Answer:
    """Take the wheels and sdists of an existing pypiserver FOLDER, flat or nested, into the index.

    The folder is only read. Each file that is left is named with the reason. It can be run again: what is
    here already is passed over.
    """
    from ppmctl.index import import_folder as adopting

    store = open_store(root)
    try:
        done = adopting.adopt(store, folder, hard_links=hard_links)
    except OSError as exc:
        raise PpmError(
            f"Adopting {folder} stopped: {exc.strerror} ({exc.filename}).",
            hint="What was taken is in the index; run the command again when this is mended.",
        ) from exc
    finally:
        store.area.close()

    def show() -> None:
        output.data(*(f"left  {left.path}: {left.reason}" for left in done.left))
        output.say(f"{len(done.taken)} files taken, {len(done.same)} were here, {len(done.left)} left.")

    return Answer(done, show, exit_code=EXIT_FAILED if done.left else 0)
