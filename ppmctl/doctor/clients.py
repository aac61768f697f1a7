"""Which configuration each client that is installed really uses, what overrides it, and what of it is in the way."""

from __future__ import annotations

from collections.abc import Iterator

from ppmctl.client import keyring_store, login_store
from ppmctl.doctor import clients_others, clients_pip, clients_secrets, clients_uv
from ppmctl.doctor.client_model import Client, take_up
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import CredentialError


def learn(visit: Visit) -> list[Client]:
    """Each pip and uv that works, as it is configured where the user is."""
    return [client for client in _learnt(visit) if isinstance(client, Client)]


def _learnt(visit: Visit) -> list[Client | Finding]:
    if "clients" not in visit.remembered:
        visit.remembered["clients"] = [*clients_pip.learn(visit), *clients_uv.learn(visit)]
    learnt: list[Client | Finding] = visit.remembered["clients"]
    return learnt


def make_safe(client: Client, visit: Visit) -> str:
    """What keeps a client from taking another index's project of the same name."""
    if client.form == "none":
        return take_up(client, visit, form="single")
    return clients_pip.make_safe(client, visit) if client.name == "pip" else clients_uv.make_safe(client, visit)


def check(visit: Visit) -> Iterator[Finding]:
    """What is to be said of each client's configuration."""
    yield from _of_login(visit)
    learnt = _learnt(visit)
    yield from (finding for finding in learnt if isinstance(finding, Finding))
    pips = [client for client in learn(visit) if client.name == "pip"]
    for pip in pips:
        if pip is pips[0] or _told(pip) != _told(pips[0]):
            yield from clients_pip.check(pip, visit)
        yield from clients_pip.of_age(pip)
    yield from clients_pip.differing(pips)
    uvs = [client for client in learn(visit) if client.name == "uv"]
    for uv in uvs:
        yield from clients_uv.check(uv, visit)
    if not learnt:
        yield Finding("pip", "skip", "there is neither pip nor uv on PATH")
    yield from clients_others.check(visit)
    yield from clients_secrets.check([*pips, *uvs], visit)


def _told(client: Client) -> object:
    return {name: [(setting.place, setting.value) for setting in chain] for name, chain in client.settings.items()}


def _of_login(visit: Visit) -> Iterator[Finding]:
    """Whether the keyring still has what `ppmctl login` put there."""
    login = login_store.read(visit.environ, visit.home).at(visit.address.base)
    if login is None or not login.keyring:
        return
    again = f"ppmctl login {visit.address.base}{' --netrc' if login.netrc else ''}"
    try:
        gone = [service for service in login.keyring if not keyring_store.find(service, login.username)]
    except CredentialError as exc:
        yield Finding("keyring", "fail", exc.phrase, f"ppmctl login {visit.address.base} --netrc  does without it")
        return
    if gone:
        said = f"the keyring has no secret of {login.username} for {gone[0]} any more, where ppmctl login put it"
        yield Finding("keyring", "fail", said, again)
    else:
        yield Finding("keyring", "ok", f"the keyring has the secret of {login.username}")
