"""Where a login's secret is kept: put into the system's keyring and a netrc file, remembered, and taken out again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ppmctl import user_dirs
from ppmctl.client import keyring_store, login_store, netrc_file, user_file
from ppmctl.client.credential import Credential
from ppmctl.client.index_url import Address
from ppmctl.client.login_store import Login
from ppmctl.errors import PpmError


def check(
    address: Address, *, in_netrc: bool, environ: Mapping[str, str], home: Path, username: str | None = None
) -> None:
    """Raise PpmError where a credential can't be kept, as far as that can be known before there is one.

    An entry of `username` that netrc has already may be replaced.
    """
    known = login_store.read(environ, home)
    if earlier := known.at(address.base):
        for service in earlier.keyring:  # an error where the keyring that has the earlier secret can't be opened
            keyring_store.find(service, earlier.username)
    path = user_file.real(user_dirs.netrc(environ, home))
    for written in (known.path, *([path] if in_netrc else [])):
        there = next(folder for folder in written.parents if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)) or (
            there != written.parent and written == path
        ):
            raise PpmError(f"{written} can't be written: {there} is not for this user to write, or no folder.")
    if in_netrc:
        netrc_file.require_free(path, address, known, by=[username] if username else [])


def keep(
    address: Address,
    credential: Credential,
    *,
    in_keyring: bool,
    in_netrc: bool,
    environ: Mapping[str, str],
    home: Path,
) -> Login:
    """Keep the credential for the index, instead of an earlier one there. Raise PpmError where it can't be kept.

    Then everything is as it was, the earlier one included.
    """
    check(address, in_netrc=in_netrc, environ=environ, home=home, username=credential.username)
    known = login_store.read(environ, home)
    earlier = known.at(address.base)
    login = Login(index=address.base, username=credential.username)
    with contextlib.ExitStack() as undo:
        if in_netrc:
            path = user_file.real(user_dirs.netrc(environ, home))
            before = user_file.content(path)
            is_new = before is None or (earlier is not None and earlier.netrc == str(path) and earlier.netrc_is_new)
            login = replace(login, netrc=str(path), netrc_is_new=is_new)
            after = netrc_file.with_entry(path, address.host, credential)
            undo.callback(_put_back, path, before)
            user_file.replace(path, after, mode=netrc_file.MODE)
        if in_keyring:
            # pip and uv ask for the secret by the URL of the index, twine by that for uploads
            login = replace(login, keyring=tuple(dict.fromkeys((address.simple, address.upload))))
            for service in login.keyring:
                undo.callback(_store_again, service, login.username, keyring_store.find(service, login.username))
                keyring_store.store(service, login.username, credential.secret.reveal())
        try:
            known.changed([earlier] if earlier else [], login)
        except OSError as exc:
            raise user_file.unwritable(known.path, exc) from exc
        undo.pop_all()
    if earlier is not None:
        _take_out(address, earlier, but=login)
    return login


def _put_back(path: Path, content: bytes | None) -> None:
    with contextlib.suppress(PpmError):
        user_file.replace(path, content, mode=netrc_file.MODE)


def _store_again(service: str, username: str, secret: str | None) -> None:
    with contextlib.suppress(PpmError):
        if secret is None:
            keyring_store.forget(service, username)
        else:
            keyring_store.store(service, username, secret)


def forget(address: Address, login: Login, *, environ: Mapping[str, str], home: Path) -> None:
    """Take the login's secret out of where it was put, and remember the index no more."""
    _take_out(address, login)
    login_store.read(environ, home).changed([login])


def _take_out(address: Address, login: Login, *, but: Login | None = None) -> None:
    for service in login.keyring:
        if but is None or but.username != login.username or service not in but.keyring:
            keyring_store.forget(service, login.username)
    if login.netrc is not None and (but is None or but.netrc != login.netrc):
        path = Path(login.netrc)
        before = user_file.content(path)
        after = netrc_file.without_entry(path, address.host, login.username, is_ours=login.netrc_is_new)
        if before not in (None, after):
            user_file.replace(path, after, mode=netrc_file.MODE)
