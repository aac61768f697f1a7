"""`ppmctl user`."""

from __future__ import annotations

from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.volume import open_volume, root_option


@click.group()
def user() -> None:
    """Add, list and remove the users of an index. Runs beside its volume; a running server sees it at once."""


@user.command()
@click.argument("name")
@click.option(
    "--role", required=True, type=click.Choice(["reader", "publisher", "admin"]), help="What the user may do."
)
@root_option
def add(name: str, role: str, root: Path) -> None:
    """Add the user NAME and print the secret, once: it is stored nowhere."""
    from ppmctl import audit, credentials

    volume = open_volume(root)
    secret = credentials.add(volume, name, role)
    audit.write(volume, action="user add", by="ppmctl", origin="here", what=f"{name} as {role}", result="done")
    output.say(f"{name} is a {role}. This is the secret; it is shown once:")
    output.data(secret)


@user.command()
@root_option
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="The name of the index's host, for ROOT/netrc. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def first(root: Path, hosts: tuple[str, ...], as_json: bool) -> None:
    """Make a first admin where there is no admin, and print the path of the file that has the secret.

    The file (user:secret) and ROOT/netrc are for the volume's owner alone. Where there is an admin nothing happens,
    so it can be run again.
    """
    from ppmctl import audit, credentials

    volume = open_volume(root)
    made = credentials.make_first_admin(volume, hosts=hosts or credentials.LOOPBACK)
    if made:
        what = f"{credentials.FIRST_ADMIN} as admin, the first"
        audit.write(volume, action="user add", by="ppmctl", origin="here", what=what, result="done")
    path = str(volume.first_credential) if volume.first_credential.exists() else None
    if as_json:
        output.as_json({"made": made, "path": path})
    else:
        output.say("The first admin was made; the secret is in:" if made else "There is an admin; nothing to do.")
        if path is not None:
            output.data(path)


@user.command("list")
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(root: Path, as_json: bool) -> None:
    """List the users and what they may do."""
    from ppmctl import credentials

    found = credentials.entries(open_volume(root))
    if as_json:
        output.as_json([{"name": entry.name, "role": entry.role, "created": entry.created} for entry in found])
    else:
        output.table(("NAME", "ROLE", "CREATED"), [(entry.name, entry.role, entry.created) for entry in found])


@user.command()
@click.argument("name")
@root_option
def remove(name: str, root: Path) -> None:
    """Remove the user NAME: from the next request on, the secret lets nobody in."""
    from ppmctl import audit, credentials

    volume = open_volume(root)
    credentials.remove(volume, name)
    audit.write(volume, action="user remove", by="ppmctl", origin="here", what=name, result="done")
    output.say(f"{name} is no user any more.")
