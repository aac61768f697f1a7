"""The invariants of docs/volume.md for credentials, by their numbers, checked on the files of `credentials/`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ppmctl.access import nginx_htpasswd
from support.invariants import ALWAYS, invariant

_LINE = re.compile(r"[A-Za-z0-9+._@-]+:\{(SSHA|SHA)\}[A-Za-z0-9+/=]+")
MODES = {"htpasswd": 0o640, "access.yml": 0o640, "disabled": 0o600, "invites": 0o600}
Rights = set[tuple[str, str]]


class CredentialsObserver:
    """Looks at the files of credentials after each step. `secrets` are those that were issued."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "credentials"
        self.root = root
        self.secrets: set[str] = set()
        self._audit: list[bytes] = []

    def check(self) -> None:
        """Check what always holds."""
        for check in ALWAYS[type(self).__name__]:
            check(self)

    @property
    def entries(self) -> dict[str, Any]:
        path = self.folder / "access.yml"
        return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}

    def lines(self, name: str) -> dict[str, str]:
        """Return the hashes in a file of `credentials/`, by name."""
        path = self.folder / name
        listed = path.read_text().splitlines() if path.exists() else []
        assert len({line.partition(":")[0] for line in listed}) == len(listed), f"a name is twice in {name}"
        return {line.partition(":")[0]: line.partition(":")[2] for line in listed}

    @property
    def nginx(self) -> dict[str, str]:
        """Return the hashes with which nginx serves reads from disk, each found where nginx looks for it."""
        let_in: dict[str, str] = {}
        for path in sorted((self.folder / "nginx").glob("[0-9][0-9]")):
            for name, stored in self.lines(f"nginx/{path.name}").items():
                assert nginx_htpasswd.part_of(name) == int(path.name), (
                    f"nginx does not look for {name} in {path.name}"
                )
                let_in[name] = stored
        return let_in

    @property
    def nginx_limited(self) -> dict[str, str]:
        """Return the hashes of the credentials whose requests nginx passes on to the application."""
        return {
            path.name: self.lines(f"nginx-limited/{path.name}")[path.name]
            for path in (self.folder / "nginx-limited").glob("[!.]*")
        }

    @property
    def let_in(self) -> set[str]:
        """Return the names that nginx lets in, for files on disk or for the application."""
        return {*self.nginx, *self.nginx_limited}

    @invariant("V18")
    def the_audit_only_grows(self) -> None:
        """Check that rotated files stay as they were; the oldest may go, and the current one grows or gets a name."""
        current = self.root / "audit.jsonl"
        names = sorted(path.name for path in self.root.glob("audit-*.jsonl"))
        contents = [(self.root / name).read_bytes() for name in names]
        contents += [current.read_bytes()] if current.exists() else []
        started = [line for content in contents for line in content.splitlines(keepends=True)]
        kept = self._audit[self._audit.index(started[0]) :] if self._audit and started else []
        assert started[: len(kept)] == kept
        assert kept or not self._audit, "all lines are gone"
        for line in started[len(kept) :]:
            assert line.endswith(b"\n")
            assert {"time", "action", "by", "from", "what", "result"} <= json.loads(line).keys()
        self._audit = started

    @invariant("V19")
    def nginx_lets_nobody_in_whom_the_application_does_not_know(self) -> None:
        entries, htpasswd = self.entries, self.lines("htpasswd")
        for name, stored in self.nginx.items():
            assert htpasswd.get(name) == stored, f"{name} has another secret in nginx's files"
            assert name in entries, f"{name} has no entry, and nginx lets it in"
            owner = entries.get(name.partition("+")[0])
            assert owner is not None, f"{name} has no user, and nginx lets it in"
            assert not entries[name].get("disabled"), f"{name} is disabled, and nginx lets it in"
            assert not owner.get("disabled"), f"the user of {name} is disabled, and nginx lets it in"
            maker = entries.get(entries[name].get("by"), {}) if "+" in name else {}
            limits = [each.get("reads") for each in (entries[name], owner, maker)]
            assert not any(limits), f"{name} may read only {limits}, and nginx lets it read everything"

    @invariant("V20")
    def files_are_whole(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                mode = MODES.get(path.name, 0o640)
                assert path.stat().st_mode & 0o777 == mode, path
                if path.name in ("htpasswd", "disabled") or path.parent.name.startswith("nginx"):
                    text = path.read_text()
                    assert text.endswith("\n") or not text
                    assert all(_LINE.fullmatch(line) for line in text.splitlines()), path
        assert isinstance(self.entries, dict)

    @invariant("V21")
    def secrets_are_stored_as_hashes(self) -> None:
        for path in self.root.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not any(secret.encode() in content for secret in self.secrets), path

    @invariant("V22", always=False)
    def a_killed_change_gives_no_rights(
        self, before: Mapping[str, Rights], after: Mapping[str, Rights], now: Mapping[str, Rights], own: set[str]
    ) -> None:
        """Check the rights of each secret; a change may have changed those of the names `own` alone."""
        for name in before.keys() | now.keys():
            had, has = before.get(name, set()), now.get(name, set())
            if name in own:
                assert has <= had | after.get(name, set()), f"{name} may more than before and after the change"
            else:
                assert has == had, f"the rights of {name} have changed"

    @invariant("V23", always=False)
    def hashes_stay(self, before: Mapping[str, str], removed: set[str]) -> None:
        """Check that each name has one of its hashes in htpasswd or `disabled`, except for `removed` ones."""
        now = {**self.lines("disabled"), **self.lines("htpasswd")}
        for name, stored in before.items():
            assert name in removed or now.get(name) == stored, f"the hash of {name} is lost"

    @invariant("V24", always=False)
    def tokens_may_no_more_than_their_users(self, rights: Mapping[str, Rights]) -> None:
        for name, own in rights.items():
            assert own <= rights.get(name.partition("+")[0], set()), name

    @invariant("V25", always=False)
    def nginx_lets_in_who_may_read(self, working: set[str]) -> None:
        """Check nginx's files between two changes; `working` are the names whose secret worked at the last one."""
        assert not self.nginx.keys() & self.nginx_limited.keys()
        assert self.let_in == working

    @invariant("V26", always=False)
    def a_code_works_once(self, code: str, used: list[str]) -> None:
        assert code not in used, "an invite was used twice"
        used.append(code)
