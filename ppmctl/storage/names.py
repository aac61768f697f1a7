"""The names of all projects of a bucket, in a few objects, so that no node ever lists the bucket.

A name is added before its project's first head is created, so every project has its name; a name whose first upload
failed has no project. Names are never removed.
"""

from __future__ import annotations

import bisect
import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

from ppmctl import files
from ppmctl.distributions.names import is_normalised
from ppmctl.errors import NOT_SUCH_JSON, PpmError
from ppmctl.storage import keys
from ppmctl.storage.bucket import Bucket, Changed, Exists, Found, NotChanged, Unavailable

_ATTEMPTS = 50
_MISSING, _LOCK = "missing", "lock"  # beside the copies of the shards


class SharedNames:
    """The names, with a copy in `folder`: a shard that did not change is not sent again.

    Threads and other processes of this node write the same copy. It never goes back to an earlier version, and the
    memory has what the copy has: a reader of the copy misses no name that was read here.
    """

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self._bucket = bucket
        self._folder = folder
        self._guard = Lock()
        self._last_missing = ""
        self._shards: dict[str, tuple[object, tuple[str, frozenset[str]]]] = {}  # each with its copy's identity

    def known(self) -> frozenset[str]:
        """Return the names as they were last read."""
        return frozenset().union(*(self._known(shard)[1] for shard in keys.SHARDS))

    def has(self, project: str) -> bool:
        """Return whether a name is there now. One that was there once stays."""
        shard = keys.shard(project)
        return project in self._known(shard)[1] or project in self._read(shard)[1]

    def read_all(self) -> frozenset[str]:
        """Return all names as they are now."""
        return frozenset().union(*(self._read(shard)[1] for shard in keys.SHARDS))

    def note(self, project: str, *, exists: bool) -> None:
        """Note whether a name has a project: the list of projects leaves out one whose first upload failed."""
        with self._locked():
            missing = _missing(self._folder)
            if exists == (project in missing):
                changed = missing - {project} if exists else missing | {project}
                files.write_atomic(self._folder / _MISSING, as_object(changed))

    def missing(self, most: int) -> list[str]:
        """Return some of the names that were noted to have no project; the next call goes on after them."""
        with self._guard:
            names = sorted(_missing(self._folder))
            start = bisect.bisect_right(names, self._last_missing)
            found = [*names[start:], *names[:start]][:most]
            self._last_missing = found[-1] if found else ""
            return found

    def add(self, project: str, *, again: bool = False) -> bool:
        """Add a name, unless it is known to be there; return False if it was.

        With `again` the bucket is asked first, because it may have lost the name.
        """
        shard = keys.shard(project)
        tag, names = self._read(shard) if again else self._known(shard)
        for _ in range(_ATTEMPTS):
            if project in names:
                return False
            names |= {project}
            content = as_object(names)
            try:
                key = keys.names(shard)
                made = self._bucket.replace(key, content, tag) if tag else self._bucket.create(key, content)
            except (Changed, Exists):
                tag, names = self._read(shard)
            else:
                self._keep(shard, Found(content=content, tag=made), after=tag)
                return True
        raise _always_changed()

    def _read(self, shard: str) -> tuple[str, frozenset[str]]:
        for _ in range(_ATTEMPTS):
            known = self._known(shard)
            try:
                found = self._bucket.read(keys.names(shard), unless=known[0] or None)
            except NotChanged:
                return known
            if found is None:
                return "", frozenset()
            names = self._keep(shard, found, after=known[0])
            if names is not None:
                return found.tag, names
        raise _always_changed()

    def _known(self, shard: str) -> tuple[str, frozenset[str]]:
        """Return the tag and the names of a shard as they were last read; "" without a tag."""
        path = self._folder / shard
        with self._guard:
            identity = files.identity(path)
            if shard not in self._shards or self._shards[shard][0] != identity:
                self._shards[shard] = identity, _copy(path)
            return self._shards[shard][1]

    def _keep(self, shard: str, found: Found, *, after: str) -> frozenset[str] | None:
        """Keep a shard that was read when the copy had the tag `after`, and return its names.

        None if the copy was changed meanwhile: what was read may be older than that.
        """
        try:
            names = _names(found.content)
        except NOT_SUCH_JSON as exc:
            raise PpmError(f"{keys.names(shard)} is not a list of names.", hint="ppmctl index check") from exc
        with self._locked():
            if self._known(shard)[0] not in (after, found.tag):
                return None
            files.write_atomic(self._folder / shard, found.tag.encode() + b"\n" + found.content)
        return names

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the copy, against threads and other processes of this node."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with files.lock(self._folder / _LOCK):
            yield


def copied(folder: Path) -> frozenset[str]:
    """Return the names of the copy in `folder`, without those that were noted to have no project."""
    return frozenset().union(*(_copy(folder / shard)[1] for shard in keys.SHARDS)) - _missing(folder)


def _missing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(json.loads((folder / _MISSING).read_bytes()))
    except (FileNotFoundError, *NOT_SUCH_JSON):
        return frozenset()


def _names(content: bytes) -> frozenset[str]:
    """Return the names in a shard; what is no normalised name is not ppm's, and would become a path or HTML."""
    return frozenset(name for name in json.loads(content) if is_normalised(name))


def _copy(path: Path) -> tuple[str, frozenset[str]]:
    try:
        tag, _, content = path.read_bytes().partition(b"\n")
        return tag.decode(), _names(content)
    except (FileNotFoundError, *NOT_SUCH_JSON):  # made again by the next read
        return "", frozenset()


def as_object(names: Iterable[str]) -> bytes:
    """Return the content of the object with these names."""
    return json.dumps(sorted(names), separators=(",", ":")).encode() + b"\n"


def _always_changed() -> Unavailable:
    return Unavailable("The names of projects are changed by other nodes all the time.", hint="Try again.")
