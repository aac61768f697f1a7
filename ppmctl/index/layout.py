"""The paths of an index's files on its volume; docs/volume.md explains each file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ppmctl import files
from ppmctl.distributions.names import is_filename, is_normalised
from ppmctl.errors import PpmError
from ppmctl.index import ownership
from ppmctl.storage import configured

METADATA = ".metadata"
RECORD = ".upload"
ATTESTATIONS = ".attestations"
YANKED = ".yanked"
TOMBSTONE = ".removed"
PROVENANCE = ".provenance"
SIDE_FILES = (METADATA, RECORD, ATTESTATIONS, PROVENANCE, YANKED, TOMBSTONE)
SERVED = (METADATA, PROVENANCE)  # side files that clients read
REJECTED = ".rejected"
ROOT_MARK = ".root"
ROOT_WRITING_MARK = ".root-writing"

_LOCK_STRIPES = 256
_SHOWN = 80  # characters of an invalid name in a message


class InvalidName(PpmError):
    """A name can't be that of a project, environment or file, so nothing of that name is on any volume."""

    status = 404


def _project(name: str) -> str:
    """Return a normalised name. Raise InvalidName for any other: it could lead to another folder of the machine."""
    if not is_normalised(name):
        raise InvalidName(f"{name[:_SHOWN]!r} is not the normalised name of a project.")
    return name


def _file(name: str) -> str:
    if not is_filename(name):
        raise InvalidName(f"{name[:_SHOWN]!r} is not the name of a distribution's file.")
    return name


