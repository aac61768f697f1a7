"""Read the configuration of uv, from its environment variables and the files that uv itself reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppmctl.doctor import programs
from ppmctl.doctor.client_model import Client, IndexUse, Setting, Source, source_of, table_of, variable
from ppmctl.doctor.finding import Context, Finding

_Tables = list[tuple[Path, Mapping[str, Any]]]  # the tables of uv's options, each with its file

FIRST_INDEX = "first-index"  # the default strategy
_READ = re.compile(r"DEBUG (?:Found \w+ configuration (?:in:|at)|Using configuration file:) `?(/.*?)`?$")
_VARIABLES = {
    "UV_INDEX_STRATEGY": "index-strategy",
    "UV_KEYRING_PROVIDER": "keyring-provider",
    "UV_INSECURE_HOST": "allow-insecure-host",
}
_DEFAULTS = ("UV_DEFAULT_INDEX", "UV_INDEX_URL")
_OPTIONS = ("index-strategy", "keyring-provider", "no-index", "allow-insecure-host", "trusted-host")


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """An index of uv's configuration."""

    source: Source
    name: str = ""
    is_default: bool = False
    is_explicit: bool = False


def learn(context: Context) -> Iterator[Client | Finding]:
    """Yield uv with its configuration, or a finding if it does not work."""
    for program in programs.on_path(("uv",), context.environ)[:1]:
        # with nothing to resolve it reads its configuration, reports the files, and ends
        command = [str(program), "--verbose", "--color", "never", "pip", "compile", "--offline", "-"]
        result = programs.run(command, context)
        version = re.search(r"^DEBUG uv (\S+)", result.output, re.MULTILINE)
        broken = re.search(r"error: Failed to parse: `?(.+?)`?$", result.output, re.MULTILINE)
        if broken or (version is None and result.code != 0):
            why = f"it can't read {context.cwd / broken[1]}" if broken else result.last_line
            hint = f"{program} --verbose pip compile --offline - </dev/null  shows why"
            yield Finding("uv", "fail", f"{program} does not work: {why}", hint)
            continue
        python = re.search(r"Using Python (\S+) interpreter", result.output)
        files = [Path(match[1]) for line in result.output.splitlines() if (match := _READ.match(line))]
        keys = {path: ("tool", "uv") if path.name == "pyproject.toml" else () for path in files}
        tables = [(path, table) for path, names in keys.items() if (table := table_of(path, *names))]
        entries = _entries(tables, context)
        settings = _settings(tables, entries, context)
        yield Client(
            name="uv",
            command=(str(program),),
            version=version[1] if version else "",
            python=python[1] if python else "",
            settings=settings,
            sources=_sources(entries),
            use=_use(entries, settings),
        )


def _entries(tables: _Tables, context: Context) -> list[_Entry]:
    """Return all indexes in the order in which uv reads them; of several with the same name the first."""
    entries = list(_of_environment(context))
    for path, table in tables:
        for item in table.get("index", ()):
            if isinstance(item, dict) and "url" in item:
                name = str(item.get("name", ""))
                source = source_of(_setting(f"[[index]] {name}".rstrip(), str(item["url"]), path), context)
                flags = {f"is_{flag}": item.get(flag) is True for flag in ("default", "explicit")}
                entries.append(_Entry(source=source, name=name, **flags))
        for options in _of_options(table):
            for option in ("extra-index-url", "index-url"):
                urls = options.get(option) or ()
                for url in [urls] if isinstance(urls, str) else urls:
                    source = source_of(_setting(option, str(url), path), context)
                    entries.append(_Entry(source=source, is_default=option == "index-url"))
    unique: dict[object, _Entry] = {}
    for entry in entries:
        unique.setdefault(entry.name or id(entry), entry)
    return list(unique.values())


def _of_environment(context: Context) -> Iterator[_Entry]:
    for variable_name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", *_DEFAULTS):
        if (setting := variable(context, variable_name)) is None:
            continue
        for word in setting.value.split():
            name, equals, url = word.partition("=")
            if not equals or "://" in name:
                name, url = "", word
            source = source_of(replace(setting, value=url), context)
            yield _Entry(source=source, name=name, is_default=variable_name in _DEFAULTS)


def _of_options(table: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the options for `uv pip`, which override the others, and those."""
    pip = table.get("pip", {})
    return pip if isinstance(pip, dict) else {}, table


def _setting(name: str, value: str, path: Path) -> Setting:
    return Setting(name=name, value=value, file=path, undo=f"Take {name} out of {path}")


def _settings(tables: _Tables, entries: list[_Entry], context: Context) -> dict[str, list[Setting]]:
    """Return the settings of each option. `index` are those of all indexes, `default` of those that are a default,
    `explicit` of this index if it is explicit; `assigned` are the packages that are assigned to it.
    """
    settings: dict[str, list[Setting]] = {}
    for name, option in _VARIABLES.items():
        if setting := variable(context, name):
            settings[option] = [setting]
    for path, options in ((path, options) for path, table in tables for options in _of_options(table)):
        for option in _OPTIONS:
            if option in options:
                value = options[option]
                text = " ".join(map(str, value)) if isinstance(value, list) else str(value).lower()
                settings.setdefault(option, []).append(_setting(option, text, path))
    placed = [(entry, entry.source.setting) for entry in entries if entry.source.setting]
    ours = {entry.name for entry, setting in placed if entry.source.is_ours and setting.file}
    settings["index"] = [setting for _entry, setting in placed]
    settings["default"] = [setting for entry, setting in placed if entry.is_default]
    settings["explicit"] = [setting for entry, setting in placed if entry.is_explicit and entry.source.is_ours]
    settings["assigned"] = [
        _setting(name, str(source["index"]), path)
        for path, table in tables
        for name, value in (table.get("sources") or {}).items()
        for source in (value if isinstance(value, list) else [value])
        if isinstance(source, dict) and "index" in source and str(source["index"]) in ours
    ]
    return settings


def _sources(entries: list[_Entry]) -> tuple[Source, ...]:
    """Return the indexes in the order in which uv asks them: the first default is the last of them."""
    before = [entry.source for entry in entries if not (entry.is_default or entry.is_explicit)]
    defaults = [entry.source for entry in entries if entry.is_default and not entry.is_explicit]
    return (*before, defaults[0] if defaults else Source(url="the public index", setting=None))


def _use(entries: list[_Entry], settings: Mapping[str, list[Setting]]) -> IndexUse:
    is_ours = [source.is_ours for source in _sources(entries)]
    if not any(is_ours):
        return "explicit" if any(entry.source.is_ours and entry.is_explicit for entry in entries) else "none"
    if all(is_ours):
        return "single"
    strategy = next(iter(settings.get("index-strategy", ())), None)
    return "first" if is_ours[0] and (strategy is None or strategy.value == FIRST_INDEX) else "extra"
