"""What `ppmctl login` remembers: at which indexes, by what name, and where each secret was put. Never a secret.

It is `logins.json` in `ppmctl/` below the user's folder of configuration (XDG_CONFIG_HOME, or ~/.config).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ppmctl import files, user_dirs
from ppmctl.errors import UsageError


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


@dataclass(frozen=True, kw_only=True)
class Logins:
    """All of a user's logins, the last one last: that index is meant where none is named."""

    path: Path
    all: tuple[Login, ...] = field(default=())

    @property
    def latest(self) -> Login | None:
        return self.all[-1] if self.all else None

    def at(self, index: str) -> Login | None:
        """The login at an index, or None."""
        return next((login for login in self.all if login.index == index), None)

    def put(self, login: Login) -> None:
        """Have `login` on disk, in place of another at that index, as the last one."""
        self._write([*(other for other in self.all if other.index != login.index), login])

    def drop(self, index: str) -> None:
        """Have no login at `index` on disk; without any, no file and no folder."""
        self._write([login for login in self.all if login.index != index])

    def _write(self, logins: list[Login]) -> None:
        if not logins:
            self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.parent.rmdir()
            return
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"logins": [asdict(login) for login in logins]}, indent=2)
        files.write_atomic(self.path, f"{text}\n".encode(), mode=0o600)


def read(environ: Mapping[str, str], home: Path) -> Logins:
    """What is remembered. UsageError where the file is not one that ppmctl wrote."""
    path = user_dirs.own(environ, home) / "logins.json"
    try:
        written = json.loads(path.read_bytes())
        return Logins(path=path, all=tuple(_login(values) for values in written["logins"]))
    except (FileNotFoundError, NotADirectoryError):
        return Logins(path=path)
    except OSError as exc:
        raise UsageError(f"{path} can't be read: {exc.strerror}.", hint=files.whose(path)) from exc
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UsageError(f"{path} is not as ppmctl writes it.", hint="Delete it, and log in again.") from exc


def _login(values: Any) -> Login:
    login = Login(**{**values, "keyring": tuple(values.get("keyring", ()))})
    texts = [login.index, login.username, *login.keyring, *([] if login.netrc is None else [login.netrc])]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(values)
    return login
