"""Reads and writes the objects of a bucket: S3, Google Cloud Storage or Azure, and a store in memory for unit tests.

An object is replaced only while it has the tag that the caller read: of two writers at once exactly one succeeds.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ppmctl.errors import PpmError, UsageError, with_extra
from ppmctl.secret import masked

if TYPE_CHECKING:
    from obstore.store import MemoryStore, ObjectStore

SCHEMES = ("s3", "gs", "az")
MEMORY = "memory"  # a store in this process, for unit tests
_FORMS = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
_SMALL = {"connect_timeout": "2s", "timeout": "5s"}
_BULK = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "1h"}
_RETRIES: dict[str, Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=1), "base": 2},
}
_CHUNK = 5 << 20  # bytes; larger files are sent in parts of this size
_PARTS = 3  # of one file that are in memory and sent at the same time
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
_ALLOW_HTTP = {"s3": "AWS_ALLOW_HTTP", "az": "AZURE_ALLOW_HTTP", "gs": "GOOGLE_ALLOW_HTTP"}
_VARIABLES = (
    *("ENDPOINT_URL_S3", "ENDPOINT_URL", "ENDPOINT"),
    *("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "SKIP_SIGNATURE"),
    *("SERVICE_ACCOUNT", "BASE_URL", "STORAGE_ACCOUNT_NAME", "STORAGE_ACCOUNT_KEY", "STORAGE_ENDPOINT"),
)

_memory: dict[str, MemoryStore] = {}
_memory_lock = Lock()


class Unavailable(PpmError):
    """The bucket did not answer, or refused the request: nothing is known of what it did."""

    status = 503


class Missing(Unavailable):
    """The bucket answered, but lacks a file that it should have."""


class Exists(Exception):
    """An object of this key exists already."""


class Changed(Exception):
    """The object does not have the expected tag any more, or was deleted."""


class NotChanged(Exception):
    """The object still has the tag that the caller knows."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object's content, and the tag of this version of it."""

    content: bytes
    tag: str


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An object's key, its size in bytes, and when it was written, by the bucket's clock."""

    key: str
    size: int
    modified: datetime


class Bucket:
    """The objects below one prefix of a bucket, for any number of threads.

    Credentials, region and endpoint come from the environment, or from the machine's role. Every method raises
    Unavailable if the bucket can't be asked. A process that has used one must not fork: the child could not use any.
    """

    def __init__(self, address: str, *, environ: Mapping[str, str] = os.environ) -> None:
        self.address = checked_address(address)
        self.counts: Counter[str] = Counter()
        self._process = 0
        # whether the condition of a write needs the tag without its quotes; None if that is not known yet
        self._has_bare_tags: bool | None = None
        self._small = _open(self.address, environ, _SMALL)
        self._bulk = _open(self.address, environ, _BULK)

    def read(self, key: str, *, unless: str | None = None) -> Found | None:
        """Return an object; None if it does not exist. Raise NotChanged if its tag is `unless`."""
        from obstore.exceptions import NotModifiedError

        options: Any = {"if_none_match": _parts(unless).get("e_tag")} if unless else None
        try:
            with self._request("read", key):
                result = self._small.get(key, options=options)
                return Found(content=bytes(result.bytes()), tag=_tag(result.meta))
        except FileNotFoundError:
            return None
        except NotModifiedError:
            raise NotChanged(key) from None

    def create(self, key: str, content: bytes) -> str:
        """Create an object and return its tag. Raise Exists if there is one.

        The cause may be this call: its first answer was lost, and the request was repeated.
        """
        from obstore.exceptions import AlreadyExistsError

        try:
            with self._request("write", key):
                return _tag(self._small.put(key, content, mode="create", use_multipart=False))
        except AlreadyExistsError:
            raise Exists(key) from None
        except FileNotFoundError as exc:
            raise self._missing(exc) from exc

    def replace(self, key: str, content: bytes, tag: str) -> str:
        """Replace the object that has this tag, and return the new one. Raise Changed, also as `create` does.

        Ceph's gateway (Debian's radosgw 16 and 18) compares the condition with the tag without its quotes.
        """
        try:
            made = self._replace(key, content, tag.replace('"', "") if self._has_bare_tags else tag)
        except Changed:
            if self._has_bare_tags is not None or not self._has_version(key, tag):
                raise
            made = self._replace(key, content, tag.replace('"', ""))
            self._has_bare_tags = True
        if self._has_bare_tags is None:
            self._has_bare_tags = False
        return made

    def _has_version(self, key: str, tag: str) -> bool:
        try:
            self.read(key, unless=tag)
        except NotChanged:
            return True
        return False

    def _replace(self, key: str, content: bytes, tag: str) -> str:
        from obstore.exceptions import PreconditionError

        mode: Any = _parts(tag)
        try:
            with self._request("write", key):
                return _tag(self._small.put(key, content, mode=mode, use_multipart=False))
        except (PreconditionError, FileNotFoundError):
            raise Changed(key) from None

    def write(self, key: str, content: bytes) -> None:
        """Write an object, whether it exists or not."""
        self._put(key, content)

    def upload(self, key: str, path: Path) -> None:
        """Write a file to an object, in parts if it is large. It is visible only as a whole."""
        self._put(key, path)

    def _put(self, key: str, content: bytes | Path) -> None:
        try:
            with self._request("write", key):
                self._bulk.put(key, content, chunk_size=_CHUNK, max_concurrency=_PARTS)
        except FileNotFoundError as exc:
            raise self._missing(exc) from exc

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object's content in pieces. Raise FileNotFoundError if it does not exist."""
        with self._request("read", key):
            for chunk in self._bulk.get(key).stream(min_chunk_size=1 << 20):
                yield bytes(chunk)

    def modified(self, key: str) -> datetime | None:
        """Return when an object was written, by the bucket's clock; None if it does not exist."""
        try:
            with self._request("read", key):
                return self._small.head(key)["last_modified"]
        except FileNotFoundError:
            return None

    def delete(self, *keys: str) -> None:
        """Delete objects; those that do not exist are ignored."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError), self._request("delete", key):
                self._small.delete(key)

    def keys(self, prefix: str, *, after: str = "") -> Iterator[str]:
        """Yield the keys that start with the folder `prefix`, in order, those after the key `after`."""
        return (listed.key for listed in self.listing(prefix, after=after))

    def listing(self, prefix: str, *, after: str = "") -> Iterator[Listed]:
        """Yield the objects with the same keys."""
        with self._request("list", prefix):
            for page in self._small.list(prefix.rstrip("/") or None, offset=after or None, chunk_size=1000):
                for entry in page:
                    if entry["path"] <= after:  # Azure begins with it, and its emulator with the first of all
                        continue
                    yield Listed(key=entry["path"], size=entry["size"], modified=entry["last_modified"])

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders in the folder `prefix`."""
        with self._request("list", prefix):
            found = self._small.list_with_delimiter(prefix.rstrip("/"))
            return sorted(path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])

    def signed_url(self, key: str, *, seconds: int) -> str:
        """Return a URL by which anyone can read an object for that time. Raise Unavailable for one in memory."""
        import obstore

        store: Any = self._small
        with self._request("sign", key):
            try:
                return str(obstore.sign(store, "GET", key, timedelta(seconds=seconds)))
            except (TypeError, ValueError) as exc:  # which of them depends on the library's release
                raise self._unavailable(exc) from exc

    @contextlib.contextmanager
    def _request(self, kind: str, key: str) -> Iterator[None]:
        """Count a request and raise Unavailable for what is not an answer about the object."""
        from obstore import exceptions

        answers = (exceptions.AlreadyExistsError, exceptions.PreconditionError, exceptions.NotModifiedError)
        if self._process not in (0, os.getpid()):  # the library would wait for ever
            raise PpmError(f"This process was forked from one that used the bucket {self.address}.")
        self._process = os.getpid()
        self.counts[kind] += 1
        try:
            yield
        except answers:
            raise
        except FileNotFoundError as exc:
            if "NoSuchBucket" in str(exc) or "ContainerNotFound" in str(exc):
                raise self._missing(exc) from exc
            raise
        except exceptions.BaseError as exc:
            raise self._unavailable(exc) from exc

    def _missing(self, exc: Exception) -> Unavailable:
        self.counts["failed"] += 1
        hint = "Create it, or correct the setting storage."
        return Unavailable(f"The bucket {self.address} does not exist: {_reason(exc)}", hint=hint)

    def _unavailable(self, exc: Exception) -> Unavailable:
        self.counts["failed"] += 1
        hint = f"Is {self.address} reachable, with the credentials of this process? ppmctl storage status"
        return Unavailable(f"The bucket {self.address} can't be used now: {_reason(exc)}", hint=hint)


