"""`ppmctl client-config`."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli.target import credential_option, index_option
from ppmctl.errors import CredentialError, UsageError

if TYPE_CHECKING:
    from ppmctl.clients import Form, IndexTarget

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@click.command("client-config")
@click.argument("client", type=click.Choice(["pip", "uv", "twine", "netrc"]))
@index_option
@click.option(
    "--form",
    type=click.Choice(["single", "extra"]),
    help="For pip and uv: the only index (single, the default), or one beside another (extra).",
)
@click.option("--name", help="What uv and twine are to call the index. Default: internal, or its name in ~/.pypirc.")
@credential_option
def client_config(
    client: str, index: str | None, form: Form | None, name: str | None, credential_file: Path | None
) -> None:
    """Print what CLIENT needs to use an index; its first line says where that goes.

    netrc prints the line with the secret in it, which pip, uv and curl read.
    """
    if form is not None and client not in ("pip", "uv"):
        raise UsageError(f"--form is for pip and uv; {client} has no such choice.")
    target = _target(index, name, form or "single", credential_file)
    if client == "netrc":
        _print_netrc(target, credential_file)
        return
    output.data(importlib.import_module(f"ppmctl.clients.{client}").render(target))
    if target.in_keyring and client in ("pip", "uv"):
        output.say(_of_keyring(target, client))
    if target.form == "extra":
        output.say(
            "Dependency confusion: pip has no order of indexes, the highest version anywhere wins; also a stranger's"
            " upload of your name. --form single is safe."
            if client == "pip"
            else "Dependency confusion: a package without a line in [tool.uv.sources] comes from the other index,"
            " also where a stranger took your name there. --form single is safe."
        )


def _target(index: str | None, name: str | None, form: Form, credential_file: Path | None) -> IndexTarget:
    from ppmctl import address, credential, logins
    from ppmctl.clients import IndexTarget

    target = address.resolve(index, environ=os.environ, home=Path.home())
    name = name or (target.section.name if target.section else "internal")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for an index: letters, digits, - and _ only.", hint="Give a --name."
        )
    login = logins.read(os.environ, Path.home()).at(target.base)
    username = target.section.username if target.section else login.username if login else None
    if credential_file is not None:
        username = credential.from_file(credential_file).username
    # what is in netrc as well is found without any of it
    in_keyring = login is not None and bool(login.keyring) and not login.netrc and username == login.username
    return IndexTarget(name=name, address=target, form=form, username=username, in_keyring=in_keyring)


def _of_keyring(target: IndexTarget, client: str) -> str:
    """What makes `client` find the secret that `ppmctl login` put into the keyring."""
    netrc = f"Without that: ppmctl login {target.address.base} --netrc"
    if client == "pip":
        return (
            "The secret is in the keyring: pip asks for it with the library keyring beside it, or the command"
            f" `keyring` on PATH. {netrc} (--no-input wants --keyring-provider import, or subprocess, too.)"
        )
    asks = f"The secret is in the keyring: uv asks the command `keyring` for it, which has to be on PATH. {netrc}"
    if target.form == "single":
        return asks
    variable = re.sub(r"[^A-Z0-9]", "_", target.name.upper())
    return (
        f"In your environment: UV_KEYRING_PROVIDER=subprocess UV_INDEX_{variable}_USERNAME={target.username}\n{asks}"
    )


def _print_netrc(target: IndexTarget, credential_file: Path | None) -> None:
    from ppmctl import credential
    from ppmctl.clients import netrc

    found = credential.find(target.address, file=credential_file, environ=os.environ, home=Path.home())
    if found is None:
        raise CredentialError(
            f"There is no credential for {target.address.base} here to make a line for .netrc of.",
            hint=f"ppmctl login {target.address.base} --netrc  writes it. {credential.PLACES}",
        )
    output.data(netrc.render(target, found))
    output.say(
        "It goes into ~/.netrc, which only you may read: (umask 077; ppmctl client-config netrc … >> ~/.netrc)."
        f" It is used for every port of {target.address.host}."
    )
