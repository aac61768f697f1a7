"""Read the files of `credentials/`, and change them together.

`htpasswd` has the hashes that work now, and `nginx/` and `nginx-limited/` the same for nginx
(`ppmctl.access.nginx_htpasswd`); `access.yml` has the rights of each credential; `disabled` has the hashes that may
work again later. The order of the writes guarantees that a crash leaves no credential with more rights than before
the change or after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from ppmctl import files
from ppmctl.access import access_file, htpasswd, nginx_htpasswd, rights
from ppmctl.access.htpasswd import Line
from ppmctl.access.rights import Access as Access
from ppmctl.access.secret_check import SecretCheck
from ppmctl.access.secret_lookup import SecretLookup
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

_MODE = 0o640
_PRIVATE = 0o600


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The content of the files at one moment: rights, and hashes by name. The `parked` hashes do not work now."""

    access: Mapping[str, Access]
    hashes: Mapping[str, str]
    parked: Mapping[str, str]


class Credentials:
    """The credentials of a volume. The files are read again when they change."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._guard = Lock()
        self._seen: object = None
        self._hashes: Mapping[str, str] = {}
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
        stored = self._hashes.get(name)
        access = self._access.get(name) if self._check.is_right(name, secret, stored) else None
        return None if access is None or access.is_blocked else access

    def current(self, name: str) -> tuple[Access, str] | None:
        """Return what `name` may do, and a text that changes with its secret and rights; None if it can't work now.

        For those who have authenticated before: the text tells whether what they used is still the same.
        """
        self._reload()
        stored, access = self._hashes.get(name), self._access.get(name)
        if stored is None or access is None or not access.is_live():
            return None
        return access, hashlib.sha256(repr((stored, access)).encode()).hexdigest()

    def _reload(self) -> None:
        if identity(self._volume) == self._seen:
            return
        with self._guard:
            current = identity(self._volume)
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
            self._check.use(hashes.values())
            self._lookup.use(hashes)
            self._hashes, self._access, self._seen = hashes, access, current


class Change:
    """The content of the files while it is edited; `changing` writes it."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._blocks = access_file.parse(_text(volume.access))
        self._lines = [htpasswd.parse(text) for text in _rows(volume.htpasswd)]
        self._parked = [htpasswd.parse(text) for text in _rows(volume.disabled)]
        self._before = self._texts()
        self.access: Mapping[str, Access] = access_file.access(self._blocks, volume.access)
        self._is_new = not self.access
        self.taken_out: tuple[str, ...] = ()
        self.put_back: tuple[str, ...] = ()

    @property
    def named(self) -> frozenset[str]:
        """Return every name in the files, also of invalid lines and entries."""
        lines = {line.name for line in (*self._lines, *self._parked) if line.name}
        return frozenset(lines.union(*(block.names for block in self._blocks)))

    def with_dependents(self, name: str) -> set[str]:
        """Return `name`, the names of its tokens in the files, and those of other tokens that depend on it."""
        tokens = {each for each in self.named if each.startswith(f"{name}+")}
        return {name} | tokens | {each for each, entry in self.access.items() if entry.depends_on(name)}

    def snapshot(self) -> Snapshot:
        return Snapshot(access=self.access, hashes=_hashes(self._lines), parked=_hashes(self._parked))

    def put(self, *changed: Access) -> None:
        """Set these entries of access.yml."""
        for entry in changed:
            self._blocks = access_file.with_entry(self._blocks, entry.name, entry)
        self.access = access_file.access(self._blocks)

    def put_hash(self, name: str, stored: str) -> None:
        """Set the hash of `name`, and remove all its other lines."""
        self._drop_lines(name)
        self._lines.append(htpasswd.parse(f"{name}:{stored}"))

    def drop(self, names: Iterable[str]) -> None:
        """Remove everything about these credentials."""
        for name in names:
            self._blocks = access_file.with_entry(self._blocks, name, None)
            self._drop_lines(name)
        self.access = access_file.access(self._blocks)

    def restore(self, names: Iterable[str]) -> frozenset[str]:
        """Put the parked hashes of these credentials back into htpasswd if they may work now. Return their names."""
        live = {name for name in names if name in self.access and self.access[name].is_live()}
        live -= {line.name for line in self._lines if line.is_credential}
        back = [line for line in self._parked if line.name in live and line.is_credential]
        self._lines += back
        return frozenset(line.name for line in back)

    def _restore_unexpired(self) -> None:
        """Put back the hashes that were parked because of an expiry that lies in the future.

        The clock was wrong when they were taken out, or somebody edited the expiry since.
        """
        parked = {line.name for line in self._parked} & self.access.keys()
        ending = {name for name in parked if self.access[name].effective.expires is not None}
        self.put_back = tuple(sorted(self.restore(ending)))

    def _drop_lines(self, name: str) -> None:
        self._lines = [line for line in self._lines if line.name != name]
        self._parked = [line for line in self._parked if line.name != name]

    def _settle(self, now: datetime) -> None:
        """Park the lines of htpasswd that nginx would accept and the application would not."""
        staying: list[Line] = []
        out: dict[str, Line] = {}
        names: set[str] = set()
        for line in self._lines:
            entry = self.access.get(line.name)
            if not line.name or (entry is None and self._is_new):
                staying.append(line)
                continue
            problem = "" if line.is_credential else "is not a hash that ppm knows"
            problem = "has no entry in access.yml" if entry is None else problem
            problem = "is there twice" if line.name in names else problem
            if problem:
                log.error("htpasswd: the line of %r %s; it was taken out.", line.name, problem)
            if problem or entry is None or not entry.is_live(now):
                out[line.name] = line
            else:
                staying.append(line)
                names.add(line.name)
        self._lines = staying
        self._parked = [line for line in self._parked if line.name not in names and line.name not in out]
        self._parked += [line for name, line in out.items() if name not in names]
        self.taken_out = tuple(out)

    def write(self) -> None:
        """Write what has changed: first remove hashes, then change rights, then add hashes."""
        self._restore_unexpired()
        self._settle(datetime.now(UTC))
        parts, limited = self._parts()
        nginx_htpasswd.write_limited(self._volume, limited)
        nginx_htpasswd.remove_lines(self._volume, parts)
        volume, (lines, access, parked) = self._volume, self._texts()
        before_lines, before_access, before_parked = self._before
        staying = set(lines)
        fewer = [line for line in before_lines if line in staying]
        # a hash is always in one of the files: it is added to `disabled` first, and removed from there last
        if more := set(parked) - set(before_parked):
            before_parked = [*before_parked, *(line for line in parked if line in more)]
            _write_lines(volume.disabled, before_parked, mode=_PRIVATE)
        if access != before_access:
            if fewer != before_lines:
                _write_lines(volume.htpasswd, fewer, mode=_MODE)
            _write(volume.access, access, mode=_MODE)
            before_lines = fewer
        if lines != before_lines:
            _write_lines(volume.htpasswd, lines, mode=_MODE)
        if parked != before_parked:
            _write_lines(volume.disabled, parked, mode=_PRIVATE)
        nginx_htpasswd.write(volume, parts)
        nginx_htpasswd.remove_limited(volume, limited)

    def write_parts(self) -> None:
        """Write nginx's copy of the hashes."""
        parts, limited = self._parts()
        nginx_htpasswd.write_limited(self._volume, limited)
        nginx_htpasswd.write(self._volume, parts)
        nginx_htpasswd.remove_limited(self._volume, limited)

    def _parts(self) -> tuple[list[str], dict[str, str]]:
        """Return the text of nginx's parts, and the lines of credentials with limited reads by name."""
        now = datetime.now(UTC)
        lines: list[Line] = []
        limited: dict[str, str] = {}
        for line in self._lines:
            entry = self.access.get(line.name)
            if not line.is_credential or entry is None or not entry.is_live(now):
                continue
            if not entry.is_read_limited:
                lines.append(line)
            elif rights.has_form(line.name):  # the name becomes that of a file
                limited.setdefault(line.name, f"{line.text}\n")
        return nginx_htpasswd.split(lines), limited

    def _texts(self) -> tuple[list[str], str, list[str]]:
        lines, parked = ([line.text for line in some] for some in (self._lines, self._parked))
        return lines, access_file.as_text(self._blocks), parked


