"""Read the requirements in Pipenv's Pipfile (TOML) and Pipfile.lock (JSON)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from typing import Any

from ppmctl.distributions.distribution import one_line
from ppmctl.environments.imported import Imported, Lines, listed
from ppmctl.environments.source import Source
from ppmctl.errors import UsageError

# tables of a Pipfile and a Pipfile.lock that are not lists of packages
_OTHER = frozenset({"source", "requires", "pipenv", "scripts", "_meta"})
_VCS = ("bzr", "git", "hg", "svn")


def read(source: Source, groups: Sequence[str], *, is_lock: bool) -> Imported:
    """Return the packages of a Pipfile or its lock, and of the other tables in `groups`. Raise UsageError."""
    text = source.text()
    try:
        values = json.loads(text) if is_lock else tomllib.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{source} is not {'JSON' if is_lock else 'TOML'}: {one_line(exc)}.") from exc
    main, dev = ("default", "develop") if is_lock else ("packages", "dev-packages")
    tables = values if isinstance(values, dict) else {}
    tables = {name: table for name, table in tables.items() if isinstance(table, dict) and name not in _OTHER}
    if main not in tables:
        raise UsageError(f"{source} has no table of {main}.", hint="Is it Pipenv's file?")
    imported, lines = Imported(), Lines(source, text)
    wanted = [main, *(dev if group == "dev" else group for group in groups)]
    for name in wanted:
        if name not in tables:
            known = listed(set(tables) - {main})
            raise UsageError(f"{source} has no group {name!r}.", hint=f"It has: {known}." if known else "")
        for package, value in tables[name].items():
            _package(package, value, lines.where(package), imported)
    if others := set(tables) - set(wanted):
        imported.notes.append(f"{source}: {listed(others)} were left out (--group NAME).")
    return imported


def _package(name: str, value: Any, where: str, imported: Imported) -> None:
    """Add a package: its version, or a table with version, extras, markers, or where it comes from."""
    table = value if isinstance(value, dict) else {"version": value}
    extras = table.get("extras")
    text = f"{name}[{','.join(map(str, extras))}]" if isinstance(extras, list) and extras else name
    version, markers = str(table.get("version", "*")), [str(table[key]) for key in ("markers",) if table.get(key)]
    # a marker may also be a key of its own: sys_platform = "== 'win32'"
    markers += [f"{key} {table[key]}" for key in sorted(table) if key in _MARKERS]
    vcs = next((key for key in _VCS if key in table), None)
    if vcs is not None:
        revision = f"@{table['ref']}" if table.get("ref") else ""
        folder = f"#subdirectory={table['subdirectory']}" if table.get("subdirectory") else ""
        text = f"{text} @ {vcs}+{str(table[vcs]).removeprefix(vcs + '+')}{revision}{folder}"
    elif "path" in table or ("file" in table and "://" not in str(table["file"])):
        imported.leave(f"{name} = {table.get('path', table.get('file'))}", where, "it is a local file or folder.")
        return
    elif "file" in table:
        text = f"{text} @ {table['file']}"
    elif version != "*":
        text = f"{text}{version if not version[:1].isdecimal() else f'=={version}'}"
    marker = " and ".join(markers if len(markers) < 2 else [f"({each})" for each in markers])
    requirement = imported.take(f"{text} ; {marker}" if marker else text, where)
    if requirement is not None:
        imported.requirements.append(requirement)


_MARKERS = frozenset(
    {
        *("implementation_name", "implementation_version", "os_name", "platform_machine", "platform_release"),
        *("platform_python_implementation", "platform_system", "platform_version", "python_full_version"),
        *("python_version", "sys_platform"),
    }
)
