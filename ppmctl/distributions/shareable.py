"""What a shared environment may have: requirements and locks that mean the same to every client and on every machine.

A requirement becomes a line of a requirements.txt, which clients read with the rights and the variables of their
users. So whatever else such a line can be, an option, a variable, a local file, is refused.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from ppmctl.distributions import direct_url, metadata_rules
from ppmctl.errors import UsageError
from ppmctl.secret import masked

if TYPE_CHECKING:
    from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock

MAX_REQUIREMENT = 2_000  # characters
_MAX_PARENTHESES = 100  # a parser calls itself for each
_MAX_LOCK = 16 << 20  # bytes; `lock.require_size` has the limits of new ones

_SHOWN = 2_000  # characters of an error

_EXTRAS = re.compile(r"\s*\[[^\]]*\]$")
_URL = re.compile(r"(?<![\w.+-])[A-Za-z][\w.+-]*://[^\s\"']+")
_ODD = re.compile(r"[\\$]|%(?![0-9A-Fa-f]{2})|(?:^|\s)[-#]")
# what pip takes for a file that is here, rather than for a name
_ARCHIVES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tlz", ".tar.lz")


def requirement(text: str) -> Requirement:
    """Return the requirement (PEP 508). Raise UsageError if it is invalid or can't be in a shared environment."""
    text = text.strip()
    shown = masked(text)
    if len(text) > MAX_REQUIREMENT:
        raise UsageError(f"{shown[:60]!r}… is too long for a requirement.")
    if reason := _meaning(text):
        raise UsageError(f"{shown!r} can't be in a shared list: {reason}.", hint=_hint(text))
    try:
        parsed = metadata_rules.parsed(text)
    except InvalidRequirement as exc:
        raise UsageError(f"{shown!r} is not a requirement: {masked(str(exc)).partition(chr(10))[0]}.") from exc
    if parsed.url is None:
        name = _EXTRAS.sub("", text.partition(";")[0].strip()).lower()
        if name.endswith(_ARCHIVES) or "/" in name:
            raise UsageError(f"{shown!r} can't be in a shared list: pip reads it as the name of a local file.")
        return parsed
    if where := direct_url.secret(parsed.url):
        raise UsageError(
            f"{shown!r} has a credential in its URL ({where}), which everybody who reads the environment would see.",
            hint="Leave it out. Put the credential into ~/.netrc or the settings of git.",
        )
    if reason := direct_url.problem(parsed.url):
        is_path = re.match(direct_url.PATH, parsed.url)
        hint = f"It is a path on one machine. If the index has {parsed.name}, the name alone is enough."
        raise UsageError(f"{shown!r} can't be in a shared list: {reason}.", hint=hint if is_path else "")
    return parsed


def _meaning(text: str) -> str:
    """Return what a reader of a requirements.txt takes a part of a text for, as a clause; "" if for nothing else."""
    if text.isprintable() and not _ODD.search(text):
        return f"it has over {_MAX_PARENTHESES} parentheses" if text.count("(") > _MAX_PARENTHESES else ""
    if not text.isprintable():
        odd = next(letter for letter in text if not letter.isprintable())
        return f"it has the character U+{ord(odd):04X}, which is not printed"
    if "\\" in text:
        return "pip reads a backslash as the end of a line that goes on, or as a local path"
    if re.search(r"(?:^|\s)#", text):
        return "pip reads what follows the # as a comment"
    if re.search(r"(?:^|\s)-", text):
        return "pip reads a word that starts with - as an option"
    if "$" in text:
        return "pip and uv replace ${NAME} by the value of an environment variable, even if it is a password"
    return "a % has to be followed by two hexadecimal digits, or it can be read as a variable"


def _hint(text: str) -> str:
    return "In a URL, write %24 for $ and %25 for %." if "://" in text and ("$" in text or "%" in text) else ""


def load_lock(text: str, *, where: str) -> tuple[Pylock, dict[str, Any]]:
    """Return the pylock.toml (PEP 751), and the values as they are written in it.

    Raise UsageError, which names it as `where`, if it is invalid or too large.
    """
    from packaging.pylock import Pylock, PylockValidationError

    if len(text.encode(errors="surrogatepass")) > _MAX_LOCK:
        raise UsageError(f"{where} is over {_MAX_LOCK >> 20} MB.")
    for line in text.split("\n"):
        if not (plain := line.removesuffix("\r").replace("\t", "")).isprintable():
            raise UsageError(f"{where} can't be shared: {_meaning(plain)}.")
    try:
        values = tomllib.loads(text)
        parsed = Pylock.from_dict(values)
    except (tomllib.TOMLDecodeError, PylockValidationError, RecursionError) as exc:
        # the first cut is far behind the second one: half of a URL may be masked less
        reason = " ".join(masked(str(exc)[: 10 * _SHOWN])[:_SHOWN].split())
        raise UsageError(f"{where} is not a valid pylock.toml (PEP 751): {reason}.") from exc
    for url in dict.fromkeys(_URL.findall(text)):
        _require_no_secret(url, where)
    for package in parsed.packages:
        _require_shareable(package, where)
    return parsed, values


def _require_no_secret(url: str, where: str) -> None:
    if direct_url.secret(url):
        try:
            at = f" at {urlsplit(url).hostname}"
        except ValueError:  # it is no valid URL either
            at = ""
        raise UsageError(
            f"{where} has a URL{at} with a credential in it, which every user could read.",
            hint="Lock without credentials in URLs: put them into netrc.",
        )


def _require_shareable(package: Package, where: str) -> None:
    """Raise UsageError for a package of a lock that is not the same on every machine, or has a secret in its URL."""
    files: list[PackageWheel | PackageSdist] = [*(package.wheels or ())]
    files += [package.sdist] if package.sdist is not None else []
    vcs, archive = package.vcs, package.archive
    sources = [source for source in (archive, vcs, *files) if source is not None]
    if package.directory is not None or any(source.path is not None or not source.url for source in sources):
        raise UsageError(
            f"{where} has {package.name} from a local folder.", hint="Publish it, and lock it from the index."
        )
    urls = [source.url or "" for source in sources if source is not vcs]
    urls += [f"{vcs.type}+{vcs.url}"] if vcs is not None else []
    urls += [package.index] if package.index is not None else []
    names = [name for file in files if (name := file.name) is not None]
    revisions = [vcs.commit_id, vcs.requested_revision or ""] if vcs is not None else []
    folders = [source.subdirectory or "" for source in (vcs, archive) if source is not None]
    for url in urls:
        _require_no_secret(url, where)
    reasons = [_meaning(text) for text in (*urls, *names, *revisions, *folders, str(package.marker or ""))]
    reasons += [direct_url.problem(url) for url in urls]
    reasons += ["the name of a file is a path" for name in names if "/" in name]
    reasons += ["a subdirectory is outside of the package" for folder in folders if not direct_url.is_below(folder)]
    if reason := next(filter(None, reasons), ""):
        raise UsageError(f"{where} can't be shared, because of {package.name}: {reason}.")
