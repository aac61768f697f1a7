"""What the commands share that issue a secret: how it is handed over, once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ppmctl import files, output
from ppmctl.accounts import Account, Deliver, Issued


def duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """The duration, if it is one: an empty one, of a variable that is not set, is none, and not for ever."""
    if value is not None:
        from ppmctl import access

        access.expiry(value)
    return value


output_option = click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the secret to FILE, one line user:secret, in place of stdout. FILE is born with mode 0600.",
)
projects_option = click.option(
    "--project",
    "projects",
    metavar="GLOB",
    multiple=True,
    help="Projects that a publisher may publish, such as 'acme-*'. May be repeated; without it all.",
)
expires_option = click.option(
    "--expires",
    metavar="DURATION",
    callback=duration,
    help="How long it lets in: 45s, 10m, 12h or 90d. Without it for ever.",
)


@contextlib.contextmanager
def receiver(path: Path | None) -> Iterator[Deliver | None]:
    """What takes a secret that is issued in the block: the file `path`, or nothing where there is none.

    The file is made before anything else, so that it is who types the command that makes it. It is on the disk before
    the secret lets anybody in; where none was issued it goes again. UsageError where it can't be made.
    """
    if path is None:
        yield None
        return
    descriptor, is_new = files.born(path)
    written = False

    def deliver(issued: Issued) -> None:
        nonlocal written
        os.write(descriptor, f"{issued.line}\n".encode())
        os.fsync(descriptor)
        written = True

    try:
        yield deliver
    except BaseException:
        if written:
            os.ftruncate(descriptor, 0)  # it would be a secret that lets nobody in
        if is_new:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    finally:
        os.close(descriptor)


def hand_over(make: Callable[[Deliver | None], Issued], *, path: Path | None, as_json: bool) -> None:
    """Have `make` issue a secret, and print or write it."""
    with receiver(path) as deliver:
        issued = make(deliver)
    given: dict[str, Any] = issued.account.as_values()
    said = described(issued.account)
    if as_json:
        shown = {"secret": issued.secret.reveal()} if path is None else {"output": str(path)}
        output.as_json({**given, **shown})
    elif path is None:
        output.say(f"{said} This is the secret; it is shown once:")
        output.data(issued.secret.reveal())
    else:
        output.say(f"{said} The secret is in {path}, as user:secret.")


def described(account: Account) -> str:
    """A credential in a sentence."""
    access = account.access
    scope = f" of {' '.join(access.projects)}" if access.projects else ""
    until = f" until {access.expires}" if access.expires else ""
    return f"{access.name} is {'an' if access.role == 'admin' else 'a'} {access.role}{scope}{until}."


def values(account: Account) -> dict[str, Any]:
    """A credential as `--json` has it, and the HTTP API in a list: with how it is."""
    return {**account.as_values(), "state": account.state}


def table(accounts: tuple[Account, ...]) -> None:
    """Print credentials in columns."""
    header = ("NAME", "ROLE", "PROJECTS", "STATE", "EXPIRES", "CREATED", "BY")
    output.table(
        header,
        [
            (
                each.access.name,
                each.access.role,
                " ".join(each.access.projects) or ("-" if each.access.role == "reader" else "*"),
                each.state,
                each.access.expires or "never",
                each.access.created,
                each.access.by or "-",
            )
            for each in accounts
        ],
    )
