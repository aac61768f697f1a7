"""`ppmctl login`, `logout` and `whoami`."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import click

from ppmctl import output, regular_file
from ppmctl.cli.options import json_option
from ppmctl.cli.package_source import connected, index_options
from ppmctl.cli.target import credential_option
from ppmctl.client import credential, index_url, keyring_store, login_store
from ppmctl.client.credential import Credential
from ppmctl.client.http import Transport
from ppmctl.client.identity import Identity, identify, join, revoke
from ppmctl.client.index_url import Address
from ppmctl.client.login import check, forget, keep
from ppmctl.client.login_store import Login
from ppmctl.errors import CredentialError, PpmError, UsageError
from ppmctl.secret import Secret

_MAX_LINE = 4096  # characters of a credential or a code on stdin

_http_option = click.option(
    "--allow-http", is_flag=True, help="Allow plain HTTP, where others on the network can read the secret."
)


@click.command()
@click.argument("url", required=False)
@click.option(
    "--invite",
    "invite",
    metavar="[CODE]",
    is_flag=False,
    flag_value="-",
    help="Exchange the CODE of an invite for a token. @FILE reads it from FILE; without CODE, or with -, it is read"
    " from the terminal or stdin.",
)
@click.option("--purpose", metavar="NAME", help="The name of an invite's token. Default: this machine's name.")
@click.option("--username", metavar="NAME", help="The user name, if you enter only a token.")
@credential_option
@click.option("--netrc", is_flag=True, help="Also store it in ~/.netrc (or NETRC), for pip, uv and curl.")
@_http_option
@json_option
def login(
    url: str | None,
    invite: str | None,
    purpose: str | None,
    username: str | None,
    credential_file: Path | None,
    netrc: bool,
    allow_http: bool,
    as_json: bool,
) -> None:
    """Log in to the index at URL: check a credential, store it, and make this the default index.

    Asks for the credential, or reads it from stdin (one line, user:secret), --credential-file, or PPMCTL_USERNAME and
    PPMCTL_TOKEN; --invite creates one. Stores it in the system's keyring, and with --netrc in netrc.
    """
    if invite is not None and (username or credential_file):
        raise UsageError("--invite can't be used together with --username or --credential-file.")
    target = _resolve(url)
    _require_private(target, allow_http)
    in_keyring, in_netrc = _places(netrc)
    if invite is not None:
        check(target, in_netrc=in_netrc, environ=os.environ, home=Path.home())  # before the code is used up
        sent = join(target, _code(invite), purpose=purpose or _machine())
    else:
        sent = _given(credential_file, username)
    try:
        with Transport(sent, target.base) as transport:
            identity = identify(target, transport)
        stored = keep(target, sent, in_keyring=in_keyring, in_netrc=in_netrc, environ=os.environ, home=Path.home())
    except PpmError:
        if invite is not None:
            output.say("The invite was exchanged, but the credential can't be stored. It is shown only once:")
            (output.say if as_json else output.data)(f"{sent.username}:{sent.secret.reveal()}")
        raise
    if as_json:
        output.as_json({"index": target.base, **_values(identity), "kept_in": _kept_in(stored)})
    else:
        output.say(f"{identity.sentence} Stored in {_text(stored)}.")


@click.command()
@click.argument("url", required=False)
@click.option("--revoke", is_flag=True, help="Also revoke the token on the index, and the tokens made with it.")
@_http_option
@json_option
def logout(url: str | None, revoke: bool, allow_http: bool, as_json: bool) -> None:
    """Log out of the index at URL: delete the credential that `login` stored, and stop using that index by default.

    Without URL: the index of the last login.
    """
    known = login_store.read(os.environ, Path.home())
    if not known.all:
        raise PpmError("You are not logged in to any index.")
    target = _resolve(url)
    stored = known.at(target.base)
    if stored is None:
        others = ", ".join(each.index for each in known.all)
        raise PpmError(f"You are not logged in to {target.base}.", hint=f"You are logged in to: {others}.")
    revoked = _revoke(target, stored, f"ppmctl logout{f' {url}' if url else ''}", allow_http) if revoke else ()
    if not as_json:
        output.say(*(f"{name} is revoked." for name in revoked))
    forget(target, stored, environ=os.environ, home=Path.home())
    if as_json:
        gone = {"revoked": list(revoked), "taken_out_of": _kept_in(stored)}
        output.as_json({"index": target.base, "name": stored.username, **gone})
    else:
        output.say(f"{stored.username} is logged out of {target.base}; deleted from {_text(stored)}.")


def _revoke(target: Address, stored: Login, command: str, allow_http: bool) -> tuple[str, ...]:
    """Revoke a login's token, and return the names of all revoked tokens. `command` logs out without revoking."""
    _require_private(target, allow_http)
    plain = f"{command}  deletes it on this machine without revoking it."
    if "+" not in stored.username:
        raise UsageError(
            f"{stored.username} is a user, and only an admin can revoke a user's own secret.",
            hint=f"On the index's machine: ppmctl user rotate. {plain}",
        )
    current = credential.from_login(target, os.environ, Path.home())
    if current is None:
        raise CredentialError(f"The token of {stored.username} is no longer in {_text(stored)}.", hint=plain)
    try:
        with Transport(current, target.base) as transport:
            return revoke(target, transport, current.username)
    except CredentialError as exc:
        raise CredentialError(exc.message, hint=plain) from exc


