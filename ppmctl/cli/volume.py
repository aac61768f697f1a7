"""What the commands share that run on the machine that has the volume."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output
from ppmctl.access import htpasswd
from ppmctl.cli.options import Answer, answers, volume_option
from ppmctl.cli.target import on_option
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

if TYPE_CHECKING:
    from ppmctl.access.account import Actor
    from ppmctl.index.store import Store

_UID = os.getuid()  # before a command that root typed switches to the volume's owner
_root_option = volume_option("The folder of the index's volume.", required=True)


def root_option(command: Any) -> Any:
    """Give a command `--root`, and `--on` to run it on another machine."""
    return _root_option(on_option(command))


def volume_command(command: Callable[..., Answer]) -> Any:
    """Give a command `--root`, `--on` and `--json`, and print the answer that it returns."""
    return root_option(answers(command))


def find_volume(root: Path, *, may_be_missing: bool = False, is_checked: bool = True) -> Volume:
    """Return the volume at `root`, unchanged. Raise PpmError, with the remedy, where this process may not use it.

    Without `is_checked`, parts of the volume may be hidden from this process.

    Raise PpmError as `existing` does, unless it `may_be_missing`, because the command creates it.

    Where root runs the command on another user's volume (`sudo ppmctl user add …` on a server), switch to that user,
    so that the server can read and lock what the command writes.
    """
    if not may_be_missing:
        existing(root)
    os.umask(0o022)  # another user's web server reads packages and pages; secret files have modes of their own
    volume = Volume(root=root.absolute())
    if os.geteuid() == 0 and volume.root.is_dir():
        _become(volume.root.stat())
    if is_checked:
        volume.check()
    return volume


def existing(root: Path) -> Path:
    """Return `root`. Raise PpmError where it is not a volume, so that a mistyped folder is not made into one."""
    is_volume = True
    with contextlib.suppress(PermissionError):  # opening it explains who owns it
        is_volume = (root / "packages").is_dir()
    if not is_volume:
        raise PpmError(
            f"There is no volume at {root}.",
            hint=f"Is it the right folder? To create a volume there: ppmctl init --root {shlex.quote(str(root))}",
        )
    return root


def open_volume(root: Path, *, may_be_missing: bool = False) -> Volume:
    """Return the volume at `root` with all its folders. Raise PpmError as `find_volume` does.

    Raise PpmError also if it has projects, and not those of the bucket that is configured.
    """
    from ppmctl.index import cache_mark

    volume = find_volume(root, may_be_missing=may_be_missing)
    volume.prepare()
    cache_mark.require_usable(volume)
    return volume


def _become(owner: os.stat_result) -> None:
    if owner.st_uid == 0:
        return
    htpasswd.load()
    group = owner.st_gid
    try:
        try:
            user = pwd.getpwuid(owner.st_uid)
            # the user's own group, as for the server; the folder's may be that of a web server with fewer rights
            group = user.pw_gid
            os.initgroups(user.pw_name, group)
        except KeyError:  # a uid without a name, as in containers
            os.setgroups([])
        os.setgid(group)
        os.setuid(owner.st_uid)
    except PermissionError as exc:
        raise PpmError(
            f"The volume belongs to uid {owner.st_uid}, and root may not switch to that user here: run the command as"
            f" that user (in a container: --user {owner.st_uid}:{owner.st_gid})."
        ) from exc


def open_store(root: Path, *, may_be_missing: bool = False) -> Store:
    """Return the store of the volume at `root`; update the list of projects and the search index at the end.

    A running server notices only its own changes. Raise PpmError as `find_volume` does.
    """
    from ppmctl.index.store import Store

    store = Store(open_volume(root, may_be_missing=may_be_missing))
    click.get_current_context().call_on_close(lambda: _follow(store))
    return store


def _follow(store: Store) -> None:
    if store.root_is_old.is_set():
        store.write_root()
    if store.changes:
        from ppmctl.index.search_index import SearchIndex

        try:
            SearchIndex(store).update_all(store.changes.take(0))
        except (PpmError, OSError) as exc:  # the change itself is done
            output.say(f"Warning: {exc} A server repairs this; without one: ppmctl index rebuild")


def actor() -> Actor:
    """Return the unix user who typed the command, also with sudo, and the machine, also with `--on`."""
    from ppmctl.access.account import Actor

    try:
        name = pwd.getpwuid(_UID).pw_name
    except KeyError:  # a uid without a name, as in containers
        name = str(_UID)
    origin = os.environ.get("PPMCTL_ORIGIN") or "here"
    return Actor(name=f"unix:{os.environ.get('SUDO_USER') or name}", origin=origin)
