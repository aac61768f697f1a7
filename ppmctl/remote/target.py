"""Where `--on` runs a command: a host by the program `ssh`, a container by the program `docker`."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from ppmctl.errors import PpmError, UsageError

_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*\$?"
_HOST = r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\]"
_SSH = re.compile(
    rf"ssh(?P<sudo>\+sudo)?://(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>\d{{1,5}}))?/?", re.ASCII
)
_DOCKER = re.compile(r"docker://(?P<given>[A-Za-z0-9][A-Za-z0-9_.-]*)", re.ASCII)
_PASSWORD = re.compile(r":[^/:@][^@]*@")

# They come before what ~/.ssh/config says.
_SSH_OPTIONS = {
    "BatchMode": "yes",  # nothing is asked: keys alone let in
    "StrictHostKeyChecking": "yes",  # a host whose key is not known could be anybody's
    "ConnectTimeout": "30",
    "ServerAliveInterval": "30",  # for firewalls that forget
    "ClearAllForwardings": "yes",
    "RemoteCommand": "none",
    "EscapeChar": "none",  # every key is for the command
    "LogLevel": "ERROR",
}
_COLUMNS = (
    '{{.ID}} {{.Names}} {{.State}} {{.Label "com.docker.compose.oneoff"}},{{.Label "com.docker.compose.service"}}'
)


@dataclass(frozen=True, kw_only=True)
class SshTarget:
    """A host, as `ssh` takes it (names of ~/.ssh/config too); with `sudo` the command runs as root there."""

    program: ClassVar = "ssh"

    host: str
    user: str | None = None
    port: int | None = None
    sudo: bool = False

    @property
    def name(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host

    def command(self, words: Sequence[str], *, terminal: bool = False) -> list[str]:
        """Return the command that runs `words` there, on a terminal or without one."""
        options = [f"-o{name}={value}" for name, value in _SSH_OPTIONS.items()]
        kind = "-t" if terminal else "-T"
        return [*self._ssh, *options, kind, self.name, shlex.join([*self._sudo, *words])]

    def hint(self, printed: str) -> str:
        """Return what to do where no ppmctl can be run there; `printed` is what ssh says."""
        if "Host key verification failed" in printed:
            shell = shlex.join([*self._ssh, self.name])
            return (
                f"`{shell}` shows the key: answer yes if it is the host's (there: ssh-keygen -lf"
                " /etc/ssh/ssh_host_ed25519_key.pub). Of one that has changed find out why first."
            )
        command = shlex.join([*self._ssh, self.name, *self._sudo, "ppmctl", "--version"])
        works = f"`{command}` has to work without a password."
        if "Permission denied (" in printed:
            return f"{works} ssh-copy-id {self.name} installs a key, ssh-add unlocks one that has a passphrase."
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
        """Return the command that runs `words` there, on a terminal or without one."""
        return ["docker", "exec", "-it" if terminal else "-i", self._container, *words]

    def hint(self, _printed: str) -> str:
        """Return what to do where no ppmctl can be run there."""
        return "The application's container is meant: with the compose file here, docker://pypiserver."

    @cached_property
    def _container(self) -> str:
        """The name of the container that is meant, which runs. PpmError says what to do where there is none."""
        command = ["docker", "ps", "--all", "--no-trunc", "--format", _COLUMNS]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        if listed.returncode:
            raise PpmError(
                f"Docker lists no containers: {listed.stderr.strip()}",
                hint="DOCKER_HOST says which engine is asked; who uses it is root or of its group (usually docker).",
            )
        boxes = [line.split(" ") for line in listed.stdout.splitlines()]
        matches = (
            [(name, state) for _, name, state, _ in boxes if name == self.given],
            [(name, state) for _, name, state, service in boxes if service == f"False,{self.given}"],
            [(name, state) for id_, name, state, _ in boxes if id_.startswith(self.given)],
        )
        found = next(filter(None, matches), [])
        running = [name for name, state in found if state == "running"]
        if len(running) == 1:
            return running[0]
        if running:
            names = ", ".join(sorted(running))
            message = f"The service {self.given!r} of compose has {len(running)} containers."
            raise PpmError(message, hint=f"Name one: {names}.")
        if found:
            name, state = found[0]
            remedy = "unpause" if state == "paused" else "start"
            raise PpmError(f"The container {name} is not running: it is {state}.", hint=f"docker {remedy} {name}")
        raise PpmError(
            f"There is no container {self.given!r}, and no compose service of that name.",
            hint="`docker ps` lists those that run; DOCKER_HOST says which engine is asked.",
        )


def parse(text: str) -> SshTarget | DockerTarget:
    """Return the target that `--on` names. UsageError; it does not repeat a password."""
    if found := _DOCKER.fullmatch(text):
        return DockerTarget(given=found["given"])
    found = _SSH.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found and (port is None or 0 < port < 1 << 16):
        return SshTarget(host=found["host"].strip("[]"), user=found["user"], port=port, sudo=bool(found["sudo"]))
    hint = "It is ssh://[user@]host[:port], ssh+sudo://[user@]host[:port], or docker://container."
    if _PASSWORD.search(text):
        hint = "It takes no password: keys let you in, and ssh-copy-id installs one."
    raise UsageError(f"--on can't be {_PASSWORD.sub(':***@', text)!r}.", hint=hint)
