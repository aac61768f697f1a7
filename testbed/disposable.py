"""Implement `make host`: the whole product in a container, with a URL that works on this machine.

The host's domain is `localhost`: its port 443 is published on this machine's loopback, and the ACME server resolves
every name to it. Scripts find what they need in .host/: `url`, `ca.pem`, `credential` (user:secret).
"""

from __future__ import annotations

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
from testbed.place import CHECKOUT, short_name

DOMAIN = "localhost"
FOLDER = CHECKOUT / ".host"
FIRST_PORT = 8443
_PORT_443 = 443
_MAKE_AGAIN_HINT = "make host-down, then make host again"
_FIRST_CREDENTIAL = "/srv/ppm/first-credential"


@dataclass(frozen=True, kw_only=True)
class Disposable:
    """A running host, and the port of this machine that leads to its index."""

    bed: Bed
    host: Host
    port: int

    @property
    def url(self) -> str:
        return f"https://{DOMAIN}:{self.port}"


def is_there() -> bool:
    """Return whether this checkout has a host, running or not."""
    return (FOLDER / "key").exists()


def up(*, port: int | None, progress: IO[str]) -> Disposable:
    """Make the host unless it exists, provision it, and write the files of .host/.

    Without `port` it is 8443 or the next free one. Progress is written to `progress`. Raise BedError if a task fails.
    """
    bed = _open()
    try:
        progress.write("Starting the host and the ACME server (building their images takes minutes the first time)\n")
        progress.flush()
        existing = next(iter(bed.hosts()), None)
        host = _start_existing(existing, port) if existing else _new(bed, port)
        server = _acme(bed, host)
        made = Disposable(bed=bed, host=host, port=host.box.port(_PORT_443))
        result = playbook.run(CHECKOUT / "site.yml", _inventory(bed, host, server), follow=progress)
        if result.code:
            raise BedError(
                f"site.yml failed on the host ({result.code})",
                hint="fix the failed task, which is shown above, and run `make host` again",
            )
        _write_files(made, server)
    finally:
        bed.let_go()
    return made


def run(command: str, *, out: IO[bytes], err: IO[bytes]) -> int:
    """Run a shell command as root in the host, and return its exit code."""
    if not is_there():
        raise UsageError("This checkout has no host", hint="make host")
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
    return open_bed(f"host-{short_name(FOLDER)}", FOLDER, keep=True)


def _new(bed: Bed, port: int | None) -> Host:
    wanted = Wanted(
        name="host",
        domain="host.test",
        ports={_PORT_443: ports.free(port, first=FIRST_PORT, hint="make host HOST_PORT=…")},
    )
    return bed.host(wanted)


def _start_existing(host: Host, port: int | None) -> Host:
    """Return the existing host, started if the machine or the engine was restarted since."""
    if not host.box.is_running():
        host.box.restart()
        wait_until_up(host.box)
    if port and host.box.port(_PORT_443) != port:
        raise UsageError(
            f"The host exists already, on port {host.box.port(_PORT_443)}",
            hint=_MAKE_AGAIN_HINT,
        )
    return host


def _acme(bed: Bed, host: Host) -> Acme:
    """Return the running ACME server, which resolves every name to the host."""
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
        "ppm_hsts_max_age": 0,  # otherwise a browser would demand HTTPS from every other server on localhost
    }
    return playbook.write_inventory(bed.folder / "inventory.yml", [host], variables=variables)


def _write_files(made: Disposable, server: Acme) -> None:
    """Write the files that scripts need to reach the index."""
    folder = made.bed.folder
    trusted = folder / "ca.pem"
    # the ACME server that issued the certificate may be gone, and its root with it
    if not (trusted.exists() and _verifies(made.port, trusted)):
        # the index redirects to the public one, so clients have to trust both
        write_atomic(trusted, server.root() + _own_cas())
        if not _verifies(made.port, trusted):
            raise BedError(
                f"{made.url} has a certificate of an ACME server that no longer exists",
                hint=_MAKE_AGAIN_HINT,
            )
    _write_credential(made)
    write_atomic(folder / "url", f"{made.url}\n".encode())


def _write_credential(made: Disposable) -> None:
    """Copy the first admin's credential to .host/credential and .host/netrc."""
    folder = made.bed.folder
    try:
        content = made.host.box.get(_FIRST_CREDENTIAL).decode()
    except FileNotFoundError as exc:
        if (folder / "credential").exists():  # users are told to delete it on the host; this copy is still valid
            return
        raise BedError(f"The host has no {_FIRST_CREDENTIAL}", hint=_MAKE_AGAIN_HINT) from exc
    user, _, secret = content.strip().partition(":")
    write_atomic(folder / "credential", f"{user}:{secret}\n".encode(), mode=0o600)
    write_atomic(folder / "netrc", f"machine {DOMAIN}\nlogin {user}\npassword {secret}\n".encode(), mode=0o600)


def _verifies(port: int, trusted: Path) -> bool:
    """Return whether the server on the port has a certificate for DOMAIN that the CAs in `trusted` issued."""
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
    """Return the CAs that this machine trusts, in PEM."""
    candidates = [os.environ.get("SSL_CERT_FILE"), CA_BUNDLE, ssl.get_default_verify_paths().cafile]
    bundle = next((Path(path) for path in candidates if path and Path(path).is_file()), None)
    return bundle.read_bytes() if bundle else b""
