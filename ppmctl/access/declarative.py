"""Users and tokens as a list declares them, such as an inventory's: what the list made it keeps; the rest is not its.

The list: a mapping with `users` and `tokens`, each a list of mappings with `name`, `role`, `projects`, `expires`,
`secret`, `state` (present, disabled, absent), and a user's `email`. It wins over what was changed by hand about a
credential that it has made; it refuses to touch one that was made in another way, and what it does not name stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, time
from typing import Any

import yaml

from ppmctl import events
from ppmctl.access import credential_files, htpasswd, rights
from ppmctl.access.account import Actor, narrowed, noun
from ppmctl.access.credential_files import Change
from ppmctl.access.rights import Access
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret

DECLARED = "ppm:declared"  # who made it, in access.yml; no user can be called so

_STATES = ("present", "disabled", "absent")
_KEYS = ("name", "role", "projects", "expires", "secret", "state")
# the hash is a fast one, as those of issued secrets, which nobody can guess
_SECRET = re.compile(r"[!-~]{32,200}", re.ASCII)
_COMPARED = tuple(each.name for each in fields(Access) if each.name not in ("holders", "is_orphan"))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A credential as the list has it; no `entry` for an absent one. Without a `secret` it keeps the one it has."""

    name: str
    entry: Access | None = None
    secret: Secret | None = None


@dataclass(frozen=True, kw_only=True)
class Done:
    """What the list changed about a credential: "made", "removed", or the values that are others now."""

    name: str
    what: str


def parse(text: str) -> tuple[Wanted, ...]:
    """The list in YAML or JSON: its users, then its tokens. UsageError says where it is wrong, and no secret."""
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"its line {mark.line + 1} makes no sense" if mark else "it makes no sense"
        raise UsageError(f"The list is no YAML: {where}.") from None  # the error quotes what may be a secret
    if not isinstance(written, dict | None) or set(written or {}) - {"users", "tokens"}:
        raise UsageError("The list is not a mapping with users and tokens, and nothing else.")
    found: dict[str, Wanted] = {}
    for key in ("users", "tokens"):
        entries = (written or {}).get(key)
        if not isinstance(entries, list | None):
            raise UsageError(f"{key} is no list.")
        for number, entry in enumerate(entries or [], start=1):
            try:
                wanted = _wanted(entry, is_token=key == "tokens")
            except UsageError as exc:
                name = entry.get("name") if isinstance(entry, dict) else None
                where = f"{key}, number {number}{f' ({name})' if isinstance(name, str) else ''}"
                raise UsageError(f"{where}: {exc.message}", hint=exc.hint) from None
            if wanted.name in found:
                raise UsageError(f"{key}: {wanted.name} stands there twice.")
            found[wanted.name] = wanted
    return tuple(found.values())


def apply(volume: Volume, actor: Actor, wanted: Sequence[Wanted], *, dry_run: bool = False) -> tuple[Done, ...]:
    """Have the credentials be as `wanted` says, all in one step or none; what was changed, or would be.

    Nothing is written where nothing changes. PpmError for one that was made in another way, NotAllowed for a token
    with more right than its owner has.
    """
    done: list[Done] = []
    try:
        with (
            credential_files.changing(volume, dry_run=dry_run) as change,
            events.progress("Credentials", len(wanted)) as step,
        ):
            for each in wanted:
                done += _absent(change, each.name) if each.entry is None else _put(change, each.entry, each.secret)
                step(1)
            _restore(change, done)
    except PpmError as exc:
        actor.record(volume, "user apply", "a list", exc.message)
        raise
    for one in () if dry_run else done:
        actor.record(volume, f"{noun(one.name)} apply", f"{one.name}: {one.what}")
    return tuple(done)


def given_back(volume: Volume, name: str) -> str:
    """What to know of a credential before it is changed by hand, if a list has made it; "" if not."""
    entry = credential_files.known(volume).access.get(name)
    if entry is None or entry.by != DECLARED:
        return ""
    return f"{name} is declared by a list: change it there too, or the next run puts it back."


def _absent(change: Change, name: str) -> Iterator[Done]:
    if name not in change.named:
        return
    _require_own(change, name)
    gone = sorted(each for each in change.named if each == name or each.startswith(f"{name}+"))
    gone += [each for each, entry in change.access.items() if entry.stands_on(name) and each not in gone]
    change.drop(gone)
    for each in gone:
        yield Done(name=each, what="removed")


