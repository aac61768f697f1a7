"""The list of logins, without secrets: `ppmctl/logins.json` in the user's configuration folder (XDG_CONFIG_HOME)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl import user_dirs
from ppmctl.client.user_record import Record


@dataclass(frozen=True, kw_only=True)
class Login:
    """A login at `index`, a URL without a slash at its end.

    `keyring` has the keyring's services for the secret, `netrc` the file with it, which is ours if `netrc_is_new`.
    """

    index: str
    username: str
    keyring: tuple[str, ...] = ()
    netrc: str | None = None
    netrc_is_new: bool = False


class Logins(Record[Login]):
    """A user's logins, the latest last: its index is the default."""

    @property
    def latest(self) -> Login | None:
        return self.all[-1] if self.all else None

    def at(self, index: str) -> Login | None:
        """Return the login at an index, or None."""
        return next((login for login in self.all if login.index == index), None)


def read(environ: Mapping[str, str], home: Path) -> Logins:
    """Return the stored logins. Raise UsageError if ppmctl did not write the file."""
    return Logins.read(user_dirs.own(environ, home) / "logins.json", _login, hint=", and log in again.")


def _login(values: Any) -> Login:
    login = Login(**{**values, "keyring": tuple(values.get("keyring", ()))})
    texts = [login.index, login.username, *login.keyring, *([] if login.netrc is None else [login.netrc])]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(values)
    return login
