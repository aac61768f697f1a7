"""`ppmctl index`."""

from __future__ import annotations

from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.groups import Group
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import open_store, volume_command
from ppmctl.errors import EXIT_FAILED, PpmError


@click.group(cls=Group)
def index() -> None:
    """Rebuild, check or fill an index, on the machine that has its volume; a server may be running."""


@index.command()
@volume_command
def rebuild(root: Path) -> Answer:
    """Rewrite the pages that differ from the stored files, and add missing records of files.

    You may delete everything below ROOT/index beforehand: all of it is derived. With a bucket, all projects are read
    from it, files that it lacks are written again if this volume has them, and what no project names is removed.
    """
    from ppmctl.index.rebuild import rebuild

    done = rebuild(open_store(root))

    def show() -> None:
        output.say(*(f"recorded  {path}" for path in done.recorded))
        output.say(*(f"written   {key}" for key in done.uploaded), *(f"removed   {key}" for key in done.cleaned))
        output.say(*(f"left      {problem}" for problem in done.problems))
        projects, recorded = output.count(done.projects, "project"), output.count(len(done.recorded), "file")
        output.data(f"{projects}, {done.written} with new pages, {recorded} recorded.")

    return Answer(done, show, exit_code=EXIT_FAILED if done.problems else 0)


@index.command()
@click.option("--quick", is_flag=True, help="Compare sizes only, without reading and hashing the files.")
@volume_command
def check(root: Path, quick: bool) -> Answer:
    """Compare pages, records and hashes with the files, and print every difference. Exits with 1 if there is one.

    With a bucket, also compare its objects with what the projects list; this reads all of them, unless --quick.
    """
    from ppmctl.index.verify import check

    store = open_store(root)
    projects = len(store.projects())
    differences = list(check(store, hashes=not quick))

    def show() -> None:
        output.data(*(f"{item.where} {item.what}  ({item.repair})" for item in differences))
        output.say(f"{output.count(projects, 'project')}, {output.count(len(differences), 'difference')}.")

    return Answer([item.document() for item in differences], show, exit_code=EXIT_FAILED if differences else 0)


@index.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--hard-links",
    is_flag=True,
    help="Link the files instead of copying them. Stop the old server for good first: it would write into them.",
)
@volume_command
def adopt(folder: Path, root: Path, hard_links: bool) -> Answer:
    """Import the wheels and sdists of an existing pypiserver FOLDER, flat or nested.

    Only reads FOLDER, and prints each file that it leaves out, with the reason. You can run it again: files that are
    in the index already are skipped.
    """
    from ppmctl.index import import_folder

    store = open_store(root, may_be_missing=True)
    try:
        done = import_folder.adopt(store, folder, hard_links=hard_links)
    except OSError as exc:
        where = f" ({exc.filename})" if exc.filename else ""
        raise PpmError(
            f"The import of {folder} stopped: {exc.strerror}{where}.",
            hint="The files before that are in the index; repair this and run the command again.",
        ) from exc
    finally:
        store.area.close()

    def show() -> None:
        output.data(*(f"left  {left.path}: {left.reason}" for left in done.left))
        output.say(f"{len(done.taken)} files taken, {len(done.same)} were here, {len(done.left)} left.")

    return Answer(done, show, exit_code=EXIT_FAILED if done.left else 0)
