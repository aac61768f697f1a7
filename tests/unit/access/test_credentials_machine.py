"""Changes of users and tokens in random orders, with crashes and several processes, compared with a simple model.

After each step the invariants of docs/volume.md are checked. `make fuzz ARGS=users` tries many more orders.
"""

from __future__ import annotations

import itertools
import secrets
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.clock import Clock
from support.credential_invariants import CredentialsObserver, Rights
from support.credentials_model import PROJECTS, ROLES, SERVER, Entry, Model
from support.generated import CHOICES, machine_settings, note, picked, st
from support.processes import Child, Killed

from ppmctl.access import (
    account,
    accounts,
    audit_rotation,
    credential_files,
    expiry,
    htpasswd,
    import_htpasswd,
    invite_exchange,
    rights,
)
from ppmctl.access.account import Actor
from ppmctl.access.audit_rotation import Limits
from ppmctl.access.credential_files import Credentials
from ppmctl.access.rights import Action
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume

pytestmark = pytest.mark.usefixtures("few_parts")

PASSWORD = "x" * 8
LINE = "{}:{{SHA}}vPIt/G+3a3NmsfFnW68jMqDmp84="
RIGHTS = tuple(itertools.product(get_args(Action), PROJECTS))
USERS = ("ann", "bob", "ops")
TOKENS = ("ann+a", "ann+b", "bob+a")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A change by `actor`: of the files by `make`, and of the model by `expected`. `hours` is until an expiry."""

    kind: str
    name: str
    actor: str = SERVER
    role: str = "reader"
    projects: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    hours: int | None = None

    def expires(self, now: datetime) -> datetime | None:
        return None if self.hours is None else (now + timedelta(hours=self.hours)).replace(microsecond=0)

    def make(self, volume: Volume, actor: Actor, now: datetime) -> str | None:
        """Make the change; return a new secret, or None. Raise PpmError if it is refused."""
        end = self.expires(now)
        expires = None if end is None else rights.stamp(end)
        grant: Any = {"role": self.role, "projects": self.projects, "reads": self.reads, "expires": expires}
        match self.kind:
            case "add":
                return accounts.create_user(volume, actor, self.name, **grant).secret.reveal()
            case "token":
                return accounts.create_token(volume, actor, self.name, **grant).secret.reveal()
            case "rotate":
                return accounts.rotate(volume, actor, self.name, expires=expires).secret.reveal()
            case "change":
                accounts.change(volume, actor, self.name, role=self.role, projects=self.projects, reads=self.reads)
            case "disable":
                accounts.disable(volume, actor, self.name)
            case "enable":
                accounts.enable(volume, actor, self.name, expires=expires)
            case "remove":
                accounts.remove(volume, actor, self.name)
            case "prune":
                accounts.prune(volume)
            case "import":
                lines = import_htpasswd.parse(LINE.format(self.name))
                done = import_htpasswd.import_users(volume, actor, lines, role=self.role, limit=1000)
                return None if done[0].refused else PASSWORD  # one line of a file, so no error
        return None

    def expected(self, before: Model, now: datetime) -> Model | None:
        """Return the model after the change; None if it must be refused."""
        model = before.copy()
        wanted = Entry(role=self.role, projects=self.projects, reads=self.reads, expires=self.expires(now))
        match self.kind:
            case "add":
                after = model.add(self.name, wanted, self.actor, now)
            case "token":
                after = model.create_token(self.name, wanted, self.actor, now)
            case "rotate":
                after = model.rotate(self.name, wanted.expires, self.actor, now)
            case "change":
                after = model.change(self.name, wanted, self.actor, now)
            case "disable":
                after = model.disable(self.name, self.actor, now)
            case "enable":
                after = model.enable(self.name, wanted.expires, self.actor, now)
            case "remove":
                after = model.remove(self.name, self.actor, now)
            case "import":
                is_free = self.name not in model.named
                after = model.with_secret(self.name, Entry(role=self.role)) if is_free else model
            case _:
                after = model
        return None if after is None else after.settled(now)


KINDS = (
    "add",
    "token",
    "token",
    "rotate",
    "change",
    "disable",
    "enable",
    "enable",
    "remove",
    "prune",
    "audit",
    "import",
)


class CredentialsMachine(RuleBasedStateMachine):
    """One server that authenticates, and commands and requests that change credentials."""

    def __init__(self, clock: Clock, issuing: list[str]) -> None:
        super().__init__()
        self.issuing = issuing
        self.clock = clock
        clock.later = timedelta()
        self.root = Path(tempfile.mkdtemp(prefix="ppm-users-"))
        self.volume = Volume(root=self.root)
        self.volume.prepare()
        self.server = Credentials(self.volume)
        self.observer = CredentialsObserver(self.root)
        self.model = Model()
        self.secrets: dict[str, str] = {}  # those that work, or will again
        self.old: set[tuple[str, str]] = set()
        self.let_in: set[str] = set()
        self.codes: dict[str, tuple[str, datetime]] = {}
        self.used: list[str] = []

    @initialize()
    def start(self) -> None:
        credential_files.ensure_htpasswd(self.volume)

    def picked(self, numbers: tuple[int, ...], *, on_the_host: bool = False) -> Operation:
        """Return a change; most do not have to be refused."""
        kind = picked(KINDS, numbers[0])
        possible = {"add": USERS, "import": USERS, "token": TOKENS}.get(kind, (*USERS, *TOKENS))
        is_new = kind in ("add", "token", "import")
        likely = [name for name in possible if (name in self.model.named) != is_new]
        actors = [name for name in sorted(self.secrets) if name in self.model.working]
        is_http = kind != "import" and not on_the_host and numbers[2] % 3 == 0
        operation = Operation(
            kind=kind,
            name=picked([*likely, *likely, *possible], numbers[1]),
            actor=picked(actors or [SERVER], numbers[2] // 3) if is_http else SERVER,
            role=picked(ROLES, numbers[3]),
            projects=picked([(), (), ("acme-*",), ("acme-x",)], numbers[4]),
            reads=picked([(), (), ("acme-*",), ("acme-x", "other")], numbers[4] // 4),
            hours=picked([None, None, 1, 3], numbers[5]),
        )
        note(f"{operation}")
        return operation

    def _next_secret(self) -> str:
        """Return the secret that the next change issues, if it issues one: also if the process is killed then."""
        self.issuing[0] = "ppm_" + secrets.token_urlsafe(32)
        return self.issuing[0]

    @rule(numbers=CHOICES)
    def change(self, numbers: tuple[int, ...]) -> None:
        operation = self.picked(numbers)
        self._next_secret()
        actor = self._actor(operation.actor)
        if actor is None:
            return
        now = self.clock.now()
        after, before = operation.expected(self.model, now), self._files()
        result = _made(operation, self.volume, actor, now)
        assert (after is None) == (result is False), result
        if after is None:
            assert self._files() == before, "a refused change has changed something"
        else:
            self._changed(operation, after, result)

    def _changed(self, operation: Operation, after: Model, secret: str | bool | None) -> None:
        """Take over what a successful change should have changed."""
        self.model, self.let_in = after, set(after.working)
        if isinstance(secret, str):
            if operation.name in self.secrets:
                self.old.add((operation.name, self.secrets[operation.name]))
            self.secrets[operation.name] = secret
            if secret != PASSWORD:
                self.observer.secrets.add(secret)
        for name in set(self.secrets) - after.working - after.parked:
            self.old.add((name, self.secrets.pop(name)))
        self.observer.nginx_lets_in_who_may_read(self.let_in)

    @rule(minutes=st.sampled_from([1, 70, 200]))
    def later(self, minutes: int) -> None:
        """Let time pass: the application refuses at once what has expired, nginx after the next prune."""
        self.clock.move(minutes=minutes)

    @rule()
    def prune_regularly(self) -> None:
        expiry.Pruner(self.volume).prune()
        audit_rotation.rotate(self.volume, Limits(size=1, files=5, days=36_500))
        self.model = self.model.settled(self.clock.now())
        self.let_in = set(self.model.working)
        self.observer.nginx_lets_in_who_may_read(self.let_in)

    @rule(number=st.integers(0, 5))
    def invite(self, number: int) -> None:
        name = picked([name for name in USERS if name in self.model.entries] or USERS, number)
        is_live = name in self.model.entries and self.model.is_live(name, self.clock.now())
        try:
            _made, code = invite_exchange.invite(self.volume, account.SERVER, name)
        except PpmError:
            assert not is_live
            return
        assert is_live
        self.codes = {code: value for code, value in self.codes.items() if value[0] != name}
        self.observer.secrets.add(code.reveal())
        self.codes[code.reveal()] = (name, self.clock.now() + timedelta(hours=48))

    @rule(number=st.integers(0, 59))
    def join(self, number: int) -> None:
        """Use a code that was issued, perhaps for the second time."""
        code = picked([*self.codes, *self.used] or ["ppm_join_x"], number)
        name, until = self.codes.get(code, ("", self.clock.now()))
        now = self.clock.now()
        works = name in self.model.entries and self.model.is_live(name, now) and until > now
        self._next_secret()
        try:
            issued = invite_exchange.join(self.volume, "192.0.2.1", code, purpose="a")
        except PpmError:
            return  # the user may have been removed since
        assert works, "this code must not work"
        self.observer.a_code_works_once(code, self.used)
        del self.codes[code]
        token = issued.account.access
        operation = Operation(kind="token", name=token.name, actor=name, role=self.model.entries[name].role)
        after = operation.expected(self.model, now)
        assert after is not None
        self._changed(operation, after, issued.secret.reveal())

    @rule(numbers=CHOICES, at=st.integers(1, 14))
    def crash(self, numbers: tuple[int, ...], at: int) -> None:
        """Make a change in a process that is killed right before its change number `at` of the files."""
        operation = self.picked(numbers)
        actor = self._actor(operation.actor)
        if actor is None:
            return
        now = self.clock.now()
        after, before = operation.expected(self.model, now), self._rights(self.model)
        before = {name: may for name, may in before.items() if name in self.secrets}
        stored = {**self.observer.lines("disabled"), **self.observer.lines("htpasswd")}
        issued = {(operation.name, PASSWORD if operation.kind == "import" else self._next_secret())}
        result = Child(partial(_made, operation, self.volume, actor, now), self.root, at=at).result()
        if not isinstance(result, Killed):
            assert (after is None) == (result is False), result
            if after is not None:
                self._changed(operation, after, result)
            return
        own = self.model.dependents(operation.name) | ({operation.name.partition("+")[0]} if after else set())
        after = after or self.model
        for known in ({}, dict(issued)):
            now_seen = self._seen(self.secrets | known)
            self.observer.a_killed_change_gives_no_rights(before, self._rights(after), now_seen, own)
        replaced = {"remove": own, "disable": set(), "enable": set(), "change": set(), "prune": set()}
        self.observer.hashes_stay(stored, replaced.get(operation.kind, {operation.name}))
        self._take_over(issued)

    @rule(numbers=CHOICES, others=CHOICES, at=st.integers(1, 14))
    def interleave(self, numbers: tuple[int, ...], others: tuple[int, ...], at: int) -> None:
        """Make two changes in two processes, the second while the first stands still right before a change."""
        # on the server host: over HTTP an actor keeps its rights while it is being removed
        now = self.clock.now()
        pair = (self.picked(numbers, on_the_host=True), self.picked(others, on_the_host=True))
        one, two = (partial(_made, each, self.volume, account.SERVER, now) for each in pair)
        self._next_secret()
        children = [Child(one, self.root, at=at, stops=True)]
        children[0].wait()
        self._next_secret()
        children.append(Child(two, self.root))
        children[1].wait(0.02)  # it may need the lock of the first
        children[0].go_on()
        results = [child.result() for child in children]
        possible = []
        for order in ((0, 1), (1, 0)):
            model, refused = self.model, [False, False]
            for number in order:
                after = pair[number].expected(model, now)
                refused[number], model = after is None, after or model
            possible.append((refused, model))
        self._take_over({(each.name, result) for each, result in zip(pair, results, strict=True) if result})
        assert ([result is False for result in results], self.model) in possible

    def _take_over(self, issued: Collection[tuple[str, str]] = ()) -> None:
        """Take over what is stored as the model, and of the known and new secrets those that fit."""
        entries = self.observer.entries
        working, parked = self.observer.lines("htpasswd"), self.observer.lines("disabled")
        self.model = Model(
            entries={name: _entry(values) for name, values in entries.items()},
            working=set(working),
            parked=set(parked) - set(working),
        )
        self.let_in = self.observer.let_in
        self.observer.secrets |= {secret for _name, secret in issued if secret != PASSWORD}
        known, self.secrets = {*self.secrets.items(), *issued}, {}
        for name, secret in known:
            hashes = [each[name] for each in (working, parked) if name in each]
            if any(htpasswd.is_secret_of(secret, stored) for stored in hashes):
                self.secrets[name] = secret
            else:
                self.old.add((name, secret))

    @invariant()
    def everybody_may_what_the_model_says(self) -> None:
        self.observer.check()
        now = self.clock.now()
        expected = {name: may for name, may in self._rights(self.model).items() if name in self.secrets and may}
        assert self._seen(self.secrets) == expected
        assert self.observer.let_in == self.let_in
        for name, secret in self.old:
            assert secret == PASSWORD or self.server.authenticate(name, secret) is None, f"an old secret of {name}"
        entries = credential_files.read_access(self.volume.access)
        granted = {name: _rights_of(entry) for name, entry in entries.items()}
        self.observer.tokens_may_no_more_than_their_users(granted)
        assert granted == {
            name: {right for right in RIGHTS if self.model.may(name, *right, now)} for name in self.model.entries
        }

    def _rights(self, model: Model) -> dict[str, Rights]:
        return {name: model.rights(name, self.clock.now()) for name in model.named}

    def _seen(self, known: Mapping[str, str]) -> dict[str, Rights]:
        """Return what each secret may, as the application says; names that may nothing are left out."""
        found: dict[str, Rights] = {}
        for name, secret in known.items():
            access = self.server.authenticate(name, secret)
            if access is not None and (may := _rights_of(access)):
                found[name] = may
        return found

    def _actor(self, name: str) -> Actor | None:
        """Return who makes a change: over HTTP a credential that works now."""
        if name == SERVER:
            return account.SERVER
        access = self.server.authenticate(name, self.secrets[name]) if name in self.secrets else None
        return Actor(name=name, origin="192.0.2.1", access=access) if access and access.may("read") else None

    def _files(self) -> dict[str, bytes]:
        folder = self.volume.credentials
        listed = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {str(path): path.read_bytes() for path in listed}  # a change first removes what the dead left

    def teardown(self) -> None:
        shutil.rmtree(self.root)


def _made(operation: Operation, volume: Volume, actor: Actor, now: datetime) -> str | bool | None:
    """Make a change; return a new secret, or None, or False if it was refused."""
    try:
        return operation.make(volume, actor, now)
    except PpmError:
        return False


def _rights_of(access: credential_files.Access) -> Rights:
    return {(action, project) for action, project in RIGHTS if access.may(action, project)}


def _entry(values: dict[str, Any]) -> Entry:
    expires = values.get("expires")
    return Entry(
        role=values["role"],
        projects=tuple(values.get("projects", ())),
        reads=tuple(values.get("reads", ())),
        expires=None if expires is None else datetime.fromisoformat(expires).astimezone(UTC),
        disabled=values.get("disabled", False),
        by=values.get("by", SERVER),
        tokens_only=values.get("tokens_only", False),
    )


def test_changes_in_any_order_keep_the_invariants(monkeypatch: pytest.MonkeyPatch) -> None:
    issuing = [""]
    monkeypatch.setattr(htpasswd, "new_secret", lambda: issuing[0])
    machine = partial(CredentialsMachine, Clock(monkeypatch), issuing)
    run_state_machine_as_test(machine, settings=machine_settings(examples=20, steps=30))
