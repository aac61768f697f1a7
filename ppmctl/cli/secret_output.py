"""What the commands share that issue a secret or show credentials."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from ppmctl import files, output
from ppmctl.access import rights
from ppmctl.access.account import Account, Issued
from ppmctl.cli.options import Answer
from ppmctl.cli.volume import actor, open_volume
from ppmctl.distributions import name_glob
from ppmctl.errors import PpmError
from ppmctl.secret import Secret


def _expiry(_context: click.Context, _parameter: click.Parameter, duration: str | None) -> str | None:
    # reject an empty one, so that an unset shell variable doesn't create a credential that never expires
    return None if duration is None else rights.expiry(duration)


def _expires_option(about: str, default: str) -> Callable[[Any], Any]:
    shown = f"{about}: {rights.DURATIONS}. Default: {default}."
    return click.option("--expires", metavar="DURATION", callback=_expiry, help=shown)


_project_option = click.option(
    "--project",
    "projects",
    metavar="GLOB",
    multiple=True,
    help="Projects that a publisher may publish or a reader may read, such as 'acme-*'. May be repeated."
    " Default: all.",
)
_read_project_option = click.option(
    "--read-project",
    "reads",
    metavar="GLOB",
    multiple=True,
    help="Projects that a publisher may read, such as 'acme-*'. May be repeated. Default: all. Where everyone may"
    " read (read_access: public), a limit of reads has no effect.",
)


def projects_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--project` and `--read-project`."""
    return _project_option(_read_project_option(command))


expires_option = _expires_option("How long the credential is valid", "without end")
more_time_option = _expires_option("How long the credential is valid from now on", "as long as before")


def output_option(about: str = "the secret to FILE (one line, user:secret)") -> Callable[[Any], Any]:
    """Return the option `--output`: the file that a secret is written to."""
    return click.option(
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help=f"Write {about} instead of printing it. Creates FILE with mode 0600.",
    )


@contextlib.contextmanager
def secret_file(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes a line with a secret to the file `path`; without a path it does nothing.

    The file is created before anything else, so that it belongs to the user who typed the command. When the call
    returns, the line is on disk. If the block fails, the file is removed, because its secret is not valid.
    """
    if path is None:
        yield lambda _line: None
        return
    descriptor, is_new = files.open_private(path)

    def write(line: str) -> None:
        try:
            os.ftruncate(descriptor, 0)  # with storage it may be called again: the last secret is valid
            os.pwrite(descriptor, f"{line}\n".encode(), 0)
            os.fsync(descriptor)
        except OSError as exc:
            hint = "Run the command again with another file; that cancels an invite that was created."
            raise PpmError(f"{path} can't be written: {exc.strerror}.", hint=hint) from exc

    try:
        yield write
    except BaseException:
        os.ftruncate(descriptor, 0)
        if is_new:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    finally:
        os.close(descriptor)


def issue(path: Path | None, root: Path, make: Callable[..., Issued], name: str, **grant: Any) -> Answer:
    """Have `make` issue the secret of `name` in the volume at `root`, and write it to `path` or print it."""
    with secret_file(path) as write:
        issued = make(open_volume(root), actor(), name, deliver=lambda issued: write(issued.line), **grant)
    where = f"The secret is in {path}, as user:secret." if path else "This is the secret; it is shown only once:"
    note = f"{described(issued.account)} {where}"
    return handed_over(issued.account.access.as_values(), "secret", issued.secret, path, note)


def handed_over(values: dict[str, Any], name: str, secret: Secret, path: Path | None, note: str) -> Answer:
    """Return the answer with a secret as `name`, or with the file that has it; `note` is printed before it."""

    def show() -> None:
        output.say(note)
        if path is None:
            output.data(secret.reveal())

    return Answer({**values, **({name: secret.reveal()} if path is None else {"output": path})}, show)


def described(account: Account) -> str:
    """Return a sentence about a credential."""
    access = account.access
    publishes = () if access.role == "reader" else access.projects
    scope = name_glob.scope_text(access.role, publishes, access.effective.reads)
    until = f" until {access.expires}" if access.expires else ""
    return f"{access.name} is {'an' if access.role == 'admin' else 'a'} {access.role}{scope}{until}."


def table(accounts: Sequence[Account]) -> None:
    """Print credentials in columns."""
    rows = []
    for account in accounts:
        access = account.access
        projects = " ".join(access.projects) or (None if access.role in ("monitor", "reader") else "*")
        reads = " ".join(access.effective.reads) or (None if access.role == "monitor" else "*")
        times = output.moment(access.expires) or "never", output.moment(access.created)
        rows.append((access.name, access.role, projects, reads, account.state, *times, access.by))
    output.table(("NAME", "ROLE", "PUBLISHES", "READS", "STATE", "EXPIRES", "CREATED", "BY"), rows)


def reads_all_warning(accounts: Sequence[Account]) -> str:
    """Return a warning that names the readers whose projects, of an older release, do not limit what they read."""
    readers = [each.access for each in accounts if each.access.role == "reader" and each.access.projects]
    unlimited = [each.name for each in readers if not each.is_read_limited]
    if not unlimited:
        return ""
    return (
        f"The projects of these readers do not limit what they read: {', '.join(unlimited)}."
        f" To limit it:  ppmctl user change {unlimited[0]} --project GLOB"
    )


def listed(accounts: Sequence[Account]) -> Answer:
    """Return the answer with credentials in a table."""

    def show() -> None:
        table(accounts)
        if warning := rights.reserved_warning(each.access.name for each in accounts):
            output.say(warning)
        if warning := reads_all_warning(accounts):
            output.say(warning)

    return Answer([each.as_values() for each in accounts], show)
