"""Run a user's machine: a container with pip, uv and twine."""

from __future__ import annotations

from dataclasses import dataclass

from testbed import container
from testbed.container import Container, Done
from testbed.engine import Engine
from testbed.machine import CA_BUNDLE

# /etc/pip.conf in the image was for building it: clients ignore it, so that a test decides their settings
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
    """A container with the clients; commands run in it as `user`, in the home folder."""

    box: Container

    def run(self, command: str, *, check: bool = True, timeout: int = container.RUN_SECONDS, **env: str) -> Done:
        """Run a shell command with `env` added to its environment. Raise BedError with its output if it fails.

        `pip` is Debian's own, also in new virtual environments; `pip-newest`, `uv` and `twine` are the newest.
        """
        return self.box.run(
            command, user="user", folder="/home/user", env=ENVIRONMENT | env, check=check, timeout=timeout
        )

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file that the user owns into an existing folder; a relative path is below the home folder."""
        users = (line.split(":") for line in self.box.get("/etc/passwd").decode().splitlines())
        owner = next(int(user[2]) for user in users if user[0] == "user")  # a busy engine may lose a command's output
        self.box.put(path if path.startswith("/") else f"/home/user/{path}", content, mode=mode, owner=owner)

    def trust(self, name: str, ca: bytes) -> None:
        """Add a CA (PEM) to the system's under the name `name`; all clients of the machine use these."""
        self.box.put(f"/usr/local/share/ca-certificates/{name}.crt", ca)
        self.box.run("update-ca-certificates")


def start(engine: Engine, image: str, *, name: str, network: str, lease: str) -> Client:
    """Start a machine with the clients."""
    box = container.start(engine, image, name=name, network=network, lease=lease, init=True)
    return Client(box=box)
