"""Run an ACME server (Pebble) on the network of the hosts."""

from __future__ import annotations

import time
from dataclasses import dataclass

from testbed import container
from testbed.container import Container
from testbed.engine import Engine
from testbed.errors import BedError

NAME, DOMAIN = "acme", "acme.test"
START_SECONDS = 30
_PING = "curl -sS --fail --max-time 20 --cacert /etc/pebble/ca.pem https://localhost"


@dataclass(frozen=True, kw_only=True)
class Acme:
    """An ACME server with its directory at the URL `directory`, which containers on its network can reach."""

    box: Container
    directory: str = f"https://{DOMAIN}:14000/dir"

    def ca(self) -> bytes:
        """Return the CA (PEM) of the server's own HTTPS, which a host has to trust to ask for a certificate."""
        return self.box.get("/etc/pebble/ca.pem")

    def root(self) -> bytes:
        """Return the root (PEM) of the certificates that it issues, which clients have to trust."""
        return self.box.run(f"{_PING}:15000/roots/0").out.encode()

    def lead_to(self, address: str) -> None:
        """Resolve every name to another address. It must have been started with `names_lead_to`."""
        self.box.run(f'curl -sS --fail -d \'{{"ip":"{address}"}}\' http://127.0.0.1:8055/set-default-ipv4')


def start(
    engine: Engine, image: str, *, network: str, lease: str, names_lead_to: str = "", valid_seconds: int | None = None
) -> Acme:
    """Start a server. It resolves names by the network's DNS, or all to `names_lead_to`, an IPv4 address."""
    env = {"NAMES_LEAD_TO": names_lead_to, "VALID_SECONDS": str(valid_seconds or "")}
    box = container.start(
        engine, image, name=NAME, network=network, lease=lease, aliases=(DOMAIN,), environment=env, init=True
    )
    return wait_until_up(box)


def wait_until_up(box: Container) -> Acme:
    """Wait until the server in a container answers, and return it. Raise BedError with its log if it does not."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and box.is_running():
        if box.run(f"{_PING}:14000/dir", check=False, timeout=30).code == 0:
            return Acme(box=box)
        time.sleep(0.1)
    raise BedError("Pebble did not start", hint=box.logs()[-2000:])
