"""What uv is told, by its own word, and what of that is in the way of the visited index."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ppmctl.doctor.client_model import (
    Client,
    Form,
    Setting,
    Source,
    configure,
    found,
    hidden,
    is_index,
    last_line,
    make_single,
    only_in_keyring,
    run,
    source_of,
    table_of,
    take_up,
    variable,
)
from ppmctl.doctor.finding import Finding, Visit

_Tables = list[tuple[Path, Mapping[str, Any]]]  # those of uv, by the file that each is in

_FOUND = re.compile(r"DEBUG (?:Found \w+ configuration (?:in:|at)|Using configuration file:) `?(/.*?)`?$")
# environment variable → the option that it stands for
_VARIABLES = {
    "UV_INDEX_STRATEGY": "index-strategy",
    "UV_KEYRING_PROVIDER": "keyring-provider",
    "UV_INSECURE_HOST": "allow-insecure-host",
}
_OPTIONS = ("index-strategy", "keyring-provider", "no-index", "allow-insecure-host", "trusted-host")
_FIRST_ALONE = "first-index"


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """An index as one place names it."""

    source: Source
    name: str = ""
    is_default: bool = False
    is_explicit: bool = False


def learn(visit: Visit) -> Iterator[Client | Finding]:
    """uv with its configuration where the user is; a finding if it does not work."""
    for program in found(("uv",), visit.environ)[:1]:
        # nothing to resolve: it reads its configuration, tells which, and is done
        ran = run([str(program), "--verbose", "--color", "never", "pip", "compile", "--offline", "-"], visit)
        version = re.search(r"^DEBUG uv (\S+)", ran.output, re.MULTILINE)
        files = [Path(match[1]) for line in ran.output.splitlines() if (match := _FOUND.match(line))]
        broken = re.search(r"error: Failed to parse: `?(.+?)`?$", ran.output, re.MULTILINE)
        if broken or (version is None and ran.code != 0):
            why = f"it can't read {visit.cwd / broken[1]}" if broken else last_line(ran)
            more = f"{program} --verbose pip compile --offline - </dev/null  says why"
            yield Finding("uv", "fail", f"{program} does not work: {why}", more)
            continue
        python = re.search(r"Using Python (\S+) interpreter", ran.output)
        above = {path: ("tool", "uv") if path.name == "pyproject.toml" else () for path in files}
        told = [(path, table) for path, names in above.items() if (table := table_of(path, *names))]
        entries = _entries(told, visit)
        settings = _settings(told, entries, visit)
        yield Client(
            name="uv",
            command=(str(program),),
            version=version[1] if version else "",
            python=python[1] if python else "",
            settings=settings,
            sources=_asked(entries),
            form=_form(entries, settings),
        )


def _entries(told: _Tables, visit: Visit) -> list[_Entry]:
    """All indexes that are named anywhere, the first to be asked first; of several by one name the first counts."""
    entries = list(_of_environment(visit))
    for path, table in told:
        pip = table.get("pip", {})
        for item in table.get("index", ()):
            if isinstance(item, dict) and "url" in item:
                name = str(item.get("name", ""))
                source = source_of(_setting(f"[[index]] {name}".rstrip(), str(item["url"]), path), visit)
                is_used = {f"is_{flag}": item.get(flag) is True for flag in ("default", "explicit")}
                entries.append(_Entry(source=source, name=name, **is_used))
        for where in (pip if isinstance(pip, dict) else {}, table):
            extra = where.get("extra-index-url", ())
            for url in [extra] if isinstance(extra, str) else extra:
                entries.append(_Entry(source=source_of(_setting("extra-index-url", str(url), path), visit)))
            if url := where.get("index-url"):
                setting = _setting("index-url", str(url), path)
                entries.append(_Entry(source=source_of(setting, visit), is_default=True))
    counted: dict[object, _Entry] = {}
    for entry in entries:
        counted.setdefault(entry.name or id(entry), entry)
    return list(counted.values())


def _of_environment(visit: Visit) -> Iterator[_Entry]:
    for variable_name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if (setting := variable(visit.environ, variable_name)) is None:
            continue
        for word in setting.value.split():
            name, equals, url = word.partition("=")
            if not equals or "://" in name:
                name, url = "", word
            one = Setting(name=variable_name, value=url, undo=setting.undo)
            is_default = variable_name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
            yield _Entry(source=source_of(one, visit), name=name, is_default=is_default)


def _setting(name: str, value: str, path: Path) -> Setting:
    return Setting(name=name, value=value, file=path, undo=f"Take {name} out of {path}")


def _settings(told: _Tables, entries: list[_Entry], visit: Visit) -> dict[str, list[Setting]]:
    settings: dict[str, list[Setting]] = {}
    for name, option in _VARIABLES.items():
        if setting := variable(visit.environ, name):
            settings.setdefault(option, []).append(setting)
    for path, table in told:
        pip = table.get("pip", {})
        for where in (pip if isinstance(pip, dict) else {}, table):
            for option in _OPTIONS:
                if option in where:
                    value = where[option]
                    text = " ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
                    settings.setdefault(option, []).append(_setting(option, text, path))
    # an index that is there for what is named alone, and the first default, of which the others are covered
    settings["explicit"] = [e.source.setting for e in entries if e.is_explicit and e.source.setting]
    settings["default"] = [e.source.setting for e in entries if e.is_default and e.source.setting]
    settings["sources"] = [
        _setting(name, str(source["index"]), path)
        for path, table in told
        for name, value in (table.get("sources") or {}).items()
        for source in (value if isinstance(value, list) else [value])
        if isinstance(source, dict) and "index" in source
    ]
    settings["ours"] = [
        _setting("name", e.name, e.source.setting.file)
        for e in entries
        if e.source.is_ours and e.source.setting and e.source.setting.file
    ]
    return settings


def _asked(entries: list[_Entry]) -> tuple[Source, ...]:
    """The indexes in the order in which uv asks: those that are no default, then the first default."""
    before = [entry.source for entry in entries if not (entry.is_default or entry.is_explicit)]
    defaults = [entry.source for entry in entries if entry.is_default and not entry.is_explicit]
    return (*before, defaults[0] if defaults else Source(url="the public index", setting=None))


def _form(entries: list[_Entry], settings: Mapping[str, list[Setting]]) -> Form:
    asked = _asked(entries)
    if not any(source.is_ours for source in asked):
        return "explicit" if any(entry.source.is_ours and entry.is_explicit for entry in entries) else "none"
    if all(source.is_ours for source in asked):
        return "single"
    strategy = next(iter(settings.get("index-strategy", ())), None)
    is_first_alone = strategy is None or strategy.value == _FIRST_ALONE
    return "first" if asked[0].is_ours and is_first_alone else "extra"


def check(client: Client, visit: Visit) -> Iterator[Finding]:
    """What is to be said of uv."""
    yield _of_indexes(client, visit)
    yield from client.switched_off()
    if client.form != "none":
        yield from _of_trust(client, visit)
        yield from _of_keyring(client, visit)


def _of_indexes(client: Client, visit: Visit) -> Finding:
    asks = ", then ".join(source.shown for source in client.sources)
    if client.form == "single":
        return client.finding("ok", f"asks this index alone: {asks}")
    if client.form == "first":
        return client.finding("ok", f"asks this index first, and others for what it has not: {asks}")
    if client.form == "explicit":
        return _of_explicit(client, visit, asks)
    if client.form == "extra":
        said = "what another has is not looked for here, also where a stranger took your name there"
        if client.sources[0].is_ours and (strategy := client.setting("index-strategy")) is not None:
            said = f"{strategy.place} has it look in all of them, also for a name of yours at another index"
        return client.finding("warn", f"asks {asks}: {said}", make_safe(client, visit))
    covered = [setting for setting in client.settings["default"][1:] if is_index(setting.value, visit.address)]
    if covered:
        above = client.settings["default"][0]
        said = f"{above.place} overrides {covered[0].place}, which has this index"
        return client.finding("fail", f"asks {asks}: {said}", above.undo)
    return client.finding("warn", f"does not ask this index, but {asks}", take_up(client, visit))


def make_safe(client: Client, visit: Visit) -> str:
    """What keeps uv from taking another index's project of the same name."""
    strategy = client.setting("index-strategy")
    undone = [] if strategy is None or strategy.value == _FIRST_ALONE else [strategy.undo]
    before = list(itertools.takewhile(lambda source: not source.is_ours, client.sources))
    undone += [source.setting.undo for source in before if source.setting and source.setting.file is None]
    if len(before) > sum(1 for source in before if source.setting and source.setting.file is None):
        undone.append(make_single("uv", visit))
    return "; ".join(dict.fromkeys(undone)) or make_single("uv", visit)


