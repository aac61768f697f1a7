"""Resolve the URL of an index, or the name of a section of ~/.pypirc, to the URLs of the index."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from ppmctl import regular_file
from ppmctl.client import login_store, user_config
from ppmctl.errors import UsageError
from ppmctl.files import access_hint
from ppmctl.secret import Secret

VARIABLE = "PPMCTL_INDEX"
# Hosts, separated by spaces, that plain HTTP is safe for: nobody else is on the network in between.
TRUSTED = "PPMCTL_TRUSTED_HOST"

_PORTS = {"http": 80, "https": 443}
# No space, quote or control character: a URL is written into the configuration of other programs.
_URL = re.compile(r"https?://[^\s\"'<>\\^`{|}\x00-\x1f\x7f]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a .pypirc. `repository` is the URL that twine uploads to; `source` is the file and section."""

    name: str
    repository: str | None
    username: str | None
    password: Secret | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Address:
    """The URLs of an index. `base` has no slash at its end; `section` is the section of .pypirc for it.

    `others` are the names of that file's other sections. `is_trusted`: PPMCTL_TRUSTED_HOST has the host.
    """

    base: str
    upload: str
    section: Section | None = None
    others: tuple[str, ...] = ()
    is_trusted: bool = False

    @property
    def simple(self) -> str:
        """The URL of the list of projects, with a slash at its end."""
        return f"{self.base}/simple/"

    @property
    def host(self) -> str:
        """The host, without the port; an IPv6 address without its brackets."""
        return urlsplit(self.base).hostname or ""

    @property
    def is_encrypted(self) -> bool:
        return self.base.startswith("https:")

    @property
    def is_overheard(self) -> bool:
        """Whether others may read a credential on its way to the index."""
        return not (self.is_encrypted or self.is_loopback or self.is_trusted)

    @property
    def is_loopback(self) -> bool:
        """Whether the index is on this machine."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address, in lower case, is that of this machine for itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def resolve(
    index: str | None,
    *,
    environ: Mapping[str, str],
    home: Path,
    cwd: Path | None = None,
    by: Literal["--index", "URL"] = "--index",
) -> Address:
    """Return the index that `index` names, a URL or a section of `home`/.pypirc; by default that of `default_index`.

    A URL may end with /simple/ or /legacy/ or with neither. Raise UsageError if there is no index, for a section that
    does not exist, and for a URL with a credential. Messages call `index` what the user typed: `by`.
    """
    option = "--index " if by == "--index" else ""
    named = (index, by) if index else default_index(environ=environ, home=home, cwd=cwd)
    if named is None:
        raise UsageError(
            "No index is specified.",
            hint=f"ppmctl login URL  makes one the default. Or give {option}URL, or {option}NAME for a section of"
            f" ~/.pypirc, or set {VARIABLE} to either.",
        )
    wanted, where = named
    path = home / ".pypirc"
    sections = read_sections(path)
    section = sections.get(wanted)
    if "://" in wanted or "@" in wanted:
        base = base_url(wanted, where=where)
        section = next((each for each in sections.values() if _is_about(each, base)), None)
    elif section is None:
        start = f"It has: {', '.join(sections)}. Or give" if sections else "Give"
        raise UsageError(
            f"{wanted!r} is neither a URL nor a section of {path}.",
            hint=f"{start} the URL: {option}https://host/",
        )
    elif section.repository is None:
        raise UsageError(
            f"{section.source}, has no repository.", hint="Add a line to it: repository = https://host/legacy/"
        )
    else:
        base = base_url(section.repository, where=f"{section.source},")
    return Address(
        base=base,
        upload=_upload_url(section, base),
        section=section,
        others=tuple(name for name, other in sections.items() if other is not section),
        is_trusted=(urlsplit(base).hostname or "") in environ.get(TRUSTED, "").lower().split(),
    )


def resolve_for_upload(index: str | None, *, environ: Mapping[str, str], home: Path) -> Address:
    """Return what `resolve` does; if nothing names an index, that of TWINE_REPOSITORY_URL or TWINE_REPOSITORY."""
    repository, name = environ.get("TWINE_REPOSITORY_URL"), environ.get("TWINE_REPOSITORY")
    if index or not (repository or name) or default_index(environ=environ, home=home) is not None:
        return resolve(index, environ=environ, home=home)
    if repository:
        base = base_url(repository, where="TWINE_REPOSITORY_URL")
        address = resolve(base, environ=environ, home=home)
        return replace(address, upload=address.upload if repository.rstrip("/").endswith("/simple") else repository)
    return resolve(name, environ=environ, home=home)


def default_index(*, environ: Mapping[str, str], home: Path, cwd: Path | None = None) -> tuple[str, str] | None:
    """Return the index of a command that names none, and the place that sets it; None if nothing does.

    In this order: the environment, the project in `cwd`, the user's file, the last login, the machine's file.
    """
    if environ.get(VARIABLE):
        return environ[VARIABLE], VARIABLE
    first = next(user_config.indexes(environ=environ, home=home, cwd=cwd or Path.cwd()), None)
    if first is None or first.level == "system":
        latest = login_store.read(environ, home).latest
        if latest is not None:
            return latest.index, "ppmctl login"
    return None if first is None else (first.index, first.origin)


def base_url(url: str, *, where: str) -> str:
    """Return the URL of an index without /simple/, /legacy/ or a slash at its end. Raise UsageError, with `where`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if "@" in parts.netloc or (not parts.netloc and "@" in url):
        raise UsageError(
            f"{where} has a URL with a credential in it, which logs and error messages would show.",
            hint="Leave out everything before the @; put the credential into --credential-file, PPMCTL_USERNAME and"
            " PPMCTL_TOKEN, ~/.pypirc or ~/.netrc.",
        )
    if not _URL.fullmatch(url) or not parts.hostname or parts.query or parts.fragment:
        shown = url.partition("?")[0]  # a query can hold a token
        raise UsageError(
            f"{where} has {shown!r}, which is not the URL of an index.", hint="It looks like https://host/"
        )
    path = parts.path.rstrip("/")
    if path.endswith(("/simple", "/legacy")):
        path = path[: -len("/simple")].rstrip("/")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def read_sections(path: Path) -> dict[str, Section]:
    """Return the sections of a .pypirc that are about an index, by name; none if the file is missing."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(regular_file.read_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, configparser.Error) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not a file of [section] and name = value lines"
        # from None: configparser quotes lines of the file, which can hold passwords
        raise UsageError(f"{path} can't be read: {why}.", hint=access_hint(path)) from None
    return {
        name: Section(
            name=name,
            repository=parser.get(name, "repository", fallback=None),
            username=parser.get(name, "username", fallback=None),
            password=Secret(password) if (password := parser.get(name, "password", fallback=None)) else None,
            source=f"{path}, section [{name}]",
        )
        for name in parser.sections()
        if name != "distutils"
    }


def _upload_url(section: Section | None, base: str) -> str:
    # twine uploads to the URL in .pypirc as it is: a bare pypiserver takes uploads only at /.
    if section is None or section.repository is None or section.repository.rstrip("/").endswith("/simple"):
        return f"{base}/legacy/"
    return section.repository


def _is_about(section: Section, base: str) -> bool:
    if section.repository is None:
        return False
    try:
        return base_url(section.repository, where=section.source) == base
    except UsageError:
        return False  # a broken section is an error only if it is named
