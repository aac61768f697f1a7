"""The command `ppmctl`: its subcommands, its exit codes and how it reports errors."""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

from ppmctl import __version__, events, files, output
from ppmctl.cli import examples
from ppmctl.cli.groups import Group
from ppmctl.errors import EXIT_USAGE, Bug, Interrupted, PpmError, UsageError, with_extra

# command → (its module, its name there, its help); imported only when called, so that `ppmctl --help` is fast
_COMMANDS = {
    "audit": ("audit", "audit", "Print who changed what, and what was refused."),
    "backup": ("backup", "backup", "Back up an index, restore it, and rehearse that."),
    "client-config": ("client_config", "client_config", "Set up pip, uv, poetry, twine and others for an index."),
    "completion": ("completion", "completion", "Print the shell completion script."),
    "config": ("config", "config", "Print the effective settings and where each comes from."),
    "doctor": ("doctor", "doctor", "Find what keeps you from using an index, and how to repair it."),
    "env": ("env", "env", "Create, change, lock and install shared environments."),
    "health": ("serve", "health", "Check whether a running server is healthy."),
    "index": ("index", "index", "Rebuild, check or fill an index."),
    "init": ("serve", "init", "Create a volume, with a ppm.yml to edit."),
    "login": ("login", "login", "Log in to an index, and make it the default."),
    "logout": ("login", "logout", "Log out of an index."),
    "operation": ("operation", "operation", "Print how backups, restore drills and renewals ended."),
    "package": ("package", "package", "List, show, search, download, yank and remove packages."),
    "publish": ("publish", "publish", "Build, check and upload a release."),
    "self-check": ("self_check", "self_check", "Check whether this release of ppm works on this machine."),
    "serve": ("serve", "serve", "Serve an index."),
    "storage": ("storage", "storage", "Move an index between a volume and a bucket."),
    "token": ("token", "token", "Create, list and revoke tokens; remove expired credentials."),
    "stats": ("stats", "stats", "Count projects, files, bytes, uploads and downloads."),
    "web": ("web", "web", "Open the index in a browser, logged in."),
    "webhook": ("webhook", "webhook", "List and test webhooks, and send events to them."),
    "whoami": ("login", "whoami", "Print your name and your rights at an index."),
    "user": ("user", "user", "Add, list, change and remove the users of an index."),
}

# installed with the extra `server` only
_OF_SERVERS = ("bcrypt", "gunicorn", "passlib", "pypiserver", "werkzeug")

_DISK_HINT = (
    "Make room, or mount it writable, and type the command again: `df -h`, `df -i` and `findmnt` show the disks. What"
    " was stored before is whole."
)
_SIGNALLED = 128  # plus the signal's number, as in shells
_CLEANUP_TIME = 5  # seconds; `docker stop` kills after 10


class _Commands(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _help = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"ppmctl.cli.{module}"), name)
        examples.attach(command, cmd_name)
        return command

    def sentence(self, ctx: click.Context, name: str) -> str:
        return _COMMANDS[name][2]  # without an import of the command


@click.command(cls=_Commands, epilog=examples.epilog(""), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ppmctl")
@click.option("-v", "--verbose", is_flag=True, help="Show a traceback with an error.")
def cli(verbose: bool) -> None:
    """Run a private Python package index, and publish to it."""


def main(arguments: list[str] | None = None) -> None:
    """Run `ppmctl` and exit: 0 done, 1 failed, 2 usage, 3 a bug, 4 credentials, 75 busy, 130 interrupted."""
    if os.getpid() == 1:  # in a container: process 1 ignores SIGTERM by default, so a stop would wait for its timeout
        signal.signal(signal.SIGTERM, _end)
    if names := os.environ.get("PPMCTL_NAMES"):  # of files on the machine where `--on` was typed
        output.rename(json.loads(names))
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _end(number: int, _frame: object) -> NoReturn:
    """End with the exit code of a signal, after the cleanup that SystemExit causes, within _CLEANUP_TIME.

    Python ignores an exception that is raised in a callback, such as an import's: then only the time ends it.
    """
    signal.signal(signal.SIGALRM, lambda *_: os._exit(_SIGNALLED + number))
    signal.alarm(_CLEANUP_TIME)
    sys.exit(_SIGNALLED + number)


def run(arguments: list[str]) -> int:
    """Run `ppmctl` with `arguments`, and return its exit code."""
    verbose = bool({"-v", "--verbose"} & set(arguments[:1]))
    in_json = "--json" in arguments
    events.listen(events.Listener(note=output.say, progress=output.progress))
    logging.lastResort = output.LogHandler(logging.WARNING)
    try:
        outcome: Any = cli.main(args=arguments, prog_name="ppmctl", standalone_mode=False)
    except BrokenPipeError:
        return 0
    except (Exception, KeyboardInterrupt) as exc:
        if isinstance(exc, click.ClickException) and not in_json:
            shown = io.StringIO()
            exc.show(shown)
            output.block(shown.getvalue().rstrip("\n"), talk=True)
            return exc.exit_code
        error = _error(exc)
        if verbose and not isinstance(error, Interrupted):
            output.block(traceback.format_exc(), talk=True)
        output.error(error, in_json=in_json)
        return error.exit_code
    return outcome if isinstance(outcome, int) else 0


def _error(exc: Exception | KeyboardInterrupt) -> PpmError:
    if isinstance(exc, PpmError):
        return exc
    if isinstance(exc, click.ClickException):
        kind = UsageError if exc.exit_code == EXIT_USAGE else PpmError
        return kind(exc.format_message())
    if isinstance(exc, (click.Abort, KeyboardInterrupt)):
        return Interrupted()
    if isinstance(exc, ModuleNotFoundError) and (exc.name or "").partition(".")[0] in _OF_SERVERS:
        return PpmError(
            f"This command runs where the volume is, and this ppmctl lacks what a server needs ({exc.name}).",
            hint=f"Run it there: --on ssh://HOST or docker://CONTAINER; or install it here: {with_extra('server')}",
        )
    if isinstance(exc, PermissionError) and exc.filename:
        path = Path(os.fsdecode(exc.filename))
        return PpmError(f"{path} can't be used: {exc.strerror}.", hint=files.access_hint(path))
    if message := files.disk_error(exc):
        return PpmError(message, hint=_DISK_HINT)
    return Bug(exc)