class _Below:
    """An attribute of a volume: a path below its root, made once."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __set_name__(self, _owner: type[Volume], name: str) -> None:
        self._name = name

    def __get__(self, volume: Volume, _owner: type[Volume]) -> Path:
        path = volume.root.joinpath(*self._names)
        volume.__dict__[self._name] = path  # which is found before this descriptor from now on
        return path


@dataclass(frozen=True, kw_only=True)
class Volume:
    """The files of one index below `root`, all on one file system. Only `check` reads them, only `prepare` writes.

    The paths of projects, environments and files raise InvalidName for a name that is not normalised, or that a file
    can't have. So no name of a request can lead out of its folder, even if a caller does not check it.

    `storage` is the address of the bucket that the volume is a cache of; "" is none, None what is configured.
    """

    root: Path
    storage: str | None = None

    packages = _Below("packages")
    quarantine = _Below("quarantine")  # the files of quarantined projects, which no web server may read
    claims = _Below("claims")  # see ppmctl.index.claims
    drop = _Below("drop")
    incoming = _Below("incoming")
    bodies = _Below("bodies")  # uploads that a web server in front is still receiving, readable only by it
    heads = _Below("index", "heads")  # see ppmctl.index.mirror
    names = _Below("index", "names")
    simple = _Below("index", "simple")
    environments = _Below("index", "env")
    pending = _Below("index", "pending")
    listed = _Below("index", "listed")  # exists once the list of projects has all that the bucket has
    current = _Below("index", "current")  # see ppmctl.index.freshness
    boot = _Below("index", "boot")  # the id of the boot in which the pages were last known to be good
    layout = _Below("index", "layout")  # the number of the layout that this volume was brought to
    search = _Below("index", "search.sqlite3")  # see ppmctl.index.search_index
    servers = _Below("servers")  # see ppmctl.server.running
    locks = _Below("locks")
    root_lock = _Below("locks", "root")
    incoming_lock = _Below("locks", "incoming")
    probe_lock = _Below("locks", "probe")
    drop_lock = _Below("locks", "drop")
    credentials_lock = _Below("locks", "credentials")
    servers_lock = _Below("locks", "servers")
    search_lock = _Below("locks", "search")
    downloads_lock = _Below("locks", "downloads")
    requests_lock = _Below("locks", "requests")
    prune_lock = _Below("locks", "prune")
    audit_lock = _Below("locks", "audit")
    audit_sent = _Below("storage", "audit-sent.json")  # see ppmctl.access.shared_audit
    audit_seen = _Below("storage", "audit-seen.json")  # see ppmctl.access.audit_follower
    followed = _Below("storage", "followed")  # its time: all that other nodes changed before is known here
    credentials = _Below("credentials")
    htpasswd = _Below("credentials", "htpasswd")
    access = _Below("credentials", "access.yml")
    disabled = _Below("credentials", "disabled")
    parts = _Below("credentials", "nginx")  # the htpasswd files of nginx; see ppmctl.access.nginx_htpasswd
    limited = _Below("credentials", "nginx-limited")  # the same for credentials that may read only some projects
    invites = _Below("credentials", "invites")
    sessions = _Below("credentials", "sessions")  # of browsers; see ppmctl.web.sessions
    login_links = _Below("credentials", "login-links")  # see ppmctl.access.login_links
    first_credential = _Below("first-credential")
    first_netrc = _Below("netrc")
    audit = _Below("audit.jsonl")
    settings = _Below("ppm.yml")
    webhooks = _Below("webhooks")  # see ppmctl.webhooks.state
    webhooks_lock = _Below("locks", "webhooks")
    pruned = _Below("prune.json")  # see ppmctl.index.pruning
    operations = _Below("operations")  # see ppmctl.index.operation_result
    backup = _Below("backup")  # see ppmctl.backup: what follows, restic's cache, and drills
    staging = _Below("backup", "staging")
    repositories = _Below("backup", "repositories")  # those that have had a backup, and its last snapshot
    index_id = _Below("index-id")  # see ppmctl.backup.identity
    volume_id = _Below("backup", "volume-id")
    restoring = _Below("backup", "restore")  # the files of a restore before they are moved, and those it replaced
    restore_step = _Below("backup", "restore", "step")  # exists while a restore replaces files
    backup_lock = _Below("locks", "backup")
    drill_lock = _Below("locks", "drill")
    downloads = _Below("stats", "downloads.sqlite3")  # see ppmctl.downloads.database
    requests = _Below("requests", "requests.log")  # a line for each request; see ppmctl.downloads.request_line
    copied_from = _Below("storage", "copied-from")  # see ppmctl.index.cache_mark

    @cached_property
    def bucket(self) -> str:
        """The address of the bucket that this volume is a cache of; "" if it is the truth itself."""
        return configured.address_of(self.root) if self.storage is None else self.storage

    @cached_property
    def is_cache(self) -> bool:
        """Whether the bucket has the truth, and this volume what of it was used here."""
        return self.bucket != ""

    def head(self, project: str) -> Path:
        """Return the file with the project's head that its folder was brought in line with."""
        return self.heads / _project(project)

    def project(self, project: str) -> Path:
        """Return the folder of a project; `project` is a normalised name."""
        return self.packages / _project(project)

    def file(self, project: str, filename: str) -> Path:
        return self.packages / _project(project) / _file(filename)

    def side_file(self, project: str, filename: str, suffix: str) -> Path:
        """Return a file beside a distribution; `suffix` is one of SIDE_FILES."""
        return self.packages / _project(project) / (_file(filename) + suffix)

    def status(self, project: str) -> Path:
        return self.packages / _project(project) / ".status"

    def quarantined(self, project: str) -> Path:
        """Return the folder that has a project's files while it is quarantined; see ppmctl.index.quarantine."""
        return self.quarantine / _project(project)

    def claim(self, project: str) -> Path:
        return self.claims / _project(project)

    def pages(self, project: str) -> Path:
        """Return the folder of a project's pages."""
        return self.simple / _project(project)

    def environment(self, name: str) -> Path:
        """Return the folder of an environment's files; see ppmctl.index.environment_files."""
        return self.environments / _project(name)

    def mark(self, project: str) -> Path:
        """Return the file that exists while the project's pages may be older than its folder.

        ROOT_MARK and ROOT_WRITING_MARK are those of the list of projects.
        """
        return self.pending / (project if project in (ROOT_MARK, ROOT_WRITING_MARK) else _project(project))

    def current_mark(self, project: str) -> Path:
        """Return the file that exists while the pages of `project`, or with ROOT_MARK the list, are compared."""
        return self.current / (project if project == ROOT_MARK else _project(project))

    def operation(self, name: str) -> Path:
        """Return the file with the last result of a recurring operation; see ppmctl.index.operation_result."""
        return self.operations / f"{name}.json"

    def old_audit(self, stamp: str) -> Path:
        """Return a file of the audit that was rotated at the time `stamp`; see ppmctl.access.audit_rotation."""
        return self.audit.with_name(f"audit-{stamp}.jsonl")

    def webhook(self, key: str) -> Path:
        """Return the file with what a webhook has received; see ppmctl.webhooks.state."""
        return self.webhooks / f"{key}.json"

    def lock(self, project: str) -> Path:
        """Return the lock for changes of `project`: one of a fixed number, so that no lock is ever deleted."""
        stripe = hashlib.sha256(_project(project).encode()).digest()[0] % _LOCK_STRIPES
        return self.locks / f"{stripe:02x}"

    def all_locks(self) -> tuple[Path, ...]:
        """Return the locks of all projects, in the order in which one process may hold them together."""
        return tuple(self.locks / f"{stripe:02x}" for stripe in range(_LOCK_STRIPES))

    @contextlib.contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Hold the lock `path` for a change.

        Raise PpmError if the index was moved to a bucket meanwhile: what changes here only would be undone.
        """
        with files.lock(path):
            address = "" if self.is_cache else configured.noted(self.root)
            if address:
                raise PpmError(
                    f"The index in {self.root} was moved to {address} meanwhile. Nothing was changed.",
                    hint="Run the command again, which then uses the bucket.",
                )
            yield

    def check(self) -> None:
        """Check that this process may use the parts of the volume that exist; change nothing.

        PpmError, one line with the remedy, if one belongs to another user or is mounted read-only. Only the files and
        folders that every volume has are checked, so it takes the same time for every volume.
        """
        folders = (self.root, *self._folders(), self.quarantine, self.claims, self.servers, self.credentials)
        read = (self.htpasswd, self.access, self.disabled, self.invites, self.settings)
        locks = (self.probe_lock, self.root_lock, self.incoming_lock, self.drop_lock)
        written = (*locks, self.credentials_lock, self.servers_lock, self.audit)
        checks = ((folders, os.R_OK | os.W_OK | os.X_OK), (read, os.R_OK), (written, os.W_OK))
        try:
            for paths, mode in checks:
                for path in filter(Path.exists, paths):
                    _require_access(path, mode)
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _folders(self) -> tuple[Path, ...]:
        return (self.packages, self.drop, self.incoming, self.simple, self.pending, self.locks)

    def prepare(self, *, is_restoring: bool = False) -> None:
        """Create the missing folders and test that the file system supports what a commit needs.

        PpmError, with the remedy, if a folder can't be written, hard links or locks don't work, or the folders are on
        several file systems; and, unless it `is_restoring`, if a restore was interrupted.
        """
        self.check()
        if not is_restoring and self.restore_step.exists():
            raise PpmError(
                f"A restore of {self.root} was interrupted: some of its files are old, and some from the backup.",
                hint=f"To complete it: ppmctl backup restore --root {self.root}",
            )
        try:
            missing = [folder for folder in (self.root, *self._folders(), self.credentials) if not folder.exists()]
            for folder in self._folders():
                folder.mkdir(parents=True, exist_ok=True)
            self.credentials.mkdir(mode=0o750, exist_ok=True)
            for parent in {folder.parent for folder in missing}:  # or a power failure takes what is in them
                files.sync_folder(parent)
            self._probe()
        except OSError as exc:
            raise self._unusable(exc) from exc

    def _unusable(self, exc: OSError) -> PpmError:
        """Return why the volume can't be used, with the remedy; on one line, for a container's log."""
        path, process = Path(exc.filename or self.root), ownership.this_process()
        try:
            status = path.stat()
            read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
        except OSError:
            status, read_only = None, exc.errno == errno.EROFS
        denied = exc.errno in (errno.EACCES, errno.EPERM)
        if read_only:
            why = f"{path} is mounted read-only. It must be writable (in a container: mount it without :ro)."
        elif denied and status:
            why = ownership.refusal(path, status, process, root=self.root)
        else:
            why = f"{exc.strerror} ({path}). It must be a folder that this process ({process}) can write"
            command = f"sudo install -d -o {process.uid} -g {process.gid} {self.root}"
            why += f": `{command}` creates it." if denied else "."
        return PpmError(f"The volume {self.root} can't be used: {why}")

    def _probe(self) -> None:
        source, target = self.incoming / ".probe", self.packages / ".probe"
        try:
            with files.lock(self.probe_lock):
                try:
                    target.unlink(missing_ok=True)  # left by a probe that died
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


def _require_access(path: Path, mode: int) -> None:
    if mode & os.X_OK and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not os.access(path, mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