def checked_address(address: str) -> str:
    """Return a bucket's address without a slash at its end. Raise UsageError if it is none."""
    parts = urlsplit(address)
    if parts.scheme not in (*SCHEMES, MEMORY) or not parts.netloc or "@" in parts.netloc or parts.query:
        raise UsageError(f"{masked(address)!r} is not the address of a bucket.", hint=f"One of: {_FORMS}")
    return address.rstrip("/")


def _open(address: str, environ: Mapping[str, str], options: Mapping[str, Any]) -> ObjectStore:
    try:
        from obstore import exceptions, store
    except ImportError as exc:
        hint = with_extra("server")
        raise PpmError("A bucket needs the package obstore, which is not installed.", hint=hint) from exc
    parts = urlsplit(address)
    scheme, prefix = parts.scheme, parts.path.strip("/") or None
    if scheme == MEMORY:
        with _memory_lock:
            return _memory.setdefault(address, store.MemoryStore())
    more: dict[str, Any] = {
        "client_options": {**options, "allow_http": _may_use_http(scheme, environ)},
        "retry_config": _RETRIES,
    }
    config: Any = _config(scheme, environ)
    try:
        if scheme == "s3":
            return store.S3Store(parts.netloc, prefix=prefix, config=config, **more)
        if scheme == "gs":
            return store.GCSStore(parts.netloc, prefix=prefix, config=config, **more)
        return store.AzureStore(parts.netloc, prefix=prefix, config=config, **more)
    except exceptions.BaseError as exc:
        hint = "The environment variables of the bucket are in docs/storage.md."
        raise PpmError(f"The bucket {address} can't be opened: {_reason(exc)}", hint=hint) from exc


