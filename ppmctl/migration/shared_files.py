"""Copy what an index has besides its projects: claims, credentials, the audit log and the id of its backups."""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets

from ppmctl import files
from ppmctl.access import shared_audit
from ppmctl.access.audit_follower import AuditFollower
from ppmctl.access.credential_change import Change
from ppmctl.access.shared_credentials import Copy
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket, Exists

_LONG = 3600.0  # seconds
_INDEX_ID = re.compile(rb"[0-9a-f]{8}\n")  # it becomes a tag of snapshots


def copy(volume: Volume, bucket: Bucket) -> None:
    """Write them to the bucket, instead of what an earlier copy wrote. The caller holds the credentials' lock."""
    present = set(bucket.keys(keys.CLAIMS))
    for path in volume.claims.iterdir() if volume.claims.is_dir() else ():
        if not path.name.startswith("."):
            bucket.write(keys.claim(path.name), path.read_bytes())
            present.discard(keys.claim(path.name))
    bucket.delete(*present, keys.CREDENTIALS)
    Change(volume, Copy(bucket)).write()
    with files.lock(volume.audit_lock):
        shared_audit.send_whole(bucket, volume)
    if volume.index_id.exists():
        bucket.write(keys.INDEX_ID, volume.index_id.read_bytes())


def fetch(volume: Volume, bucket: Bucket) -> None:
    """Write them to the volume, instead of what it has."""
    volume.claims.mkdir(exist_ok=True)
    present = {path.name for path in volume.claims.iterdir()}
    for key in bucket.keys(keys.CLAIMS):
        name, found = key.removeprefix(keys.CLAIMS), bucket.read(key)
        if found is not None:
            present.discard(name)
            files.write_atomic(volume.claim(name), found.content)
    for name in present:
        (volume.claims / name).unlink()
    with files.lock(volume.credentials_lock):
        credentials = Copy(bucket)
        if credentials.content is not None:
            Change(volume, credentials).write()
    # each step reads a limited number of bytes, and asks each node again after a while: here that passes at once
    follower = AuditFollower(volume, lambda _projects: None, clock=itertools.count(step=_LONG).__next__)
    follower.step()  # it finds the nodes
    while follower.step():
        pass
    _fetch_index_id(volume, bucket)


def _fetch_index_id(volume: Volume, bucket: Bucket) -> None:
    """Give the volume the id that backups of all copies of the bucket have; the first copy may bring it."""
    found = bucket.read(keys.INDEX_ID)
    if found is None:
        own = volume.index_id.read_bytes() if volume.index_id.exists() else f"{secrets.token_hex(4)}\n".encode()
        with contextlib.suppress(Exists):  # another copy was faster
            bucket.create(keys.INDEX_ID, own)
        found = bucket.read(keys.INDEX_ID)
    if found is None or not _INDEX_ID.fullmatch(found.content):
        raise PpmError(f"{keys.INDEX_ID} in {bucket.address} is no id.", hint="Delete this object, and copy again.")
    if not files.holds(volume.index_id, found.content):
        files.write_atomic(volume.index_id, found.content, mode=0o640, sync=True)
