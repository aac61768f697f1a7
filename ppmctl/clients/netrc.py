"""netrc: where pip, uv, curl and ppmctl look for a credential by host."""

from __future__ import annotations

import re

from ppmctl.clients import IndexTarget
from ppmctl.credential import Credential
from ppmctl.errors import PpmError

# Quoting is read differently by each program, so nothing that would need it goes in.
_WORD = re.compile(r"[^\s\"'\\#]+")


def render(target: IndexTarget, credential: Credential) -> str:
    """The line of ~/.netrc, with the secret in it. PpmError where it has characters that netrc can't hold."""
    words = (target.address.host, credential.username, credential.secret.reveal())
    if not all(_WORD.fullmatch(word) for word in words):
        raise PpmError(
            f"The credential of {credential.username!r} can't stand in a .netrc with its spaces, quotes, # or \\.",
            hint="An issued secret has none of them: ppmctl user add",
        )
    host, username, secret = words
    return f"machine {host} login {username} password {secret}"
