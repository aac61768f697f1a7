"""`ppmctl user invite`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ppmctl import output as printer
from ppmctl.access import ROLES
from ppmctl.cli.actor import actor
from ppmctl.cli.issue import end_of, expires_option, handed_over, output_option, projects_option, secret_file
from ppmctl.cli.options import Answer, answers
from ppmctl.cli.volume import open_volume, root_option, there
from ppmctl.errors import PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.volume import Volume


@click.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="What the user may do: makes one that is not there yet.")
@click.option("--email", metavar="ADDRESS", help="The new user's e-mail address, to be kept with it.")
@projects_option
@expires_option
@output_option("the code to FILE")
@click.option("--withdraw", is_flag=True, help="Make the invite void that was made before.")
@answers
@root_option
def invite(name: str, expires: str | None, output: Path | None, withdraw: bool, root: Path, **grant: Any) -> Answer:
    """Print a code with which the user NAME gets a token of its own; it works once, and for 48 hours.

    The colleague types `ppmctl login URL --invite`; no secret travels. A user that is not there is made, with --role
    and without a secret. A new invite makes an earlier one of that user void. --expires is about the user.
    """
    from ppmctl import joining

    if withdraw:
        if output or expires or any(grant.values()):
            raise UsageError("--withdraw makes an invite void, and changes nothing else.")
        return _withdraw(open_volume(there(root)), name)
    with secret_file(output) as write:
        volume = open_volume(root)
        _require_time(volume, name)
        made, code = joining.invite(volume, actor(), name, expires=end_of(expires), **grant)
        write(code.reveal())
    told = f"{name} is invited until {made.expires}: ppmctl login URL --invite  asks for"
    told += f" the code, once; it is in {output}." if output else " this code, once:"
    return handed_over({"name": name, "expires": made.expires}, "code", code, output, told)


def _require_time(volume: Volume, name: str) -> None:
    from ppmctl import accounts

    for each in accounts.accounts(volume, owner=name):
        if each.access.name == name and each.state == "expired":
            hint = f"ppmctl user enable {name} --expires DURATION  gives more time; then invite again."
            raise PpmError(f"{name} has expired.", hint=hint)


def _withdraw(volume: Volume, name: str) -> Answer:
    from ppmctl import accounts, joining

    accounts.account(volume, name)  # there is such a user
    if not joining.withdraw(volume, actor(), name):
        raise PpmError(f"There is no open invite of {name!r}.", hint=f"ppmctl user show {name}")
    return Answer({"withdrawn": name}, lambda: printer.say(f"The invite of {name} is void."))
