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
    return IndexTarget(name=name, address=target, form=form, username=username)


def _print_netrc(target: IndexTarget, credential_file: Path | None) -> None:
    from ppmctl import credential
    from ppmctl.clients import netrc

    found = credential.from_file(credential_file) if credential_file else credential.from_environment(os.environ)
    if found is None:
        raise CredentialError(
            "It is not said whose line for .netrc it is to be.",
            hint="Give --credential-file FILE (one line, user:secret), or set PPMCTL_USERNAME and PPMCTL_TOKEN.",
        )
    output.data(netrc.render(target, found))
    output.say(
        "It goes into ~/.netrc, which only you may read: (umask 077; ppmctl client-config netrc … >> ~/.netrc)."
        f" It is used for every port of {target.address.host}."
    )
