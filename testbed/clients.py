"""A machine with pip, uv and twine, beside the hosts: what a user of the index sits at."""

from __future__ import annotations

from dataclasses import dataclass

from testbed import container
from testbed.container import Container, Done
from testbed.engine import Engine
from testbed.machine import CA_BUNDLE

# pip's configuration of the machine below was for building the image: a client has none, but what a test gives it
ENVIRONMENT = {
    "HOME": "/home/user",
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_CERT": CA_BUNDLE,
    "UV_NO_CONFIG": "1",
    "SSL_CERT_FILE": CA_BUNDLE,
    "REQUESTS_CA_BUNDLE": CA_BUNDLE,
    "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True, kw_only=True)
class Client:
    """A container with the clients; commands run in it as `user`, in their home folder."""

    box: Container

    def run(self, command: str, *, check: bool = True, timeout: int = container.RUN_SECONDS, **env: str) -> Done:
        """Run a shell command with `env` added to its environment; BedError with all that it said if it fails.

        `pip` is Debian's own, also in venvs that are made; `pip-newest`, `uv` and `twine` are the newest.
        """
        return self.box.run(
            command, user="user", folder="/home/user", env=ENVIRONMENT | env, check=check, timeout=timeout
        )

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file of the user's; a relative path is below the home folder, in a folder that is there."""
        owner = int(self.box.run("id -u user").out)
        self.box.put(path if path.startswith("/") else f"/home/user/{path}", content, mode=mode, owner=owner)

    def trust(self, name: str, ca: bytes) -> None:
        """Add a CA (PEM) to the system's, by the name of `name`: all clients here use these."""
        self.box.put(f"/usr/local/share/ca-certificates/{name}.crt", ca)
        self.box.run("update-ca-certificates")


def start(engine: Engine, image: str, *, name: str, network: str, lease: str) -> Client:
    """Start one."""
    box = container.start(engine, image, name=name, network=network, lease=lease, init=True)
    return Client(box=box)
