"""The targets of `--on`: a host with the program `ssh`, a container with the program `docker`."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ppmctl.errors import PpmError, UsageError
from ppmctl.secret import masked

_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]"
_SSH = re.compile(
    rf"ssh(?P<sudo>\+sudo)?://(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?/?", re.ASCII
)
_DOCKER = re.compile(r"docker://(?P<given>[A-Za-z0-9][A-Za-z0-9_.-]*)", re.ASCII)

# They override ~/.ssh/config.
_SSH_OPTIONS = {
    "BatchMode": "yes",  # no prompts: only keys work
    "StrictHostKeyChecking": "yes",  # a host with an unknown key could be an attacker's
    "ConnectTimeout": "30",
    "ServerAliveInterval": "30",  # for firewalls that drop idle connections
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "EscapeChar": "none",  # every key goes to the command
    "LogLevel": "ERROR",
}
_COLUMNS = (
    '{{.ID}} {{.Names}} {{.State}} {{.Label "com.docker.compose.oneoff"}},{{.Label "com.docker.compose.service"}}'
)


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """A host that `ssh` knows, also from ~/.ssh/config; with `sudo` the command runs as root."""

    program: ClassVar = "ssh"

    host: str
    user: str | None = None
    port: int | None = None
    sudo: bool = False

    @property
    def name(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def command(self, words: Sequence[str], *, terminal: bool = False) -> list[str]:
        """Return the command that runs `words` on the target, with or without a terminal."""
        options = [f"-o{name}={value}" for name, value in _SSH_OPTIONS.items()]
        kind = "-t" if terminal else "-T"
        return [*self._ssh, *options, kind, self.name, shlex.join([*self._sudo, *words])]

    def hint(self, printed: str) -> str:
        """Return what to do if ppmctl can't be run on the host; `printed` is the output of ssh."""
        if "Host key verification failed" in printed:
            shell = shlex.join([*self._ssh, self.name])
            return (
                f"`{shell}` shows the key: answer yes if it is the host's (on the host: ssh-keygen -lf"
                " /etc/ssh/ssh_host_ed25519_key.pub). If it has changed, find out why first."
            )
        command = shlex.join([*self._ssh, self.name, *self._sudo, "ppmctl", "--version"])
        works = f"`{command}` has to work without a password."
        if "Permission denied (" in printed:
            return f"{works} ssh-copy-id {self.name} installs a key, ssh-add unlocks one with a passphrase."
        return works

    @property
    def _ssh(self) -> list[str]:
        return ["ssh", *(["-p", str(self.port)] if self.port else [])]

    @property
    def _sudo(self) -> list[str]:
        return ["sudo", "-n", "--"] if self.sudo else []


@dataclass(frozen=True, kw_only=True)
class DockerTarget:
    """A container, by its name or id, or the one container of a compose service."""

    program: ClassVar = "docker"

    given: str

    @property
    def name(self) -> str:
        return f"the container {self._container}"

    def command(self, words: Sequence[str], *, terminal: bool = False) -> list[str]:
        """Return the command that runs `words` on the target, with or without a terminal."""
        return ["docker", "exec", "-it" if terminal else "-i", self._container, *words]

    def hint(self, _printed: str) -> str:
        """Return what to do if ppmctl can't be run in the container."""
        return "Use the application's container: with ppm's compose file, docker://pypiserver."

    @cached_property
    def _container(self) -> str:
        """Return the name of the running container. Raise PpmError if there is none, or more than one."""
        command = ["docker", "ps", "--all", "--no-trunc", "--format", _COLUMNS]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        if listed.returncode:
            raise PpmError(
                f"Docker lists no containers: {listed.stderr.strip()}",
                hint="DOCKER_HOST selects the engine; only root and its group (usually docker) may use it.",
            )
        containers = [line.split(" ") for line in listed.stdout.splitlines()]
        matches = (
            [(name, state) for _, name, state, _ in containers if name == self.given],
            [(name, state) for _, name, state, service in containers if service == f"False,{self.given}"],
            [(name, state) for id_, name, state, _ in containers if id_.startswith(self.given)],
        )
        matching = next(filter(None, matches), [])
        running = [name for name, state in matching if state == "running"]
        if len(running) == 1:
            return running[0]
        if running:
            raise PpmError(
                f"The compose service {self.given!r} has {len(running)} containers.",
                hint=f"Name one: {', '.join(sorted(running))}.",
            )
        if matching:
            name, state = matching[0]
            action = "unpause" if state == "paused" else "start"
            raise PpmError(f"The container {name} is not running: it is {state}.", hint=f"docker {action} {name}")
        raise PpmError(
            f"There is no container {self.given!r}, and no compose service of that name.",
            hint="`docker ps` lists the running containers; DOCKER_HOST selects the engine.",
        )


def parse(text: str) -> SshTarget | DockerTarget:
    """Return the target that `--on` names. Raise UsageError, which does not repeat a password."""
    if match := _DOCKER.fullmatch(text):
        return DockerTarget(given=match["given"])
    match = _SSH.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match and (port is None or 0 < port < 1 << 16):
        return SshTarget(host=match["host"].strip("[]"), user=match["user"], port=port, sudo=bool(match["sudo"]))
    hint = "It is ssh://[user@]host[:port], ssh+sudo://[user@]host[:port], or docker://container."
    shown = masked(text)
    if shown != text:
        hint = "It takes no password: use a key, which ssh-copy-id installs."
    raise UsageError(f"--on can't be {shown!r}.", hint=hint)
