"""Read the configuration of each pip on PATH, as pip itself reports it."""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ppmctl import regular_file
from ppmctl.doctor import programs
from ppmctl.doctor.client_model import Client, IndexUse, Setting, Source, source_of, variable
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.index_url import without_userinfo

OLDEST = Version("22.2")  # the first that reads JSON, and that can report what it would install
_MOST = 3  # pips that are checked
_WEAKEST_FIRST = ("global", "user", "site", "env")  # the order in which pip reads files; PIP_… override them


def learn(context: Context) -> Iterator[Client | Finding]:
    """Yield each pip with its configuration, or a finding if it does not work."""
    commands = _commands(context)[:_MOST]
    with ThreadPoolExecutor() as pool:
        versions = pool.map(lambda command: programs.run([*command, "--version"], context), commands)
        configurations = pool.map(lambda command: programs.run([*command, "config", "debug"], context), commands)
    for command, shown, configuration in zip(commands, versions, configurations, strict=True):
        match = re.search(r"^pip (\S+) from .*\(python (\S+)\)$", shown.output, re.MULTILINE)
        if match is None or configuration.code != 0:
            why = _why(shown if match is None else configuration)
            hint = f"{shlex.join([*command, 'config', 'debug'])}  shows more"
            yield Finding("pip", "fail", f"{shlex.join(command)} does not work: {why}", hint)
            continue
        options = _settings(command, configuration.output, context)
        sources = _sources(options, context)
        is_ours = [source.is_ours for source in sources]
        use: IndexUse = "single" if all(is_ours) else "extra" if any(is_ours) else "none"
        version, python = match.groups()
        yield Client(
            name="pip", command=command, version=version, python=python, settings=options, sources=sources, use=use
        )


def _why(result: programs.Result) -> str:
    """Return the file that pip can't read. The lines that pip quotes are left out: they may contain secrets."""
    file = re.search(r"(?:file: '?|from '|characters in )(/[^'\n,]+?)(?:'|,|\.?$)", result.output, re.MULTILINE)
    if file is None:
        return f"it ended with exit code {result.code}" if result.code is not None else result.output
    line = re.search(r"\bline:? +(\d+)", result.output)
    return f"it can't read {file[1]}{f', line {line[1]}' if line else ''}"


def _commands(context: Context) -> list[tuple[str, ...]]:
    pips = programs.on_path(("pip", "pip3"), context.environ)
    if venv := context.environ.get("VIRTUAL_ENV"):
        own = Path(venv, "bin", "pip")
        if regular_file.is_present(own) and own.resolve() not in {pip.resolve() for pip in pips}:
            pips.insert(0, own)
    if pips:
        return [(str(pip),) for pip in pips]
    pythons = programs.on_path(("python3", "python"), context.environ)[:1]
    commands = [(str(python), "-m", "pip") for python in pythons]
    return [command for command in commands if programs.run([*command, "--version"], context).code == 0]


def _settings(command: tuple[str, ...], configuration: str, context: Context) -> dict[str, list[Setting]]:
    """Return what `pip install` obeys, from the files that `pip config debug` lists, and the environment."""
    files: dict[str, list[Path]] = {}
    header = ""
    for line in configuration.splitlines():
        if re.fullmatch(r"[a-z_]+:", line):
            header = line[:-1]
        elif match := re.fullmatch(r"  (/.*), exists: (True|False)", line):
            files.setdefault(header, []).append(Path(match[1]))
    if context.environ.get("PIP_CONFIG_FILE") == os.devnull:  # pip reads no file then
        files = {}
    sections: dict[str, dict[str, list[Setting]]] = {"install": {}, "global": {}}
    ordered = [(group, path) for group in _WEAKEST_FIRST for path in files.get(group, ())]
    for group, path in ordered:
        for section, name, value in _read(path):
            undo = f"Take {name} out of [{section}] in {path}"
            if group != "env" and path == files[group][-1]:  # the file of this group that pip writes to
                undo = shlex.join([*command, "config", f"--{group}", "unset", f"{section}.{name}"])
                undo = undo if os.access(path, os.W_OK) else f"sudo {undo}"
            setting = Setting(name=name, value=value, file=path, undo=undo)
            sections[section].setdefault(name, []).insert(0, setting)
    settings: dict[str, list[Setting]] = {}
    for name in context.environ:
        if name.startswith("PIP_") and (by_variable := variable(context, name)):
            settings[name[4:].lower().replace("_", "-")] = [by_variable]
    for by_name in sections.values():
        for name, chain in by_name.items():
            settings.setdefault(name, []).extend(chain)
    return settings


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(regular_file.read(path).decode(errors="replace"))
    except (OSError, configparser.Error):  # pip itself has read it, or reported the error
        return
    for section in ("global", "install"):
        if parser.has_section(section):
            for name, value in parser.items(section):
                if value:
                    yield section, name.lower().replace("_", "-"), value


def _sources(settings: dict[str, list[Setting]], context: Context) -> tuple[Source, ...]:
    main = next(iter(settings.get("index-url", settings.get("pypi-url", ()))), None)
    extra = next(iter(settings.get("extra-index-url", ())), None)
    first = source_of(main, context, main.value.strip()) if main else Source(url="the public index", setting=None)
    return (first, *([source_of(extra, context, url) for url in extra.value.split()] if extra else ()))


def keyring(client: Client, context: Context) -> str:
    """Return how pip reads a keyring if it may ask the user: "import", "subprocess", or "" if it can't."""
    provider = client.setting("keyring-provider")
    kind = provider.value.strip() if provider else "auto"
    if kind in ("auto", "import") and programs.run([*_python(client), "-c", "import keyring"], context).code == 0:
        return "import"
    # pip does not run the command of its own environment: it would import that keyring
    commands = programs.on_path(("keyring",), context.environ, without=Path(client.command[0]).parent)
    return "subprocess" if kind in ("auto", "subprocess") and commands else ""


def _python(client: Client) -> tuple[str, ...]:
    if len(client.command) > 1:
        return client.command[:1]
    try:
        first = regular_file.read(Path(client.command[0])).split(b"\n", 1)[0].decode("utf-8", "replace")
    except OSError:
        first = ""
    program = first.removeprefix("#!").strip()
    if first.startswith("#!") and "python" in program and " " not in program:
        return (program,)
    return (str(Path(client.command[0]).with_name("python")),)


def check_age(client: Client) -> Iterator[Finding]:
    """Find a pip that is too old for what indexes offer today."""
    try:
        is_old = Version(client.version) < OLDEST
    except InvalidVersion:
        return
    if is_old:
        cost = "it reads no JSON and no core metadata, and downloads every version that it considers"
        upgrade = shlex.join([*client.command, "install", "--upgrade", "pip"])
        yield client.finding("warn", f"is older than {OLDEST}: {cost}", upgrade)


def check_differences(clients: list[Client]) -> Iterator[Finding]:
    """Find pips on this machine that ask different indexes."""
    hint = "Choose one by its Python: python -m pip; pip config debug  shows what each reads"
    for pair in ((clients[0], other) for other in clients[1:]):
        first, second = ([without_userinfo(source.url) for source in client.sources] for client in pair)
        if first != second:
            pips = " and ".join(shlex.join(client.command) for client in pair)
            asks = "; ".join(" and ".join(source.shown for source in client.sources) for client in pair)
            yield Finding("pip", "warn", f"{pips} ask different indexes: {asks}", hint)
