"""Options and results that many commands share."""

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

_Reply = TypeVar("_Reply")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON: the result, or the error.")


@dataclass(frozen=True)
class Answer:
    """The result of a command: `value` is its JSON, `show` prints it as text, `notes` go to stderr after either."""

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


def exclusive(*options: str) -> UsageError:
    """Return the error for options that were given together."""
    return UsageError(f"{' and '.join(options)} can't be used together.", hint="Give one of them.")


def ask(question: Callable[[], _Reply], what: str) -> _Reply:
    """Return what a user replies to `question`. Raise UsageError, which names `what`, where there is no terminal."""
    try:
        return question()
    except click.Abort as exc:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        output.say("")
        raise UsageError(f"There is no terminal to {what}.", hint="Without a terminal, use --yes.") from exc


def volume_option(about: str, *, required: bool = False) -> Callable[[Any], Any]:
    """Return the option `--root`, whose help is `about`."""
    # whether this process may use the folder is checked when the volume is opened
    return click.option(
        "--root", required=required, envvar="PPM_ROOT", show_envvar=True, type=VolumeFolder(), help=about
    )