def _put(change: Change, entry: Access, secret: Secret | None) -> Iterator[Done]:
    _require_own(change, entry.name)
    before = change.access.get(entry.name)
    if before is not None:
        entry = replace(entry, created=before.created)
    if entry.is_token:
        entry = _beside_owner(change, entry)
    others = [name for name in _COMPARED if before is None or getattr(before, name) != getattr(entry, name)]
    if others:
        change.put(entry)
    known = change.known()
    stored = known.hashes.get(entry.name) or known.parked.get(entry.name)
    if secret and not (stored and htpasswd.is_secret_of(secret.reveal(), stored)):
        change.put_hash(entry.name, htpasswd.hash_of(secret.reveal()))
        others.append("secret")
    if others:
        what = ", ".join("enabled" if each == "disabled" and not entry.disabled else each for each in others)
        yield Done(name=entry.name, what="made" if before is None else what)


def _require_own(change: Change, name: str) -> None:
    entry = change.access.get(name)
    if entry is None and name in change.named:
        raise PpmError(
            f"{name} stands in the credentials already, and has no entry in access.yml that makes sense.",
            hint=f"ppmctl user remove {name}  takes that away.",
        )
    if entry is not None and entry.by != DECLARED:
        raise PpmError(
            f"{name} was made by {entry.by or 'hand'}, not by a list, and is not touched. Nothing was changed.",
            hint=f"Take it out of the list; or ppmctl user remove {name}  removes it first.",
        )


def _beside_owner(change: Change, token: Access) -> Access:
    """The token with what it has of its owner where it says nothing."""
    owner = change.access.get(token.owner)
    if owner is None:
        raise UsageError(
            f"The token {token.name} has no owner: there is no user {token.owner}.",
            hint=f"Declare the user {token.owner} too; it needs no secret.",
        )
    return narrowed(token, owner)


def _restore(change: Change, done: Sequence[Done]) -> None:
    """Give back the secrets of those that may let in again, and of their tokens."""
    changed = {each.name for each in done}
    change.restore(name for name, entry in change.access.items() if any(entry.stands_on(other) for other in changed))


def _wanted(written: Any, *, is_token: bool) -> Wanted:
    if not isinstance(written, dict):
        raise UsageError("it is no mapping with a name and a role.")
    given = {key: value for key, value in written.items() if value is not None}
    allowed = _KEYS if is_token else (*_KEYS, "email")
    if other := [str(key) for key in given if key not in allowed]:
        raise UsageError(f"{other[0]} is not known here.", hint=f"One of: {', '.join(allowed)}.")
    for key in ("name", "role", "email", "secret", "state"):
        if not isinstance(given.get(key, ""), str):
            raise UsageError(f"its {key} is no text.")
    name, state = given.get("name", ""), given.get("state", "present")
    rights.check_name(name)
    if is_token != ("+" in name):
        raise UsageError("a token is called OWNER+PURPOSE, and a user has no + in the name.")
    if state not in _STATES:
        raise UsageError(f"its state is none of {', '.join(_STATES)}.")
    if state == "absent":
        return Wanted(name=name)
    if "role" not in given:
        raise UsageError(f"its role is missing: one of {', '.join(rights.ROLES)}.")
    projects = given.get("projects", [])
    if not isinstance(projects, list) or not all(isinstance(glob, str) for glob in projects):
        raise UsageError("its projects are no list of texts, such as [acme-*].")
    if given["role"] == "admin" and projects:
        raise UsageError("an admin manages the whole index; projects are for publishers.")
    entry = Access(
        name=name,
        role=rights.check_role(given["role"]),
        projects=rights.check_projects(projects),
        expires=_moment(given.get("expires")),
        email=rights.check_email(given.get("email")),
        created=rights.stamp(datetime.now(UTC)),
        disabled=state == "disabled",
        by=DECLARED,
    )
    return Wanted(name=name, entry=entry, secret=_secret(given.get("secret")))


def _moment(written: Any) -> str | None:
    """A day is over with its beginning in UTC, as is a time without a zone."""
    if written is None:
        return None
    try:
        found = datetime.fromisoformat(written) if isinstance(written, str) else written
        if not isinstance(found, datetime):
            found = datetime.combine(found, time())
        return rights.stamp(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (TypeError, ValueError, OverflowError):
        raise UsageError("its expires is no day or time, such as 2030-01-31 or 2030-01-31T12:00:00Z.") from None


def _secret(written: str | None) -> Secret | None:
    if written is None:
        return None
    if not _SECRET.fullmatch(written):
        raise UsageError(
            "its secret is not 32 to 200 letters, digits or signs, without spaces.",
            hint="Secrets are random, not chosen: openssl rand -hex 32  makes one.",
        )
    return Secret(written)
