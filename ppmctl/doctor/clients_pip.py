"""What each pip on PATH is told, by its own word, and what of that is in the way of the visited index."""

from __future__ import annotations

import configparser
import os
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from ppmctl.doctor.client_model import (
    Client,
    Form,
    Ran,
    Setting,
    Source,
    bare,
    configure,
    found,
    hidden,
    is_index,
    make_single,
    only_in_keyring,
    run,
    source_of,
    take_up,
    variable,
)
from ppmctl.doctor.finding import Finding, State, Visit

OLDEST = Version("22.2")  # the first that reads JSON, and that can tell what it would install
_PIPS = 3  # how many are looked at
_WEAKEST_FIRST = ("global", "user", "site", "env")  # as pip lays files over each other; then PIP_…
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def learn(visit: Visit) -> Iterator[Client | Finding]:
    """Each pip with its configuration; a finding for one that does not work."""
    commands = _commands(visit)[:_PIPS]
    with ThreadPoolExecutor() as pool:
        versions = pool.map(lambda command: run([*command, "--version"], visit), commands)
        told_by = pool.map(lambda command: run([*command, "config", "debug"], visit), commands)
    for command, said, told in zip(commands, versions, told_by, strict=True):
        version = re.search(r"^pip (\S+) from .*\(python (\S+)\)$", said.output, re.MULTILINE)
        if version is None or told.code != 0:
            why = _why(said if version is None else told)
            more = f"{shlex.join([*command, 'config', 'debug'])}  says more"
            yield Finding("pip", "fail", f"{shlex.join(command)} does not work: {why}", more)
            continue
        settings = _settings(command, told.output, visit)
        sources = _sources(settings, visit)
        yield Client(
            name="pip",
            command=command,
            version=version[1],
            python=version[2],
            settings=settings,
            sources=sources,
            form=_form(sources),
        )


def _why(ran: Ran) -> str:
    """What keeps pip from working. It quotes lines of files, which may be those with secrets: they are left out."""
    file = re.search(r"(?:file: '?|from '|characters in )(/[^'\n,]+?)(?:'|,|\.?$)", ran.output, re.MULTILINE)
    if file is None:
        return f"it ended with exit code {ran.code}" if ran.code is not None else ran.output
    line = re.search(r"\bline:? +(\d+)", ran.output)
    return f"it can't read {file[1]}{f', line {line[1]}' if line else ''}"


def _commands(visit: Visit) -> list[tuple[str, ...]]:
    programs = found(("pip", "pip3"), visit.environ)
    if venv := visit.environ.get("VIRTUAL_ENV"):
        own = Path(venv, "bin", "pip")
        if own.is_file() and own.resolve() not in {program.resolve() for program in programs}:
            programs.insert(0, own)
    if programs:
        return [(str(program),) for program in programs]
    pythons = found(("python3", "python"), visit.environ)[:1]
    with_pip = [(str(python), "-m", "pip") for python in pythons]
    return [command for command in with_pip if run([*command, "--version"], visit).code == 0]


def _settings(command: tuple[str, ...], told: str, visit: Visit) -> dict[str, list[Setting]]:
    """What counts for `pip install`, from what `pip config debug` says of files, and the environment."""
    files: dict[str, list[Path]] = {}
    kind = ""
    for line in told.splitlines():
        if re.fullmatch(r"[a-z_]+:", line):
            kind = line[:-1]
        elif match := re.fullmatch(r"  (/.*), exists: (True|False)", line):
            files.setdefault(kind, []).append(Path(match[1]))
    sections: dict[str, dict[str, list[Setting]]] = {"install": {}, "global": {}}
    if visit.environ.get("PIP_CONFIG_FILE") != os.devnull:  # which stands for no file at all
        for kind in _WEAKEST_FIRST:
            for path in files.get(kind, []):
                is_written_to = kind != "env" and path == files[kind][-1]
                for section, name, value in _read(path):
                    undo = f"Take {name} out of [{section}] in {path}"
                    if is_written_to:
                        undo = shlex.join([*command, "config", f"--{kind}", "unset", f"{section}.{name}"])
                        undo = undo if os.access(path, os.W_OK) else f"sudo {undo}"
                    written = Setting(name=name, value=value, file=path, undo=undo)
                    sections[section].setdefault(name, []).insert(0, written)
    settings: dict[str, list[Setting]] = {}
    for name in visit.environ:
        if name.startswith("PIP_") and (setting := variable(visit.environ, name)):
            settings[name[4:].lower().replace("_", "-")] = [setting]
    for by_name in sections.values():
        for name, chain in by_name.items():
            settings.setdefault(name, []).extend(chain)
    return settings


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, configparser.Error):  # pip itself has read it, or said what is wrong
        return
    for section in ("global", "install"):
        if parser.has_section(section):
            for name, value in parser.items(section):
                if value:  # an empty one is none
                    yield section, name.lower().replace("_", "-"), value


