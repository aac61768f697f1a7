"""Read which indexes pip is configured to ask on this machine, by its variables and files."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ppmctl import regular_file, user_dirs

_NAMES = ("index-url", "extra-index-url")


def indexes(environ: Mapping[str, str], home: Path) -> list[str]:
    """Return the URLs of these indexes, each with a slash at its end, without a credential; not pip's default.

    Files that can't be read are skipped, because only pip can report what is wrong with them.
    """
    values: dict[str, str] = {}
    for path in _files(environ, home):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(regular_file.read_text(path))
        except (OSError, UnicodeError, configparser.Error):
            continue
        sections = [parser[name] for name in ("global", "install") if parser.has_section(name)]
        values |= {name: section[name] for section in sections for name in _NAMES if section.get(name)}
    for name in _NAMES:
        if by_variable := environ.get(f"PIP_{name.upper().replace('-', '_')}"):
            values[name] = by_variable
    urls = [_without_credential(url) for name in _NAMES for url in values.get(name, "").split()]
    return [f"{url.rstrip('/')}/" for url in dict.fromkeys(urls) if url]


def _files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return pip's files, the strongest last."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # pip reads no file then
        return []
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf"]
    files += [home / "Library" / "Application Support" / "pip" / "pip.conf"]  # macOS
    files += [user_dirs.config(environ, home) / "pip" / "pip.conf"]
    files += [Path(folder) / "pip.conf" for folder in (environ.get("VIRTUAL_ENV"),) if folder]
    return [*files, *([Path(named)] if named else [])]


def _without_credential(url: str) -> str:
    """Return a URL of http or https without its user and password; "" for another one."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
