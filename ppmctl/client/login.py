"""Store the secret of a login in the system's keyring and a netrc file, and delete it again."""

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
    """Raise PpmError if a credential could not be stored; an entry in netrc for `username` may be replaced."""
    known = login_store.read(environ, home)
    if earlier := known.at(address.base):
        for service in earlier.keyring:  # raises if the keyring that has the earlier secret can't be opened
            keyring_store.find(service, earlier.username)
    path = user_file.real(user_dirs.netrc(environ, home))
    for file in (known.path, *([path] if in_netrc else [])):
        folder = next(parent for parent in file.parents if parent.exists())
        is_writable = folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        if not is_writable or (file == path and folder != path.parent):
            problem = f"{file.parent} does not exist" if is_writable else f"{folder} is not a folder you may write to"
            raise PpmError(f"{file} can't be written: {problem}.")
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
    """Store the credential instead of an earlier one for the index. Undo all of it and raise PpmError if it fails."""
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
            undo.callback(_restore_netrc, path, before)
            user_file.replace(path, after, mode=netrc_file.MODE)
        if in_keyring:
            # pip and uv ask for the secret by the URL of the index, twine by the URL for uploads
            login = replace(login, keyring=tuple(dict.fromkeys((address.simple, address.upload))))
            for service in login.keyring:
                undo.callback(_restore_keyring, service, login.username, keyring_store.find(service, login.username))
                keyring_store.store(service, login.username, credential.secret.reveal())
        try:
            known.changed([earlier] if earlier else [], login)
        except OSError as exc:
            raise user_file.unwritable(known.path, exc) from exc
        undo.pop_all()
    if earlier is not None:
        _delete_secret(address, earlier, but=login)
    return login


def _restore_netrc(path: Path, content: bytes | None) -> None:
    with contextlib.suppress(PpmError):
        user_file.replace(path, content, mode=netrc_file.MODE)


def _restore_keyring(service: str, username: str, secret: str | None) -> None:
    with contextlib.suppress(PpmError):
        if secret is None:
            keyring_store.forget(service, username)
        else:
            keyring_store.store(service, username, secret)


def forget(address: Address, login: Login, *, environ: Mapping[str, str], home: Path) -> None:
    """Delete the login's secret from the keyring and netrc, and the login from the list of logins."""
    _delete_secret(address, login)
    login_store.read(environ, home).changed([login])


def _delete_secret(address: Address, login: Login, *, but: Login | None = None) -> None:
    for service in login.keyring:
        if but is None or but.username != login.username or service not in but.keyring:
            keyring_store.forget(service, login.username)
    if login.netrc is not None and (but is None or but.netrc != login.netrc):
        path = Path(login.netrc)
        before = user_file.content(path)
        after = netrc_file.without_entry(path, address.host, login.username, is_ours=login.netrc_is_new)
        if before not in (None, after):
            user_file.replace(path, after, mode=netrc_file.MODE)
