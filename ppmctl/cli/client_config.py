"""`ppmctl client-config`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ppmctl import output, regular_file
from ppmctl.cli import client_files
from ppmctl.cli.options import exclusive, json_option
from ppmctl.cli.target import credential_option, index_option
from ppmctl.client import credential, discovery, index_url, login_store, netrc_file
from ppmctl.client.http import Transport
from ppmctl.client.index_url import Address
from ppmctl.client_config import file_locations, printed
from ppmctl.client_config.index_target import (
    CLIENTS,
    DEFAULT_NAME,
    WRITABLE,
    Form,
    IndexTarget,
    Machine,
    Scope,
    form_for,
)
from ppmctl.errors import PpmError, UsageError

# Names that twine, pdm, poetry or hatch use for the public index, or for a section that is not an index.
_TAKEN = ("pypi", "testpypi", "distutils", "server-login", "main", "test", "default")
_PUBLIC = 20  # a file with fewer certificate authorities lacks the public ones
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def _regular(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    try:
        if path is not None:
            regular_file.require(path)
    except OSError as exc:
        raise click.BadParameter(f"{path} can't be read: {exc.strerror}.") from exc
    return path


@click.command("client-config")
@click.argument("clients", type=click.Choice(list(CLIENTS)), nargs=-1)
@index_option
@click.option(
    "--form",
    type=click.Choice(["single", "extra", "explicit"]),
    help="How clients use the index: as the only one (single), in addition to the public one (extra), or only for"
    " packages that name it (explicit). Default: single if the index redirects other names to the public one;"
    " otherwise explicit, or extra for clients that lack it.",
)
@click.option("--user", "scope", flag_value="user", help="Use the client's file for the current user.")
@click.option("--project", "scope", flag_value="project", help="Use the file of the project in the current folder.")
@click.option("--venv", "scope", flag_value="venv", help="Use the file of the active virtual environment.")
@click.option("--name", help="The name that clients use for the index. Default: internal, or its name in ~/.pypirc.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    callback=_regular,
    metavar="FILE",
    help="The certificate authorities to trust, in PEM. Default: REQUESTS_CA_BUNDLE, SSL_CERT_FILE.",
)
@click.option(
    "--write",
    is_flag=True,
    help=f"Edit the client's file and show the diff; nothing else in it changes. For {', '.join(WRITABLE)}.",
)
@click.option("--remove", is_flag=True, help="Remove what --write added.")
@click.option("--dry-run", is_flag=True, help="Show the diff without changing anything.")
@credential_option
@json_option
def client_config(
    clients: tuple[str, ...],
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
    """Print what each CLIENT needs to use an index and where it goes, or, with --write, put it there.

    Without CLIENT: list all clients. netrc prints the line with the secret, for pip, uv and curl.
    """
    if write and remove:
        raise exclusive("--write", "--remove")
    machine = Machine(environ=os.environ, home=Path.home(), cwd=Path.cwd(), platform=sys.platform)
    if remove:
        edited = client_files.remove(clients, index, scope, machine, dry_run=dry_run)
        if not _report(edited, machine, as_json=as_json):
            output.say(" for ".join(["There is nothing to remove", *([", ".join(clients)] if clients else [])]) + ".")
        return
    if write or dry_run:
        client_files.require_writable(clients)
    target = _target(index, name, ca, credential_file)
    targets = _with_forms(clients, target, form, must_know=write or dry_run)
    if not clients:
        _overview(target, targets, machine, as_json=as_json)
        return
    if write or dry_run:
        edited = client_files.write(targets, scope, machine, credential_file, dry_run=not write or dry_run)
        _report(edited, machine, as_json=as_json)
    else:
        _print([_text(each, targets[each], scope, machine, credential_file) for each in clients], target, as_json)
    if any(targets[each].form == "single" for each in clients if CLIENTS[each].forms):
        _warn_of_authorities(target)


def _report(edited: Iterable[dict[str, Any]], machine: Machine, *, as_json: bool) -> int:
    """Print what was done to each file; return the number of files."""
    done = []
    for each in edited:
        done.append(each)
        if not as_json:
            client_files.show(each, machine)
    if as_json:
        output.as_json(done)
    return len(done)


def _target(index: str | None, name: str | None, ca: Path | None, credential_file: Path | None) -> IndexTarget:
    address = index_url.resolve(index, environ=os.environ, home=Path.home())
    section = address.section
    if name is not None and name.lower() in _TAKEN:
        raise UsageError(f"{name!r} is another index to some clients.", hint="Give another --name.")
    if name is None:
        name = section.name if section and section.name.lower() not in _TAKEN else DEFAULT_NAME
    if not _NAME.fullmatch(name):
        hint = "Give a --name of letters, digits, - and _."
        raise UsageError(f"{name!r} is not a name for an index.", hint=hint)
    login = login_store.read(os.environ, Path.home()).at(address.base)
    username = section.username if section else login.username if login else None
    if credential_file is not None:
        username = credential.from_file(credential_file).username
    # clients find a secret that is also in netrc without any configuration
    in_keyring = login is not None and bool(login.keyring) and not login.netrc and username == login.username
    return IndexTarget(
        name=name, address=address, username=username, in_keyring=in_keyring, ca=_authorities(address, ca)
    )


def _authorities(address: Address, ca: Path | None) -> str | None:
    if ca is not None:
        return str(ca.absolute())
    if not address.is_encrypted:
        return None
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or None


def _with_forms(
    clients: tuple[str, ...], target: IndexTarget, given: Form | None, *, must_know: bool
) -> Mapping[str, IndexTarget]:
    """Return the target in the form for each client, or for all; ask the index only if that decides the form."""
    names: Collection[str] = clients or CLIENTS.keys()
    is_installing = any(CLIENTS[name].forms for name in names)
    if given is not None and not is_installing:
        raise UsageError(f"--form is for clients that install packages, and {clients[0]} does not.")
    redirects = given is None and is_installing and _redirects(target, must_know=must_know)
    forms = {name: given if clients or given in CLIENTS[name].forms else None for name in names}
    return {
        name: replace(target, form=form_for(name, given=form, redirects=redirects)) for name, form in forms.items()
    }


def _warn_of_authorities(target: IndexTarget) -> None:
    """Warn that a private certificate authority is not enough if the index redirects to one that it did not sign."""
    with contextlib.suppress(OSError):
        if target.ca is not None and regular_file.read(Path(target.ca)).count(b"-----BEGIN CERTIFICATE") < _PUBLIC:
            output.say(
                f"Clients trust only {target.ca} (pip 24.2 and later also what the system trusts), but this index"
                " redirects other names to the public one: add the public certificate authorities to that file."
            )


def _redirects(target: IndexTarget, *, must_know: bool) -> bool:
    """Return whether the index redirects other names. Raise PpmError if it can't be asked and this `must_know`."""
    try:
        with Transport(None, target.address.base, ca=target.ca) as transport:
            document = discovery.discover(target.address, transport)
    except PpmError as exc:
        if must_know:
            raise PpmError(exc.message, hint=f"{exc.hint} Or give the form: --form single".strip()) from exc
        output.say(
            "The index can't be asked whether it redirects other names, so this is for an index in addition to the"
            f" public one; --form changes that. {exc.message}"
        )
        return False
    return document is not None and document.upstream == "redirect"


