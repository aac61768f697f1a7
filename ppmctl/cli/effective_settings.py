"""The settings that a command that talks to an index would use, each with its source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ppmctl.client import credential, http, index_url
from ppmctl.client.index_url import Address
from ppmctl.publishing import workspace


@dataclass(frozen=True)
class Fact:
    """A setting, its value (None if there is none) and, in words, where the value comes from."""

    name: str
    value: Any
    origin: str


def facts(index: str | None, *, file: Path | None, environ: Mapping[str, str], home: Path) -> Iterator[Fact]:
    """Yield the settings for the index that `index` names, or for the default one, without a secret.

    Make no request. Raise UsageError and CredentialError as any command does.
    """
    target = index_url.resolve(index, environ=environ, home=home)
    default = None if index else index_url.said(environ=environ, home=home)
    yield Fact("index", target.base, default[1] if default else "--index")
    yield Fact("uploads", target.upload, target.section.source if target.section else "the index")
    found = credential.find(target, file=file, environ=environ, home=home)
    if found is None:
        yield Fact("credential", None, "not found in any of the usual places")
    else:
        yield Fact("credential", found.username or None, found.source)
    if target.is_encrypted:
        yield Fact("certificates", *http.authorities(environ))
    else:
        yield Fact("certificates", None, "not used for plain HTTP")
    yield _proxy(target)
    if target.is_trusted:
        yield Fact("plain HTTP", f"allowed for {target.host}", index_url.TRUSTED)
    builds = environ.get(workspace.VARIABLE)
    yield Fact("builds", builds or tempfile.gettempdir(), workspace.VARIABLE if builds else "TMPDIR")


def _proxy(target: Address) -> Fact:
    proxy = http.proxy(target.base)
    if proxy is None:
        return Fact("proxy", None, "none for this host")
    parts = urlsplit(proxy)
    host = parts.netloc.rpartition("@")[2]
    scheme = urlsplit(target.base).scheme.upper()
    return Fact("proxy", urlunsplit(parts._replace(netloc=host)), f"{scheme}_PROXY or ALL_PROXY")
