"""`ppmctl user invite`."""

from __future__ import annotations

from pathlib import Path

import click

from ppmctl import output
from ppmctl.access import ROLES
from ppmctl.cli.actor import actor
from ppmctl.cli.issue import expires_option, json_option, projects_option
from ppmctl.cli.volume import open_volume, root_option, there
from ppmctl.errors import PpmError, UsageError


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user may do: makes one that is not there yet.")
@click.option("--email", metavar="ADDRESS", help="The new user's e-mail address, to be kept with it.")
@projects_option
@expires_option
@click.option("--withdraw", is_flag=True, help="Make the invite void that was made before.")
@json_option
@root_option
def invite(
    name: str,
    role: str | None,
    email: str | None,
    projects: tuple[str, ...],
    expires: str | None,
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
        if role or email or projects or expires:
            raise UsageError("--withdraw makes an invite void, and changes nothing else.")
        if not joining.withdraw(open_volume(there(root)), actor(), name):
            raise PpmError(f"There is no open invite of {name!r}.", hint=f"ppmctl user show {name}")
        output.say(f"The invite of {name} is void.")
        return
    until = access.expiry(expires) if expires else None
    made, code = joining.invite(
        open_volume(root), actor(), name, role=role, projects=projects, expires=until, email=email
    )
    if as_json:
        output.as_json({"name": name, "code": code.reveal(), "expires": made.expires})
        return
    output.say(f"{name} is invited until {made.expires}: ppmctl login URL --invite  asks for this code, once:")
    output.data(code.reveal())
