"""Where a login's secret is kept: put into the system's keyring and a netrc file, remembered, and taken out again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ppmctl import files, keychain, logins, netrc_file, user_dirs
from ppmctl.address import Address
from ppmctl.clients import IndexTarget, netrc
from ppmctl.credential import Credential
from ppmctl.errors import PpmError, UsageError
from ppmctl.logins import Login


def services(address: Address) -> tuple[str, ...]:
    """By what the keyring has the secret: the URL of the index, as pip and uv ask for it, and that for uploads, as
    twine does."""
    return tuple(dict.fromkeys((address.simple, address.upload)))


def check(address: Address, *, in_netrc: bool, environ: Mapping[str, str], home: Path) -> None:
    """PpmError where a credential of a new name can't be kept, as far as that can be known before there is one."""
    known = logins.read(environ, home)
    _demand_reach(known.at(address.base))
    path = _netrc_path(environ, home)
    for written in (known.path, *([path] if in_netrc else [])):
        there = next(folder for folder in written.parents if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)) or (
            there != written.parent and written == path
        ):
            raise PpmError(f"{written} can't be written: {there} is not for this user to write, or no folder.")
    if in_netrc:
        _demand_free(address, known, None, _read(path))


def keep(
    address: Address,
    credential: Credential,
    *,
    in_keyring: bool,
    in_netrc: bool,
    environ: Mapping[str, str],
    home: Path,
) -> Login:
    """Keep the credential for the index, in place of an earlier one there. PpmError where it can't be kept.

    Then everything is as it was, the earlier one included.
    """
    known = logins.read(environ, home)
    earlier = known.at(address.base)
    _demand_reach(earlier)
    path = _netrc_path(environ, home)
    before = _read(path)
    login = Login(index=address.base, username=credential.username)
    with contextlib.ExitStack() as undo:
        if in_netrc:
            _demand_free(address, known, credential.username, before)
            is_new = before is None or (earlier is not None and earlier.netrc == str(path) and earlier.netrc_is_new)
            login = replace(login, netrc=str(path), netrc_is_new=is_new)
            line = netrc.render(IndexTarget(name="", address=address), credential)
            undo.callback(_put_back, path, before)
            _write(path, netrc_file.with_line(before or "", address.host, line))
        if in_keyring:
            login = replace(login, keyring=services(address))
            for service in login.keyring:
                undo.callback(_store_again, service, login.username, keychain.find(service, login.username))
                keychain.store(service, login.username, credential.secret.reveal())
        try:
            known.put(login)
        except OSError as exc:
            raise _unwritable(known.path, exc) from exc
        undo.pop_all()
    if earlier is not None:
        _take_out(address, earlier, but=login)
    return login


def _put_back(path: Path, text: str | None) -> None:
    with contextlib.suppress(PpmError, OSError):
        if text is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, text)


def _store_again(service: str, username: str, secret: str | None) -> None:
    with contextlib.suppress(PpmError):
        if secret is None:
            keychain.forget(service, username)
        else:
            keychain.store(service, username, secret)


def forget(address: Address, login: Login, *, environ: Mapping[str, str], home: Path) -> None:
    """Take the login's secret out of where it was put, and remember the index no more."""
    _take_out(address, login)
    logins.read(environ, home).drop(login.index)


def _take_out(address: Address, login: Login, *, but: Login | None = None) -> None:
    for service in login.keyring:
        if but is None or but.username != login.username or service not in but.keyring:
            keychain.forget(service, login.username)
    if login.netrc is None or (but is not None and but.netrc == login.netrc):
        return
    path = Path(login.netrc)
    text = _read(path)
    left = netrc_file.without(text or "", address.host, login.username)
    if text is None or left == text:
        return
    if left or not login.netrc_is_new:
        _write(path, left)
    else:
        path.unlink()


def _demand_reach(earlier: Login | None) -> None:
    """CredentialError where the keyring that has the earlier login's secret, which is to go, can't be opened."""
    if earlier is not None:
        for service in earlier.keyring:
            keychain.find(service, earlier.username)


def _demand_free(address: Address, known: logins.Logins, username: str | None, text: str | None) -> None:
    """UsageError where the host's entry is another's: netrc has one for a host, whatever its ports and paths."""
    entry = next((each for each in netrc_file.entries(text or "") if each.host == address.host), None)
    if entry is None:
        return
    owner = next((each for each in known.all if each.netrc and _host(each) == address.host), None)
    if owner is not None and owner.index == address.base:
        return
    if owner is not None or entry.login != username:
        whose = f"the login at {owner.index}" if owner else repr(entry.login)
        raise UsageError(
            f"The netrc file has an entry for {address.host} already, of {whose}; it can have one for a host.",
            hint=f"ppmctl logout {owner.index}" if owner else "Take that entry out, or log in without --netrc.",
        )


def _host(login: Login) -> str:
    return Address(base=login.index, upload="").host


def _netrc_path(environ: Mapping[str, str], home: Path) -> Path:
    return user_dirs.netrc(environ, home).resolve()  # of a link what it leads to: that is written


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise PpmError(f"{path} can't be read: {exc.strerror}.", hint=files.whose(path)) from exc


def _write(path: Path, text: str) -> None:
    try:
        files.write_atomic(path, text.encode("utf-8", "surrogateescape"), mode=0o600, sync=True)
    except OSError as exc:
        raise _unwritable(path, exc) from exc


def _unwritable(path: Path, exc: OSError) -> PpmError:
    return PpmError(f"{path} can't be written: {exc.strerror}.")
