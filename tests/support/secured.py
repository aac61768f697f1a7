"""An index deployed by docker/compose.yml with settings: a domain, and a provided certificate."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests

from support import checkout, composed
from support.composed import Composed
from support.servers import free_port
from support.tls import Authority
from testbed.bed import Bed

VENV = Path(sys.executable).parents[1]
DOMAIN = "localhost"


@dataclass(kw_only=True)
class Secured(Composed):
    """A deployment that answers only to its domain, over TLS; `ca` is the file with the root of its certificate.

    `port` is for plain HTTP, which redirects to `tls_port`. `rendered` is the folder of the application's settings.
    """

    tls_port: int
    ca: Path
    rendered: Path

    @property
    def url(self) -> str:
        return f"https://{DOMAIN}:{self.tls_port}"

    @property
    def authority(self) -> bytes:
        return self.ca.read_bytes()

    def new_session(self) -> requests.Session:
        made = super().new_session()
        made.verify = str(self.ca)
        return made


def configure(checkout: Path, settings: dict[str, object]) -> str:
    """Write docker/settings.yml of a checkout and run `make compose-config` there; return what it printed."""
    (checkout / "docker" / "settings.yml").write_text(json.dumps(settings))
    command = ["make", f"VENV={VENV}", "-o", f"{VENV}/.hosts", "compose-config"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_in_use(checkout: Path) -> tuple[Path, ...]:
    """Return the compose files that `make compose-config` named."""
    (printed,) = [
        line.removeprefix("COMPOSE_FILE=")
        for line in (checkout / "docker" / ".env").read_text().splitlines()
        if line.startswith("COMPOSE_FILE=")
    ]
    return tuple(checkout / "docker" / name for name in printed.split(":"))


def deploy(bed: Bed, images: str, folder: Path, **settings: object) -> Iterator[Secured]:
    """Start one from its own checkout, with further settings, and remove it at the end."""
    own = checkout.copy(folder / "ppm")
    authority = Authority()
    chain, key = authority.issue(folder / "certificate", DOMAIN)
    ca = authority.write_root(folder / "root.pem")
    needed = {"ppm_domain": DOMAIN, "ppm_tls": "provided", "ppm_tls_certificate": str(chain), "ppm_tls_key": str(key)}
    configure(own, needed | settings)
    (own / "docker" / "local" / "tls" / "privkey.pem").chmod(0o644)  # the containers run as another user
    port, tls_port = free_port(), free_port()
    environment = {"PPM_HTTP_LISTEN": f"127.0.0.1:{port}", "PPM_HTTPS_LISTEN": f"127.0.0.1:{tls_port}"}
    maker: Iterator[Callable[..., Composed]] = composed.maker(bed, images, folder)
    plain = next(maker)(files=files_in_use(own), up=False, environment=environment)
    made = Secured(
        compose=plain.compose,
        port=port,
        tls_port=tls_port,
        ca=ca,
        rendered=own / "docker" / "local" / "pypiserver",
    )
    made.up()
    yield made
    next(maker, None)