@click.command()
@index_options
@json_option
def whoami(index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Print your name, role, projects and expiry at an index. Exits with 4 if it accepts no credential of yours."""
    with connected(index, credential_file) as (address, transport):
        identity = identify(address, transport)
        source = transport.credential.source if transport.credential is not None else ""
    if as_json:
        output.as_json({"index": address.base, "source": source, **_values(identity)})
        return
    output.data(identity.sentence)
    output.say(f"At {address.base}, with the credential from {source}.")


def _resolve(url: str | None) -> Address:
    return index_url.resolve(url, environ=os.environ, home=Path.home(), by="URL")


def _require_private(target: Address, allow_http: bool) -> None:
    if target.is_overheard and not allow_http:
        raise UsageError(
            f"{target.base} is plain HTTP: others on the network can read the secret. Nothing was sent.",
            hint="Use https://, or allow it: --allow-http, or PPMCTL_TRUSTED_HOST with the host.",
        )


def _places(netrc: bool) -> tuple[bool, bool]:
    """Return whether to use the keyring, and netrc. Raise CredentialError where it is neither."""
    if keyring_store.is_available():
        return True, netrc
    if netrc or (_can_ask() and click.confirm("There is no keyring. Store it in ~/.netrc (0600)?", err=True)):
        return False, True
    raise CredentialError(
        "There is no keyring on this machine to store a credential in. Nothing was done.",
        hint="--netrc stores it in ~/.netrc (0600). Without a login: PPMCTL_USERNAME and PPMCTL_TOKEN.",
    )


def _given(file: Path | None, username: str | None) -> Credential:
    """Return the credential from a file, the environment, the terminal or stdin."""
    if file is None and os.environ.get("PPMCTL_CREDENTIAL_FILE"):
        file = Path(os.environ["PPMCTL_CREDENTIAL_FILE"])
    if file is not None:
        return credential.from_file(file)
    if from_variable := credential.from_environment(os.environ):
        return from_variable
    if _can_ask():
        username = username or click.prompt("Name", err=True)
        secret, source = click.prompt("Token", hide_input=True, err=True).strip(), "the terminal"
    else:
        line, source = _line("user:secret", "a credential"), "stdin"
        before, colon, after = line.partition(":")
        if username is None or (colon and before == username):
            username, secret = before, after
        else:
            secret = line
    if not username or not secret:
        raise CredentialError("This is not a credential: one line, user:secret.", hint="--username NAME")
    return Credential(username=username, secret=Secret(secret), source=source)


def _code(given: str) -> Secret:
    if given.startswith("@"):
        try:
            code = regular_file.read_text(Path(given[1:]), most=_MAX_LINE).strip()
        except (OSError, UnicodeError) as exc:
            raise CredentialError(f"The code can't be read from {given[1:]}: {type(exc).__name__}.") from None
    elif given != "-":
        code = given.strip()
    elif _can_ask():
        code = click.prompt("Code", hide_input=True, err=True).strip()
    else:
        code = _line("the code", "a code")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", code, re.ASCII):
        hint = "A code looks like ppm_join_…: ppmctl login URL --invite CODE"
        raise UsageError("This is not the code of an invite.", hint=hint)
    return Secret(code)


def _line(form: str, what: str) -> str:
    line = sys.stdin.readline(_MAX_LINE).strip()
    if not line:
        raise CredentialError(f"Expected {what} on stdin, but it is empty.", hint=f"One line: {form}.")
    return line


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _machine() -> str:
    """Return this machine's name, as a token's purpose."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname().partition(".")[0]).strip(".-")
    return name[:40] or "login"


def _text(stored: Login) -> str:
    return " and ".join([*(["the keyring"] if stored.keyring else []), *([stored.netrc] if stored.netrc else [])])


def _kept_in(stored: Login) -> dict[str, object]:
    return {"keyring": bool(stored.keyring), "netrc": stored.netrc}


def _values(identity: Identity) -> dict[str, Any]:
    return identity.values or {"name": identity.name, "role": None, "projects": [], "reads": [], "expires": None}
