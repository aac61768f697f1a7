"""Compare the credentials that are stored for the index, and check who can read them.

pip and uv read netrc and the keyring, twine ~/.pypirc and variables of its own: ppmctl may work, and they may not.
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
from ppmctl.doctor.finding import Context, Finding
from ppmctl.errors import CredentialError
from ppmctl.secret import Secret


def check(context: Context) -> Iterator[Finding]:
    """Compare all credentials with the one that is sent, and check the files."""
    findings = [*_others(context), *_files(context)]
    if findings:
        yield from findings
    elif context.credential is not None:
        yield Finding("places", "ok", "no other credential is stored, and other users can't read this one")


def _others(context: Context) -> Iterator[Finding]:
    sent = context.credential
    if sent is None:
        return
    others: dict[tuple[str, Secret], Credential] = {}
    try:
        for each in credential.everywhere(context.address, environ=context.environ, home=context.home):
            others.setdefault((each.username, each.secret), each)
    except CredentialError:
        return  # reported by the check `credential`
    others.pop((sent.username, sent.secret), None)
    for other in others.values():
        is_same_user = other.username == sent.username
        which = f"another secret of {other.username}" if is_same_user else f"that of {other.username}"
        message = f"{other.source}, has another credential ({which}) than {sent.source}, which ppmctl sends"
        hint = f"Delete it there, or replace it: ppmctl login {context.address.base}/ --netrc"
        if context.get(context.address.simple, other, Accept=ACCEPT).status != 401:
            if context.listed.status == 401:
                message = f"{message}; the index accepts this one"
                hint = f"Delete the other one from {sent.source}."
            yield Finding("places", "warn", message, hint)
            continue
        if urlsplit(context.address.base).port and "machine" in other.source:
            hint = f"netrc has no ports: its entry is for every index at {context.address.host}. {hint}"
        yield Finding("places", "fail", f"{message}, and the index refuses it: pip, uv or twine may send it", hint)


def _files(context: Context) -> Iterator[Finding]:
    if os.name != "posix":
        return
    for path in (user_dirs.netrc(context.environ, context.home), context.home / ".pypirc"):
        try:
            entry = path.stat()
        except OSError:
            continue
        if entry.st_uid != os.geteuid():
            hint = f"sudo chown {os.geteuid()} {path} && chmod 600 {path}"
            yield Finding("places", "fail", f"{path} belongs to another user (uid {entry.st_uid})", hint)
        elif entry.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = f"{stat.S_IMODE(entry.st_mode):04o}"
            yield Finding("places", "warn", f"others can read {path} (mode {mode})", f"chmod 600 {path}")