def _of_explicit(client: Client, visit: Visit, asks: str) -> Finding:
    """An index that is for what names it: is there anything that does?"""
    names = {setting.value for setting in client.settings["ours"]}
    sent = sorted({setting.name for setting in client.settings["sources"] if setting.value in names})
    if sent:
        return client.finding(
            "ok", f"asks this index for what is sent there, which is {', '.join(sent)}, and else {asks}"
        )
    place = next(setting.place for setting in client.settings["explicit"] if is_index(setting.value, visit.address))
    said = f"never asks this index, but {asks}: {place} is explicit, and no [tool.uv.sources] names it"
    return client.finding("fail", said, make_single("uv", visit))


def _of_trust(client: Client, visit: Visit) -> Iterator[Finding]:
    host, netloc = visit.address.host, urlsplit(visit.address.base).netloc
    if not visit.address.is_encrypted:
        return
    for name in ("allow-insecure-host", "trusted-host"):
        trusted = client.setting(name)
        if trusted is not None and {host, netloc} & {word.rpartition("//")[2] for word in trusted.value.split()}:
            yield client.unchecked(host, trusted)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        bundle = variable(visit.environ, name)
        if bundle is not None and not Path(visit.cwd, bundle.value).exists():
            said = f"trusts nobody: {name} is {bundle.value}, which does not exist"
            yield client.finding("fail", said, bundle.undo)


def _of_keyring(client: Client, visit: Visit) -> Iterator[Finding]:
    """Whether uv finds the secret of a login that is in the keyring."""
    username = only_in_keyring(visit)
    if not username:
        return
    provider = client.setting("keyring-provider")
    ours = [source for source in client.sources if source.is_ours]
    has_command = bool(found(("keyring",), visit.environ))
    mend = configure("uv", visit) if has_command else f"ppmctl login {visit.address.base} --netrc"
    if provider is None or provider.value != "subprocess":
        yield client.finding("fail", f"asks no keyring, and the secret of {username} is in the keyring alone", mend)
    elif not has_command:
        yield client.finding("fail", "finds no command keyring on PATH, which has the secret", mend)
    elif ours and "@" not in ours[0].url:
        said = f"asks the keyring by a name, and there is none in {hidden(ours[0].url)}"
        yield client.finding("fail", said, mend)
