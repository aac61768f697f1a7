"""What ppm says when something is wrong: what failed, on what, and the next command to type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUG = 3
EXIT_CREDENTIALS = 4
EXIT_INTERRUPTED = 130

# What is raised by code that reads JSON which does not have the expected form.
NOT_SUCH_JSON = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def some(names: Iterable[str], most: int = 3) -> str:
    """Return names for a message, no more than `most`, and how many more there are: a, b, c and 4 more."""
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


class PpmError(Exception):
    """A failure whose cause is known.

    `message` is one line that names what failed and on what; `hint` is what to do or type next, or "".
    The command line prints both and exits with `exit_code`; a traceback is shown only with `-v`. `done` is what was
    done before it failed, which is printed with the error as JSON.
    """

    exit_code = EXIT_FAILED
    status = 500  # of HTTP, where a server meets it

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.done: dict[str, Any] = {}

    @property
    def phrase(self) -> str:
        """The message without its full stop, to be part of a longer sentence."""
        return self.message.rstrip(".")


class UsageError(PpmError):
    """The command or the settings make no sense; nothing was tried."""

    exit_code = EXIT_USAGE
    status = 400


class CredentialError(PpmError):
    """A credential is missing, wrong, or has not the right that is needed."""

    exit_code = EXIT_CREDENTIALS


class Unreachable(PpmError):
    """No answer came: the connection could not be made, broke, or took too long. It may work the next time."""

    retry_after = ""


class Unavailable(Unreachable):
    """An answer came that says no more than "not now"; `retry_after` is its header, or ""."""

    def __init__(self, message: str, *, hint: str = "", retry_after: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Interrupted(PpmError):
    """The user stopped the command."""

    exit_code = EXIT_INTERRUPTED

    def __init__(self) -> None:
        super().__init__("Interrupted.")


class Bug(PpmError):
    """An exception that nothing expected."""

    exit_code = EXIT_BUG

    def __init__(self, cause: Exception) -> None:
        super().__init__(
            f"This is a bug in ppm: {type(cause).__name__}: {cause}",
            hint="`ppmctl -v …` shows where; please report it with that.",
        )


class Refused(PpmError):
    """The index refuses a request, and nothing of it is left behind.

    `status` is the HTTP status code that a client gets; `message` is the reason, on one line, that goes
    into the status line (twine shows nothing else) and the body.
    """

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class InvalidDistribution(PpmError):
    """A file is not the wheel or sdist that its name says, or not one that an index may hand out."""
