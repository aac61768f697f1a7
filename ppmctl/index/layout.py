"""The layout of a volume: where each thing of an index is. docs/volume.md says what each file means."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ppmctl import files
from ppmctl.errors import PpmError
from ppmctl.index import ownership

METADATA = ".metadata"
RECORD = ".upload"
ATTESTATIONS = ".attestations"
YANKED = ".yanked"
TOMBSTONE = ".removed"
SIDE_FILES = (METADATA, RECORD, ATTESTATIONS, YANKED, TOMBSTONE)
REJECTED = ".rejected"
ROOT_MARK = ".root"

_LOCK_STRIPES = 256


class _Below:
    """A path below the root of a volume, as an attribute of the volume."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __get__(self, volume: Volume, _owner: type[Volume]) -> Path:
        return volume.root.joinpath(*self._names)


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One index's files below `root`, all on one file system. Only `check` reads here, only `prepare` writes."""

    root: Path

    packages = _Below("packages")
    drop = _Below("drop")
    incoming = _Below("incoming")
    bodies = _Below("bodies")  # uploads that are still arriving at a web server in front: nobody else's to read
    simple = _Below("index", "simple")
    environments = _Below("index", "env")
    pending = _Below("index", "pending")
    boot = _Below("index", "boot")  # the boot of the machine that the pages were last known to be sound in
    locks = _Below("locks")
    root_lock = _Below("locks", "root")
    incoming_lock = _Below("locks", "incoming")
    probe_lock = _Below("locks", "probe")
    drop_lock = _Below("locks", "drop")
    credentials_lock = _Below("locks", "credentials")
    credentials = _Below("credentials")
    htpasswd = _Below("credentials", "htpasswd")
    access = _Below("credentials", "access.yml")
    disabled = _Below("credentials", "disabled")
    parts = _Below(
        "credentials", "nginx"
    )  # what nginx reads of the credentials; ppmctl.access.nginx_htpasswd says how
    invites = _Below("credentials", "invites")
    first_credential = _Below("first-credential")
    first_netrc = _Below("netrc")
    audit = _Below("audit.jsonl")
    settings = _Below("ppm.yml")

    def project(self, project: str) -> Path:
        """The folder of a project; `project` is a normalised name."""
        return self.packages / project

    def file(self, project: str, filename: str) -> Path:
        return self.packages / project / filename

    def side_file(self, project: str, filename: str, suffix: str) -> Path:
        """The file beside a distribution; `suffix` is one of SIDE_FILES."""
        return self.packages / project / (filename + suffix)

    def status(self, project: str) -> Path:
        return self.packages / project / ".status"

    def pages(self, project: str) -> Path:
        """The folder of a project's pages."""
        return self.simple / project

    def environment(self, name: str) -> Path:
        """The folder of what `/env/` serves of an environment; ppmctl.index.environment_files has what is in it."""
        return self.environments / name

    def mark(self, project: str) -> Path:
        """While this is there, the project's pages may be older than its folder."""
        return self.pending / project

    def lock(self, project: str) -> Path:
        """The lock that a change of `project` holds: one of a fixed number, so that none is ever swept."""
        stripe = hashlib.sha256(project.encode()).digest()[0] % _LOCK_STRIPES
        return self.locks / f"{stripe:02x}"

    def check(self) -> None:
        """See that this process may use what is there of the volume, and change nothing.

        PpmError, one line with the remedy, for what belongs to somebody else or is mounted read-only. It takes the
        same time for every volume: the folders and files that each has stand for what is in them.
        """
        try:
            for folder in (self.root, *self._folders(), self.credentials):
                if folder.exists():
                    if not folder.is_dir():
                        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
                    _demand(folder, os.R_OK | os.W_OK | os.X_OK)
            for file in (self.htpasswd, self.access, self.disabled, self.invites, self.settings):
                if file.exists():
                    _demand(file, os.R_OK)
            for file in (*self._locks(), self.audit):
                if file.exists():
                    _demand(file, os.W_OK)
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _locks(self) -> tuple[Path, ...]:
        return (self.probe_lock, self.root_lock, self.incoming_lock, self.drop_lock, self.credentials_lock)

    def _folders(self) -> tuple[Path, ...]:
        return (self.packages, self.drop, self.incoming, self.simple, self.pending, self.locks)

    def prepare(self) -> None:
        """Make the folders that are missing and prove that the file system can do what a commit needs.

        PpmError, with the remedy, where a folder can't be written, hard links don't work, or the folders
        are not one file system.
        """
        self.check()
        try:
            for folder in self._folders():
                folder.mkdir(parents=True, exist_ok=True)
            self.credentials.mkdir(mode=0o750, exist_ok=True)
            self._probe()
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, exc: OSError) -> PpmError:
        """Why the volume can't be used, and the remedy, on one line: in a container's log it is one of many."""
        path, asker = Path(exc.filename or self.root), ownership.this_process()
        try:
            found = path.stat()
            read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
        except OSError:
            found, read_only = None, exc.errno == errno.EROFS
        denied = exc.errno in (errno.EACCES, errno.EPERM)
        if read_only:
            why = f"{path} is mounted read-only. It must be writable (a container's: mounted without :ro)."
        elif denied and found:
            why = ownership.refusal(path, found, asker, root=self.root)
        else:
            who = f"uid {asker.uid}, gid {asker.gid}"
            why = f"{exc.strerror} ({path}). It must be a folder that this process ({who}) can write"
            made = f"`sudo install -d -o {asker.uid} -g {asker.gid} {self.root}` makes it"
            why += f": {made}." if denied else "."
        return PpmError(f"The volume {self.root} can't be used: {why}")

    def _probe(self) -> None:
        source, target = self.incoming / ".probe", self.packages / ".probe"
        try:
            with files.lock(self.probe_lock):
                try:
                    target.unlink(missing_ok=True)  # of a probe that died
                    source.touch()
                    os.link(source, target)
                finally:
                    source.unlink(missing_ok=True)
                    target.unlink(missing_ok=True)
        except OSError as exc:
            raise PpmError(
                f"{self.incoming} and {self.packages} can't share a file by a hard link or lock it: {exc.strerror}.",
                hint=f"Mount the whole of {self.root} as one volume of a file system with hard links and flock"
                " (ext4, xfs, btrfs; NFS from version 4), not its folders one by one.",
            ) from exc


def _demand(path: Path, wanted: int) -> None:
    if not os.access(path, wanted):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
