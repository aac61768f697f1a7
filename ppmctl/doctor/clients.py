"""Check the configuration of each installed client: which indexes it asks, and what overrides what."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl.client import keyring_store, login_store
from ppmctl.doctor import clients_others, clients_pip, clients_secrets, clients_uv, programs
from ppmctl.doctor.client_model import (
    Client,
    Setting,
    add_index_hint,
    configure_hint,
    keyring_user,
    missing_file_predicate,
    single_index_hint,
    variable,
)
from ppmctl.doctor.finding import Context, Finding, State
from ppmctl.doctor.index_url import is_same_index
from ppmctl.errors import CredentialError
from ppmctl.secret import masked

_SEPARATOR = {"pip": " and ", "uv": ", then "}  # pip asks its indexes all, and uv one after the other


def learn(context: Context) -> list[Client]:
    """Return each pip and uv that works, with its configuration."""
    return [client for client in _learn(context) if isinstance(client, Client)]


def _learn(context: Context) -> list[Client | Finding]:
    if "clients" not in context.shared:
        context.shared["clients"] = [*clients_pip.learn(context), *clients_uv.learn(context)]
    learned: list[Client | Finding] = context.shared["clients"]
    return learned


def check(context: Context) -> Iterator[Finding]:
    """Check the configuration of all clients."""
    yield from _login(context)
    learned = _learn(context)
    yield from (finding for finding in learned if isinstance(finding, Finding))
    clients = learn(context)
    pips = [client for client in clients if client.name == "pip"]
    for pip in pips:
        if pip is pips[0] or _all_values(pip) != _all_values(pips[0]):
            yield from _check(pip, context)
        yield from clients_pip.check_age(pip)
    yield from clients_pip.check_differences(pips)
    for uv in (client for client in clients if client.name == "uv"):
        yield from _check(uv, context)
    if not learned:
        yield Finding("pip", "skip", "there is neither pip nor uv on PATH")
    yield from clients_others.check(context)
    yield from clients_secrets.check(clients, context)


def _all_values(client: Client) -> object:
    return {name: [(setting.place, setting.value) for setting in chain] for name, chain in client.settings.items()}


def _login(context: Context) -> Iterator[Finding]:
    """Check that the keyring still has what `ppmctl login` stored there."""
    login = login_store.read(context.environ, context.home).at(context.address.base)
    if login is None or not login.keyring:
        return
    command = f"ppmctl login {context.address.base}"
    try:
        missing = [service for service in login.keyring if not keyring_store.find(service, login.username)]
    except CredentialError as exc:
        yield Finding("keyring", "fail", exc.phrase, f"{command} --netrc  works without it")
        return
    if missing:
        message = f"the keyring no longer has the secret of {login.username} for {missing[0]}, from ppmctl login"
        yield Finding("keyring", "fail", message, f"{command}{' --netrc' if login.netrc else ''}")
    else:
        yield Finding("keyring", "ok", f"the keyring has the secret of {login.username}")


def _check(client: Client, context: Context) -> Iterator[Finding]:
    yield _indexes(client, context)
    if setting := client.no_index:
        yield client.finding("fail", f"asks no index at all, because of {setting.place}", setting.undo)
    if client.name == "pip":
        yield from _pip_files(client, context)
    if client.use != "none":
        yield from _certificates(client, context)
        yield from _keyring(client, context)


def _indexes(client: Client, context: Context) -> Finding:
    asks = _SEPARATOR[client.name].join(source.shown for source in client.sources)
    if client.use == "single":
        over = [setting for setting in client.settings.get("index-url", ())[1:] if not _names_ours(setting, context)]
        overrides = f"; that overrides {' and '.join(setting.place for setting in over)}" if over else ""
        return client.finding("ok", f"asks this index alone: {asks}{overrides}")
    if client.use == "first":
        return client.finding("ok", f"asks this index first, and others for what it does not have: {asks}")
    if client.use == "explicit":
        if packages := sorted({setting.name for setting in client.settings["assigned"]}):
            return client.finding("ok", f"asks this index for {', '.join(packages)}, and for the others {asks}")
        place = client.settings["explicit"][0].place
        message = f"never asks this index, but {asks}: {place} is explicit, and no [tool.uv.sources] names it"
        return client.finding("fail", message, single_index_hint("uv", context))
    if client.use == "extra":
        return client.finding("warn", f"asks {asks}: {_risk(client)}", safe_hint(client, context))
    for option in ("index-url", "extra-index-url", "default"):
        chain = list(client.settings.get(option, ()))
        for number, setting in enumerate(chain):
            if number and _names_ours(setting, context):
                above = " and ".join(each.place for each in chain[:number])
                verb = "override" if number > 1 else "overrides"
                message = f"asks {asks}: {above} {verb} {setting.place}, which has this index"
                return client.finding("fail", message, "; ".join(each.undo for each in chain[:number]))
    return client.finding("warn", f"does not ask this index, but {asks}", add_index_hint(client, context))


def _names_ours(setting: Setting, context: Context) -> bool:
    return any(is_same_index(url, context.address) for url in setting.value.split())


def _risk(client: Client) -> str:
    """Return how another index can replace a package of this one."""
    if client.name == "pip":
        return "the highest version of any wins, so a project of the same name on another index can be installed"
    if client.sources[0].is_ours and (strategy := client.setting("index-strategy")) is not None:
        return f"with {strategy.place} it asks all of them, also for names that this index has"
    return "names that an earlier index has are not looked for in this one, also if a stranger took them there"


def safe_hint(client: Client, context: Context) -> str:
    """Return what keeps a client from installing a project of the same name from another index."""
    if client.use == "none":
        return add_index_hint(client, context, form="single")
    before = list(itertools.takewhile(lambda source: not source.is_ours, client.sources))
    if client.name == "pip":
        extra = client.setting("extra-index-url")
        if extra is not None and not before:
            return extra.undo
        undo = [extra.undo] if extra is not None and extra.file is None else []
        return "; ".join([*undo, single_index_hint("pip", context)])
    by_variable = [source.setting for source in before if source.setting and source.setting.file is None]
    strategy = client.setting("index-strategy")
    undo = [] if strategy is None or strategy.value == clients_uv.FIRST_INDEX else [strategy.undo]
    undo += [setting.undo for setting in by_variable]
    if len(before) > len(by_variable) or not undo:
        undo.append(single_index_hint("uv", context))
    return "; ".join(dict.fromkeys(undo))


def _pip_files(client: Client, context: Context) -> Iterator[Finding]:
    """Find settings of pip that name missing files with certificates."""
    bundles = [setting for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if (setting := variable(context, name))]
    for setting in (client.setting("cert"), client.setting("client-cert"), *bundles[:1]):
        if setting and (problem := missing_file_predicate(setting, context)):
            # a bundle of the environment overrides pip's own
            state: State = "warn" if bundles and setting is client.setting("cert") else "fail"
            yield client.finding(state, problem, setting.undo)


def _certificates(client: Client, context: Context) -> Iterator[Finding]:
    """Find settings because of which the certificate of the index is not verified, or can't be."""
    address = context.address
    hosts = {address.host, urlsplit(address.base).netloc}
    trusted = []
    for name in ("allow-insecure-host", "trusted-host"):
        if setting := client.setting(name):
            # uv's option may have a scheme, and is case-sensitive; pip's is neither
            words = setting.value.lower() if name == "trusted-host" else re.sub(r"\S*//", "", setting.value)
            trusted += [setting] if hosts & set(words.split()) else []
    for setting in trusted if address.is_encrypted else ():
        risk = "anyone on the network can read the credential and change what is installed"
        message = f"does not verify the certificate of {address.host}, because of {setting.place}: {risk}"
        yield client.finding("fail", message, setting.undo)
    if client.name == "pip":
        if not (trusted or address.is_encrypted or address.is_loopback):
            message = f"ignores this index: it speaks plain HTTP, and {address.host} is not a trusted-host"
            yield client.finding("fail", message, configure_hint("pip", context))
    elif address.is_encrypted:
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            if (bundle := variable(context, name)) and (problem := missing_file_predicate(bundle, context)):
                yield client.finding("fail", problem, bundle.undo)


def _keyring(client: Client, context: Context) -> Iterator[Finding]:
    """Find a client that does not get the secret of a login that is only in the keyring."""
    if not (username := keyring_user(context)):
        return
    provider = client.setting("keyring-provider")
    kind = provider.value.strip() if provider else ""
    ours = next((source.url for source in client.sources if source.is_ours), "")
    if client.name == "pip":
        way = clients_pip.keyring(client, context)
    else:
        way = "subprocess" if programs.on_path(("keyring",), context.environ) else ""
    without = f"ppmctl login {context.address.base} --netrc"
    hint = configure_hint(client.name, context) if way else without
    if provider and client.name == "pip" and kind == "disabled":
        message = f"does not ask the keyring, which has the secret, because of {provider.place}"
        yield client.finding("fail", message, provider.undo)
    elif client.name == "uv" and kind != "subprocess":
        yield client.finding("fail", f"asks no keyring, and the secret of {username} is only in the keyring", hint)
    elif not way:
        message = f"has no keyring to ask, and the secret of {username} is only in the keyring"
        yield client.finding("fail", message, hint)
    elif way == "subprocess" and ours and "@" not in ours:
        message = f"asks the command keyring by user name, and there is none in {masked(ours)}"
        yield client.finding("fail", message, hint)
