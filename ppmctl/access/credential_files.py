"""Read the files of `credentials/`, and let one process at a time change them.

`htpasswd` has the hashes that work now, and `nginx/` and `nginx-limited/` the same for nginx
(`ppmctl.access.nginx_htpasswd`); `access.yml` has the rights of each credential; `disabled` has the hashes that may
work again later. With storage they are copies of what the bucket has (`ppmctl.access.shared_credentials`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock

from ppmctl import files
from ppmctl.access import access_file, htpasswd, rights
from ppmctl.access.credential_change import MODE, hashes_of, read_text, rows
from ppmctl.access.credential_change import Change as Change
from ppmctl.access.credential_change import Snapshot as Snapshot
from ppmctl.access.rights import Access as Access
from ppmctl.access.secret_check import SecretCheck
from ppmctl.access.secret_lookup import SecretLookup
from ppmctl.access.shared_credentials import Copy
from ppmctl.index.layout import Volume
from ppmctl.storage import configured
from ppmctl.storage.bucket import Unavailable

log = logging.getLogger(__name__)


class Credentials:
    """The credentials of a volume. The files are read again when they change."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._paths = str(volume.htpasswd), str(volume.access)  # looked at for each request
        self._guard = Lock()
        self._seen: object = None
        self._hashes: Mapping[str, str] = {}
        self._expired: Mapping[str, str] = {}  # hashes that were taken out of htpasswd because of the time
        self._access: Mapping[str, Access] = {}
        self._check = SecretCheck()
        self._lookup = SecretLookup()

    def authenticate(self, name: str, secret: str) -> Access | None:
        """Return what `name` may do, or None if it is unknown or disabled, has no entry, or the secret is wrong.

        With the name `__token__` the secret alone tells whose it is. An expired credential is returned; it may do
        nothing. Raise Busy if too many secrets are being checked.
        """
        self._reload()
        if name == rights.SECRET_ALONE:
            name = self._lookup.name_of(secret) or name
        return self._rights(name, is_right=self._check.is_right(name, secret, self._stored(name)))

    @property
    def version(self) -> object:
        """A value that changes when the credentials do; None while their files wait to be read again."""
        seen = self._seen
        return seen if self._identity() == seen else None

    def known(self, name: str, secret: str) -> Access | None:
        """Return what `authenticate` does for a secret that was right before, and None for all others.

        It reads no file and compares no hash, so it takes the same time for all that are not known.
        """
        if name == rights.SECRET_ALONE:
            name = self._lookup.known(secret) or name
        return self._rights(name, is_right=self._check.is_known(name, secret, self._stored(name)))

    def _stored(self, name: str) -> str | None:
        return self._hashes.get(name) or self._expired.get(name)

    def _rights(self, name: str, *, is_right: bool) -> Access | None:
        access = self._access.get(name) if is_right else None
        if access is None or access.is_blocked or (name not in self._hashes and access.is_live()):
            return None  # the last: the clock went back, and the hash is not back yet
        return access

    def _identity(self) -> tuple[object, object]:
        return files.identity(self._paths[0]), files.identity(self._paths[1])

    def current(self, name: str) -> tuple[Access, str] | None:
        """Return what `name` may do, and a text that changes with its secret and rights; None if it can't work now.

        For those who have authenticated before: the text tells whether what they used is still the same.
        """
        self._reload()
        stored, access = self._hashes.get(name), self._access.get(name)
        if stored is None or access is None or not access.is_live():
            return None
        return access, hashlib.sha256(repr((stored, access)).encode()).hexdigest()

    def entries(self) -> list[Access]:
        """Return what each credential that has a secret may do."""
        self._reload()
        return [self._access[name] for name in self._hashes if name in self._access]

    def _reload(self) -> None:
        if self._identity() == self._seen:
            return
        with self._guard:
            current = self._identity()
            if current == self._seen:  # another thread was quicker
                return
            try:
                hashes = read_htpasswd(self._volume.htpasswd)
                access = read_access(self._volume.access)
                if files.identity(self._volume.htpasswd) != current[0]:
                    # changed meanwhile: an old secret must not get the new rights
                    after = read_htpasswd(self._volume.htpasswd)
                    hashes = {name: stored for name, stored in hashes.items() if after.get(name) == stored}
            except OSError as exc:
                # a mistake in a file that is edited by hand must neither lock everybody out nor let anybody in
                log.error("The credentials can't be read; the previous ones still work: %s", exc)
                access = {name: entry for name, entry in self._access.items() if name in self._hashes}
                hashes = dict(self._hashes)
            expired = self._read_expired(access)
            self._check.use([*hashes.values(), *expired.values()])
            self._lookup.use({**expired, **hashes})
            self._hashes, self._expired, self._access, self._seen = hashes, expired, access, current

    def _read_expired(self, access: Mapping[str, Access]) -> dict[str, str]:
        """Return the hashes that expired and were taken out of htpasswd, so that their owners are told why."""
        try:
            parked = hashes_of([htpasswd.parse(text) for text in rows(self._volume.disabled)])
        except OSError as exc:
            log.error("What has expired is not known: %s", exc)
            return {}
        ended = {name for name, entry in access.items() if not entry.is_blocked and not entry.is_live()}
        return {name: stored for name, stored in parked.items() if name in ended}


