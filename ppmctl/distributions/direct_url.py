"""What a shared list or lock may have as a URL: no secret, no local file, nothing that a client would run."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from ppmctl.secret import TOKEN

# What is before the + of a scheme → what may follow. git+ext runs a command, and git+file reads a folder.
_SCHEMES = {
    "": ("https", "http"),
    "git": ("https", "http", "ssh", "git"),
    "hg": ("https", "http", "ssh"),
    "svn": ("https", "http", "ssh", "svn"),
    "bzr": ("https", "http", "ssh", "sftp"),
}
PATH = r"(?:[Ff][Ii][Ll][Ee]:|[./~\\]|[A-Za-z]:[\\/])"  # where it starts a path on one machine, not a URL
_WITH_USER = ("ssh", "sftp")  # there the user is no secret
_PLACES = re.compile(r"[@?#]")
_SECRET_NAME = re.compile(
    r"token|secret|passw|credential|signature|(?:api|access|private|deploy)[-_]?key"
    r"|(?<![a-z])(?:key|auth|authorization|bearer|jwt|sas|sig|pass|pwd|pw)(?![a-z])"
)


def secret(url: str) -> str:
    """Return where a URL has a secret, as a phrase; "" if it has none that can be recognised."""
    if not _PLACES.search(url):
        return "in a token" if TOKEN.search(unquote(url)) else ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.password is not None or (parts.username is not None and not parts.scheme.endswith(_WITH_USER)):
        return "before the @"
    for pair in re.split(r"[?&;]", f"{parts.query}&{parts.fragment}"):
        name, equals, value = pair.partition("=")
        if equals and value and _SECRET_NAME.search(_words(unquote(name))):
            return f"as {unquote(name)[:60]!r}"
    return "in a token" if TOKEN.search(unquote(url)) else ""


def problem(url: str) -> str:
    """Return why a URL can't be in a list that others install, as a clause; "" if it can."""
    try:
        parts = urlsplit(url)
        host, user, _port = parts.hostname or "", parts.username or "", parts.port
    except ValueError:
        return "its URL is invalid"
    control, _plus, transport = parts.scheme.rpartition("+")
    if transport not in _SCHEMES.get(control, ()):
        return "its URL does not start with https://, http://, or a form such as git+https:// or git+ssh://"
    if not host or "%" in parts.netloc:
        return "its URL has no valid host"
    # programs such as ssh and git take these for options
    if host.startswith("-") or user.startswith("-") or (control and "@-" in unquote(parts.path)):
        return "a part of its URL starts with -"
    pairs = (pair.partition("=") for pair in parts.fragment.split("&"))
    if not all(is_below(unquote(value)) for name, _equals, value in pairs if unquote(name).lower() == "subdirectory"):
        return "its subdirectory is outside of what it names"
    return ""


def is_below(path: str) -> bool:
    """Return whether a relative path, of any operating system, stays below where it starts."""
    return not path.startswith(("/", "\\")) and ":" not in path and ".." not in re.split(r"[/\\]", path)


def _words(name: str) -> str:
    """Return the name of a parameter in small letters, with a _ where a word starts: accessKeyId is access_key_id."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
