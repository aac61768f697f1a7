"""What a command that talks to an index would go by here: each value with the place that it comes from."""

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
    """A value by name, None where there is none, and in words where it comes from."""

    name: str
    value: Any
    origin: str


def facts(index: str | None, *, file: Path | None, environ: Mapping[str, str], home: Path) -> Iterator[Fact]:
    """What is in force for the index that `index` names, or the one that is meant without a name.

    There is no secret in it. UsageError and CredentialError as for any command; no request is made.
    """
    target = index_url.resolve(index, environ=environ, home=home)
    meant = None if index else index_url.default_index(environ=environ, home=home)
    yield Fact(name="index", value=target.base, origin=meant[1] if meant else "--index")
    yield Fact(name="uploads", value=target.upload, origin=target.section.source if target.section else "the index")
    found = credential.find(target, file=file, environ=environ, home=home)
    if found is None:
        yield Fact(name="credential", value=None, origin="none of the places that it is looked for in")
    else:
        yield Fact(name="credential", value=found.username or None, origin=found.source)
    yield _certificates(target, environ)
    yield _proxy(target)
    if target.is_trusted:
        yield Fact(name="plain HTTP", value=f"right for {target.host}", origin=index_url.TRUSTED)
    builds = environ.get(workspace.VARIABLE)
    yield Fact(
        name="builds", value=builds or tempfile.gettempdir(), origin=workspace.VARIABLE if builds else "TMPDIR"
    )


def _certificates(target: Address, environ: Mapping[str, str]) -> Fact:
    if not target.is_encrypted:
        return Fact(name="certificates", value=None, origin="plain HTTP has none")
    path, origin = http.authorities(environ)
    return Fact(name="certificates", value=path, origin=origin)


def _proxy(target: Address) -> Fact:
    proxy = http.proxy(target.base)
    if proxy is None:
        return Fact(name="proxy", value=None, origin="none for this host")
    parts = urlsplit(proxy)
    host = parts.netloc.rpartition("@")[2]
    scheme = urlsplit(target.base).scheme.upper()
    return Fact(name="proxy", value=urlunsplit(parts._replace(netloc=host)), origin=f"{scheme}_PROXY or ALL_PROXY")
