"""Who runs a command beside a volume, for the audit."""

from __future__ import annotations

import os
import pwd

from ppmctl.account import Actor

_UID = os.getuid()  # before a command of root's goes on as the volume's owner


def actor() -> Actor:
    """The unix user who typed the command, also through sudo; from here, or from where `--on` says it was typed."""
    try:
        name = pwd.getpwuid(_UID).pw_name
    except KeyError:  # a uid without a name, as in containers
        name = str(_UID)
    origin = os.environ.get("PPMCTL_ORIGIN") or "here"
    return Actor(name=f"unix:{os.environ.get('SUDO_USER') or name}", origin=origin)
