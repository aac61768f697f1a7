"""The files of `credentials/`, read as values and changed as one.

`htpasswd` has the lines that are valid now, and `nginx/` the same as nginx reads it (`ppmctl.access.nginx_htpasswd`);
`access.yml` says what each credential is for; `disabled` has the lines that were removed and can be given back.
Where a right grows, access.yml is written first; where it shrinks, the lines: what a crash leaves is never stronger
than before or after.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from ppmctl import files
from ppmctl.access import access_file, htpasswd, nginx_htpasswd
from ppmctl.access.htpasswd import Line
from ppmctl.access.rights import Access as Access
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

_MODE = 0o640
_PRIVATE = 0o600


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the files say at one moment: what each credential is for, and the hashes by name.

    `parked` are the hashes that let nobody in.
    """

    access: Mapping[str, Access]
    hashes: Mapping[str, str]
    parked: Mapping[str, str]


class Credentials:
    """The credentials of a volume as its files say at this moment: they are read again when they change."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._guard = Lock()
        self._seen: object = None
        self._hashes: Mapping[str, str] = {}
        self._access: Mapping[str, Access] = {}
        self._dummy = htpasswd.hash_of(htpasswd.new_secret())

    def authenticate(self, name: str, secret: str) -> Access | None:
        """What `name` may do, if `secret` is its secret; None for a wrong one and for an unknown name alike.

        A name with a secret but no entry in access.yml has no rights and counts as unknown, and so does one that is
        disabled. An expired one is said: it may do nothing.
        """
        self._reload()
        stored = self._hashes.get(name)
        right = htpasswd.is_secret_of(secret, stored if stored is not None else self._dummy)
        access = self._access.get(name) if right and stored is not None else None
        return None if access is None or access.is_shut else access

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
                    # changed meanwhile: a secret that was replaced must not meet the rights of the next
                    after = read_htpasswd(self._volume.htpasswd)
                    hashes = {name: stored for name, stored in hashes.items() if after.get(name) == stored}
            except OSError as exc:
                # as it was: whoever edits a file by hand must not lock everybody out, nor let anybody in
                log.error("The credentials can't be read; those from before go on working: %s", exc)
                access = {name: entry for name, entry in self._access.items() if name in self._hashes}
                hashes = dict(self._hashes)
            self._hashes, self._access, self._seen = hashes, access, current


class Change:
    """A change of the credentials under way: what the files say, to be edited; `changing` writes it."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._blocks = access_file.parse(_text(volume.access))
        self._lines = [htpasswd.parse(text) for text in _rows(volume.htpasswd)]
        self._parked = [htpasswd.parse(text) for text in _rows(volume.disabled)]
        self._before = self._texts()
        self.access: Mapping[str, Access] = access_file.access(self._blocks, volume.access)
        self._is_new = not self.access
        self.taken_out: tuple[str, ...] = ()

    @property
    def named(self) -> frozenset[str]:
        """Every name that the files have, whatever for."""
        lines = {line.name for line in (*self._lines, *self._parked) if line.name}
        return frozenset(lines.union(*(block.names for block in self._blocks)))

    def known(self) -> Known:
        return Known(access=self.access, hashes=_hashes(self._lines), parked=_hashes(self._parked))

    def put(self, *changed: Access) -> None:
        """Have these in access.yml, each in place of what stands there for its name."""
        for entry in changed:
            self._blocks = access_file.with_entry(self._blocks, entry.name, entry)
        self.access = access_file.access(self._blocks)

    def put_hash(self, name: str, stored: str) -> None:
        """Have `name:stored` in htpasswd, and no other line for that name anywhere."""
        self._drop_lines(name)
        self._lines.append(htpasswd.parse(f"{name}:{stored}"))

    def drop(self, names: Iterable[str]) -> None:
        """Have nothing of these credentials any more."""
        for name in names:
            self._blocks = access_file.with_entry(self._blocks, name, None)
            self._drop_lines(name)
        self.access = access_file.access(self._blocks)

    def restore(self, names: Iterable[str]) -> None:
        """Have the lines that were taken out of htpasswd there again, where these credentials may let in now."""
        back = {name for name in names if name in self.access and self.access[name].is_live()}
        back -= {line.name for line in self._lines if line.is_credential}
        self._lines += [line for line in self._parked if line.name in back]

    def _drop_lines(self, name: str) -> None:
        self._lines = [line for line in self._lines if line.name != name]
        self._parked = [line for line in self._parked if line.name != name]

    def _settle(self, now: datetime) -> None:
        """Take out of htpasswd what lets in whom the application would not; it is kept among the disabled."""
        staying: list[Line] = []
        out: dict[str, Line] = {}
        there: set[str] = set()
        for line in self._lines:
            entry = self.access.get(line.name)
            if not line.name or (entry is None and self._is_new):
                staying.append(line)
            elif entry is None or not line.is_credential or line.name in there or not entry.is_live(now):
                out[line.name] = line
                if entry is None or not line.is_credential or line.name in there:
                    why = "has no entry in access.yml" if entry is None else "is no hash that ppm knows"
                    why = "stands there twice" if line.name in there else why
                    log.error("htpasswd: the line of %r %s; it was taken out.", line.name, why)
            else:
                staying.append(line)
                there.add(line.name)
        self._lines = staying
        self._parked = [line for line in self._parked if line.name not in there and line.name not in out]
        self._parked += [line for name, line in out.items() if name not in there]
        self.taken_out = tuple(out)

    def write(self) -> None:
        """Write what has changed: first what lets in no more, then what credentials are for, then what lets in."""
        self._settle(datetime.now(UTC))
        divided = self._divided()
        nginx_htpasswd.narrow(self._volume, divided)
        volume, (lines, access, parked) = self._volume, self._texts()
        before_lines, before_access, before_parked = self._before
        kept = set(lines)
        fewer = [line for line in before_lines if line in kept]
        # no hash is ever nowhere: what comes among the disabled is written first, what goes from there last
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
        nginx_htpasswd.write(volume, divided)

    def write_parts(self) -> None:
        """Have for nginx what the files say now."""
        nginx_htpasswd.write(self._volume, self._divided())

    def _divided(self) -> list[str]:
        now = datetime.now(UTC)
        return nginx_htpasswd.divided(
            line
            for line in self._lines
            if line.is_credential and line.name in self.access and self.access[line.name].is_live(now)
        )

    def _texts(self) -> tuple[list[str], str, list[str]]:
        lines, parked = ([line.text for line in some] for some in (self._lines, self._parked))
        return lines, access_file.as_text(self._blocks), parked


