"""What many commands have in common: `--json` with the answer that it prints, and `--root`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import click

from ppmctl import output
from ppmctl.cli.target import VolumeFolder
from ppmctl.errors import UsageError

_Given = TypeVar("_Given")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON: the result, or the error.")


@dataclass(frozen=True)
class Answer:
    """What a command did or found: `value` is its JSON, and `show` prints it for people and scripts.

    `notes` are printed to stderr after either.
    """

    value: Any = field(repr=False)  # it may have a secret that was just issued
    show: Callable[[], None]
    exit_code: int = 0
    notes: Sequence[str] = ()


def answers(command: Callable[..., Answer]) -> Callable[..., int]:
    """Give a command `--json`, and print the answer that it returns."""

    @json_option
    @wraps(command)
    def answered(*, as_json: bool, **options: Any) -> int:
        answer = command(**options)
        if as_json:
            output.as_json(answer.value)
        else:
            answer.show()
        output.say(*answer.notes)
        return answer.exit_code

    return answered


def ask(question: Callable[[], _Given], what: str) -> _Given:
    """Return what a user replies to `question`. UsageError, which names what was asked for, where nobody is there."""
    try:
        return question()
    except click.Abort as exc:
        if sys.stdin.isatty():  # somebody typed Ctrl-C
            raise
        output.say("")
        raise UsageError(f"Nobody is there to {what}.", hint="Without a terminal, say --yes.") from exc


def volume_option(about: str, *, required: bool = False) -> Callable[[Any], Any]:
    """Return the option `--root`, whose help is `about`."""
    # whether this process may use it is checked where the volume is opened
    return click.option(
        "--root", required=required, envvar="PPM_ROOT", show_envvar=True, type=VolumeFolder(), help=about
    )
