"""An ACME server (Pebble) on the network of the hosts."""

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
    """An ACME server that answers at `directory`, for everything on its network."""

    box: Container
    directory: str = f"https://{DOMAIN}:14000/dir"

    def ca(self) -> bytes:
        """The CA of the server's own HTTPS, in PEM: what a host has to trust to ask for a certificate."""
        return self.box.get("/etc/pebble/ca.pem")

    def root(self) -> bytes:
        """The root of the certificates that it issues, in PEM: what clients have to trust; new at each start."""
        return self.box.run(f"{_PING}:15000/roots/0").out.encode()

    def lead_to(self, address: str) -> None:
        """Let every name lead to another address, if it was started so."""
        self.box.run(f'curl -sS --fail -d \'{{"ip":"{address}"}}\' http://127.0.0.1:8055/set-default-ipv4')


def start(
    engine: Engine, image: str, *, network: str, lease: str, names_lead_to: str = "", valid_seconds: int | None = None
) -> Acme:
    """Start one. Names are those of the network's containers, or all lead to `names_lead_to`, an IPv4 address."""
    env = {"NAMES_LEAD_TO": names_lead_to, "VALID_SECONDS": str(valid_seconds or "")}
    box = container.start(
        engine, image, name=NAME, network=network, lease=lease, aliases=(DOMAIN,), environment=env, init=True
    )
    return wait_until_up(box)


def wait_until_up(box: Container) -> Acme:
    """The server in a container, when it answers. BedError with its log if it does not."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and box.is_running():
        if box.run(f"{_PING}:14000/dir", check=False, timeout=30).code == 0:
            return Acme(box=box)
        time.sleep(0.1)
    raise BedError("Pebble did not come up", hint=box.logs()[-2000:])