def identity(volume: Volume) -> tuple[object, object]:
    """What is another after each change of who is let in, or what for."""
    return files.identity(volume.htpasswd), files.identity(volume.access)


@contextlib.contextmanager
def changing(volume: Volume, *, dry_run: bool = False) -> Iterator[Change]:
    """Change the credentials in the block, alone among all processes; nothing is written where it raises.

    Nor is anything with `dry_run`. OSError where they can't be written.
    """
    with files.lock(volume.credentials_lock):
        files.drop_temporaries(volume.credentials)
        change = Change(volume)
        yield change
        if not dry_run:
            change.write()


def known(volume: Volume) -> Known:
    """What the files say now."""
    with files.lock(volume.credentials_lock):
        return Change(volume).known()


def make_list(volume: Volume) -> None:
    """Make an empty htpasswd where there is none, and what nginx reads: it answers 401 then, and without it 403."""
    try:
        files.create(volume.htpasswd, b"", mode=_MODE)
        with files.lock(volume.credentials_lock):
            Change(volume).write_parts()
    except OSError as exc:  # a full disk, say: what is there is served all the same
        log.error("%s can't be made: %s", volume.htpasswd, exc)


def read_htpasswd(path: Path) -> dict[str, str]:
    """The hashes by name. A malformed line counts for nothing and is logged; the others go on working."""
    lines = [htpasswd.parse(text) for text in _rows(path)]
    for number, line in enumerate(lines, start=1):
        if not line.is_credential and not line.is_nothing:
            log.error("%s: line %d is not a credential that ppm knows; it lets nobody in.", path, number)
    return _hashes(lines)


def read_access(path: Path) -> dict[str, Access]:
    """What each credential is for. An entry that makes no sense has no rights and is logged."""
    return access_file.access(access_file.parse(_text(path)), path)


def _hashes(lines: Iterable[Line]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if line.is_credential:
            found.setdefault(line.name, line.stored)  # nginx takes the first of two as well
    return found


def _rows(path: Path) -> list[str]:
    """The lines as nginx sees them, which ends them at a line feed alone."""
    text = _text(path)
    return text.removesuffix("\n").split("\n") if text else []


def _write_lines(path: Path, lines: Iterable[str], *, mode: int) -> None:
    _write(path, "".join(f"{line}\n" for line in lines), mode=mode)


def _write(path: Path, text: str, *, mode: int) -> None:
    files.write_atomic(path, text.encode(errors="surrogateescape"), mode=mode, sync=True)


def _text(path: Path) -> str:
    try:
        # what is no UTF-8 stays in the file as it is, and is no credential
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
