"""The credential that a client sends to an index, and the places where it is looked for."""

from __future__ import annotations

import netrc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppmctl import regular_file, user_dirs
from ppmctl.client import keyring_store, login_store
from ppmctl.errors import CredentialError
from ppmctl.files import access_hint
from ppmctl.secret import Secret

if TYPE_CHECKING:
    from ppmctl.client.index_url import Address

# In this order. Each message that asks for a credential ends with it; `ppmctl login URL` comes first.
PLACES = (
    "A credential is looked for in: --credential-file FILE or PPMCTL_CREDENTIAL_FILE (one line, user:secret);"
    " PPMCTL_USERNAME and PPMCTL_TOKEN; TWINE_USERNAME and TWINE_PASSWORD; the keyring or netrc that `ppmctl login`"
    " wrote to; the index's section in ~/.pypirc; the keyring, for the user of that section or of TWINE_USERNAME;"
    " ~/.netrc."
)
# Programs that run other people's code (a build) do not get these.
SECRET_VARIABLES = ("PPMCTL_CREDENTIAL_FILE", "PPMCTL_TOKEN", "TWINE_PASSWORD")

_LONGEST = 4096  # bytes of a file with a credential


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A user's name and secret; `source` is the place that both come from, in words."""

    username: str
    secret: Secret
    source: str


def find(address: Address, *, file: Path | None, environ: Mapping[str, str], home: Path) -> Credential | None:
    """Return the credential for the index at `address`: the first in the order of PLACES, or None.

    Raise CredentialError if a file can't be read or half of a pair is missing; the message quotes nothing of them.
    """
    if file is None and environ.get("PPMCTL_CREDENTIAL_FILE"):
        file = Path(environ["PPMCTL_CREDENTIAL_FILE"])
    if file is not None:
        return from_file(file)
    return next(everywhere(address, environ=environ, home=home), None)


def everywhere(address: Address, *, environ: Mapping[str, str], home: Path) -> Iterator[Credential]:
    """Yield the credentials of PLACES without the first, each read only when its turn comes. Raise as `find` does."""
    places: tuple[Callable[[], Credential | None], ...] = (
        lambda: from_environment(environ),
        lambda: from_login(address, environ, home),
        lambda: _from_section(address),
        lambda: _from_keyring(address, environ),
        lambda: _from_netrc(address, user_dirs.netrc(environ, home)),
    )
    yield from filter(None, (read() for read in places))


def from_file(path: Path) -> Credential:
    """Return the credential in a file of one line, user:secret."""
    try:
        text = regular_file.read_text(path, most=_LONGEST).strip()
    except (OSError, UnicodeError) as exc:
        raise CredentialError(
            f"The credential file {path} can't be read: {_why(exc)}.",
            hint=access_hint(path) or "It holds one line, user:secret.",
        ) from None  # a UnicodeError quotes what it could not read
    username, colon, secret = text.partition(":")
    if not (username and colon and secret) or len(text.splitlines()) != 1:
        raise CredentialError(f"The credential file {path} does not hold one line of the form user:secret.")
    return Credential(username=username, secret=Secret(secret), source=f"the file {path}")


def from_environment(environ: Mapping[str, str]) -> Credential | None:
    """Return the credential in PPMCTL_USERNAME and PPMCTL_TOKEN, or else in TWINE_USERNAME and TWINE_PASSWORD."""
    for user_variable, secret_variable in (("PPMCTL_USERNAME", "PPMCTL_TOKEN"), ("TWINE_USERNAME", "TWINE_PASSWORD")):
        username, secret = environ.get(user_variable), environ.get(secret_variable)
        if username and secret:
            source = f"{user_variable} and {secret_variable}"
            return Credential(username=username, secret=Secret(secret), source=source)
        # half of twine's pair is no mistake: the other half can be in a keyring
        if (username or secret) and user_variable == "PPMCTL_USERNAME":
            is_set, missing = (user_variable, secret_variable) if username else (secret_variable, user_variable)
            raise CredentialError(f"{is_set} is set, but not {missing}.", hint="Set both, or neither.")
    return None


def from_login(address: Address, environ: Mapping[str, str], home: Path) -> Credential | None:
    """Return the credential that `ppmctl login` stored for the index, or None."""
    login = login_store.read(environ, home).at(address.base)
    if login is None:
        return None
    for service in login.keyring[:1]:
        if secret := keyring_store.find(service, login.username):
            return Credential(username=login.username, secret=Secret(secret), source="the keyring")
    return None if login.netrc is None else _from_netrc(address, Path(login.netrc))


def _from_section(address: Address) -> Credential | None:
    section = address.section
    if section is None or section.username is None or section.password is None:
        return None
    return Credential(username=section.username, secret=section.password, source=section.source)


def _from_keyring(address: Address, environ: Mapping[str, str]) -> Credential | None:
    """Return the credential that twine uses: its keyring service is the upload URL."""
    username = environ.get("TWINE_USERNAME") or (address.section.username if address.section is not None else None)
    if not username or not keyring_store.is_available():
        return None
    for service in dict.fromkeys((address.upload, address.upload.rstrip("/"), f"{address.base}/legacy/")):
        if secret := keyring_store.find(service, username):
            return Credential(username=username, secret=Secret(secret), source=f"the keyring, {service}")
    return None


def _from_netrc(address: Address, path: Path) -> Credential | None:
    try:
        regular_file.require(path)
        entry = netrc.netrc(str(path)).authenticators(address.host)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError, netrc.NetrcParseError) as exc:
        raise CredentialError(f"{path} can't be read: {_why(exc)}.") from None  # the error quotes the file
    if entry is None or not entry[0] or not entry[2]:
        return None
    return Credential(username=entry[0], secret=Secret(entry[2]), source=f"{path}, machine {address.host}")


def _why(exc: Any) -> str:
    if isinstance(exc, netrc.NetrcParseError):
        return f"line {exc.lineno} is invalid"
    if isinstance(exc, UnicodeError):
        return "it is not UTF-8 text"
    return str(exc.strerror or type(exc).__name__)
