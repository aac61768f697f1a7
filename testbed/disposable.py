"""`make host`: the whole product in a container on this machine, with a URL that works here as it stands.

The host's domain is `localhost`: its port 443 is a port of this machine's loopback, and to the ACME server beside it
every name leads to it. What scripts need to know is left in .host/: `url`, `ca.pem`, `credential` (user:secret).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ppmctl.errors import UsageError
from ppmctl.files import write_atomic
from testbed import acme, playbook, ports
from testbed.acme import Acme
from testbed.bed import Bed, open_bed
from testbed.errors import BedError
from testbed.hosts import Host, Wanted, wait_until_up
from testbed.machine import CA_BUNDLE
from testbed.place import CHECKOUT

DOMAIN = "localhost"
FOLDER = CHECKOUT / ".host"
FIRST_PORT = 8443
_PORT_443 = 443
_ANEW = "make host-down, then make host again"
_FIRST_CREDENTIAL = "/srv/ppm/first-credential"


@dataclass(frozen=True, kw_only=True)
class Disposable:
    """The host that is up, and where its index is found from this machine."""

    bed: Bed
    host: Host
    port: int

    @property
    def url(self) -> str:
        return f"https://{DOMAIN}:{self.port}"


def is_there() -> bool:
    """Whether this checkout has a host, up or not."""
    return (FOLDER / "key").exists()


def up(*, port: int | None, talk: IO[str]) -> Disposable:
    """Make the host unless it is there, provision it, and leave what scripts need in .host/.

    Without `port` it is 8443 or the next that is free. What happens is told to `talk`. BedError if a task fails.
    """
    bed = _open()
    try:
        talk.write("Starting the host and the ACME server (the first time their images are made: minutes)\n")
        talk.flush()
        there = next(iter(bed.hosts()), None)
        host = _again(there, port) if there else _new(bed, port)
        server = _acme(bed, host)
        made = Disposable(bed=bed, host=host, port=host.box.port(_PORT_443))
        result = playbook.run(CHECKOUT / "site.yml", _inventory(bed, host, server), follow=talk)
        if result.code:
            raise BedError(
                f"site.yml failed on the host ({result.code})",
                hint="the task that failed is named above; `make host` again goes on from there",
            )
        _leave(made, server)
    finally:
        bed.let_go()
    return made


def run(command: str, *, out: IO[bytes], err: IO[bytes]) -> int:
    """Run a shell command as root in the host; its exit code."""
    if not is_there():
        raise UsageError("There is no host here", hint="make host")
    bed = _open()
    try:
        host = next(iter(bed.hosts()), None)
        if host is None or not host.box.is_running():
            raise UsageError("The host is not running", hint="make host")
        return host.box.follow(command, out=out, err=err)
    finally:
        bed.let_go()


def down() -> None:
    """Remove the host and everything that `up` made."""
    if FOLDER.exists():
        _open().close()
        shutil.rmtree(FOLDER)


def _open() -> Bed:
    name = hashlib.sha256(bytes(FOLDER)).hexdigest()[:8]
    return open_bed(f"host-{name}", FOLDER, keep=True)


def _new(bed: Bed, port: int | None) -> Host:
    wanted = Wanted(
        name="host",
        domain="host.test",
        ports={_PORT_443: ports.free(port, first=FIRST_PORT, hint="make host HOST_PORT=…")},
    )
    return bed.host(wanted)


def _again(host: Host, port: int | None) -> Host:
    """The host that is there, started if the machine or the engine was restarted since."""
    if not host.box.is_running():
        host.box.restart()
        wait_until_up(host.box)
    if port and host.box.port(_PORT_443) != port:
        raise UsageError(
            f"The host is there already, on port {host.box.port(_PORT_443)}",
            hint="make host-down, then make host again",
        )
    return host


def _acme(bed: Bed, host: Host) -> Acme:
    """The ACME server, to which every name leads to the host."""
    for box in bed.containers():
        if box.name == acme.NAME and box.is_running():
            server = acme.wait_until_up(box)
            server.lead_to(host.address)
            return server
        if box.name == acme.NAME:
            box.remove()
    return bed.acme(names_lead_to=host.address)


def _inventory(bed: Bed, host: Host, server: Acme) -> Path:
    ca = bed.folder / "acme-ca.pem"
    write_atomic(ca, server.ca())
    variables = {
        "ppm_domain": DOMAIN,
        "ppm_acme_email": f"admin@{acme.DOMAIN}",
        "ppm_acme_directory": server.directory,
        "ppm_ca_certificates": [str(ca)],
        "ppm_private_users": host.allows_private_users(),
        "ppm_hsts_max_age": 0,  # a browser would demand HTTPS of every other server on this machine too
    }
    return playbook.write_inventory(bed.folder / "inventory.yml", [host], variables=variables)


def _leave(made: Disposable, server: Acme) -> None:
    """Write what scripts need to reach the index."""
    folder = made.bed.folder
    trusted = folder / "ca.pem"
    # the server of the first issue may have gone since, with its root
    if not (trusted.exists() and _verifies(made.port, trusted)):
        # what is installed through the index may come from the public one, by a redirect
        write_atomic(trusted, server.root() + _own_cas())
        if not _verifies(made.port, trusted):
            raise BedError(
                f"{made.url} has a certificate of an ACME server that is gone",
                hint="make host-down, then make host again",
            )
    _leave_credential(made)
    write_atomic(folder / "url", f"{made.url}\n".encode())


def _leave_credential(made: Disposable) -> None:
    """Fetch the first admin's credential, for .host/credential and .host/netrc."""
    folder = made.bed.folder
    try:
        said = made.host.box.get(_FIRST_CREDENTIAL).decode()
    except FileNotFoundError as exc:
        if (folder / "credential").exists():  # deleted on the host, as its reader is told to: this one holds
            return
        raise BedError(f"The host has no {_FIRST_CREDENTIAL}", hint=_ANEW) from exc
    user, _, secret = said.strip().partition(":")
    write_atomic(folder / "credential", f"{user}:{secret}\n".encode(), mode=0o600)
    write_atomic(folder / "netrc", f"machine {DOMAIN}\nlogin {user}\npassword {secret}\n".encode(), mode=0o600)


def _verifies(port: int, trusted: Path) -> bool:
    """Whether what answers on the port has a certificate for its name that `trusted` vouches for."""
    context = ssl.create_default_context(cafile=str(trusted))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=DOMAIN),
        ):
            return True
    except ssl.SSLCertVerificationError:
        return False


def _own_cas() -> bytes:
    """The CAs that this machine trusts, in PEM."""
    places = [os.environ.get("SSL_CERT_FILE"), CA_BUNDLE, ssl.get_default_verify_paths().cafile]
    found = next((Path(place) for place in places if place and Path(place).is_file()), None)
    return found.read_bytes() if found else b""
