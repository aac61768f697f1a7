"""Create the first admin of an index, and write its secret to files that only the volume's owner can read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ppmctl import files
from ppmctl.access import credential_files, htpasswd, rules
from ppmctl.access.account import SERVER, Actor
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume

NAME = "admin"
LOOPBACK = ("127.0.0.1", "localhost")

_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)


def make(volume: Volume, actor: Actor = SERVER, *, hosts: Iterable[str] = LOOPBACK) -> bool:
    """Create a first admin if there is no admin, not even a disabled one. Return whether it was created.

    `ROOT/first-credential` gets the line `user:secret`, and `ROOT/netrc` a line for each of `hosts`; both 0600.
    """
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise UsageError(f"{host!r} is not the name of a host, such as index.example.")
    with credential_files.changing(volume) as change:
        before = change.snapshot()
        admins = {name for name, entry in before.access.items() if entry.role == "admin" and not entry.is_token}
        if admins & {*before.hashes, *before.parked}:
            return False
        if NAME in change.named - admins:
            raise PpmError(
                f"There is no admin, and the credential {NAME!r} is not one.",
                hint=f"ppmctl user add NAME --role admin --root {volume.root}",
            )
        secret = htpasswd.new_secret()
        netrc = "".join(f"machine {host} login {NAME} password {secret}\n" for host in hosts)
        # the files first: after a crash, an admin without a known secret would block the next attempt
        files.write_atomic(volume.first_credential, f"{NAME}:{secret}\n".encode(), mode=0o600, sync=True)
        files.write_atomic(volume.first_netrc, netrc.encode(), mode=0o600, sync=True)
        if NAME not in admins or not before.access[NAME].is_live():  # else it lacks only a secret
            change.put(rules.new_entry(actor, NAME, {"role": "admin"}))
        change.put_hash(NAME, htpasswd.hash_of(secret))
    actor.record(volume, "user add", f"{NAME} as admin, the first")
    return True
