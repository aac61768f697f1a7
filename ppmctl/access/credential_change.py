"""Change the files of `credentials/` together, and with storage the object in the bucket that they are copies of.

The order of the writes guarantees that a crash leaves no credential with more rights than before the change or after
it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ppmctl import files
from ppmctl.access import access_file, htpasswd, invites, nginx_htpasswd, rights
from ppmctl.access.htpasswd import Line
from ppmctl.access.invites import Invite
from ppmctl.access.rights import Access
from ppmctl.access.shared_credentials import Content, Copy
from ppmctl.index.layout import Volume

log = logging.getLogger(__name__)

MODE = 0o640
_PRIVATE = 0o600


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The content of the files at one moment: rights, and hashes by name. The `parked` hashes do not work now."""

    access: Mapping[str, Access]
    hashes: Mapping[str, str]
    parked: Mapping[str, str]


class Change:
    """The content of the files while it is edited; `credential_files.changing` writes it.

    With a `copy` of what the bucket has, its content is edited, and the files follow.
    """

    def __init__(self, volume: Volume, copy: Copy | None = None) -> None:
        self._volume = volume
        self._copy = copy
        self._blocks = access_file.parse(read_text(volume.access))
        self._lines = [htpasswd.parse(row) for row in rows(volume.htpasswd)]
        self._parked = [htpasswd.parse(row) for row in rows(volume.disabled)]
        self._invites: tuple[Invite, ...] | None = None  # read when needed
        self._before = self._texts()
        if copy is not None and copy.content is not None:
            self._use(copy.content)
        self.access: Mapping[str, Access] = access_file.access(self._blocks, volume.access)
        self._is_new = not self.access
        self.taken_out: tuple[str, ...] = ()
        self.put_back: tuple[str, ...] = ()
        if copy is not None:
            self._settle(datetime.now(UTC))  # the bucket has expired ones among those that work

    def _use(self, content: Content) -> None:
        self._blocks = access_file.parse(content.access)
        self._lines = [htpasswd.parse(row) for row in content.htpasswd]
        self._parked = [htpasswd.parse(row) for row in content.disabled]
        self._invites = invites.parse(content.invites, self._volume.invites)

    @property
    def tag(self) -> str | None:
        """Return the tag of the object in the bucket that these credentials are."""
        return None if self._copy is None else self._copy.tag

    @property
    def invites(self) -> tuple[Invite, ...]:
        if self._invites is None:
            self._invites = invites.read(self._volume)
        return self._invites

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
        return Snapshot(access=self.access, hashes=hashes_of(self._lines), parked=hashes_of(self._parked))

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

    def put_invite(self, invite: Invite) -> None:
        """Store `invite`, and remove an earlier one of that user."""
        self._invites = (*(other for other in self.invites if other.name != invite.name), invite)

    def drop_invites(self, names: Collection[str]) -> None:
        """Remove the invites of these users, and all that expired long ago."""
        self._invites = tuple(each for each in self.invites if each.name not in names and not each.is_old())

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
        self.put_back += tuple(sorted(self.restore(ending)))

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
        if self._copy is not None:  # what a new node gets from the bucket was not taken out here
            before = {htpasswd.parse(row).name for row in self._before[0]}
            out = {name: line for name, line in out.items() if name in before}
        self.taken_out = tuple(dict.fromkeys((*self.taken_out, *out)))

    def write(self) -> None:
        """Write what has changed: the bucket first, then the files.

        Raise ChangedElsewhere if another node was faster, and Unavailable if the bucket can't be written; the files
        are then unchanged.
        """
        self._restore_unexpired()
        self._settle(datetime.now(UTC))
        if self._copy is not None:
            self._sort()
            shared = self._shared()
            found = self._copy.commit(shared)
            if found != shared:
                self._follow(found)
        try:
            self._write_files()
        except OSError:
            if self._copy is not None:  # the change counts, and is written here as soon as that is possible
                with contextlib.suppress(OSError):
                    self._refuse_in_place()
            raise

    def _follow(self, content: Content) -> None:
        """Take over what another node made of this change, before its answer was here."""
        self._use(content)
        self.access = access_file.access(self._blocks, self._volume.access)
        self._settle(datetime.now(UTC))
        self._sort()

    def _sort(self) -> None:
        """Sort the lines as all nodes have them."""
        self._lines.sort(key=_name)
        self._parked.sort(key=_name)

    def _refuse_in_place(self) -> None:
        """Make comments of the hashes that are gone or have other rights now: a full disk allows no other write."""
        before = access_file.access(access_file.parse(self._before[1]))
        changed = {name for name, entry in before.items() if self.access.get(name) != entry}
        staying = {line.text for line in self._lines if line.name not in changed}
        for path in (self._volume.htpasswd, *nginx_htpasswd.paths(self._volume)):
            if path.exists():
                htpasswd.comment_out(path, staying)

    def _shared(self) -> Content:
        """Return the content for the bucket. It does not depend on the clock: what only expired is not parked."""
        ending = {line.name for line in self._parked if self._only_expired(line)}
        lines = [*self._lines, *(line for line in self._parked if line.name in ending)]
        return Content(
            htpasswd=tuple(line.text for line in sorted(lines, key=_name)),
            disabled=tuple(line.text for line in self._parked if line.name not in ending),
            invites=invites.lines(self.invites),
            access=access_file.as_text(self._blocks),
        )

    def _only_expired(self, line: Line) -> bool:
        entry = self.access.get(line.name)
        if entry is None or entry.is_blocked or entry.effective.expires is None:
            return False
        return line.is_credential and line.name not in {each.name for each in self._lines}

    def _write_files(self) -> None:
        """Write the files that have changed: first remove invites and hashes, then change rights, then add hashes."""
        self.write_invites()
        parts, limited = self._parts()
        nginx_htpasswd.write_limited(self._volume, limited)
        nginx_htpasswd.remove_lines(self._volume, parts)
        volume, (lines, access, parked) = self._volume, self._texts()
        before_lines, before_access, before_parked = self._before
        # a hash is always in one of the files: it is added to `disabled` first, and removed from there last
        if more := set(parked) - set(before_parked):
            before_parked = [*before_parked, *(line for line in parked if line in more)]
            _write_lines(volume.disabled, before_parked, mode=_PRIVATE)
        if access != before_access:
            before_lines = self._write_access(access)
        if lines != before_lines:
            _write_lines(volume.htpasswd, lines, mode=MODE)
        if parked != before_parked:
            _write_lines(volume.disabled, parked, mode=_PRIVATE)
        nginx_htpasswd.write(volume, parts)
        nginx_htpasswd.remove_limited(volume, limited)

    def _write_access(self, access: str) -> list[str]:
        """Remove the hashes that must not have the new rights, then write access.yml. Return what htpasswd has then.

        After a failure one of the two secrets works. With fewer rights the old hash stays until the new one is
        written. With more rights the new hash is written first, and the old one again if access.yml can't be written.
        """
        before_lines, before_access, _parked = self._before
        staying, replaced, early = {line.text for line in self._lines}, self._replaced(), set()
        before = access_file.access(access_file.parse(before_access)) if replaced else {}
        for line in replaced:
            earlier, entry = before.get(line.name), self.access[line.name]
            if earlier is not None and earlier.is_live() and not rights.exceeds(entry.effective, earlier):
                staying.add(line.text)
            elif earlier is not None and not rights.exceeds(earlier.effective, entry):
                early.add(line.name)
        first = [line for line in before_lines if line in staying]
        first += [line.text for line in self._lines if line.name in early]
        if first != before_lines:
            _write_lines(self._volume.htpasswd, first, mode=MODE)
        try:
            _write_text(self._volume.access, access, mode=MODE)
        except OSError:
            is_same = self._copy is None and read_text(self._volume.access) == before_access
            if early and is_same:  # with storage the change counts already
                staying.update(line.text for line in replaced if line.name in early)
                _write_lines(self._volume.htpasswd, [line for line in before_lines if line in staying], mode=MODE)
            raise
        return first

    def _replaced(self) -> list[Line]:
        """Return the lines of hashes that worked until now, of credentials that get another hash."""
        before = set(self._before[0])
        new = [line for line in self._lines if line.is_credential and line.text not in before]
        names = {line.name for line in new if line.name in self.access}
        lines = [htpasswd.parse(row) for row in self._before[0] if row.partition(":")[0] in names]
        return [line for line in lines if line.is_credential]

    def write_invites(self) -> None:
        """Write the invites if they have changed."""
        if self._invites is not None and self._invites != invites.read(self._volume):
            invites.write(self._volume, self._invites)

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


def _name(line: Line) -> str:
    return line.name


def hashes_of(lines: Iterable[Line]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for line in lines:
        if line.is_credential:
            hashes.setdefault(line.name, line.stored)  # nginx takes the first of two as well
    return hashes


def rows(path: Path) -> list[str]:
    """Return the lines as nginx reads them: a line feed ends a line, and a carriage return before it is not of it."""
    text = read_text(path)
    return [row.removesuffix("\r") for row in text.removesuffix("\n").split("\n")] if text else []


def _write_lines(path: Path, lines: Iterable[str], *, mode: int) -> None:
    _write_text(path, "".join(f"{line}\n" for line in lines), mode=mode)


def _write_text(path: Path, text: str, *, mode: int) -> None:
    files.write_atomic(path, text.encode(errors="surrogateescape"), mode=mode, sync=True)


def read_text(path: Path) -> str:
    return htpasswd.read(path) or ""