def _sources(settings: dict[str, list[Setting]], visit: Visit) -> tuple[Source, ...]:
    main = next(iter(settings.get("index-url", settings.get("pypi-url", ()))), None)
    extra = next(iter(settings.get("extra-index-url", ())), None)
    first = source_of(main, visit, main.value.strip()) if main else Source(url="the public index", setting=None)
    return (first, *([source_of(extra, visit, url) for url in extra.value.split()] if extra else ()))


def _form(sources: tuple[Source, ...]) -> Form:
    ours = [source for source in sources if source.is_ours]
    return "none" if not ours else "single" if len(ours) == len(sources) else "extra"


def check(client: Client, visit: Visit) -> Iterator[Finding]:
    """What is to be said of one pip."""
    yield _of_indexes(client, visit)
    yield from client.switched_off()
    yield from _of_obstacles(client, visit)
    if client.form != "none":
        yield from _of_trust(client, visit)
        yield from _of_keyring(client, visit)


def _of_indexes(client: Client, visit: Visit) -> Finding:
    asks = " and ".join(source.shown for source in client.sources)
    if client.form == "single":
        return client.finding("ok", f"asks this index alone: {asks}{_over(client, visit)}")
    if client.form == "extra":
        wins = "the highest version of any wins"
        taken = "whoever takes a name of yours at another index is installed from there"
        return client.finding("warn", f"asks {asks}: {wins}, so {taken}", make_safe(client, visit))
    covered = _covered(client, visit)
    if covered is not None:
        above, ours = covered
        over = f"{' and '.join(setting.place for setting in above)} overrides {ours.place}, which has this index"
        return client.finding("fail", f"asks {asks}: {over}", "; ".join(setting.undo for setting in above))
    return client.finding("warn", f"does not ask this index, but {asks}", take_up(client, visit))


def make_safe(client: Client, visit: Visit) -> str:
    """What makes the visited index the only one that pip asks."""
    extra = client.setting("extra-index-url")
    if client.sources[0].is_ours and extra is not None:
        return extra.undo
    alone = make_single("pip", visit)
    return f"{extra.undo}; {alone}" if extra is not None and extra.file is None else alone


def _covered(client: Client, visit: Visit) -> tuple[list[Setting], Setting] | None:
    """The settings that are obeyed in place of one that has the visited index, and that."""
    for name in ("index-url", "extra-index-url"):
        chain = client.settings.get(name, ())
        for position, setting in enumerate(chain):
            if any(is_index(url, visit.address) for url in setting.value.split()):
                return list(chain[:position]), setting
    return None


def _over(client: Client, visit: Visit) -> str:
    passed_over = [
        setting
        for setting in list(client.settings.get("index-url", ()))[1:]
        if not is_index(setting.value.strip(), visit.address)
    ]
    return f"; that overrides {' and '.join(setting.place for setting in passed_over)}" if passed_over else ""


def _of_obstacles(client: Client, visit: Visit) -> Iterator[Finding]:
    bundles = [setting for name in _BUNDLES if (setting := variable(visit.environ, name))]
    for name in ("cert", "client-cert"):
        setting = client.setting(name)
        if setting is not None and not _exists(setting.value, visit):
            # a bundle of the environment is obeyed before pip's own
            state: State = "warn" if bundles and name == "cert" else "fail"
            said = f"is told by {setting.place} to use {setting.value}, which does not exist"
            yield client.finding(state, said, setting.undo)
    for bundle in bundles[:1]:
        if not _exists(bundle.value, visit):
            said = f"is told by {bundle.name} to trust {bundle.value}, which does not exist"
            yield client.finding("fail", said, bundle.undo)


