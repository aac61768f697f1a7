"""Read the settings by which this machine reaches package archives, for containers: CAs, proxies, pip, mirrors."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from testbed.errors import BedError

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOCAL_CAS = Path("/usr/local/share/ca-certificates")

_PIP_KEYS = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "timeout")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True, order=True)
class File:
    """A file for an image; `path` is relative to its root."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class Mirrors:
    """The URLs of this machine's Debian mirrors; `security` is "" if it gets no security updates."""

    main: str
    security: str


def files() -> list[File]:
    """Return the files by which apt and pip in a container reach the same archives as on this machine."""
    cas = [File(path=str(ca).lstrip("/"), content=ca.read_bytes()) for ca in sorted(LOCAL_CAS.glob("*.crt"))]
    texts = {
        "etc/pip.conf": pip_configuration(_pip_settings()),
        "etc/environment": environment(os.environ),
        "etc/apt/apt.conf.d/80proxy": apt_proxies(os.environ),
    }
    return cas + [File(path=path, content=text.encode()) for path, text in texts.items() if text]


def pip_configuration(settings: Mapping[str, str]) -> str:
    """Return /etc/pip.conf from this machine's settings, without its folders and local servers."""
    lines = []
    for key in _PIP_KEYS:
        values = [value for value in settings.get(key, "").split() if key == "timeout" or _reachable(value)]
        if values:
            lines.append(f"{key} = {' '.join(values)}")
    if settings.get("cert"):
        lines.append(f"cert = {CA_BUNDLE}")
    return "".join(f"{line}\n" for line in ["[global]", *lines]) if lines else ""


def environment(environ: Mapping[str, str]) -> str:
    """Return /etc/environment with the proxies that containers can reach, in upper and lower case."""
    values = _proxies(environ)
    if not values:
        return ""
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY")
    values["no_proxy"] = ",".join(filter(None, [no_proxy, "localhost,127.0.0.1,.test"]))
    return "".join(f"{spelling}={value}\n" for name, value in values.items() for spelling in (name, name.upper()))


def apt_proxies(environ: Mapping[str, str]) -> str:
    """Return apt's configuration for the same proxies."""
    return "".join(
        f'Acquire::{name.removesuffix("_proxy")}::Proxy "{value}";\n' for name, value in _proxies(environ).items()
    )


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    values = {name: environ.get(name) or environ.get(name.upper()) or "" for name in ("http_proxy", "https_proxy")}
    return {name: value for name, value in values.items() if value and _reachable(value)}


def mirrors() -> Mirrors:
    """Return Debian's mirrors from the apt sources of this machine. Raise BedError if they name none."""
    apt = Path("/etc/apt")
    texts = [
        path.read_text(encoding="utf-8")
        for path in [apt / "sources.list", *apt.glob("sources.list.d/*")]
        if path.is_file()
    ]
    uris = [uri for text in texts for uri in source_uris(text)]
    main = next((uri for uri in uris if uri.rstrip("/").endswith("/debian")), "")
    if not main:
        raise BedError("This machine's apt sources name no mirror of Debian")
    security = next((uri for uri in uris if uri.rstrip("/").endswith("/debian-security")), "")
    return Mirrors(main=main, security=security)


def source_uris(text: str) -> Iterator[str]:
    """Yield the http(s) URIs in apt sources, of the one-line or the deb822 form."""
    for line in text.splitlines():
        if re.match(r"\s*(?:deb\s|URIs:)", line):
            yield from re.findall(r"https?://[^\s\]]+", line)


def _pip_settings() -> dict[str, str]:
    """Return pip's settings on this machine by their names."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    settings: dict[str, str] = {}
    for line in sorted(done.stdout.splitlines(), key=lambda line: not line.startswith(":env:")):
        name, _, value = line.partition("=")
        settings.setdefault(name.rpartition(".")[2], str(ast.literal_eval(value)))
    return settings


def _reachable(value: str) -> bool:
    """Return whether a container can reach `value`: it is neither a folder nor a server of this machine."""
    if "://" not in value:
        return not value.startswith((".", "/", "~"))
    parts = urlsplit(value)
    return parts.scheme != "file" and parts.hostname not in _LOOPBACK
