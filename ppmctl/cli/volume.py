"""What the commands that run beside a volume share."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl.access import htpasswd
from ppmctl.cli.options import volume_option
from ppmctl.cli.target import on_option
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from ppmctl.access.account import Actor
    from ppmctl.index.store import Store

_UID = os.getuid()  # before a command of root's goes on as the volume's owner
_root_option = volume_option("The folder of the index's volume.", required=True)


def root_option(command: Any) -> Any:
    """Give a command `--root`, and `--on` to run it beside a volume elsewhere."""
    return _root_option(on_option(command))


def find_volume(root: Path) -> Volume:
    """The volume at `root`, as it is. PpmError, with the remedy, where this process may not use what is there.

    Run by root on a volume that is another user's (`sudo ppmctl user add …` on a server), the command goes on
    as that user: what it writes is then the server's to read and to lock.
    """
    os.umask(0o022)  # a web server of another user reads packages and pages; what is secret has its own mode
    volume = Volume(root=root.absolute())
    if os.geteuid() == 0 and volume.root.is_dir():
        _become(volume.root.stat())
    volume.check()
    return volume


def there(root: Path) -> Path:
    """`root`, which is a volume; PpmError where it is none: a folder that was mistyped is not made into one."""
    is_one = True
    with contextlib.suppress(PermissionError):  # whose it is, is said by what opens it
        is_one = (root / "packages").is_dir()
    if not is_one:
        raise PpmError(
            f"There is no volume at {root}.",
            hint=f"Is it the right folder? To make one there: ppmctl init --root {root}",
        )
    return root


def open_volume(root: Path) -> Volume:
    """The volume at `root`, made if it is not there, by the same user. PpmError where it can't be used."""
    volume = find_volume(root)
    volume.prepare()
    return volume


def _become(owner: os.stat_result) -> None:
    if owner.st_uid == 0:
        return
    htpasswd.load()
    group = owner.st_gid
    try:
        try:
            user = pwd.getpwuid(owner.st_uid)
            # its own group, as the server has it: that of the folder may be a web server's, which reads less
            group = user.pw_gid
            os.initgroups(user.pw_name, group)
        except KeyError:  # a uid without a name, as in containers
            os.setgroups([])
        os.setgid(group)
        os.setuid(owner.st_uid)
    except PermissionError as exc:
        raise PpmError(
            f"The volume belongs to uid {owner.st_uid}, and this is root without the right to go on as that user:"
            f" run it as that user (in a container: --user {owner.st_uid}:{owner.st_gid})."
        ) from exc


def open_store(root: Path) -> Store:
    """The store of the volume at `root`; at the command's end the list of projects is written if it is old.

    A server that runs beside hears of its own changes alone.
    """
    from ppmctl.index.store import Store

    store = Store(open_volume(root))
    click.get_current_context().call_on_close(lambda: store.write_root() if store.root_is_old.is_set() else None)
    return store


def actor() -> Actor:
    """The unix user who typed the command, also through sudo; from here, or from where `--on` says it was typed."""
    from ppmctl.access.account import Actor

    try:
        name = pwd.getpwuid(_UID).pw_name
    except KeyError:  # a uid without a name, as in containers
        name = str(_UID)
    origin = os.environ.get("PPMCTL_ORIGIN") or "here"
    return Actor(name=f"unix:{os.environ.get('SUDO_USER') or name}", origin=origin)
