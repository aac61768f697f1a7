"""Start disposable hosts: containers of Debian with systemd as the first process, reached over SSH."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir

from testbed import container
from testbed.container import Container, Done
from testbed.engine import Engine
from testbed.errors import BedError

DOMAIN, RELEASE, USER = "ppm-testbed.domain", "ppm-testbed.release", "ppm-testbed.user"
BOOT_SECONDS = 90
SSH_PORT = 22


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of a new host. `tmpfs` maps folders to mount options (`size=20m`, `ro`), small or read-only ones.

    Its host name is `domain`; if `is_found`, other containers resolve that name to it.
    """

    name: str
    release: int = 13
    domain: str = "index.test"
    sudo: bool = False
    is_found: bool = True
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[int, int] = field(default_factory=dict)  # its port → this machine's, on the loopback


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that is up. `user` logs in over SSH with `key`: root, or an administrator with sudo."""

    box: Container
    key: Path
    domain: str
    release: int
    user: str

    @property
    def name(self) -> str:
        return self.box.name

    @property
    def address(self) -> str:
        return self.box.address

    def run(self, command: str, *, check: bool = True, timeout: int = container.RUN_SECONDS) -> Done:
        """Run a shell command as root, through the engine instead of SSH."""
        return self.box.run(command, check=check, timeout=timeout)

    def ssh(self) -> list[str]:
        """Return the `ssh` command that opens a shell on it; append a command to run that."""
        return ["ssh", *ssh_options(), "-i", str(self.key), f"{self.user}@{self.address}"]

    def variables(self) -> dict[str, object]:
        """Return its variables for an Ansible inventory."""
        return {
            "ansible_host": self.address,
            "ansible_user": self.user,
            "ansible_become": self.user != "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(ssh_options()),
            # unique to this host: the next host can have the same address
            "ansible_control_path": f"{gettempdir()}/ppm-testbed-{self.box.id[:12]}",
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def allows_private_users(self) -> bool:
        """Return whether its services can have private user namespaces; some engines forbid them in containers."""
        probe = "systemd-run --quiet --wait -p PrivateUsers=yes -p User=nobody -p ProtectProc=invisible true"
        return self.run(probe, check=False).code == 0

    def reboot(self) -> None:
        """Shut it down and start it again, and wait until it is up."""
        self.box.restart()
        wait_until_up(self.box)

    def snapshot(self) -> str:
        """Return the id of an image of its disk, for `Bed.host`: another host starts from it, as after a reboot."""
        self.run("sync")
        return self.box.snapshot()

    def remove(self) -> None:
        self.box.remove()


def ssh_options() -> list[str]:
    """Return options of `ssh` for hosts with unknown keys, whose addresses are used again."""
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        "IdentitiesOnly": "yes",
    }
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def start(engine: Engine, image: str, wanted: Wanted, *, network: str, lease: str, key: Path) -> Host:
    """Start a host and wait until it is up."""
    user = "admin" if wanted.sudo else "root"
    options = {
        # SYS_PTRACE: without it systemd can't combine PrivateUsers= with ProtectProc=
        "cap_add": ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"],
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        "cgroupns": "private",
        "tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec", **wanted.tmpfs},
        "ports": {f"{inside}/tcp": ("127.0.0.1", outside) for inside, outside in wanted.ports.items()},
    }
    box = container.start(
        engine,
        image,
        name=wanted.name,
        network=network,
        lease=lease,
        aliases=(wanted.domain,) if wanted.is_found else (),
        labels={DOMAIN: wanted.domain, RELEASE: str(wanted.release), USER: user},
        **options,
    )
    wait_until_up(box)
    _authorize_key(box, user, key)
    return Host(box=box, key=key, domain=wanted.domain, release=wanted.release, user=user)


def host_of(box: Container, key: Path) -> Host | None:
    """Return the host that runs in a container, or None if it is no host."""
    labels = box.labels
    if DOMAIN not in labels:
        return None
    return Host(box=box, key=key, domain=labels[DOMAIN], release=int(labels[RELEASE]), user=labels[USER])


def _authorize_key(box: Container, user: str, key: Path) -> None:
    """Write the key into the authorized_keys of `user`."""
    home = "/root" if user == "root" else f"/home/{user}"
    owner = int(box.run(f"id -u {user}").out)
    box.put(f"{home}/.ssh/authorized_keys", key.with_suffix(".pub").read_bytes(), mode=0o600, owner=owner)


def wait_until_up(box: Container) -> None:
    """Wait until systemd has started its units and sshd answers. Raise BedError if that takes too long."""
    until = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < until and box.is_running():
        state = box.run("systemctl is-system-running 2>&1", check=False, timeout=30).out.strip()
        if state in ("running", "degraded") and _ssh_answers(box.address):
            return
        time.sleep(0.2)
    failed = (
        box.run("systemctl --failed --no-legend", check=False, timeout=30).out if box.is_running() else box.logs()
    )
    raise BedError(f"The host {box.name} did not start ({state or 'it has ended'})", hint=failed[-2000:])


def _ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, SSH_PORT), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
