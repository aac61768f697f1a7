"""Create the first admin of an index, and write its secret to files that only the volume's owner can read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from ppmctl import files
from ppmctl.access import credential_files, htpasswd, rules
from ppmctl.access.account import SERVER, Actor
from ppmctl.access.credential_files import Change, Snapshot
from ppmctl.access.shared_credentials import ChangedElsewhere, repeated
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.storage.bucket import Unavailable

NAME = "admin"
LOOPBACK = ("127.0.0.1", "localhost")

_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)


@repeated
def make(volume: Volume, actor: Actor = SERVER, *, hosts: Iterable[str] = LOOPBACK) -> bool:
    """Create a first admin if there is no admin, not even a disabled one. Return whether it was created.

    `ROOT/first-credential` gets the line `user:secret`, and `ROOT/netrc` a line for each of `hosts`; both 0600.
    """
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise UsageError(f"{host!r} is not the name of a host, such as index.example.")
    try:
        with _without_secret(volume), credential_files.changing(volume) as change:
            if _has_admin(change.snapshot()):
                return False
            _put(volume, change, actor, hosts)
    except Unavailable:
        if _has_admin(credential_files.snapshot(volume)):  # a node starts without its bucket too
            return False
        raise
    actor.record(volume, "user add", f"{NAME} as admin, the first")
    return True


def _put(volume: Volume, change: Change, actor: Actor, hosts: Iterable[str]) -> None:
    before = change.snapshot()
    entry = before.access.get(NAME)
    is_admin = entry is not None and entry.role == "admin"
    if NAME in change.named and not is_admin:
        raise PpmError(
            f"There is no admin, and the credential {NAME!r} is not one.",
            hint=f"ppmctl user add NAME --role admin --root {volume.root}",
        )
    secret = htpasswd.new_secret()
    netrc = "".join(f"machine {host} login {NAME} password {secret}\n" for host in hosts)
    # the files first: after a crash, an admin without a known secret would block the next attempt
    files.write_atomic(volume.first_credential, f"{NAME}:{secret}\n".encode(), mode=0o600, sync=True)
    files.write_atomic(volume.first_netrc, netrc.encode(), mode=0o600, sync=True)
    if entry is None or not entry.is_live():  # else it lacks only a secret
        change.put(rules.new_entry(actor, NAME, {"role": "admin"}))
    change.put_hash(NAME, htpasswd.hash_of(secret))


def _has_admin(snapshot: Snapshot) -> bool:
    """Return whether a user with a secret is an admin."""
    admins = {name for name, entry in snapshot.access.items() if entry.role == "admin" and not entry.is_token}
    return bool(admins & {*snapshot.hashes, *snapshot.parked})


@contextlib.contextmanager
def _without_secret(volume: Volume) -> Iterator[None]:
    """Remove the files with the secret if another node changed the credentials first: it was not stored."""
    try:
        yield
    except ChangedElsewhere:
        volume.first_credential.unlink(missing_ok=True)
        volume.first_netrc.unlink(missing_ok=True)
        raise
