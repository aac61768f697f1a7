"""Indexes deployed by docker/compose.yml: their URLs, credentials and containers."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from support.load import Wire
from support.served import Served, plain_session
from support.servers import free_port
from testbed import compose, deployment
from testbed.bed import Bed
from testbed.compose import Compose
from testbed.container import Container

ROOT = "/srv/ppm"
APPLICATION, WEB, SOCKETS = "pypiserver", "nginx", "sockets"
INSIDE = f"http://{WEB}:8080"  # its URL on its own network
OWNER = (10001, 10001)  # uid and gid in the images
_SECRET = re.compile(r"ppm_[\w-]{40,}")
_numbers = itertools.count(1)
there: list[Composed] = []  # a failure shows the logs of these


@dataclass(kw_only=True)
class Composed(Served):
    """An index by compose on a port of this machine's loopback, with its own project, network and volumes."""

    compose: Compose
    port: int
    user: str = "admin"
    secret: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth(self) -> tuple[str, str]:
        return self.user, self.secret

    @property
    def owner(self) -> str:
        return "ppm:ppm"

    @property
    def is_local(self) -> bool:
        return True

    @property
    def application(self) -> Container:
        return self.compose.container(APPLICATION)

    @property
    def web(self) -> Container:
        return self.compose.container(WEB)

    @property
    def wire(self) -> Wire:
        """Return a connection that repeats no request."""
        return Wire(domain="127.0.0.1", address="127.0.0.1", port=self.port, context=None, auth=self.auth)

    def new_session(self) -> requests.Session:
        return plain_session()

    def ppmctl(self, arguments: str) -> str:
        return self.application.run(f"ppmctl {arguments}", user="").out

    def look(self, command: str) -> str:
        return self.application.run(command, user="", folder=ROOT).out

    def restarts(self) -> int:
        return restarts(self.application)

    @contextlib.contextmanager
    def reads_alone(self) -> Iterator[None]:
        self.compose.stop(APPLICATION)
        try:
            yield
        finally:
            self.compose.up()

    def up(self) -> None:
        """Start it; the first start creates its admin."""
        self.compose.up()
        if not self.secret:
            done = self.compose.exec(APPLICATION, "ppmctl", "user", "add", self.user, "--role", "admin")
            self.secret = _SECRET.findall(done.out + done.err)[0]


def restarts(box: Container) -> int:
    """Return how often the engine has restarted a container."""
    return int(box.engine.api.containers.get(box.id).attrs["RestartCount"])


def crash(box: Container) -> None:
    """Send SIGKILL to all processes in a container, like a crash: the engine doesn't restart after `docker kill`."""
    box.run("kill -9 -1", user="", check=False)


def runs_again(box: Container, before: int, *, seconds: float = 180) -> None:
    """Wait until a container has restarted more than `before` times and runs.

    An engine waits longer before each restart of a container that keeps crashing, up to a minute.
    """
    until = time.monotonic() + seconds
    while not _has_restarted(box, before):
        assert time.monotonic() < until, f"{box.name} does not run again: {box.logs()[-2000:]}"
        time.sleep(0.05)


def _has_restarted(box: Container, before: int) -> bool:
    attributes = box.engine.api.containers.get(box.id).attrs
    state = attributes["State"]
    # a container that waits for its restart counts as running, and has no process
    return attributes["RestartCount"] > before and state["Running"] and not state["Restarting"] and state["Pid"] > 0


def tags(tag: str) -> dict[str, str]:
    """Return the variables by which compose uses images with a tag."""
    return {"PPM_TAG": tag, "PPM_SOCKETS_TAG": tag}


def build(bed: Bed, tag: str, *services: str, checkout: Path | None = None) -> None:
    """Build the images of this checkout, or of another, with a tag."""
    files = deployment.files((checkout or compose.CHECKOUT) / "docker")
    made = Compose(
        engine=bed.engine,
        project=f"{bed.lease.name}-images",
        files=files,
        environment=tags(tag),
    )
    deployment.build(made, *services, of=bed.lease.name)


def remove_images(bed: Bed, tag: str) -> None:
    """Remove this tag of the images of docker/."""
    for image in bed.engine.api.images.list(filters={"reference": f"ppm-*:{tag}"}):
        for name in image.tags:
            if name.startswith("ppm-") and name.endswith(f":{tag}"):
                bed.engine.api.images.remove(name, force=True)


def maker(bed: Bed, tag: str, folder: Path) -> Iterator[Callable[..., Composed]]:
    """Yield a function that makes deployments, and remove them at the end: see the fixture `new_compose`."""
    made: list[Composed] = []

    def make(
        *, files: tuple[Path, ...] = (compose.FILE,), up: bool = True, environment: Mapping[str, str] | None = None
    ) -> Composed:
        port = free_port()
        project = f"{bed.lease.name}-{next(_numbers)}"
        over = compose.leased(folder / f"{project}.json", files, bed.lease.name, volumes=True)
        # an application that is stopped gets an answer sooner than by default
        settings = {**tags(tag), "PPM_PATIENCE": "8", "PPM_LISTEN": f"127.0.0.1:{port}", **(environment or {})}
        deployed = Compose(engine=bed.engine, project=project, files=(*files, over), environment=settings)
        index = Composed(compose=deployed, port=port)
        made.append(index)
        there.append(index)
        if up:
            index.up()
        return index

    yield make
    for index in made:
        there.remove(index)
        index.compose.down(volumes=True)


def settings_of(folder: Path) -> dict[str, str]:
    """Return variables that make `folder` the volume, owned by this user, or by the images' user if this is root."""
    uid, gid = (os.geteuid(), os.getegid()) if os.geteuid() else OWNER
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, uid, gid)
    return {"PPM_DATA": str(folder), "PPM_UID": str(uid), "PPM_GID": str(gid)}
