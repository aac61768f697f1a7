"""A bucket in a folder, for tests that fork and kill: obstore can't be used after a fork, and memory is not shared.

It has the contract of `ppmctl.storage.bucket.Bucket`, which tests/unit/storage and tests/e2e try with real engines.
Each request is one change of the folder, so a process can be killed or stopped between any two.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from ppmctl import files
from ppmctl.storage.bucket import Bucket, Changed, Exists, Found, NotChanged, Unavailable


class FolderBucket(Bucket):
    """The objects are files in `objects`; `lost` are the numbers of the next writes whose answers are lost.

    Those in `cut` are not made. While it `is_away`, no request is answered.
    """

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(f"memory://{folder.name}")
        self.address = address
        self._objects = folder / "objects"
        self._objects.mkdir(parents=True, exist_ok=True)
        self._lock = folder.with_name(f"{folder.name}-lock")
        self._new = folder.with_name(f"{folder.name}-new")
        self._new.mkdir(exist_ok=True)
        self.is_away = False
        self.lost: set[int] = set()
        self.cut: set[int] = set()
        self._writes = 0

    def trouble(self, *, lost: Iterable[int] = (), cut: Iterable[int] = ()) -> None:
        """Lose the answers of some of the next writes, and do not make others."""
        self.lost, self.cut, self._writes = set(lost), set(cut), 0

    def read(self, key: str, *, unless: str | None = None) -> Found | None:
        self._ask("read")
        try:
            tag, _, content = self._path(key).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        if tag.decode() == unless:
            raise NotChanged(key)
        return Found(content=content, tag=tag.decode())

    def create(self, key: str, content: bytes) -> str:
        with self._written(content) as (new, tag):
            try:
                os.link(new, self._path(key))
            except FileExistsError:
                raise Exists(key) from None
        return tag

    def replace(self, key: str, content: bytes, tag: str) -> str:
        with self._written(content) as (new, changed), files.lock(self._lock):
            found = self._path(key).read_bytes() if self._path(key).exists() else b""
            if found.partition(b"\n")[0].decode() != tag:
                raise Changed(key)
            os.replace(new, self._path(key))
        return changed

    def _put(self, key: str, content: bytes | Path) -> None:
        whole = content.read_bytes() if isinstance(content, Path) else content
        with self._written(whole) as (new, _tag):
            os.replace(new, self._path(key))

    def stream(self, key: str) -> Iterator[bytes]:
        found = self.read(key)
        if found is None:
            raise FileNotFoundError(key)
        yield found.content

    def modified(self, key: str) -> datetime | None:
        self._ask("read")
        try:
            return datetime.fromtimestamp(self._path(key).stat().st_mtime, UTC)
        except FileNotFoundError:
            return None

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._ask("delete")
            self._path(key).unlink(missing_ok=True)

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        self._ask("list")
        found = sorted(unquote(path.name) for path in self._objects.iterdir())
        return (key for key in found if key.startswith(prefix) and key > after)

    def _path(self, key: str) -> Path:
        return self._objects / quote(key, safe="")

    def _ask(self, kind: str) -> None:
        self.counts[kind] += 1
        if self.is_away:
            raise Unavailable("The bucket is away.")

    @contextmanager
    def _written(self, content: bytes) -> Iterator[tuple[Path, str]]:
        """Yield a file with an object, to be renamed, and its tag. Then lose the answer if that is to happen."""
        self._ask("write")
        self._writes += 1
        number = self._writes
        if number in self.cut:
            raise Unavailable("The request was cut.")
        new, tag = self._new / secrets.token_hex(8), secrets.token_hex(8)
        new.write_bytes(tag.encode() + b"\n" + content)
        try:
            yield new, tag
        finally:
            new.unlink(missing_ok=True)
        if number in self.lost:
            raise Unavailable("The answer was lost.")
