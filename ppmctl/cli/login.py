"""`ppmctl login`, `logout` and `whoami`."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import click

from ppmctl import output
from ppmctl.cli.options import json_option
from ppmctl.cli.package_source import connected, index_options
from ppmctl.cli.target import credential_option
from ppmctl.client import credential, index_url, keyring_store, login_store
from ppmctl.client import identity as identity_module
from ppmctl.client import login as login_module
from ppmctl.client.credential import Credential
from ppmctl.client.http import Transport
from ppmctl.client.identity import Identity
from ppmctl.client.index_url import Address
from ppmctl.client.login_store import Login
from ppmctl.errors import CredentialError, PpmError, UsageError
from ppmctl.secret import Secret

_MAX_LINE = 4096  # characters of a credential or a code that comes from elsewhere

_http_option = click.option(
    "--allow-http", is_flag=True, help="Send the secret over plain HTTP too, where whoever listens can read it."
)


@click.command()
@click.argument("url", required=False)
@click.option(
    "--invite",
    "invite",
    metavar="[CODE]",
    is_flag=False,
    flag_value="-",
    help="Exchange an invite's code for a token of one's own. Without CODE, or with -: asked for, or read from stdin;"
    " @FILE: read from FILE.",
)
@click.option("--purpose", metavar="NAME", help="What the token of an invite is to be called. Default: this machine.")
@click.option("--username", metavar="NAME", help="The name, where the token alone is typed or read.")
@credential_option
@click.option("--netrc", is_flag=True, help="Put it into ~/.netrc (or NETRC) too, which pip, uv and curl read.")
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
    """Log in to the index at URL: try a credential, keep it, and mean this index wherever none is named.

    It is asked for, or read from stdin (a line user:secret), --credential-file, or PPMCTL_USERNAME and PPMCTL_TOKEN;
    with --invite it is made. It is kept in the system's keyring, and with --netrc in netrc.
    """
    if invite is not None and (username or credential_file):
        raise UsageError("--invite makes a credential; --username and --credential-file name one.")
    target = _resolve(url)
    _demand_private(target, allow_http)
    in_keyring, in_netrc = _places(netrc)
    if invite is not None:
        login_module.check(target, in_netrc=in_netrc, environ=os.environ, home=Path.home())  # a code is used up
        found = identity_module.join(target, _code(invite), purpose=purpose or _machine())
    else:
        found = _given(credential_file, username)
    try:
        with Transport(found, target.base) as transport:
            identity = identity_module.identify(target, transport)
        kept = login_module.keep(
            target, found, in_keyring=in_keyring, in_netrc=in_netrc, environ=os.environ, home=Path.home()
        )
    except PpmError:
        if invite is not None:
            output.say("The invite was exchanged, and the credential can't be kept. It is shown once:")
            (output.say if as_json else output.data)(f"{found.username}:{found.secret.reveal()}")
        raise
    if as_json:
        output.as_json({"index": target.base, **_values(identity), "kept_in": _kept_in(kept)})
    else:
        output.say(f"{identity.sentence} Kept in {_said(kept)}.")


@click.command()
@click.argument("url", required=False)
@click.option("--revoke", is_flag=True, help="Revoke the token on the index too, and those that were made with it.")
@_http_option
@json_option
def logout(url: str | None, revoke: bool, allow_http: bool, as_json: bool) -> None:
    """Take the credential for the index at URL out of where `login` put it, and mean that index no more.

    Without URL: the index of the last login.
    """
    known = login_store.read(os.environ, Path.home())
    if not known.all:
        raise PpmError("Nobody is logged in here.")
    target = _resolve(url)
    kept = known.at(target.base)
    if kept is None:
        others = ", ".join(each.index for each in known.all)
        raise PpmError(
            f"Nobody is logged in to {target.base} here.", hint=f"There are logins at: {others}." if others else ""
        )
    revoked = _revoke(target, kept, f"ppmctl logout{f' {url}' if url else ''}", allow_http) if revoke else ()
    for name in () if as_json else revoked:
        output.say(f"{name} is revoked.")
    login_module.forget(target, kept, environ=os.environ, home=Path.home())
    if as_json:
        gone = {"revoked": list(revoked), "taken_out_of": _kept_in(kept)}
        output.as_json({"index": target.base, "name": kept.username, **gone})
    else:
        output.say(f"{kept.username} is logged out of {target.base}; taken out of {_said(kept)}.")


def _revoke(target: Address, kept: Login, command: str, allow_http: bool) -> tuple[str, ...]:
    """Revoke a login's token on the index; the names of what was revoked with it. `command` logs out without that."""
    _demand_private(target, allow_http)
    plain = f"{command}  forgets it here, without revoking it."
    if "+" not in kept.username:
        raise UsageError(
            f"{kept.username} is a user, whose own secret only an admin takes away.",
            hint="On the index's machine: ppmctl user rotate. Without --revoke it is forgotten here alone.",
        )
    found = credential.from_login(target, os.environ, Path.home())
    if found is None:
        raise CredentialError(f"The token of {kept.username} is not where it was kept: {_said(kept)}.", hint=plain)
    try:
        with Transport(found, target.base) as transport:
            return identity_module.revoke(target, transport, found.username)
    except CredentialError as exc:
        raise CredentialError(exc.message, hint=plain) from exc


