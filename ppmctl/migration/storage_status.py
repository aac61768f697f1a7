"""`ppmctl storage status`: which bucket an index uses, its state, and how much of it is on the volume."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ppmctl.index import pages, project_folder
from ppmctl.index.layout import Volume
from ppmctl.storage import bucket_layout, configured, keys


@dataclass(frozen=True, kw_only=True)
class StorageStatus:
    """What is known of a bucket, and of the volume that is a cache of it: `files` of `recorded` are on its disk."""

    bucket: str
    state: str
    layout: int
    node: str
    projects: int
    recorded: int
    files: int
    bytes: int


def read(volume: Volume) -> StorageStatus | None:
    """Return the status; None without a bucket. Raise Unavailable if the bucket can't be asked."""
    bucket = configured.of(volume.root)
    if bucket is None:
        return None
    found = bucket_layout.read(bucket)
    state = "in use" if found else "empty"
    if found and found.copying:
        state = "a copy to it is not complete"
    recorded, sizes = 0, []
    for project in pages.local_projects(volume):
        content = project_folder.read(volume, project)
        for file in content.files if content is not None else ():
            recorded += 1
            try:
                sizes.append(os.stat(project_folder.locate(volume, project, file.filename)).st_size)
            except FileNotFoundError:
                continue
    return StorageStatus(
        bucket=bucket.address,
        state=state,
        layout=found.number if found else keys.LAYOUT_NUMBER,
        node=configured.node(volume.root),
        projects=sum(1 for _key in bucket.keys(keys.HEADS)),
        recorded=recorded,
        files=len(sizes),
        bytes=sum(sizes),
    )
