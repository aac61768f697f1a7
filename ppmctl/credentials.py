"""Who may do what: `credentials/htpasswd` (read by nginx too) and `credentials/access.yml`.

Secrets are issued, never chosen: 256 random bits, so a fast salted hash is as strong as a slow one, and
costs nothing on each request.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import yaml
from passlib.context import CryptContext

from ppmctl import files
from ppmctl.errors import PpmError, UsageError
from ppmctl.volume import Volume

log = logging.getLogger(__name__)

Role = Literal["reader", "publisher", "admin"]
ROLES: tuple[Role, ...] = ("reader", "publisher", "admin")
Action = Literal["read", "publish", "manage"]

SECRET_PREFIX = "ppm_"  # noqa: S105 - what secret scanners look for, no secret
FIRST_ADMIN = "admin"
LOOPBACK = ("127.0.0.1", "localhost")

_MODE = 0o640
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}(\+[A-Za-z0-9._-]{1,64})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_HASHES = CryptContext(
    schemes=["ldap_salted_sha1", "sha512_crypt", "sha256_crypt", "apr_md5_crypt", "ldap_sha1"],
    default="ldap_salted_sha1",
)
_RIGHTS: dict[Role, frozenset[Action]] = {
    "reader": frozenset({"read"}),
    "publisher": frozenset({"read", "publish"}),
    "admin": frozenset({"read", "publish", "manage"}),
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a credential is for.

    `name` is `owner` or `owner+purpose`; `projects` are globs of normalised names that a publisher may
    publish, none meaning all; `expires` is UTC in ISO 8601, or None.
    """

    name: str
    role: Role
    created: str
    projects: tuple[str, ...] = ()
    expires: str | None = None

    def may(self, action: Action, project: str | None = None) -> bool:
        """Whether the credential has this right now; for publishing and managing also: for this project."""
        if self.expires is not None and datetime.fromisoformat(self.expires) <= datetime.now(UTC):
            return False
        if action not in _RIGHTS[self.role]:
            return False
        if action == "read" or project is None or self.role == "admin" or not self.projects:
            return True
        return any(fnmatchcase(project, glob) for glob in self.projects)


class Credentials:
    """The credentials of a volume as its files say at this moment: they are read again when they change."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._guard = Lock()
        self._seen: object = None
        self._hashes: Mapping[str, str] = {}
        self._access: Mapping[str, Access] = {}
        self._dummy = _HASHES.hash(secrets.token_urlsafe())

    def authenticate(self, name: str, secret: str) -> Access | None:
        """What `name` may do, if `secret` is its secret; None for a wrong one and for an unknown name alike.

        A name with a secret but no entry in access.yml has no rights and counts as unknown.
        """
        self._reload()
        stored = self._hashes.get(name)
        right = _verify(secret, stored if stored is not None else self._dummy)
        return self._access.get(name) if right and stored is not None else None

    def _reload(self) -> None:
        current = (_identity(self._volume.htpasswd), _identity(self._volume.access))
        if current == self._seen:
            return
        with self._guard:
            try:
                hashes, access = read_htpasswd(self._volume.htpasswd), read_access(self._volume.access)
            except (PpmError, OSError) as exc:
                # as it was: whoever edits a file by hand must not lock everybody out, nor let anybody in
                log.error("The credentials can't be read; those from before go on working: %s", exc)
                access = {name: entry for name, entry in self._access.items() if name in self._hashes}
                hashes = dict(self._hashes)
            self._hashes, self._access, self._seen = hashes, access, current


def make_list(volume: Volume) -> None:
    """Make an empty htpasswd where there is none: a web server in front answers 401 then, and without it 403."""
    try:
        files.create(volume.htpasswd, b"", mode=_MODE)
    except OSError as exc:  # a full disk, say: what is there is served all the same
        log.error("%s can't be made: %s", volume.htpasswd, exc)


def add(volume: Volume, name: str, role: str) -> str:
    """Make the credential `name` and give its secret, which is stored nowhere. PpmError if there is one."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} can't be the name of a credential: letters, digits, and . _ @ - ; a purpose after one +."
        )
    if role not in ROLES:
        raise UsageError(f"{role!r} is not a role.", hint=f"One of: {', '.join(ROLES)}.")
    secret = _new_secret()
    with _changing(volume):
        if name in read_htpasswd(volume.htpasswd) or name in read_access(volume.access):
            raise PpmError(
                f"There is a credential {name!r} already.",
                hint=f"ppmctl user remove {name}  takes it away first.",
            )
        _write(volume, name, role, secret)
    return secret


def _new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def _write(volume: Volume, name: str, role: Role, secret: str) -> None:
    """Make the credential `name`; the caller holds the lock, and knows that there is none."""
    access = read_access(volume.access)
    access[name] = Access(name=name, role=role, created=_now())
    # in this order: a line in htpasswd never stands without what says how little it may do
    _write_access(volume, access, changed=name)
    _write_htpasswd(volume, [*_lines_but(volume, name), f"{name}:{_HASHES.hash(secret)}"])


