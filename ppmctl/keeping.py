"""Where a login's secret is kept: put into the system's keyring and a netrc file, remembered, and taken out again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ppmctl import files, keychain, logins, netrc_file
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
    earlier = known.at(address.base)
    if earlier is not None:
        for service in earlier.keyring:  # what is to be replaced can be reached
            keychain.find(service, earlier.username)
    if in_netrc:
        _demand_free(address, known, None, _read(_netrc_path(environ, home)))


def keep(
    address: Address,
    credential: Credential,
    *,
    in_keyring: bool,
    in_netrc: bool,
    environ: Mapping[str, str],
    home: Path,
) -> Login:
    """Keep the credential for the index, in place of an earlier one there. PpmError where it can't be kept."""
    known = logins.read(environ, home)
    earlier = known.at(address.base)
    path = _netrc_path(environ, home)
    before = _read(path)
    login = Login(index=address.base, username=credential.username)
    if in_netrc:
        _demand_free(address, known, credential.username, before)
        line = netrc.render(IndexTarget(name="", address=address), credential)
        is_new = before is None or (earlier is not None and earlier.netrc == str(path) and earlier.netrc_is_new)
        login = replace(login, netrc=str(path), netrc_is_new=is_new)
    if in_keyring:
        login = replace(login, keyring=services(address))
        _store(login, credential)
    if earlier is not None:
        _take_out(address, earlier, but=login)
    try:
        if in_netrc:
            _write(path, netrc_file.with_line(_read(path) or "", address.host, line))
        known.put(login)
    except OSError as exc:
        with contextlib.suppress(PpmError, OSError):
            _take_out(address, login)
        raise PpmError(f"{exc.filename or path} can't be written: {exc.strerror}.") from exc
    return login


def _store(login: Login, credential: Credential) -> None:
    try:
        for service in login.keyring:
            keychain.store(service, login.username, credential.secret.reveal())
    except PpmError:
        with contextlib.suppress(PpmError):
            for service in login.keyring:
                keychain.forget(service, login.username)
        raise


def forget(address: Address, login: Login, *, environ: Mapping[str, str], home: Path) -> None:
    """Take the login's secret out of where it was put, and remember the index no more."""
    _take_out(address, login)
    logins.read(environ, home).drop(login.index)


def _take_out(address: Address, login: Login, *, but: Login | None = None) -> None:
    for service in login.keyring:
        if but is None or but.username != login.username or service not in but.keyring:
            keychain.forget(service, login.username)
    if login.netrc is None:
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
    path = Path(environ["NETRC"]) if environ.get("NETRC") else home / ".netrc"
    return path.resolve()  # of a link what it leads to: that is written


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise PpmError(f"{path} can't be read: {exc.strerror}.", hint=files.whose(path)) from exc


def _write(path: Path, text: str) -> None:
    files.write_atomic(path, text.encode("utf-8", "surrogateescape"), mode=0o600, sync=True)
