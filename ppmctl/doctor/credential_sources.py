"""The places that hold a credential for the index: whether they agree, and who can read them.

pip and uv know netrc and the keyring, twine ~/.pypirc and variables of its own: ppmctl may be let in, and not they.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from ppmctl import user_dirs
from ppmctl.client import credential
from ppmctl.client.credential import Credential
from ppmctl.client.simple_api import ACCEPT
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.errors import CredentialError


def check(visit: Visit) -> Iterator[Finding]:
    """Compare all credentials with the one that is shown, and look at the files."""
    found = [*_others(visit), *_files(visit)]
    if found:
        yield from found
    elif visit.credential is not None:
        yield Finding("places", "ok", "no other place has another credential, and nobody else can read them")


def _others(visit: Visit) -> Iterator[Finding]:
    shown = visit.credential
    known = credential.everywhere(visit.address, environ=visit.environ, home=visit.home)
    try:
        others = [each for each in known if shown is None or not _same(each, shown)]
    except CredentialError:
        return  # said already
    tried: list[Credential] = []
    for other in others:
        if shown is None or any(_same(other, each) for each in tried):
            continue
        tried.append(other)
        is_same_user = other.username == shown.username
        what = f"another secret of {other.username}" if is_same_user else f"that of {other.username}"
        said = f"{other.source}, has another credential ({what}) than {shown.source}, which ppmctl shows"
        mend = f"Take it out there, or write over it: ppmctl login {visit.address.base}/ --netrc"
        if not _is_refused(visit, other):
            if visit.listed.status == 401:
                said, mend = f"{said}; the index takes this one", f"Take the other one out of {shown.source}."
            yield Finding("places", "warn", said, mend)
            continue
        if _port(visit) and "machine" in other.source:
            mend = f"netrc has no ports: its entry is for every index at {visit.address.host}. {mend}"
        yield Finding("places", "fail", f"{said}, and the index refuses it: pip, uv or twine may show it", mend)


def _is_refused(visit: Visit, shown: Credential) -> bool:
    return visit.get(visit.address.simple, shown, Accept=ACCEPT).status == 401


def _files(visit: Visit) -> Iterator[Finding]:
    if os.name != "posix":
        return
    for path in (user_dirs.netrc(visit.environ, visit.home), visit.home / ".pypirc"):
        try:
            entry = path.stat()
        except OSError:
            continue
        if entry.st_uid != os.geteuid():
            mend = f"sudo chown {os.geteuid()} {path} && chmod 600 {path}"
            yield Finding("places", "fail", f"{path} belongs to another user (uid {entry.st_uid})", mend)
        elif entry.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = f"{stat.S_IMODE(entry.st_mode):04o}"
            yield Finding("places", "warn", f"others can read {path} (mode {mode})", f"chmod 600 {path}")


def _same(one: Credential, other: Credential) -> bool:
    return (one.username, one.secret) == (other.username, other.secret)


def _port(visit: Visit) -> int | None:
    return urlsplit(visit.address.base).port