def _exists(path: str, visit: Visit) -> bool:
    text = path.strip()
    return Path(visit.cwd, str(visit.home) + text[1:] if text.startswith("~/") else text).exists()


def _of_trust(client: Client, visit: Visit) -> Iterator[Finding]:
    host, netloc = visit.address.host, urlsplit(visit.address.base).netloc
    trusted = client.setting("trusted-host")
    names = trusted.value.lower().split() if trusted else []
    is_trusted = host in names or netloc in names
    if trusted is not None and is_trusted and visit.address.is_encrypted:
        yield client.unchecked(host, trusted)
    elif not (is_trusted or visit.address.is_encrypted or visit.address.is_loopback):
        said = f"passes over this index: it speaks plain HTTP, and trusted-host does not have {host}"
        yield client.finding("fail", said, configure("pip", visit))


def _of_keyring(client: Client, visit: Visit) -> Iterator[Finding]:
    """Whether pip finds the secret of a login that is in the keyring."""
    username = only_in_keyring(visit)
    if not username:
        return
    provider = client.setting("keyring-provider")
    if provider is not None and provider.value.strip() == "disabled":
        said = f"may not ask the keyring, which has the secret: {provider.place} disables it"
        yield client.finding("fail", said, provider.undo)
        return
    way = keyring(client, visit)
    ours = next(source.url for source in client.sources if source.is_ours)
    if not way:
        said = f"has no keyring to ask, and the secret of {username} is in the keyring alone"
        yield client.finding("fail", said, f"ppmctl login {visit.address.base} --netrc")
    elif way == "subprocess" and "@" not in ours:
        said = f"asks the command keyring by a name, and there is none in {hidden(ours)}"
        yield client.finding("fail", said, configure("pip", visit))


def keyring(client: Client, visit: Visit) -> str:
    """How pip asks a keyring when somebody is there to be asked: import, subprocess, or "" where it can't."""
    provider = client.setting("keyring-provider")
    kind = provider.value.strip() if provider else "auto"
    if kind in ("auto", "import") and run([*_python(client), "-c", "import keyring"], visit).code == 0:
        return "import"
    # pip does not run the command of its own environment, where it would have been imported
    commands = found(("keyring",), visit.environ, without=Path(client.command[0]).parent)
    return "subprocess" if kind in ("auto", "subprocess") and commands else ""


def _python(client: Client) -> tuple[str, ...]:
    if len(client.command) > 1:
        return client.command[:1]
    try:
        first = Path(client.command[0]).read_bytes().split(b"\n", 1)[0].decode("utf-8", "replace")
    except OSError:
        first = ""
    program = first.removeprefix("#!").strip()
    beside = Path(client.command[0]).with_name("python")
    return (program,) if first.startswith("#!") and "python" in program and " " not in program else (str(beside),)


def of_age(client: Client) -> Iterator[Finding]:
    """Whether it is too old for what indexes offer today."""
    try:
        is_old = Version(client.version) < OLDEST
    except InvalidVersion:
        return
    if is_old:
        said = "it reads no JSON and no metadata, and downloads each version that it looks at whole"
        upgrade = shlex.join([*client.command, "install", "--upgrade", "pip"])
        yield client.finding("warn", f"is older than {OLDEST}: {said}", upgrade)


def differing(clients: list[Client]) -> Iterator[Finding]:
    """Whether the same word, pip, asks other indexes elsewhere on this machine."""
    mend = "Say which is meant: python -m pip, with the python of it; pip config debug  says what each reads"
    for pair in ((clients[0], other) for other in clients[1:]):
        mine, theirs = ([bare(source.url) for source in client.sources] for client in pair)
        if mine != theirs:
            pips = " and ".join(shlex.join(client.command) for client in pair)
            asks = "; ".join(" and ".join(source.shown for source in client.sources) for client in pair)
            yield Finding("pip", "warn", f"{pips} ask different indexes: {asks}", mend)
