"""Deployments by Docker Compose v2, on the testbed's engine: up, down, commands in them, and what becomes of them.

Compose is the one that is here (`docker compose`, or `docker-compose`), else Debian 13's, unpacked into the cache. It
builds with the engine's own BuildKit: neither a docker command nor its plugins are needed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO, Any

import yaml

from testbed import container, packages, place
from testbed.container import Container, Done
from testbed.engine import Engine, Failure
from testbed.errors import BedError
from testbed.place import CHECKOUT, ENVIRONMENT

FILE = CHECKOUT / "docker" / "compose.yml"
BUILD_SECONDS = 1800
CALL_SECONDS = 300  # a stop waits for what is under way
UP_SECONDS = 90
CHECK_SECONDS = 20
TRIES = 3  # starts anew of a container that is waited for
_PROJECT, _SERVICE, _ONE_OFF = (f"com.docker.compose.{name}" for name in ("project", "service", "oneoff"))
_RELEASE = 13  # Debian 12 has Compose v1
_LINE_CLEARED = re.compile(r"\x1b\[2K")
# what says which engine, files and settings are meant: here it is this module's to say
_SAID = re.compile(r"DOCKER_(HOST|CONTEXT|DEFAULT_PLATFORM)$|COMPOSE_|PPM(CTL)?_")


@dataclass(frozen=True, kw_only=True)
class Compose:
    """The deployment `project` of the compose files; `environment` is what they are filled in with.

    The user's own docker/.env has no part in it.
    """

    engine: Engine
    project: str
    files: tuple[Path, ...] = (FILE,)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """The network where its services find each other, and others find them, by their names."""
        return f"{self.project}_default"

    def but(self, **environment: str) -> Compose:
        """The same deployment, filled in with something else."""
        return replace(self, environment={**self.environment, **environment})

    def build(self, *services: str, follow: IO[str] | None = None) -> None:
        """Build the images of the services, by default of all, those of every profile too."""
        self.but(COMPOSE_PROFILES="*").call("build", *services, timeout=BUILD_SECONDS, follow=follow)

    def up(self, *services: str) -> None:
        """Start what does not run, anew what has changed, and wait until it is healthy; by default all of it."""
        self.call("up", "--detach", "--no-build", "--remove-orphans", *services)
        self.wait(*(service for service in services if not service.startswith("-")))

    def down(self, *, volumes: bool = False) -> None:
        """Stop it and remove its containers and network; with `volumes` its data too."""
        self.call("down", "--remove-orphans", *(["--volumes"] if volumes else []))

    def exec(self, service: str, *command: str, check: bool = True, timeout: float = CALL_SECONDS) -> Done:
        """Run a command in a service's container."""
        return self.call("exec", "-T", service, *command, check=check, timeout=timeout)

    def run(
        self, service: str, *command: str, options: tuple[str, ...] = (), check: bool = True, timeout: float = 600
    ) -> Done:
        """Run a service once, in a container of its own that is gone then; `options` are those of `compose run`."""
        return self.call("run", "--rm", "-T", *options, service, *command, check=check, timeout=timeout)

    def stop(self, *services: str) -> None:
        """Let them end; no service stands for all."""
        self.call("stop", *services)

    def kill(self, *services: str, signal: str = "KILL") -> None:
        self.call("kill", "--signal", signal, *services)

    def start(self, *services: str) -> None:
        """Start what was stopped or killed, and wait until it is healthy."""
        self.call("start", *services)
        self.wait(*services)

    def logs(self, *services: str) -> str:
        done = self.call("logs", "--no-color", "--no-log-prefix", *services)
        return _LINE_CLEARED.sub("", done.out + done.err)

    def container(self, service: str) -> Container:
        """A service's container, running or not. BedError if there is none."""
        found = self.containers().get(service)
        if not found:
            raise BedError(f"{self.project} has no container of {service}")
        return found

    def containers(self) -> dict[str, Container]:
        """The containers that there are, by their services, without those of `run`."""
        labels = [f"{_PROJECT}={self.project}", f"{_ONE_OFF}=False"]
        found = self.engine.api.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return {
            box.labels[_SERVICE]: Container(
                engine=self.engine, id=box.id, name=box.labels[_SERVICE], network=self.network
            )
            for box in found
        }

    def wait(self, *services: str, seconds: float = UP_SECONDS) -> None:
        """Wait until each container's own check of its health succeeds. BedError with its log if one does not.

        The check is run at once and again, which the engine does every few seconds.
        """
        until = time.monotonic() + seconds
        found = self.containers()
        for service in services or sorted(found):  # nginx's check waits for the application too, and costs less
            box = found[service]
            most = _state(box)["Restarts"] + TRIES
            while said := _ails(box):
                state = _state(box)
                if time.monotonic() > until or state["Status"] == "exited" or state["Restarts"] >= most:
                    log = box.logs()[-3000:]
                    raise BedError(f"{service} did not come up ({state['Status']})", hint=f"{said}\n{log}".strip())
                time.sleep(0.1)

    def call(
        self, *arguments: str, check: bool = True, timeout: float = CALL_SECONDS, follow: IO[str] | None = None
    ) -> Done:
        """Run compose; BedError with all that it said if it fails, unless `check` is false.

        What it says is written to `follow` instead, as it comes. `timeout` is in seconds.
        """
        files = [part for file in self.files for part in ("--file", str(file))]
        command = [*client(), *files, "--project-name", self.project, "--env-file", os.devnull, *arguments]
        environ = {name: value for name, value in ENVIRONMENT.items() if not _SAID.match(name)}
        environ |= {"BUILDKIT_PROGRESS": "plain", "COMPOSE_ANSI": "never", **self.environment}
        environ["DOCKER_HOST"] = self.engine.url
        where: Any = follow or subprocess.PIPE
        try:
            done = subprocess.run(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=where,
                stderr=where,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as exc:
            said = f"{_text(exc.stdout)}\n{_text(exc.stderr)}".strip()[-4000:]
            raise BedError(f"docker compose {shlex.join(arguments)} took over {timeout:.0f} s", hint=said) from exc
        made = Done(code=done.returncode, out=done.stdout or "", err=done.stderr or "")
        if check and made.code:
            said = f"{made.out}\n{made.err}".strip()[-6000:]
            raise BedError(f"docker compose {shlex.join(arguments)} exited {made.code}", hint=said)
        return made


def _text(said: str | bytes | None) -> str:
    return said.decode(errors="replace") if isinstance(said, bytes) else said or ""


def _state(box: Container) -> dict[str, Any]:
    attributes = box.engine.api.containers.get(box.id).attrs
    return {**attributes["State"], "Restarts": attributes["RestartCount"]}


def _ails(box: Container) -> str:
    """What a container's own check of its health says that it lacks; "" if it is healthy, or has none."""
    attributes = box.engine.api.containers.get(box.id).attrs
    if not attributes["State"]["Running"] or attributes["State"]["Restarting"]:
        return "it does not run"
    kind, *command = (attributes["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
    if kind == "NONE":
        return ""
    try:
        done = box.run(
            command[0] if kind == "CMD-SHELL" else shlex.join(command), user="", check=False, timeout=CHECK_SECONDS
        )
    except Failure as exc:  # it has ended meanwhile
        return str(exc)
    return (done.out + done.err).strip() or f"exit code {done.code}" if done.code else ""


@cache
def client() -> tuple[str, ...]:
    """The command that is Compose v2. BedError where there is none and none can be had."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if _is_of_today(command):
            return command
    try:
        root = packages.unpacked(_RELEASE, ("docker-compose",), below=place.cache() / "packages")
    except BedError as exc:
        raise BedError(
            "There is no Docker Compose v2 here, and Debian's can't be had",
            hint=f"install the compose plugin of the docker command\n{exc}",
        ) from exc
    command = (str(root / "usr/libexec/docker/cli-plugins/docker-compose"),)
    if not _is_of_today(command):
        raise BedError(f"Debian {_RELEASE}'s Compose does not run here: {command[0]}")
    return command


def _is_of_today(command: tuple[str, ...]) -> bool:
    """Whether a command is Compose, of version 2 or later."""
    try:
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, timeout=60, env=ENVIRONMENT
        )
    except OSError:
        return False
    found = re.match(r"v?(\d+)\.", done.stdout)
    return done.returncode == 0 and found is not None and int(found[1]) >= 2


def leased(path: Path, files: tuple[Path, ...], lease: str, *, volumes: bool) -> Path:
    """Write to `path` a compose file to go over `files`, with which all that they make goes with the lease.

    What is in the volumes stays unless `volumes`, and an image as long as it has a tag that is not of a lease's name.
    """
    labels = {"labels": container.lease_labels(lease)}
    over: dict[str, dict[str, object]] = {"services": {}, "networks": {"default": labels}, "volumes": {}}
    for file in files:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
        for kind in over if volumes else ("services", "networks"):
            over[kind] |= dict.fromkeys(said.get(kind) or (), labels)
        for service, of_service in (said.get("services") or {}).items():
            if "build" in of_service:
                over["services"][service] = {**labels, "build": labels}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({kind: named for kind, named in over.items() if named}, indent=2), encoding="utf-8")
    return path
