"""What the commands that run beside a volume share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl.volume import Volume

if TYPE_CHECKING:
    from ppmctl.store import Store

root_option = click.option(
    "--root",
    required=True,
    envvar="PPM_ROOT",
    show_envvar=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the index's volume.",
)


def open_volume(root: Path) -> Volume:
    """The volume at `root`, made if it is not there. PpmError, with the remedy, where it can't be used."""
    volume = Volume(root=root.absolute())
    volume.prepare()
    return volume


def open_store(root: Path) -> Store:
    """The store of the volume at `root`."""
    from ppmctl.store import Store

    return Store(open_volume(root))