def identity(volume: Volume) -> tuple[object, ...]:
    """Return a value that changes whenever htpasswd, access.yml or nginx's copy of the hashes changes.

    A change that was killed may have written that copy only.
    """
    return tuple(files.identity(path) for path in (volume.htpasswd, volume.access, volume.parts, volume.limited))


@contextlib.contextmanager
def changing(volume: Volume, *, dry_run: bool = False, may_be_local: bool = False) -> Iterator[Change]:
    """Yield a change that no other process can disturb. It is written at the end of the block.

    Nothing is written if the block raises, or with `dry_run`. Raise OSError if the files can't be written; with
    storage Unavailable, and ChangedElsewhere if the block has to be repeated. With `may_be_local` the files of this
    node are changed if the bucket can't be read: only for what follows from the time.
    """
    with volume.locked(volume.credentials_lock):
        files.drop_temporaries(volume.credentials)
        change = Change(volume, _copy(volume, may_be_local=may_be_local))
        yield change
        if not dry_run:
            change.write()


@contextlib.contextmanager
def changing_invites(volume: Volume) -> Iterator[Change]:
    """Do the same for a change of nothing but invites: what has expired stays until another change."""
    if volume.is_cache:
        with changing(volume) as change:
            yield change
        return
    with volume.locked(volume.credentials_lock):
        change = Change(volume)
        yield change
        change.write_invites()


def _copy(volume: Volume, *, may_be_local: bool) -> Copy | None:
    try:
        return Copy(configured.opened(volume.bucket)) if volume.is_cache else None
    except Unavailable:
        if may_be_local:
            return None
        raise


def snapshot(volume: Volume) -> Snapshot:
    """Return the content of the files now."""
    with files.lock(volume.credentials_lock):
        return Change(volume).snapshot()


def ensure_htpasswd(volume: Volume) -> None:
    """Create htpasswd if it is missing, and nginx's copy: without them nginx answers 403 instead of 401."""
    try:
        files.create(volume.htpasswd, b"", mode=MODE)
        with files.lock(volume.credentials_lock):
            Change(volume).write_parts()
    except OSError as exc:  # for example a full disk: the index is served anyway
        log.error("%s can't be created: %s", volume.htpasswd, exc)


def read_htpasswd(path: Path) -> dict[str, str]:
    """Return the hashes by name. A malformed line is ignored and logged."""
    lines = [htpasswd.parse(text) for text in rows(path)]
    for number, line in enumerate(lines, start=1):
        if not line.is_credential and not line.is_nothing:
            log.error("%s: line %d is not a credential that ppm knows; it lets nobody in.", path, number)
    return hashes_of(lines)


def read_access(path: Path) -> dict[str, Access]:
    """Return the rights of each credential. An invalid entry has none, and is logged."""
    return access_file.access(access_file.parse(read_text(path)), path)