def _config(scheme: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what another environment than the process's says; the library itself reads that one."""
    if environ is os.environ:
        return {}
    start = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}[scheme]
    return {f"{start}{name}".lower(): environ[start + name] for name in _VARIABLES if start + name in environ}


def _may_use_http(scheme: str, environ: Mapping[str, str]) -> bool:
    """Return whether the endpoint is reached without TLS: on the loopback, or if the environment allows it."""
    endpoints = {name: urlsplit(environ.get(name, "")) for name in _ENDPOINTS[scheme]}
    without_tls = {name: endpoint for name, endpoint in endpoints.items() if endpoint.scheme == "http"}
    is_allowed = environ.get(_ALLOW_HTTP[scheme], "").lower() in ("true", "1")
    for name, endpoint in without_tls.items():
        if not is_allowed and not _is_loopback(endpoint.hostname or ""):
            raise UsageError(
                f"{name} is http, which shows everyone on the way what is stored.",
                hint=f"Use https, or allow it on a network that only you use: {_ALLOW_HTTP[scheme]}=true",
            )
    return bool(without_tls)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _tag(meta: Any) -> str:
    """Return the tag of a version of an object: Google Cloud Storage needs its number, the others its ETag."""
    return f"{meta.get('version') or ''}|{meta['e_tag']}"


def _parts(tag: str) -> dict[str, str]:
    version, _, e_tag = tag.partition("|")
    return {"e_tag": e_tag, "version": version} if version else {"e_tag": e_tag}


def _reason(exc: Exception) -> str:
    """Return the first line of the library's message, without the query of a URL, which may be signed."""
    line = (str(exc).strip() or type(exc).__name__).splitlines()[0]
    return re.sub(r"\?\S*", "", line)[:300]
