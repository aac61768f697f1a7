"""The credential a client shows an index, and where it was found. What a server keeps is in `credentials.py`."""

from __future__ import annotations

import netrc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppmctl import user_dirs
from ppmctl.client import keyring_store, login_store
from ppmctl.errors import CredentialError
from ppmctl.files import whose
from ppmctl.secret import Secret

if TYPE_CHECKING:
    from ppmctl.client.index_url import Address

# In this order. Each message that asks for a credential ends with it.
PLACES = (
    "A credential is looked for in: --credential-file FILE or PPMCTL_CREDENTIAL_FILE (one line, user:secret);"
    " PPMCTL_USERNAME and PPMCTL_TOKEN; TWINE_USERNAME and TWINE_PASSWORD; what `ppmctl login` put into the keyring"
    " or a netrc; the index's section in ~/.pypirc; the keyring, for the user that section or TWINE_USERNAME names;"
    " ~/.netrc."
)
# Whatever runs somebody else's code (a build) is not handed these.
SECRET_VARIABLES = ("PPMCTL_CREDENTIAL_FILE", "PPMCTL_TOKEN", "TWINE_PASSWORD")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A user's name, the secret, and the place that both were found in, in words."""

    username: str
    secret: Secret
    source: str


def find(address: Address, *, file: Path | None, environ: Mapping[str, str], home: Path) -> Credential | None:
    """The credential for the index at `address`: the first that PLACES has, or None.

    CredentialError where a place that was meant (a file, half a pair of PPMCTL_ variables, a .netrc) can't be
    read; the message never has a part of what stands there.
    """
    if file is None and environ.get("PPMCTL_CREDENTIAL_FILE"):
        file = Path(environ["PPMCTL_CREDENTIAL_FILE"])
    if file is not None:
        return from_file(file)
    return next(everywhere(address, environ=environ, home=home), None)


def everywhere(address: Address, *, environ: Mapping[str, str], home: Path) -> Iterator[Credential]:
    """Each place's credential for the index, files named for the purpose aside, in the order of PLACES.

    A place is read when it is its turn; CredentialError as for `find`.
    """
    yield from _there(from_environment(environ))
    yield from _there(from_login(address, environ, home))
    yield from _there(_from_section(address))
    yield from _there(_from_keyring(address, environ))
    yield from _there(_from_netrc(address, environ, home))


def _there(found: Credential | None) -> tuple[Credential, ...]:
    return () if found is None else (found,)


def from_file(path: Path) -> Credential:
    """The credential in a file of one line, user:secret."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as exc:
        raise CredentialError(
            f"The credential file {path} can't be read: {_why(exc)}.",
            hint=whose(path) or "It holds one line, user:secret.",
        ) from None  # a UnicodeError quotes what it could not read
    username, colon, secret = text.partition(":")
    if not (username and colon and secret) or len(text.splitlines()) != 1:
        raise CredentialError(f"The credential file {path} does not hold one line of the form user:secret.")
    return Credential(username=username, secret=Secret(secret), source=f"the file {path}")


def from_environment(environ: Mapping[str, str]) -> Credential | None:
    """The credential in PPMCTL_USERNAME and PPMCTL_TOKEN, or else in TWINE_USERNAME and TWINE_PASSWORD."""
    username, token = environ.get("PPMCTL_USERNAME"), environ.get("PPMCTL_TOKEN")
    if bool(username) != bool(token):
        is_set, missing = ("PPMCTL_USERNAME", "PPMCTL_TOKEN") if username else ("PPMCTL_TOKEN", "PPMCTL_USERNAME")
        raise CredentialError(f"{is_set} is set, but not {missing}.", hint="Set both, or neither.")
    for user_variable, secret_variable in (("PPMCTL_USERNAME", "PPMCTL_TOKEN"), ("TWINE_USERNAME", "TWINE_PASSWORD")):
        username, secret = environ.get(user_variable), environ.get(secret_variable)
        # twine's pair may be half set by right: its other half can be in a keyring
        if username and secret:
            source = f"{user_variable} and {secret_variable}"
            return Credential(username=username, secret=Secret(secret), source=source)
    return None


def from_login(address: Address, environ: Mapping[str, str], home: Path) -> Credential | None:
    """The credential that `ppmctl login` kept for the index, if somebody is logged in there."""
    login = login_store.read(environ, home).at(address.base)
    if login is None:
        return None
    for service in login.keyring[:1]:
        if secret := keyring_store.find(service, login.username):
            return Credential(username=login.username, secret=Secret(secret), source="the keyring")
    return None if login.netrc is None else _in_netrc(address, Path(login.netrc))


def _from_section(address: Address) -> Credential | None:
    section = address.section
    if section is None or section.username is None or section.password is None:
        return None
    return Credential(username=section.username, secret=section.password, source=section.source)


def _from_keyring(address: Address, environ: Mapping[str, str]) -> Credential | None:
    """What is in the keyring as twine has it: under the URL of uploads, for a user who is named elsewhere."""
    named = address.section.username if address.section is not None else None
    username = environ.get("TWINE_USERNAME") or named
    if not username:
        return None
    if not keyring_store.is_there():
        return None
    for service in dict.fromkeys((address.upload, address.upload.rstrip("/"), f"{address.base}/legacy/")):
        if secret := keyring_store.find(service, username):
            return Credential(username=username, secret=Secret(secret), source=f"the keyring, {service}")
    return None


def _from_netrc(address: Address, environ: Mapping[str, str], home: Path) -> Credential | None:
    return _in_netrc(address, user_dirs.netrc(environ, home))


def _in_netrc(address: Address, path: Path) -> Credential | None:
    try:
        found = netrc.netrc(str(path)).authenticators(address.host)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeError, netrc.NetrcParseError) as exc:
        raise CredentialError(f"{path} can't be read: {_why(exc)}.") from None  # the error quotes the file
    if found is None or not found[0] or not found[2]:
        return None
    return Credential(username=found[0], secret=Secret(found[2]), source=f"{path}, machine {address.host}")


def _why(exc: Any) -> str:
    if isinstance(exc, netrc.NetrcParseError):
        return f"its line {exc.lineno} makes no sense"
    if isinstance(exc, UnicodeError):
        return "it is not UTF-8 text"
    return str(exc.strerror or type(exc).__name__)