def remove(volume: Volume, name: str) -> None:
    """Take the credential `name` away, from the next request on. PpmError if there is none."""
    with _changing(volume):
        hashes, access = read_htpasswd(volume.htpasswd), read_access(volume.access)
        if name not in hashes and name not in access:
            raise PpmError(f"There is no credential {name!r}.", hint="ppmctl user list")
        access.pop(name, None)
        _write_htpasswd(volume, _lines_but(volume, name))
        _write_access(volume, access, changed=name)


def entries(volume: Volume) -> list[Access]:
    """All credentials, by name."""
    access = read_access(volume.access)
    return [access[name] for name in sorted(access)]


def make_first_admin(volume: Volume, *, hosts: Iterable[str] = LOOPBACK) -> bool:
    """Make a first admin where there is no admin; whether this did.

    `ROOT/first-credential` then has the line `user:secret` and `ROOT/netrc` the same for clients that read
    netrc, for each of `hosts`; both 0600.
    """
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise UsageError(f"{host!r} is not the name of a host, such as index.example.")
    with _changing(volume):
        access, hashes = read_access(volume.access), read_htpasswd(volume.htpasswd)
        admins = {name for name, entry in access.items() if entry.role == "admin"}
        if admins & hashes.keys():
            return False
        if FIRST_ADMIN in access.keys() - admins or FIRST_ADMIN in hashes:
            raise PpmError(
                f"There is no admin, and the credential {FIRST_ADMIN!r} is not one.",
                hint=f"ppmctl user add NAME --role admin --root {volume.root}",
            )
        secret = _new_secret()
        netrc = "".join(f"machine {host} login {FIRST_ADMIN} password {secret}\n" for host in hosts)
        # the files first: an admin whose secret nobody has would stand in the way of another
        files.write_atomic(volume.first_credential, f"{FIRST_ADMIN}:{secret}\n".encode(), mode=0o600, sync=True)
        files.write_atomic(volume.first_netrc, netrc.encode(), mode=0o600, sync=True)
        _write(volume, FIRST_ADMIN, "admin", secret)
    return True


def read_htpasswd(path: Path) -> dict[str, str]:
    """The hashes by name. A malformed line counts for nothing and is logged; the others go on working."""
    hashes: dict[str, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, stored = line.partition(":")
        if not colon or not name or _HASHES.identify(stored) is None:
            log.error("%s: line %d is not a credential that ppm knows; it lets nobody in.", path, number)
            continue
        hashes[name] = stored
    return hashes


def read_access(path: Path) -> dict[str, Access]:
    """What each credential is for. An entry that makes no sense has no rights and is logged."""
    access = {}
    for name, values in _load_access(path).items():
        try:
            access[name] = _entry(name, values)
        except (KeyError, TypeError, ValueError):
            log.error("%s: the entry %r makes no sense; it has no rights.", path, name)
    return access


def _load_access(path: Path) -> dict[Any, Any]:
    try:
        written = yaml.safe_load("\n".join(_lines(path)))
    except yaml.YAMLError as exc:
        raise PpmError(f"{path} can't be read: {' '.join(str(exc).split())}.") from exc
    return written if isinstance(written, dict) else {}


def _entry(name: str, values: dict[str, Any]) -> Access:
    if not isinstance(name, str) or values["role"] not in ROLES:
        raise ValueError(name)
    projects = values.get("projects") or []
    if not isinstance(projects, list) or not all(isinstance(project, str) for project in projects):
        raise ValueError(projects)  # a text would be taken for its letters, and a * among them for everything
    expires = values.get("expires")
    if expires is not None and datetime.fromisoformat(expires).tzinfo is None:
        raise ValueError(expires)
    return Access(
        name=name,
        role=values["role"],
        created=str(values.get("created", "")),
        projects=tuple(projects),
        expires=expires,
    )


def _changing(volume: Volume) -> Any:
    return files.lock(volume.locks / "credentials")


def _write_access(volume: Volume, access: Mapping[str, Access], *, changed: str) -> None:
    """Write the entry of `changed`, or none; every other entry stays as somebody wrote it, also one we can't read."""
    values: dict[Any, Any] = _load_access(volume.access)
    values.pop(changed, None)
    if changed in access:
        entry = access[changed]
        values[changed] = {"role": entry.role, "created": entry.created}
    text = "# What each credential is for; `ppmctl user` writes it.\n" + yaml.safe_dump(values, sort_keys=False)
    files.write_atomic(volume.access, text.encode(), mode=_MODE, sync=True)


def _write_htpasswd(volume: Volume, lines: list[str]) -> None:
    files.write_atomic(volume.htpasswd, "".join(f"{line}\n" for line in lines).encode(), mode=_MODE, sync=True)


def _lines_but(volume: Volume, name: str) -> list[str]:
    """The lines of htpasswd that are not about `name`, each as it stands there."""
    return [line for line in _lines(volume.htpasswd) if line.partition(":")[0] != name]


def _verify(secret: str, stored: str) -> bool:
    try:
        return bool(_HASHES.verify(secret, stored))
    except (ValueError, TypeError):  # a secret with a NUL, a damaged hash
        return False


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        entry = os.stat(path)
    except FileNotFoundError:
        return None
    return entry.st_ino, entry.st_mtime_ns, entry.st_size


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
