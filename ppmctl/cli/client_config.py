"""`ppmctl client-config`."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ppmctl import output
from ppmctl.cli import client_files
from ppmctl.cli.options import json_option
from ppmctl.cli.target import credential_option, index_option
from ppmctl.client import credential, discovery, index_url, login_store, netrc_file
from ppmctl.client.http import Transport
from ppmctl.client.index_url import Address
from ppmctl.client_config import edit_record, file_edit, file_locations, index_target
from ppmctl.client_config.index_target import Form, Here, IndexTarget, Scope
from ppmctl.errors import PpmError, UsageError

_USUAL = "internal"
# What twine, pdm, poetry and hatch mean the public index by, or a section that is none.
_TAKEN = ("pypi", "testpypi", "distutils", "server-login", "main", "test", "default")
_PUBLIC = 20  # a file with fewer authorities is not one of the public ones
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@click.command("client-config")
@click.argument("client", type=click.Choice(index_target.ALL), nargs=-1)
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
@json_option
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
    as_json: bool,
) -> None:
    """Print what each CLIENT needs to use an index, and where that goes; or, with --write, put it there.

    Without a CLIENT: what there is for which. netrc prints the line with the secret, which pip, uv and curl read.
    """
    if write and remove:
        raise UsageError("--write puts it in, --remove takes it out.", hint="Give one of them.")
    here = Here(environ=os.environ, home=Path.home(), cwd=Path.cwd(), platform=sys.platform)
    if remove:
        edited = client_files.remove(client, index, scope, here, is_tried=dry_run)
        if not _report(edited, here, as_json=as_json):
            said = f" for {', '.join(client)}." if client else "."
            output.say(f"Nothing of what ppmctl wrote is there{said}")
        return
    if write or dry_run:
        client_files.demand_writable(client)
    target = _target(index, name, ca, credential_file)
    forms = _forms(client, target, form, must_know=write or dry_run)
    targets = {each: replace(target, form=forms[each]) for each in client or index_target.ALL}
    if not client:
        _overview(target, targets, here, as_json=as_json)
        return
    if write or dry_run:
        edited = client_files.write(targets, scope, here, credential_file, is_tried=not write or dry_run)
        _report(edited, here, as_json=as_json)
    else:
        _print([_printed(each, targets[each], scope, here, credential_file) for each in client], target, as_json)
    if any(forms[each] == "single" for each in client if each in index_target.FORMS):
        _say_of_authorities(target)


def _report(edited: Iterable[dict[str, Any]], here: Here, *, as_json: bool) -> int:
    """Print what was done to each file; how many they are."""
    done = []
    for each in edited:
        done.append(each)
        if not as_json:
            client_files.show(each, here)
    if as_json:
        output.as_json(done)
    return len(done)


def _target(index: str | None, name: str | None, ca: Path | None, credential_file: Path | None) -> IndexTarget:
    target = index_url.resolve(index, environ=os.environ, home=Path.home())
    if name is not None and name.lower() in _TAKEN:
        raise UsageError(f"{name!r} is what some clients call another index.", hint="Give another --name.")
    if name is None:
        named = target.section.name if target.section else _USUAL
        name = _USUAL if named.lower() in _TAKEN else named
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a name for an index: letters, digits, - and _ only.", hint="Give a --name."
        )
    login = login_store.read(os.environ, Path.home()).at(target.base)
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
    installing = [client for client in clients_meant or index_target.ALL if client in index_target.FORMS]
    if given is not None and not installing:
        raise UsageError(f"--form is for who installs; {clients_meant[0]} has no such choice.")
    passes_on = given is None and bool(installing) and _passes_on(target, must_know=must_know)
    return {
        client: index_target.form_for(
            client,
            given=given if clients_meant or given in index_target.FORMS.get(client, ()) else None,
            passes_on=passes_on,
        )
        for client in clients_meant or index_target.ALL
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
    try:
        with Transport(None, target.address.base, ca=target.ca) as transport:
            offer = discovery.discover(target.address, transport)
    except PpmError as exc:
        if must_know:
            raise PpmError(exc.message, hint=f"{exc.hint} Or say which form: --form single".strip()) from exc
        output.say(
            f"The index can't be asked what it does with other names, so it is taken for one beside the public one;"
            f" or give --form. {exc.message}"
        )
        return False
    return offer is not None and offer.upstream == "redirect"


def _printed(
    client: str, target: IndexTarget, scope: Scope | None, here: Here, credential_file: Path | None
) -> dict[str, Any]:
    """Return what is printed for a client: the text to paste, the file it goes into, and what there is to know."""
    printed = {"client": client, "form": target.form if client in index_target.FORMS else None, "file": None}
    if client == "netrc":
        found = client_files.credential_for(target, credential_file)
        note = (
            "It goes into ~/.netrc, which only you may read: (umask 077; ppmctl client-config netrc … >> ~/.netrc)."
            f" It is used for every port of {target.address.host}."
        )
        file = str(file_locations.path(client, "user", here))
        return printed | {"file": file, "text": netrc_file.line(target.address.host, found), "notes": [note]}
    if client not in file_locations.SCOPES:
        if scope is not None:
            raise UsageError(f"--{scope} is for clients with a file of their own; {client} is none.")
        snippet = importlib.import_module(f"ppmctl.client_config.{client}").render(target)
    else:
        where = file_locations.meant(client, target, scope)
        path = file_locations.path(client, where, here)
        printed["file"] = str(path)
        if client in file_edit.CLIENTS:
            snippet = file_edit.printed(client, target, here.shown(path), where)
        else:
            snippet = importlib.import_module(f"ppmctl.client_config.{client}").render(target, here.shown(path))
    unread = file_locations.unread(client, here)
    return printed | {"text": snippet.text, "notes": [*([unread] if unread else []), *snippet.says]}


def _print(printed: list[dict[str, Any]], target: IndexTarget, as_json: bool) -> None:
    if as_json:
        output.as_json({"index": target.address.base, "name": target.name, "clients": printed})
        return
    for number, each in enumerate(printed):
        if number:
            output.data("")
        output.data(each["text"])
        for note in each["notes"]:
            output.say(note)


def _overview(target: IndexTarget, targets: Mapping[str, IndexTarget], here: Here, *, as_json: bool) -> None:
    record = edit_record.read(os.environ, here.home)
    ours = {entry.client for entry in record.all if entry.index == target.address.base}
    known: list[dict[str, Any]] = []
    rows = []
    for client, each in targets.items():
        path = (
            file_locations.path(client, file_locations.meant(client, each, None), here)
            if client in file_locations.SCOPES
            else None
        )
        form = each.form if client in index_target.FORMS else None
        is_written, is_writable = client in ours, client in file_locations.WRITABLE
        file = None if path is None else str(path)
        can_be = {"is_writable": is_writable, "is_written": is_written}
        known.append({"client": client, "form": form, "file": file, **can_be})
        can = "written" if is_written else "--write" if is_writable else ""
        rows.append((client, form or "", "printed" if path is None else here.shown(path), can))
    if as_json:
        output.as_json({"index": target.address.base, "name": target.name, "clients": known})
        return
    output.table(("client", "form", "goes into", "written"), rows)
    output.say(
        f"For {target.address.base}, called {target.name}. ppmctl client-config CLIENT prints what goes there; with"
        " --write it is put there, and with --remove taken out."
    )
