"""The exceptions of ppm: each names what failed, on what, and the next command to type."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUG = 3
EXIT_CREDENTIALS = 4
EXIT_BUSY = 75  # EX_TEMPFAIL of sysexits.h
EXIT_INTERRUPTED = 130

# What code that reads JSON raises when the JSON does not have the expected form.
NOT_SUCH_JSON = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def some(names: Iterable[str], most: int = 3) -> str:
    """Return at most `most` names for a message, and how many more there are: a, b, c and 4 more."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


class PpmError(Exception):
    """A failure whose cause is known.

    `message` names in one line what failed and on what; `hint` is what to do or type next, or "". `done` is what was
    done before the failure; it is printed with the error as JSON. `status` is a server's HTTP status code for it.
    """

    exit_code = EXIT_FAILED
    status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.done: dict[str, Any] = {}

    @property
    def phrase(self) -> str:
        """Return the message without its full stop, as a part of a longer sentence."""
        return self.message.rstrip(".")


class UsageError(PpmError):
    """The command or the settings are invalid; nothing was tried."""

    exit_code = EXIT_USAGE
    status = 400


class CredentialError(PpmError):
    """A credential is missing, wrong, or lacks the required right."""

    exit_code = EXIT_CREDENTIALS


class Unreachable(PpmError):
    """The index could not be asked now: the connection failed, broke, or timed out. A retry may work."""

    retry_after = ""


class Unavailable(Unreachable):
    """The index answered that it can't do this now; `retry_after` is the value of its Retry-After, or ""."""

    def __init__(self, message: str, *, hint: str = "", retry_after: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Interrupted(PpmError):
    """The user stopped the command."""

    exit_code = EXIT_INTERRUPTED

    def __init__(self) -> None:
        super().__init__("Interrupted.")


class Bug(PpmError):
    """An unexpected exception."""

    exit_code = EXIT_BUG

    def __init__(self, cause: Exception) -> None:
        hint = "Please report it with the traceback that `ppmctl -v …` prints."
        super().__init__(f"This is a bug in ppm: {type(cause).__name__}: {cause}", hint=hint)


class Refused(PpmError):
    """The index refuses a request and keeps nothing of it.

    `status` is the HTTP status code; `message` is the reason on one line, for the status line (twine prints nothing
    else) and the body.
    """

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class InvalidDistribution(PpmError):
    """A file is not the wheel or sdist that its name specifies, or an index must not serve it."""


def with_extra(extra: str) -> str:
    """Return the command that adds `extra` to the environment of this ppmctl."""
    folder = Path(__file__).parents[1]
    is_checkout = (folder / "pyproject.toml").is_file() and (folder / "ppmctl").is_dir()
    requirement = f"--editable {shlex.quote(f'{folder}[{extra}]')}" if is_checkout else f"'ppmctl[{extra}]'"
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:  # uv creates environments without pip
        return f"uv pip install --python {python} {requirement}"
    return f"{python} -m pip install {requirement}"