def identity(volume: Volume) -> tuple[object, object]:
    """Return a value that changes whenever htpasswd or access.yml changes."""
    return files.identity(volume.htpasswd), files.identity(volume.access)


@contextlib.contextmanager
def changing(volume: Volume, *, dry_run: bool = False) -> Iterator[Change]:
    """Yield a change that no other process can disturb. It is written at the end of the block.

    Nothing is written if the block raises, or with `dry_run`. Raise OSError if the files can't be written.
    """
    with files.lock(volume.credentials_lock):
        files.drop_temporaries(volume.credentials)
        change = Change(volume)
        yield change
        if not dry_run:
            change.write()


def snapshot(volume: Volume) -> Snapshot:
    """Return the content of the files now."""
    with files.lock(volume.credentials_lock):
        return Change(volume).snapshot()


def ensure_htpasswd(volume: Volume) -> None:
    """Create htpasswd if it is missing, and nginx's copy: without them nginx answers 403 instead of 401."""
    try:
        files.create(volume.htpasswd, b"", mode=_MODE)
        with files.lock(volume.credentials_lock):
            Change(volume).write_parts()
    except OSError as exc:  # for example a full disk: the index is served anyway
        log.error("%s can't be created: %s", volume.htpasswd, exc)


def read_htpasswd(path: Path) -> dict[str, str]:
    """Return the hashes by name. A malformed line is ignored and logged."""
    lines = [htpasswd.parse(text) for text in _rows(path)]
    for number, line in enumerate(lines, start=1):
        if not line.is_credential and not line.is_nothing:
            log.error("%s: line %d is not a credential that ppm knows; it lets nobody in.", path, number)
    return _hashes(lines)


def read_access(path: Path) -> dict[str, Access]:
    """Return the rights of each credential. An invalid entry has none, and is logged."""
    return access_file.access(access_file.parse(_text(path)), path)


def _hashes(lines: Iterable[Line]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for line in lines:
        if line.is_credential:
            hashes.setdefault(line.name, line.stored)  # nginx takes the first of two as well
    return hashes


def _rows(path: Path) -> list[str]:
    """Return the lines as nginx reads them: a line feed ends a line, and a carriage return before it is not of it."""
    text = _text(path)
    return [row.removesuffix("\r") for row in text.removesuffix("\n").split("\n")] if text else []


def _write_lines(path: Path, lines: Iterable[str], *, mode: int) -> None:
    _write(path, "".join(f"{line}\n" for line in lines), mode=mode)


def _write(path: Path, text: str, *, mode: int) -> None:
    files.write_atomic(path, text.encode(errors="surrogateescape"), mode=mode, sync=True)


def _text(path: Path) -> str:
    return htpasswd.read(path) or ""
