"""Hosts that site.yml has set up as an index: their URLs, credentials, and further runs of playbooks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import requests

from support import reach, tls
from support.served import Served
from support.tls import Certificate
from testbed import playbook
from testbed.acme import Acme
from testbed.hosts import Host
from testbed.place import CHECKOUT
from testbed.playbook import Result

SITE = CHECKOUT / "site.yml"
ROOT = "/srv/ppm"
FIRST_CREDENTIAL = f"{ROOT}/first-credential"

Seen = TypeVar("Seen")
Named = TypeVar("Named")


@dataclass(kw_only=True)
class Deployed(Served):
    """An index on a host, behind nginx, with a certificate of the ACME server; `user` and `secret` are an admin's.

    `ca` is the file with the root of the certificate. `first` is the run of site.yml on the bare host, `second` the
    run right after it; `snapshot` is the image of the disk after both.
    """

    host: Host
    folder: Path
    variables: Mapping[str, object]
    ca: Path
    user: str = ""
    secret: str = ""
    runs: list[Result] = field(default_factory=list)
    snapshot: str = ""

    @property
    def domain(self) -> str:
        return self.host.domain

    @property
    def url(self) -> str:
        return f"https://{self.domain}"

    @property
    def auth(self) -> tuple[str, str]:
        return self.user, self.secret

    @property
    def owner(self) -> str:
        return "ppm:www-data"

    @property
    def authority(self) -> bytes:
        return self.ca.read_bytes()

    @property
    def first(self) -> Result:
        return self.runs[0]

    @property
    def second(self) -> Result:
        return self.runs[1]

    def new_session(self) -> requests.Session:
        """Return a session that reaches it by name without DNS, and trusts only the ACME server's root."""
        return reach.session(self.domain, lambda: self.host.address, self.ca)

    def ppmctl(self, arguments: str) -> str:
        """Run `ppmctl` as root: files that it left to root would be unreadable for the service."""
        return self.host.run(f"cd /root && umask 077 && ppmctl {arguments}").out

    def look(self, command: str) -> str:
        return self.host.run(f"cd {ROOT} && {command}").out

    def restarts(self) -> int:
        return int(self.host.run("systemctl show -p NRestarts --value ppm.service").out)

    @contextlib.contextmanager
    def reads_alone(self) -> Iterator[None]:
        self.host.run("systemctl stop ppm.socket ppm.service")
        try:
            yield
        finally:
            self.host.run("systemctl start ppm.socket ppm.service")

    def play(
        self,
        path: Path = SITE,
        *arguments: str,
        expect: int | None = 0,
        leave_out: tuple[str, ...] = (),
        **more: object,
    ) -> Result:
        """Run a playbook on it with its variables and `more`; fail unless it exits with `expect`."""
        variables = {name: value for name, value in {**self.variables, **more}.items() if name not in leave_out}
        inventory = playbook.write_inventory(self.folder / "inventory.yml", [self.host], variables=variables)
        result = playbook.run(path, inventory, *arguments)
        assert expect in (None, result.code), f"ansible-playbook exited {result.code}, not {expect}:\n{result.output}"
        return result


def deploy(host: Host, acme: Acme, folder: Path, **more: object) -> Deployed:
    """Set up a bare host as an index, and run the same playbook a second time."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Deployed(host=host, folder=folder, ca=folder / "root.pem", variables=settings(host, acme, folder) | more)
    made.ca.write_bytes(acme.root())
    made.runs = [made.play(), made.play()]
    made.user, _, made.secret = host.box.get(FIRST_CREDENTIAL).decode().strip().partition(":")
    made.snapshot = host.snapshot()
    return made


def settings(host: Host, acme: Acme, folder: Path) -> dict[str, object]:
    """Return the smallest inventory, with the settings that a test authority and a container need."""
    ca = folder / "acme-ca.pem"
    ca.write_bytes(acme.ca())
    needed: dict[str, object] = {
        "ppm_domain": host.domain,
        "ppm_acme_email": "admin@example.com",
        "ppm_acme_directory": acme.directory,
        "ppm_ca_certificates": [str(ca)],
    }
    return needed if host.allows_private_users() else needed | {"ppm_private_users": False}


def certificate(index: Deployed, *, root: Path | None = None) -> Certificate:
    """Return the certificate that is served now; it must chain to the index's root, or to `root`."""
    return tls.served(index.domain, index.host.address, root or index.ca)


def eventually(look: Callable[[], Seen], as_wanted: Callable[[Seen], bool], *, seconds: float = 20) -> Seen:
    """Call `look` until `as_wanted` holds and return its result; fail with the last result after `seconds`."""
    until = time.monotonic() + seconds
    while not as_wanted(seen := look()):
        assert time.monotonic() < until, f"after {seconds} s it is still {seen!r}"
        time.sleep(0.1)
    return seen


def differences(
    before: Mapping[Named, str], after: Mapping[Named, str]
) -> dict[Named, tuple[str | None, str | None]]:
    """Return what changed between two results of `files`, by path. pytest compares long ones for many minutes."""
    paths = before.keys() | after.keys()
    return {path: (before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)}


def files(host: Host, *folders: str, leave_out: tuple[str, ...] = ()) -> dict[str, str]:
    """Return each path below the folders with its kind, owner and mode; for files also time and content.

    `leave_out` are patterns of paths to ignore.
    """
    where = f"{' '.join(folders)} -xdev {' '.join(f'-path {pattern!r} -prune -o' for pattern in leave_out)}"
    shown = r"-type d -printf '%p\t%y %U:%G %m\n' -o -printf '%p\t%y %U:%G %m %s %T@ %l\n'"
    done = host.run(f"find {where} {shown}; echo; find {where} -type f -print0 | xargs -0 -r sha256sum -z")
    listing, _, digests = done.out.partition("\n\n")
    made = dict(line.split("\t", 1) for line in listing.splitlines())
    for line in filter(None, digests.split("\0")):
        digest, _, path = line.partition("  ")
        made[path] += f" {digest}"
    return made
