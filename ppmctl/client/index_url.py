"""Which index is meant: a URL as people write it, or the name of a section in ~/.pypirc → its URLs."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from ppmctl.client import login_store, user_config
from ppmctl.errors import UsageError
from ppmctl.files import whose
from ppmctl.secret import Secret

VARIABLE = "PPMCTL_INDEX"
# Hosts, with spaces between, that plain HTTP is right for: nobody but the two ends is on the network in between.
TRUSTED = "PPMCTL_TRUSTED_HOST"

_PORTS = {"http": 80, "https": 443}
# No space, quote or control character: a URL is written into other programs' configuration as it stands.
_URL = re.compile(r"https?://[^\s\"'<>\\^`{|}\x00-\x1f\x7f]+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a .pypirc. `repository` is the URL that twine uploads to; `source` says where it stands."""

    name: str
    repository: str | None
    username: str | None
    password: Secret | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an index is. `base` has no slash at its end; `section` is the one in .pypirc that is about it.

    `others` are the names of that file's other sections. `is_trusted`: PPMCTL_TRUSTED_HOST has the host.
    """

    base: str
    upload: str
    section: Section | None = None
    others: tuple[str, ...] = ()
    is_trusted: bool = False

    @property
    def simple(self) -> str:
        """The URL of the list of projects; it ends with a slash."""
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
        """Whether a credential that is sent there may be read on the way."""
        return not (self.is_encrypted or self.is_loopback or self.is_trusted)

    @property
    def is_loopback(self) -> bool:
        """Whether the index is on this machine: nobody in between can listen."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address, in lower case, is this machine's own for itself."""
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
    """The index that `index` names, or else what `said` finds: a URL, or a section's name in `home`/.pypirc.

    A URL may end with /simple/ or /legacy/ or with neither. UsageError where there is none, where it is neither, and
    where a URL holds a credential; it calls `index` as it was typed: `by`.
    """
    option = "--index " if by == "--index" else ""
    found = (index, by) if index else said(environ=environ, home=home, cwd=cwd)
    if found is None:
        raise UsageError(
            "It is not said which index is meant.",
            hint=f"Give {option}URL, or {option}NAME for a section of ~/.pypirc, or set {VARIABLE} to either;"
            " ppmctl login URL  remembers it.",
        )
    wanted, where = found
    path = home / ".pypirc"
    sections = read_sections(path)
    if "://" in wanted or "@" in wanted:
        base = base_url(wanted, where=where)
        section = next((section for section in sections.values() if _is_about(section, base)), None)
        return _address(base, section, sections, environ)
    if wanted not in sections:
        start = f"It has: {', '.join(sections)}. Or give" if sections else "Give"
        raise UsageError(
            f"{wanted!r} is neither a URL nor a section of {path}.",
            hint=f"{start} the URL: {option}https://host/",
        )
    section = sections[wanted]
    if section.repository is None:
        raise UsageError(
            f"{section.source}, has no repository.", hint="Add a line there: repository = https://host/legacy/"
        )
    base = base_url(section.repository, where=f"{section.source},")
    return _address(base, section, sections, environ)


def resolve_for_upload(index: str | None, *, environ: Mapping[str, str], home: Path) -> Address:
    """As `resolve`; where nothing else names an index, TWINE_REPOSITORY_URL does, or TWINE_REPOSITORY."""
    repository, name = environ.get("TWINE_REPOSITORY_URL"), environ.get("TWINE_REPOSITORY")
    if index or not (repository or name) or said(environ=environ, home=home) is not None:
        return resolve(index, environ=environ, home=home)
    if repository:
        base = base_url(repository, where="TWINE_REPOSITORY_URL")
        found = resolve(base, environ=environ, home=home)
        return replace(found, upload=found.upload if repository.rstrip("/").endswith("/simple") else repository)
    return resolve(name, environ=environ, home=home)


def said(*, environ: Mapping[str, str], home: Path, cwd: Path | None = None) -> tuple[str, str] | None:
    """The index that is meant where a command names none, and who says so; None if nobody does.

    It is the environment, the project in `cwd`, the user's file, the last `ppmctl login`, or the machine's file.
    """
    if environ.get(VARIABLE):
        return environ[VARIABLE], VARIABLE
    written = user_config.indexes(environ=environ, home=home, cwd=cwd or Path.cwd())
    first = next(written, None)
    if first is None or first.level == "system":
        latest = login_store.read(environ, home).latest
        if latest is not None:
            return latest.index, "ppmctl login"
    return None if first is None else (first.index, first.origin)


def _address(
    base: str, section: Section | None, sections: Mapping[str, Section], environ: Mapping[str, str]
) -> Address:
    return Address(
        base=base,
        upload=_upload_url(section, base),
        section=section,
        others=tuple(name for name, other in sections.items() if other is not section),
        is_trusted=(urlsplit(base).hostname or "") in environ.get(TRUSTED, "").lower().split(),
    )


def base_url(url: str, *, where: str) -> str:
    """The URL of an index without /simple/, /legacy/ and a slash at its end; the host in lower case.

    UsageError, which says that the URL came from `where`, if it is not one over HTTP or has a credential,
    a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if "@" in parts.netloc or (not parts.netloc and "@" in url):
        raise UsageError(
            f"{where} has a URL with a credential in it, where logs and error messages show it.",
            hint="Leave out everything before the @; --credential-file, PPMCTL_USERNAME and PPMCTL_TOKEN,"
            " ~/.pypirc and ~/.netrc are the places for it.",
        )
    if not _URL.fullmatch(url) or not parts.hostname or parts.query or parts.fragment:
        shown = url.partition("?")[0]  # what follows can be a token
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
    """The sections of a .pypirc that are about an index, by name; none where there is no such file."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, configparser.Error) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not a file of [section] and name = value lines"
        # from None: configparser quotes lines of the file, and there are passwords in it
        raise UsageError(f"{path} can't be read: {why}.", hint=whose(path)) from None
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
    # What stands in a .pypirc is where twine uploads to, as it is: a bare pypiserver takes uploads at / alone.
    if section is None or section.repository is None or section.repository.rstrip("/").endswith("/simple"):
        return f"{base}/legacy/"
    return section.repository


def _is_about(section: Section, base: str) -> bool:
    if section.repository is None:
        return False
    try:
        return base_url(section.repository, where=section.source) == base
    except UsageError:
        return False  # a broken section matters only to whoever asks for it by name
