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


@dataclass(frozen=True, kw_only=True)
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
    default = None if index else index_url.default_index(environ=environ, home=home)
    yield Fact(name="index", value=target.base, origin=default[1] if default else "--index")
    yield Fact(name="uploads", value=target.upload, origin=target.section.source if target.section else "the index")
    chosen = credential.find(target, file=file, environ=environ, home=home)
    if chosen is None:
        yield Fact(name="credential", value=None, origin="not found in any of the usual places")
    else:
        yield Fact(name="credential", value=chosen.username or None, origin=chosen.source)
    path, origin = http.authorities(environ) if target.is_encrypted else (None, "not used for plain HTTP")
    yield Fact(name="certificates", value=path, origin=origin)
    yield _proxy(target)
    if target.is_trusted:
        yield Fact(name="plain HTTP", value=f"allowed for {target.host}", origin=index_url.TRUSTED)
    builds = environ.get(workspace.VARIABLE)
    yield Fact(
        name="builds", value=builds or tempfile.gettempdir(), origin=workspace.VARIABLE if builds else "TMPDIR"
    )


def _proxy(target: Address) -> Fact:
    proxy = http.proxy(target.base)
    if proxy is None:
        return Fact(name="proxy", value=None, origin="none for this host")
    parts = urlsplit(proxy)
    host = parts.netloc.rpartition("@")[2]
    scheme = urlsplit(target.base).scheme.upper()
    return Fact(name="proxy", value=urlunsplit(parts._replace(netloc=host)), origin=f"{scheme}_PROXY or ALL_PROXY")
