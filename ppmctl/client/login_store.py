"""What `ppmctl login` remembers: at which indexes, by what name, and where each secret was put. Never a secret.

It is `logins.json` in `ppmctl/` below the user's folder of configuration (XDG_CONFIG_HOME, or ~/.config).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppmctl import user_dirs
from ppmctl.client.user_record import Record


@dataclass(frozen=True, kw_only=True)
class Login:
    """A login at the index `index`, a URL without a slash at its end.

    `keyring` are the services by which the system's keyring has the secret; `netrc` is the netrc file that has it,
    if one does, which was made for it if `netrc_is_new`.
    """

    index: str
    username: str
    keyring: tuple[str, ...] = ()
    netrc: str | None = None
    netrc_is_new: bool = False


class Logins(Record[Login]):
    """All of a user's logins, the last one last: that index is meant where none is named."""

    @property
    def latest(self) -> Login | None:
        return self.all[-1] if self.all else None

    def at(self, index: str) -> Login | None:
        """The login at an index, or None."""
        return next((login for login in self.all if login.index == index), None)


def read(environ: Mapping[str, str], home: Path) -> Logins:
    """Return what is remembered. Raise UsageError where the file is not one that ppmctl wrote."""
    return Logins.read(user_dirs.own(environ, home) / "logins.json", _login, hint=", and log in again.")


def _login(values: Any) -> Login:
    login = Login(**{**values, "keyring": tuple(values.get("keyring", ()))})
    texts = [login.index, login.username, *login.keyring, *([] if login.netrc is None else [login.netrc])]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(values)
    return login