@click.command()
@index_options
@json_option
def whoami(index: str | None, credential_file: Path | None, as_json: bool) -> None:
    """Print who one is at an index: the name, the role, for which projects, until when. Exits with 4 if nobody."""
    with connected(index, credential_file) as (address, transport):
        identity = identity_module.identify(address, transport)
        source = transport.credential.source if transport.credential is not None else ""
    if as_json:
        output.as_json({"index": address.base, "source": source, **_values(identity)})
        return
    output.data(identity.sentence)
    output.say(f"At {address.base}, by the credential from {source}.")


def _resolve(url: str | None) -> Address:
    return index_url.resolve(url, environ=os.environ, home=Path.home(), by="URL")


def _demand_private(target: Address, allow_http: bool) -> None:
    if target.is_overheard and not allow_http:
        raise UsageError(
            f"{target.base} is plain HTTP: whoever listens on the way can read the secret. Nothing was sent.",
            hint="Use https://, or say that it is all right: --allow-http, or PPMCTL_TRUSTED_HOST with the host.",
        )


def _places(netrc: bool) -> tuple[bool, bool]:
    """Whether to keep it in the keyring, and in netrc. CredentialError where it is neither."""
    if keyring_store.is_available():
        return True, netrc
    if netrc or (_is_asked() and click.confirm("There is no keyring here. Keep it in ~/.netrc (0600)?", err=True)):
        return False, True
    raise CredentialError(
        "There is no keyring on this machine to keep a credential in. Nothing was done.",
        hint="--netrc keeps it in ~/.netrc (0600). Without a login: PPMCTL_USERNAME and PPMCTL_TOKEN.",
    )


def _given(file: Path | None, username: str | None) -> Credential:
    """The credential that is named, set, read from stdin, or typed."""
    if file is None and os.environ.get("PPMCTL_CREDENTIAL_FILE"):
        file = Path(os.environ["PPMCTL_CREDENTIAL_FILE"])
    if file is not None:
        return credential.from_file(file)
    if found := credential.from_environment(os.environ):
        return found
    if _is_asked():
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
        raise CredentialError("What was read is no credential: one line, user:secret.", hint="--username NAME")
    return Credential(username=username, secret=Secret(secret), source=source)


def _code(given: str) -> Secret:
    if given.startswith("@"):
        try:
            code = Path(given[1:]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as exc:
            raise CredentialError(f"The code can't be read from {given[1:]}: {type(exc).__name__}.") from None
    elif given != "-":
        code = given.strip()
    elif _is_asked():
        code = click.prompt("Code", hide_input=True, err=True).strip()
    else:
        code = _line("the code", "a code")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", code, re.ASCII):
        raise UsageError(
            "That is no code of an invite.", hint="It looks like ppm_join_…: ppmctl login URL --invite CODE"
        )
    return Secret(code)


def _line(form: str, what: str) -> str:
    line = sys.stdin.readline(_MAX_LINE).strip()
    if not line:
        raise CredentialError(f"There is {what} to be read from stdin, and nothing came.", hint=f"One line: {form}.")
    return line


def _is_asked() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _machine() -> str:
    """This machine's name, as a token's purpose."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname().partition(".")[0]).strip(".-")
    return name[:40] or "login"


def _said(kept: Login) -> str:
    return " and ".join([*(["the keyring"] if kept.keyring else []), *([kept.netrc] if kept.netrc else [])])


def _kept_in(kept: Login) -> dict[str, object]:
    return {"keyring": bool(kept.keyring), "netrc": kept.netrc}


def _values(identity: Identity) -> dict[str, object]:
    unknown: dict[str, object] = {"name": identity.name, "role": None, "projects": [], "expires": None}
    return identity.values or unknown
