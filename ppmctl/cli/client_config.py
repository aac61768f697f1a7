"""`ppmctl client-config`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ppmctl import output
from ppmctl.cli import client_files
from ppmctl.cli.target import credential_option, index_option
from ppmctl.errors import PpmError, UsageError

if TYPE_CHECKING:
    from ppmctl.address import Address
    from ppmctl.clients import Form, Here, IndexTarget, Scope, Snippet

_USUAL = "internal"
# What twine, pdm, poetry and hatch mean the public index by, or a section that is none.
_TAKEN = ("pypi", "testpypi", "distutils", "server-login", "main", "test", "default")
_PUBLIC = 20  # a file with fewer authorities is not one of the public ones
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CLIENTS = (
    *("pip", "uv", "poetry", "pdm", "hatch", "pipenv", "twine"),
    *("netrc", "env", "docker", "github", "gitlab"),
)


@click.command("client-config")
@click.argument("client", type=click.Choice(_CLIENTS), nargs=-1)
@index_option
@click.option(
    "--form",
    type=click.Choice(["single", "extra", "explicit"]),
    help="The only index, one beside the public one, or one for the packages that are sent there. Default: single"
    " where the index passes other names on; else extra for pip and explicit for uv, poetry, pdm and pipenv.",
)
@click.option("--user", "scope", flag_value="user", help="For the file of this user.")
@click.option("--project", "scope", flag_value="project", help="For the file of the project in this folder.")
@click.option("--venv", "scope", flag_value="venv", help="For the file of the active virtual environment.")
@click.option("--name", help="What clients are to call the index. Default: internal, or its name in ~/.pypirc.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="The certificate authorities to trust, in PEM. Default: REQUESTS_CA_BUNDLE, SSL_CERT_FILE.",
)
@click.option(
    "--write",
    is_flag=True,
    help="Edit the file of pip, uv, poetry, twine or netrc: its diff is shown, all else in it stays.",
)
@click.option("--remove", is_flag=True, help="Take out again what --write put in.")
@click.option("--dry-run", is_flag=True, help="Show the diff, and change nothing.")
@credential_option
def client_config(
    client: tuple[str, ...],
    index: str | None,
    form: Form | None,
    scope: Scope | None,
    name: str | None,
    ca: Path | None,
    write: bool,
    remove: bool,
    dry_run: bool,
    credential_file: Path | None,
) -> None:
    """Print what each CLIENT needs to use an index, and where that goes; or, with --write, put it there.

    Without a CLIENT: what there is for which. netrc prints the line with the secret, which pip, uv and curl read.
    """
    from ppmctl import clients

    if write and remove:
        raise UsageError("--write puts it in, --remove takes it out.", hint="Give one of them.")
    here = clients.Here(environ=os.environ, home=Path.home(), cwd=Path.cwd(), platform=sys.platform)
    if remove:
        client_files.remove(client, index, scope, here, dry_run)
        return
    if write or dry_run:
        client_files.demand_writable(client)
    target = _target(index, name, ca, credential_file)
    forms = _forms(client, target, form, must_know=write or dry_run)
    if not client:
        _overview(target, forms, here)
        return
    if write or dry_run:
        if len(client) > 1:  # all of it, or nothing
            for each in client:
                client_files.demand_change(each, target.with_form(forms[each]), scope, here)
        for each in client:
            client_files.write(each, target.with_form(forms[each]), scope, here, credential_file, dry_run)
    for number, each in enumerate(() if write or dry_run else client):
        if number:
            output.data("")
        _print(each, target.with_form(forms[each]), scope, here, credential_file)
    if any(forms[each] == "single" for each in client if each in clients.FORMS):
        _say_of_authorities(target)


def _target(index: str | None, name: str | None, ca: Path | None, credential_file: Path | None) -> IndexTarget:
    from ppmctl import address, credential, logins
    from ppmctl.clients import IndexTarget

    target = address.resolve(index, environ=os.environ, home=Path.home())
    if name is not None and name.lower() in _TAKEN:
        raise UsageError(f"{name!r} is what some clients call another index.", hint="Give another --name.")
    if name is None:
        named = target.section.name if target.section else _USUAL
        name = _USUAL if named.lower() in _TAKEN else named
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
    return IndexTarget(
        name=name, address=target, username=username, in_keyring=in_keyring, ca=_authorities(target, ca)
    )


def _authorities(target: Address, ca: Path | None) -> str | None:
    """The file of the authorities that clients are to trust, where they are told of one."""
    if ca is not None:
        return str(ca.absolute())
    if not target.is_encrypted:
        return None
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or None


def _forms(
    clients_meant: tuple[str, ...], target: IndexTarget, given: Form | None, *, must_know: bool
) -> dict[str, Form]:
    """The form for each client, or for all there are; the index is asked what it does only where that decides."""
    from ppmctl import clients

    installing = [client for client in clients_meant or clients.ALL if client in clients.FORMS]
    if given is not None and not installing:
        raise UsageError(f"--form is for who installs; {clients_meant[0]} has no such choice.")
    passes_on = given is None and bool(installing) and _passes_on(target, must_know=must_know)
    if clients_meant:
        return {client: clients.form_for(client, given=given, passes_on=passes_on) for client in clients_meant}
    return {
        client: clients.form_for(
            client, given=given if given in clients.FORMS.get(client, ()) else None, passes_on=passes_on
        )
        for client in clients.ALL
    }


def _say_of_authorities(target: IndexTarget) -> None:
    """That a private authority alone is not enough, where names are passed on to an index that it did not sign."""
    with contextlib.suppress(OSError):
        if target.ca is not None and Path(target.ca).read_bytes().count(b"-----BEGIN CERTIFICATE") < _PUBLIC:
            output.say(
                f"{target.ca} is all that is trusted then (by pip 24.2 and later the system's too), and this index"
                " passes other names on to the public one: let the file have the public authorities as well."
            )


def _passes_on(target: IndexTarget, *, must_know: bool) -> bool:
    """Whether the index passes other names on. PpmError where it can't be asked, and that `must_know`."""
    from ppmctl import wellknown
    from ppmctl.transport import Transport

    try:
        with Transport(None, ca=target.ca) as transport:
            offer = wellknown.discover(target.address, transport)
    except PpmError as exc:
        if must_know:
            raise PpmError(exc.message, hint=f"{exc.hint} Or say which form: --form single".strip()) from exc
        output.say(
            f"The index can't be asked what it does with other names, so it is taken for one beside the public one;"
            f" or give --form. {exc.message}"
        )
        return False
    return offer is not None and offer.upstream == "redirect"


