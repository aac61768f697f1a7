"""Apply a declared list of users and tokens, such as an inventory's.

The list is a mapping with `users` and `tokens`, each a list of mappings with `name`, `role`, `projects`, `reads`,
`expires`, `secret`, `state` (present, disabled, absent), and a user's `email`. Only credentials created from a list
are changed, even if they were changed by hand since. What the list does not name stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from ppmctl import events, yaml_text
from ppmctl.access import credential_files, htpasswd, rights, rules
from ppmctl.access.account import Actor
from ppmctl.access.credential_files import Change
from ppmctl.access.rights import Access
from ppmctl.access.shared_credentials import repeated
from ppmctl.errors import PpmError, UsageError
from ppmctl.index.layout import Volume
from ppmctl.secret import Secret

DECLARED = "ppm:declared"  # the creator in access.yml; no user can have this name

_STATES = ("present", "disabled", "absent")
_KEYS = ("name", "role", "projects", "reads", "expires", "secret", "state")
# long, because the hash is as fast as that of issued secrets
_SECRET = re.compile(r"[!-~]{32,200}", re.ASCII)
_COMPARED = tuple(each.name for each in fields(Access) if each.name not in ("holders", "is_orphan"))


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A credential of the list. `entry` is None for an absent one. Without a `secret` it keeps the one it has."""

    name: str
    entry: Access | None = None
    secret: Secret | None = None


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What was changed about a credential: "made", "removed", or the names of the changed values."""

    name: str
    what: str


def parse(text: str) -> tuple[Declared, ...]:
    """Return the users, then the tokens, of a list in YAML or JSON.

    Raise UsageError for an invalid list, with the place of the mistake, but never with a secret.
    """
    try:
        written = yaml_text.load(text)
    except yaml_text.InvalidYaml as exc:
        raise UsageError(exc.in_file("The list")) from None  # its cause may quote a secret
    if not isinstance(written, dict | None) or set(written or {}) - {"users", "tokens"}:
        raise UsageError("The list is not a mapping with users and tokens, and nothing else.")
    parsed: dict[str, Declared] = {}
    for key in ("users", "tokens"):
        entries = (written or {}).get(key)
        if not isinstance(entries, list | None):
            raise UsageError(f"{key} is not a list.")
        for number, entry in enumerate(entries or [], start=1):
            try:
                declared = _declared(entry, is_token=key == "tokens")
            except UsageError as exc:
                name = entry.get("name") if isinstance(entry, dict) else None
                # a name with spaces may be the rest of a broken list, with secrets in it
                shown = f" ({name})" if isinstance(name, str) and not re.search(r"\s", name) else ""
                where = f"{key}, number {number}{shown}"
                raise UsageError(f"{where}: {exc.message}", hint=exc.hint) from None
            if declared.name in parsed:
                raise UsageError(f"{key}: {declared.name} is listed twice.")
            parsed[declared.name] = declared
    return tuple(parsed.values())


@repeated
def apply(volume: Volume, actor: Actor, listed: Sequence[Declared], *, dry_run: bool = False) -> tuple[Applied, ...]:
    """Change the credentials to what is listed, all in one step or none. Return what was changed, or would be.

    Raise PpmError for a credential that was not created from a list, NotAllowed for a token with more rights than its
    owner.
    """
    applied: list[Applied] = []
    try:
        with (
            credential_files.changing(volume, dry_run=dry_run) as change,
            events.progress("Credentials", len(listed)) as step,
        ):
            for each in listed:
                applied += _remove(change, each.name) if each.entry is None else _put(change, each.entry, each.secret)
                step(1)
            changed = {each.name for each in applied}
            change.restore(entry.name for entry in change.access.values() if any(map(entry.depends_on, changed)))
    except PpmError as exc:
        actor.record(volume, "user apply", "a list", exc.message)
        raise
    for one in () if dry_run else applied:
        actor.record(volume, f"{rights.noun(one.name)} apply", f"{one.name}: {one.what}")
    return tuple(applied)


def overwrite_warning(volume: Volume, name: str) -> str:
    """Return a warning for a change by hand if the credential was created from a list, else ""."""
    entry = credential_files.snapshot(volume).access.get(name)
    if entry is None or entry.by != DECLARED:
        return ""
    return f"{name} is declared by a list: change it there too, or the next run undoes this change."


def _remove(change: Change, name: str) -> Iterator[Applied]:
    if name not in change.named:
        return
    _require_own(change, name)
    removed = sorted(change.with_dependents(name))
    change.drop(removed)
    for each in removed:
        yield Applied(name=each, what="removed")


def _put(change: Change, entry: Access, secret: Secret | None) -> Iterator[Applied]:
    _require_own(change, entry.name)
    before = change.access.get(entry.name)
    if before is not None:
        entry = replace(entry, created=before.created)
    if entry.is_token:
        owner = change.access.get(entry.owner)
        if owner is None:
            raise UsageError(
                f"The token {entry.name} has no owner: there is no user {entry.owner}.",
                hint=f"Declare the user {entry.owner} too; it needs no secret.",
            )
        entry = rules.narrowed(entry, owner)
    changed = [name for name in _COMPARED if before is None or getattr(before, name) != getattr(entry, name)]
    if changed:
        change.put(entry)
    snapshot = change.snapshot()
    stored = snapshot.hashes.get(entry.name) or snapshot.parked.get(entry.name)
    if secret and not (stored and htpasswd.is_secret_of(secret.reveal(), stored)):
        change.put_hash(entry.name, htpasswd.hash_of(secret.reveal()))
        changed.append("secret")
    if changed:
        what = ", ".join("enabled" if each == "disabled" and not entry.disabled else each for each in changed)
        yield Applied(name=entry.name, what="made" if before is None else what)


def _require_own(change: Change, name: str) -> None:
    rules.require_valid_entry(change, name)
    entry = change.access.get(name)
    if entry is not None and entry.by != DECLARED:
        raise PpmError(
            f"{name} was made by {entry.by or 'hand'}, not by a list, and is not touched. Nothing was changed.",
            hint=f"Take it out of the list; or ppmctl user remove {name}  removes it first.",
        )


def _declared(written: Any, *, is_token: bool) -> Declared:
    if not isinstance(written, dict):
        raise UsageError("it is not a mapping with a name and a role.")
    given = {key: value for key, value in written.items() if value is not None}
    allowed = _KEYS if is_token else (*_KEYS, "email")
    if other := [str(key) for key in given if key not in allowed]:
        raise UsageError(f"the key {other[0]} is unknown.", hint=f"Keys: {', '.join(allowed)}.")
    for key in ("name", "role", "email", "secret", "state"):
        if not isinstance(given.get(key, ""), str):
            raise UsageError(f"its {key} is not text.")
    name, state = given.get("name", ""), given.get("state", "present")
    rights.check_form(name)
    if is_token != ("+" in name):
        raise UsageError("the name of a token is OWNER+PURPOSE, and the name of a user has no +.")
    if state not in _STATES:
        raise UsageError(f"its state is not one of {', '.join(_STATES)}.")
    if state == "absent":
        return Declared(name=name)
    rights.check_name(name)
    if "role" not in given:
        raise UsageError(f"its role is missing: one of {', '.join(rights.ROLES)}.")
    projects, reads = given.get("projects", []), given.get("reads", [])
    for key, globs in (("projects", projects), ("reads", reads)):
        if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
            raise UsageError(f"its {key} are not a list of texts, such as [acme-*].")
    secret = given.get("secret")
    if secret is not None and not _SECRET.fullmatch(secret):
        raise UsageError(
            "its secret is not 32 to 200 letters, digits or signs, without spaces.",
            hint="A secret is random, not chosen: openssl rand -hex 32  makes one.",
        )
    entry = Access(
        name=name,
        role=rights.check_role(given["role"]),
        expires=_expiry(given.get("expires")),
        email=rights.check_email(given.get("email")),
        created=rights.stamp(datetime.now(UTC)),
        disabled=state == "disabled",
        by=DECLARED,
    )
    entry = rules.with_scope(entry, projects, reads)
    return Declared(name=name, entry=entry, secret=None if secret is None else Secret(secret))


def _expiry(written: Any) -> str | None:
    if written is None:
        return None
    try:
        return rights.stamp(datetime.fromisoformat(written) if isinstance(written, str) else written)
    except (TypeError, ValueError, OverflowError):
        raise UsageError("its expires is not a date or time, such as 2030-01-31 or 2030-01-31T12:00:00Z.") from None