def _text(
    client: str, target: IndexTarget, scope: Scope | None, machine: Machine, credential_file: Path | None
) -> dict[str, Any]:
    """Return what is printed for a client: the text to paste, the file it belongs in, and notes."""
    values = {"client": client, "form": target.form if CLIENTS[client].forms else None, "file": None}
    if client == "netrc":
        line = netrc_file.line(target.address.host, client_files.credential_for(target, credential_file))
        note = (
            "It belongs in ~/.netrc, which only you may read: (umask 077; ppmctl client-config netrc … >> ~/.netrc)."
            f" It is used for every port of {target.address.host}."
        )
        file = str(file_locations.path(client, "user", machine))
        return values | {"file": file, "text": line, "notes": [note]}
    chosen, place = None, ""
    if not CLIENTS[client].scopes:
        if scope is not None:
            raise UsageError(f"--{scope} is for clients with a file of their own; {client} has none.")
    else:
        chosen = file_locations.choose_scope(client, target, scope)
        path = file_locations.path(client, chosen, machine)
        values["file"], place = str(path), machine.shown(path)
    snippet = printed.snippet(client, target, place, chosen)
    unread = file_locations.why_unread(client, machine)
    return values | {"text": snippet.text, "notes": [*([unread] if unread else []), *snippet.notes]}


def _print(texts: list[dict[str, Any]], target: IndexTarget, as_json: bool) -> None:
    if as_json:
        output.as_json({"index": target.address.base, "name": target.name, "clients": texts})
        return
    for number, each in enumerate(texts):
        if number:
            output.data("")
        output.block(each["text"])
        for note in each["notes"]:
            output.block(note, talk=True)


def _overview(target: IndexTarget, targets: Mapping[str, IndexTarget], machine: Machine, *, as_json: bool) -> None:
    written = client_files.written_files(target.address.base, machine)
    values: list[dict[str, Any]] = []
    rows = []
    for client, each in targets.items():
        known, path = CLIENTS[client], written.get(client)
        if known.scopes and path is None:
            path = file_locations.path(client, file_locations.choose_scope(client, each, None), machine)
        form, is_written = each.form if known.forms else None, client in written
        value = {"client": client, "form": form, "file": None if path is None else str(path)}
        values.append(value | {"is_writable": known.is_writable, "is_written": is_written})
        state = "written" if is_written else "--write" if known.is_writable else ""
        rows.append((client, form or "", "printed" if path is None else machine.shown(path), state))
    if as_json:
        output.as_json({"index": target.address.base, "name": target.name, "clients": values})
        return
    output.table(("client", "form", "goes into", "written"), rows)
    output.say(
        f"For {target.address.base}, called {target.name}. ppmctl client-config CLIENT prints the text for a client;"
        " --write puts it into the client's file, and --remove removes it again."
    )
