"""Which configuration each client that is installed really uses, what overrides it, and what of it is in the way."""

from __future__ import annotations

from collections.abc import Iterator

from ppmctl import keychain, logins
from ppmctl.doctor import clients_others, clients_pip, clients_secrets, clients_uv
from ppmctl.doctor.clients_values import Client, configure
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import CredentialError


def learn(visit: Visit) -> list[Client]:
    """Each pip and uv that works, as it is configured where the user is."""
    return [client for client in (*clients_pip.learn(visit), *clients_uv.learn(visit)) if isinstance(client, Client)]


def make_safe(client: Client, visit: Visit) -> str:
    """What keeps a client from taking another index's project of the same name."""
    if client.form == "none":
        return configure(client.name, visit, form="single")
    return clients_pip.make_safe(client, visit) if client.name == "pip" else clients_uv.make_safe(client, visit)


def check(visit: Visit) -> Iterator[Finding]:
    """What is to be said of each client's configuration."""
    yield from _of_login(visit)
    pips: list[Client] = []
    for pip in clients_pip.learn(visit):
        if isinstance(pip, Finding):
            yield pip
            continue
        pips.append(pip)
        if len(pips) == 1 or _told(pip) != _told(pips[0]):
            yield from clients_pip.check(pip, visit)
        yield from clients_pip.of_age(pip)
    if pips:
        yield from clients_pip.differing(pips)
    uvs: list[Client] = []
    for uv in clients_uv.learn(visit):
        if isinstance(uv, Finding):
            yield uv
            continue
        uvs.append(uv)
        yield from clients_uv.check(uv, visit)
    if not (pips or uvs):
        yield Finding("pip", "skip", "there is neither pip nor uv on PATH")
    yield from clients_others.check(visit)
    yield from clients_secrets.check([*pips, *uvs], visit)


def _told(client: Client) -> object:
    return {name: [(setting.place, setting.value) for setting in chain] for name, chain in client.settings.items()}


def _of_login(visit: Visit) -> Iterator[Finding]:
    """Whether the keyring still has what `ppmctl login` put there."""
    login = logins.read(visit.environ, visit.home).at(visit.address.base)
    if login is None or not login.keyring:
        return
    again = f"ppmctl login {visit.address.base}"
    try:
        gone = [service for service in login.keyring if not keychain.find(service, login.username)]
    except CredentialError as exc:
        yield Finding("keyring", "fail", exc.message.rstrip("."), f"{again} --netrc  does without it")
        return
    if gone:
        said = f"the keyring has no secret of {login.username} for {gone[0]} any more, where ppmctl login put it"
        yield Finding("keyring", "fail", said, again)
    else:
        yield Finding("keyring", "ok", f"the keyring has the secret of {login.username}")
