"""`ppmctl user invite`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from ppmctl import files
from ppmctl import output as printer
from ppmctl.access import ROLES
from ppmctl.cli.actor import actor
from ppmctl.cli.issue import expires_option, projects_option
from ppmctl.cli.options import json_option
from ppmctl.cli.volume import open_volume, root_option, there
from ppmctl.errors import PpmError, UsageError
from ppmctl.volume import Volume


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user may do: makes one that is not there yet.")
@click.option("--email", metavar="ADDRESS", help="The new user's e-mail address, to be kept with it.")
@projects_option
@expires_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the code to FILE in place of stdout. FILE is born with mode 0600.",
)
@click.option("--withdraw", is_flag=True, help="Make the invite void that was made before.")
@json_option
@root_option
def invite(
    name: str,
    role: str | None,
    email: str | None,
    projects: tuple[str, ...],
    expires: str | None,
    output: Path | None,
    withdraw: bool,
    as_json: bool,
    root: Path,
) -> None:
    """Print a code with which the user NAME gets a token of its own; it works once, and for 48 hours.

    The colleague types `ppmctl login URL --invite`; no secret travels. A user that is not there is made, with --role
    and without a secret. A new invite makes an earlier one of that user void. --expires is about the user.
    """
    from ppmctl import access, joining

    if withdraw:
        if role or email or projects or expires or output:
            raise UsageError("--withdraw makes an invite void, and changes nothing else.")
        _withdraw(open_volume(there(root)), name)
        return
    until = access.expiry(expires) if expires else None
    with _file(output) as write:
        volume = open_volume(root)
        _demand_time(volume, name)
        made, code = joining.invite(volume, actor(), name, role=role, projects=projects, expires=until, email=email)
        if write is not None:
            write(code.reveal())
    if as_json:
        shown = {"code": code.reveal()} if output is None else {"output": str(output)}
        printer.as_json({"name": name, **shown, "expires": made.expires})
        return
    said = f"{name} is invited until {made.expires}: ppmctl login URL --invite"
    if output is None:
        printer.say(f"{said}  asks for this code, once:")
        printer.data(code.reveal())
    else:
        printer.say(f"{said}  asks for the code, once; it is in {output}.")


def _demand_time(volume: Volume, name: str) -> None:
    from ppmctl import accounts

    for each in accounts.accounts(volume, owner=name):
        if each.access.name == name and each.state == "expired":
            hint = f"ppmctl user enable {name} --expires DURATION  gives more time; then invite again."
            raise PpmError(f"{name} has expired.", hint=hint)


def _withdraw(volume: Volume, name: str) -> None:
    from ppmctl import accounts, joining

    accounts.account(volume, name)  # there is such a user
    if not joining.withdraw(volume, actor(), name):
        raise PpmError(f"There is no open invite of {name!r}.", hint=f"ppmctl user show {name}")
    printer.say(f"The invite of {name} is void.")


@contextlib.contextmanager
def _file(path: Path | None) -> Iterator[Callable[[str], None] | None]:
    """What writes a code to `path`, which is made before there is one; it goes again where none was written."""
    if path is None:
        yield None
        return
    descriptor, is_new = files.born(path)

    def write(code: str) -> None:
        try:
            os.write(descriptor, f"{code}\n".encode())
            os.fsync(descriptor)
        except OSError as exc:
            os.ftruncate(descriptor, 0)
            hint = "Invite again: that makes this one void."
            raise PpmError(f"{path} can't be written: {exc.strerror}.", hint=hint) from exc

    try:
        yield write
    finally:
        if is_new and not os.fstat(descriptor).st_size:
            path.unlink(missing_ok=True)
        os.close(descriptor)