def _snippet(client: str, target: IndexTarget, scope: Scope | None, here: Here) -> Snippet:
    import importlib

    from ppmctl.clients import places

    module = importlib.import_module(f"ppmctl.clients.{client}")
    if client not in places.SCOPES:
        if scope is not None:
            raise UsageError(f"--{scope} is for clients with a file of their own; {client} is none.")
        printed: Snippet = module.render(target)
        return printed
    where = places.meant(client, target, scope)
    place = here.shown(places.path(client, where, here))
    drawn: Snippet = module.render(target, place, where) if client == "uv" else module.render(target, place)
    return drawn


def _print(client: str, target: IndexTarget, scope: Scope | None, here: Here, credential_file: Path | None) -> None:
    from ppmctl.clients import places

    if client == "netrc":
        _print_netrc(target, credential_file)
        return
    snippet = _snippet(client, target, scope, here)
    output.data(snippet.text)
    if unread := places.unread(client, here):
        output.say(unread)
    for line in snippet.says:
        output.say(line)


def _overview(target: IndexTarget, forms: dict[str, Form], here: Here) -> None:
    from ppmctl import clients, written
    from ppmctl.clients import places

    known = written.read(os.environ, here.home)
    rows = []
    for client in _CLIENTS:
        where = "printed"
        if client in places.SCOPES:
            each = target.with_form(forms[client])
            where = here.shown(places.path(client, places.meant(client, each, None), here))
        form = forms[client] if client in clients.FORMS else ""
        ours = any(entry.client == client and entry.index == target.address.base for entry in known.all)
        can = "written" if ours else "--write" if client in places.WRITABLE else ""
        rows.append((client, form, where, can))
    output.table(("client", "form", "goes into", "written"), rows)
    output.say(
        f"For {target.address.base}, called {target.name}. ppmctl client-config CLIENT prints what goes there; with"
        " --write it is put there, and with --remove taken out."
    )


def _print_netrc(target: IndexTarget, credential_file: Path | None) -> None:
    from ppmctl.clients import netrc

    found = client_files.credential_for(target, credential_file)
    output.data(netrc.render(target, found))
    output.say(
        "It goes into ~/.netrc, which only you may read: (umask 077; ppmctl client-config netrc … >> ~/.netrc)."
        f" It is used for every port of {target.address.host}."
    )
