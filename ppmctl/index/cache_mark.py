"""Decide whether a volume is used as the cache of a bucket, or alone: nothing may be hidden, and no change be lost.

`storage/address` on a volume names the bucket that it is a cache of (`configured`). `storage/copied-from` names the
bucket that was copied to it: such a volume has all files, and works alone.
"""

from __future__ import annotations

import shlex

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index import pages
from ppmctl.index.layout import Volume
from ppmctl.storage import configured


def require_usable(volume: Volume) -> None:
    """Make a volume the cache of the bucket that is configured, if one is.

    Raise PpmError if it is the cache of another one, or has projects that were not copied to the bucket.
    """
    address, noted = volume.bucket, configured.noted(volume.root)
    if address == noted:
        return
    if noted:
        raise PpmError(
            f"{volume.root} is a cache of {noted}, not of {address}.",
            hint="Correct the setting storage. To use another bucket: move the folder away, it is made again.",
        )
    if copied_from(volume) != address and pages.local_projects(volume):
        root = shlex.quote(str(volume.root))
        raise PpmError(
            f"{volume.root} has projects that were not copied to {address}.",
            hint=f"Copy them, then start again: ppmctl storage copy --root {root} --to {address}",
        )
    become_cache(volume, address)


def serve(volume: Volume) -> None:
    """Do the same for a server that starts: from now on a volume without a bucket goes its own way."""
    require_usable(volume)
    volume.copied_from.unlink(missing_ok=True)


def become_cache(volume: Volume, address: str) -> None:
    """Note that a volume is a cache, which may lack files."""
    volume.copied_from.unlink(missing_ok=True)
    configured.note(volume.root, address)


def become_copy(volume: Volume, address: str) -> None:
    """Note that a volume has all files of a bucket, and is no cache."""
    files.write_atomic(volume.copied_from, f"{address}\n".encode(), sync=True)
    configured.forget(volume.root)


def copied_from(volume: Volume) -> str:
    """Return the bucket that a volume is a complete copy of, or ""."""
    try:
        return volume.copied_from.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
