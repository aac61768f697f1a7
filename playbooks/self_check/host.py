"""What the look borrows from the host over SSH, and gives back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from self_check.findings import Finding, Verdict, good, wrong
from self_check.probe import made_at
from self_check.settings import PROJECT, PUBLISHER, READER, Credential

PPMCTL = "/usr/local/bin/ppmctl"
CERTIFICATE = "/etc/ppm/tls/fullchain.pem"
# A run that was killed could not give back what it had; the next one does that, once it is sure that nobody uses it.
FORGOTTEN = timedelta(hours=1)


class Unreachable(Exception):
    """The host can't be worked on over SSH, and why."""


@dataclass(frozen=True, kw_only=True)
class Done:
    code: int
    out: str
    error: str

    @property
    def said(self) -> str:
        """What it complained of, in one line; never what it printed, which may be a secret."""
        return " ".join(self.error.split())[:500] or f"exit code {self.code}, without a word"


Run = Callable[[list[str]], Done]


class Loan:
    """Credentials for the time of one run; the names end in its `nonce`, since two runs may overlap.

    `run` runs a command as root on the host; it raises Unreachable.
    """

    def __init__(self, run: Run, nonce: str) -> None:
        self._run = run
        self._names = {role: f"{PROJECT}+{role}-{nonce}" for role in (READER, PUBLISHER)}
        self._held: dict[str, bool] = {}  # role → whether it is certain that the host made it
        self.credentials: dict[str, Credential] = {}

    def take(self) -> Finding:
        """Have them made. Where that fails there are none, and the finding says why."""
        what = "the host, over SSH"
        try:
            for name in self._forgotten():
                self._run([PPMCTL, "user", "remove", name])
            for role, name in self._names.items():
                self._held[role] = False
                done = self._run([PPMCTL, "user", "add", name, "--role", role])
                secret = done.out.strip()
                if done.code or not secret:
                    self.credentials.clear()
                    return Finding(what=what, verdict=_no_loan(done))
                self._held[role] = True
                self.credentials[role] = Credential(name=name, secret=secret)
        except Unreachable as exc:
            self.credentials.clear()
            remedy = "See ansible_host, ansible_user and become in the inventory: ansible -i INVENTORY ppm -b -m ping"
            return Finding(what=what, verdict=wrong(str(exc), remedy))
        return Finding(what=what, verdict=good("lends a reader's and a publisher's credential for this run"))

    def _forgotten(self) -> list[str]:
        done = self._run([PPMCTL, "user", "list", "--json"])
        return forgotten(done.out, datetime.now(UTC)) if done.code == 0 else []

    def give_back(self, role: str) -> list[Finding]:
        """Have one taken away, if it was made and is not given back yet."""
        if role not in self._held:
            return []
        command = [PPMCTL, "user", "remove", self._names[role]]
        return _taken_away(self._run, f"the {role}'s credential", command, certain=self._held.pop(role))

    def end(self) -> list[Finding]:
        """Give back what is left."""
        return [finding for role in tuple(self._held) for finding in self.give_back(role)]


def remove_releases(run: Run, stored: dict[str, bool]) -> list[Finding]:
    """Remove these versions of the probe's project: the files go, their names stay taken, as those of any release.

    `stored` as in `Look`; it is empty then.
    """
    findings = []
    while stored:
        version, certain = stored.popitem()
        command = [PPMCTL, "package", "remove", PROJECT, version, "--yes"]
        findings += _taken_away(run, "the probe", command, certain=certain)
    return findings


def certificate(run: Run) -> str:
    """The certificates that the host has for nginx, in PEM; "" where they can't be read."""
    try:
        done = run(["cat", CERTIFICATE])
    except Unreachable:
        return ""
    return done.out if done.code == 0 else ""


def forgotten(listing: str, now: datetime) -> list[str]:
    """The names of earlier runs' credentials in the output of `ppmctl user list --json`."""
    ours = [entry for entry in json.loads(listing) if entry["name"].startswith(f"{PROJECT}+")]
    return [entry["name"] for entry in ours if now - datetime.fromisoformat(entry["created"]) > FORGOTTEN]


def forgotten_releases(filenames: Iterable[str], now: datetime) -> list[str]:
    """The versions of earlier runs' probes among the files of their project.

    They are of runs that were killed, or were stored when nobody waited for the answer any more.
    """
    versions = [filename.split("-")[1] for filename in filenames if filename.count("-") > 1]
    return [version for version in versions if (made := made_at(version)) and now - made > FORGOTTEN]


def _no_loan(done: Done) -> Verdict:
    return wrong(
        f"no credential could be made for this run: {done.said}",
        f"Run site.yml, which writes {PPMCTL}. On the host: ppmctl user list; df -h; and the folder credentials/ in"
        " ppm_root has to be the user ppm's.",
    )


def _taken_away(run: Run, what: str, command: list[str], *, certain: bool) -> list[Finding]:
    """That `command` took away what it names; where that was not certain to be there, a failure is worth no word."""
    by_hand = f"By hand, on the host: {' '.join(command)}"
    try:
        done = run(command)
    except Unreachable as exc:
        return [Finding(what=what, verdict=wrong(f"it may still be there: {exc}", by_hand))]
    if done.code == 0:
        return [Finding(what=what, verdict=good("taken away again"))]
    return [Finding(what=what, verdict=wrong(f"it could not be taken away: {done.said}", by_hand))] if certain else []
