"""The names that an admin claimed: any publisher may upload their first file (`public_names` of a server).

A claim reserves nothing: until the first file, the index treats the name like any other that it does not have.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from ppmctl import files
from ppmctl.errors import NOT_SUCH_JSON
from ppmctl.index import project_folder
from ppmctl.index.layout import Volume
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket, Exists


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who claimed a name, and when (`project_folder.timestamp`); both are "" if the file was made by hand."""

    by: str = ""
    at: str = ""

    def to_json(self) -> dict[str, str]:
        return {"by": self.by, "at": self.at}

    @classmethod
    def from_json(cls, values: Any) -> Claim:
        """Return the claim in parsed JSON. Raise one of NOT_SUCH_JSON if it is none."""
        return cls(by=str(values["by"]), at=str(values["at"]))


class SharedClaims:
    """The claims of an index whose bucket has the truth. Each method raises Unavailable if it can't be asked."""

    def __init__(self, volume: Volume, bucket: Bucket) -> None:
        self._volume = volume
        self._bucket = bucket

    def read(self, project: str) -> Claim | None:
        """Return the claim of a name, or None without one; keep a copy on the volume."""
        found = self._bucket.read(keys.claim(project))
        if found is None:
            remove(self._volume, project)
            return None
        if not files.holds(self._volume.claim(project), found.content):
            self._volume.claims.mkdir(exist_ok=True)
            files.write_atomic(self._volume.claim(project), found.content)
        return read(self._volume, project)

    def add(self, project: str, *, by: str) -> Claim:
        """Claim a name, and return the claim; one that exists is kept."""
        claim = Claim(by=by, at=project_folder.now())
        with contextlib.suppress(Exists):
            self._bucket.create(keys.claim(project), _content(claim))
        return self.read(project) or claim

    def remove(self, project: str) -> None:
        """Take back the claim of a name."""
        self._bucket.delete(keys.claim(project))


def read(volume: Volume, project: str) -> Claim | None:
    """Return the claim of a name, or None without one."""
    try:
        return Claim.from_json(json.loads(volume.claim(project).read_bytes()))
    except FileNotFoundError:
        return None
    except NOT_SUCH_JSON:
        return Claim()


def add(volume: Volume, project: str, *, by: str) -> Claim:
    """Claim a name, durably, and return the claim; one that exists is kept."""
    volume.claims.mkdir(exist_ok=True)
    claim = Claim(by=by, at=project_folder.now())
    files.create(volume.claim(project), _content(claim), mode=0o644)
    files.sync_folder(volume.claims)
    return read(volume, project) or claim


def remove(volume: Volume, project: str) -> None:
    """Take back the claim of a name, durably; without one, do nothing. A project that has files keeps its name."""
    with contextlib.suppress(FileNotFoundError):
        volume.claim(project).unlink()
        files.sync_folder(volume.claims)


def _content(claim: Claim) -> bytes:
    return json.dumps(claim.to_json()).encode() + b"\n"
