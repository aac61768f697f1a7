"""Run Docker Compose v2 on the testbed's engine: start and stop deployments, and run commands in them.

Compose is this machine's (`docker compose`, or `docker-compose`), else Debian 13's, unpacked into the cache. It
builds with the engine's own BuildKit, so neither a docker command nor its plugins are needed.
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
CALL_SECONDS = 300  # a stop waits for requests that have begun
UP_SECONDS = 90
CHECK_SECONDS = 20
TRIES = 3  # restarts of a container that is waited for
_PROJECT, _SERVICE, _ONE_OFF = (f"com.docker.compose.{name}" for name in ("project", "service", "oneoff"))
_RELEASE = 13  # Debian 12 has Compose v1
_LINE_CLEARED = re.compile(r"\x1b\[2K")
# the user's variables that choose engine, files and settings are ignored; this module sets its own
_USER_SETTINGS = re.compile(r"DOCKER_(HOST|CONTEXT|DEFAULT_PLATFORM)$|COMPOSE_|PPM(CTL)?_")


@dataclass(frozen=True, kw_only=True)
class Compose:
    """The deployment `project` of the compose files; `environment` has the values of the variables in them.

    The user's own docker/.env is ignored.
    """

    engine: Engine
    project: str
    files: tuple[Path, ...] = (FILE,)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """Return the network on which services, and other containers, find services by name."""
        return f"{self.project}_default"

    def but(self, **environment: str) -> Compose:
        """Return the same deployment with other values of variables."""
        return replace(self, environment={**self.environment, **environment})

    def build(self, *services: str, follow: IO[str] | None = None) -> None:
        """Build the images of the services, by default of all services of all profiles."""
        self.but(COMPOSE_PROFILES="*").call("build", *services, timeout=BUILD_SECONDS, follow=follow)

    def up(self, *services: str) -> None:
        """Start services, by default all, replace containers that changed, and wait until they are healthy."""
        self.call("up", "--detach", "--no-build", "--remove-orphans", *services)
        self.wait(*(service for service in services if not service.startswith("-")))

    def down(self, *, volumes: bool = False) -> None:
        """Stop it, and remove its containers and network; with `volumes` its data too."""
        self.call("down", "--remove-orphans", *(["--volumes"] if volumes else []))

    def exec(self, service: str, *command: str, check: bool = True, timeout: float = CALL_SECONDS) -> Done:
        """Run a command in a service's container."""
        return self.call("exec", "-T", service, *command, check=check, timeout=timeout)

    def run(
        self, service: str, *command: str, options: tuple[str, ...] = (), check: bool = True, timeout: float = 600
    ) -> Done:
        """Run a service once, in a new container that is removed afterwards; `options` are those of `compose run`."""
        return self.call("run", "--rm", "-T", *options, service, *command, check=check, timeout=timeout)

    def stop(self, *services: str) -> None:
        """Stop services, by default all."""
        self.call("stop", *services)

    def kill(self, *services: str, signal: str = "KILL") -> None:
        self.call("kill", "--signal", signal, *services)

    def start(self, *services: str) -> None:
        """Start services that were stopped or killed, and wait until they are healthy."""
        self.call("start", *services)
        self.wait(*services)

    def logs(self, *services: str) -> str:
        done = self.call("logs", "--no-color", "--no-log-prefix", *services)
        return _LINE_CLEARED.sub("", done.out + done.err)

    def container(self, service: str) -> Container:
        """Return a service's container, running or not. Raise BedError if there is none."""
        box = self.containers().get(service)
        if not box:
            raise BedError(f"{self.project} has no container of {service}")
        return box

    def containers(self) -> dict[str, Container]:
        """Return the existing containers by their services, without those of `run`."""
        labels = [f"{_PROJECT}={self.project}", f"{_ONE_OFF}=False"]
        boxes = self.engine.api.containers.list(all=True, filters={"label": labels}, ignore_removed=True)
        return {
            box.labels[_SERVICE]: Container(
                engine=self.engine, id=box.id, name=box.labels[_SERVICE], network=self.network
            )
            for box in boxes
        }

    def wait(self, *services: str, seconds: float = UP_SECONDS) -> None:
        """Wait until each container's own health check succeeds. Raise BedError with its log if one does not.

        The check is run at once and repeatedly, because the engine runs it only every few seconds.
        """
        until = time.monotonic() + seconds
        boxes = self.containers()
        # nginx comes first: its check is cheap
        for service in services or sorted(boxes):
            box = boxes[service]
            limit = _state(box)["Restarts"] + TRIES
            while problem := _health_problem(box):
                state = _state(box)
                if time.monotonic() > until or state["Status"] == "exited" or state["Restarts"] >= limit:
                    log = box.logs()[-3000:]
                    raise BedError(f"{service} did not start ({state['Status']})", hint=f"{problem}\n{log}".strip())
                time.sleep(0.1)

    def call(
        self, *arguments: str, check: bool = True, timeout: float = CALL_SECONDS, follow: IO[str] | None = None
    ) -> Done:
        """Run compose. Raise BedError with its whole output if it fails, unless `check` is false.

        With `follow` the output is written there as it comes, instead of returned. `timeout` is in seconds.
        """
        files = [part for file in self.files for part in ("--file", str(file))]
        command = [*client(), *files, "--project-name", self.project, "--env-file", os.devnull, *arguments]
        environ = {name: value for name, value in ENVIRONMENT.items() if not _USER_SETTINGS.match(name)}
        environ |= {"BUILDKIT_PROGRESS": "plain", "COMPOSE_ANSI": "never", **self.environment}
        environ["DOCKER_HOST"] = self.engine.url
        stream: Any = follow or subprocess.PIPE
        try:
            done = subprocess.run(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired as exc:
            output = f"{_text(exc.stdout)}\n{_text(exc.stderr)}".strip()[-4000:]
            raise BedError(f"docker compose {shlex.join(arguments)} took over {timeout:.0f} s", hint=output) from exc
        result = Done(code=done.returncode, out=done.stdout or "", err=done.stderr or "")
        if check and result.code:
            output = f"{result.out}\n{result.err}".strip()[-6000:]
            raise BedError(f"docker compose {shlex.join(arguments)} exited {result.code}", hint=output)
        return result


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def _state(box: Container) -> dict[str, Any]:
    attributes = box.engine.api.containers.get(box.id).attrs
    return {**attributes["State"], "Restarts": attributes["RestartCount"]}


def _health_problem(box: Container) -> str:
    """Return what a container's own health check reports; "" if it is healthy, or has no check."""
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
    except Failure as exc:  # it ended in the meantime
        return str(exc)
    return (done.out + done.err).strip() or f"exit code {done.code}" if done.code else ""


@cache
def client() -> tuple[str, ...]:
    """Return the command of Compose v2. Raise BedError if there is none and none can be fetched."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if _is_version_2(command):
            return command
    try:
        root = packages.unpacked(_RELEASE, ("docker-compose",), below=place.cache() / "packages")
    except BedError as exc:
        raise BedError(
            "Docker Compose v2 is not installed, and Debian's can't be fetched",
            hint=f"install the compose plugin of the docker command\n{exc}",
        ) from exc
    command = (str(root / "usr/libexec/docker/cli-plugins/docker-compose"),)
    if not _is_version_2(command):
        raise BedError(f"Debian {_RELEASE}'s Compose does not run on this machine: {command[0]}")
    return command


def _is_version_2(command: tuple[str, ...]) -> bool:
    """Return whether a command is Compose of version 2 or later."""
    try:
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, timeout=60, env=ENVIRONMENT
        )
    except OSError:
        return False
    version = re.match(r"v?(\d+)\.", done.stdout)
    return done.returncode == 0 and version is not None and int(version[1]) >= 2


def leased(path: Path, files: tuple[Path, ...], lease: str, *, volumes: bool) -> Path:
    """Write a compose file to `path` that overrides `files`, so that what they make is removed with the lease.

    Volumes stay unless `volumes`; an image stays as long as it has a tag that is not the name of a lease. The
    project's name must begin with that of the lease.
    """
    labels, of_images = {"labels": container.lease_labels(lease)}, {"labels": container.image_labels()}
    override: dict[str, dict[str, object]] = {"services": {}, "networks": {"default": labels}, "volumes": {}}
    for file in files:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for kind in override if volumes else ("services", "networks"):
            override[kind] |= dict.fromkeys(content.get(kind) or (), labels)
        for service, of_service in (content.get("services") or {}).items():
            if "build" in of_service:
                override["services"][service] = {**labels, "build": of_images}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({kind: entries for kind, entries in override.items() if entries}, indent=2), encoding="utf-8"
    )
    return path
