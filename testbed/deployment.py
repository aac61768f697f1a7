"""Implement `make compose-up`: the compose deployment of this checkout, on a port of this machine's loopback.

Scripts find what they need in .compose/: `url` while it is up, `credential` (user:secret) and `netrc`. Its data is in
a volume of the engine, which stays until `compose-down ARGS=--volumes`. PPM_TAG is the images' tag, by default
`latest`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import requests

from ppmctl.files import write_atomic
from testbed import compose, debian, lease, ports
from testbed.bed import Stay, stay
from testbed.compose import Compose
from testbed.container import BUILT
from testbed.engine import Engine, Refusal
from testbed.errors import BedError
from testbed.place import CHECKOUT, of_this_cache, short_name

DOMAIN, USER = "localhost", "admin"
FOLDER = CHECKOUT / ".compose"
FIRST_PORT = 8080
_INSIDE = 8080
_SECRET = re.compile(r"ppm_[\w-]{40,}")
_ANSWER_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that was built; `size` is in bytes and includes the base image."""

    name: str
    size: int


def images(*, progress: IO[str]) -> list[Image]:
    """Build all images and return them; progress is written to `progress`. Raise BedError if a build fails."""
    here = stay(f"images-{os.getpid()}")
    try:
        made = Compose(engine=here.engine, project=here.lease.name, files=files(), environment=_environment())
        build(made, of=here.lease.name, progress=progress)
        built = [here.engine.api.images.get(name) for name in _names(made)]
        return [Image(name=name, size=image.attrs["Size"]) for name, image in zip(_names(made), built, strict=True)]
    finally:
        here.let_go()


def files(folder: Path = compose.FILE.parent) -> tuple[Path, ...]:
    """Return the compose files of a checkout's docker/: compose.yml first, then those that override it."""
    return (folder / compose.FILE.name, *sorted(folder.glob("compose.*.yml")))


def build(made: Compose, *services: str, of: str, progress: IO[str] | None = None) -> None:
    """Build images of a deployment, on a pulled Debian image or its stand-in.

    `of` is the name of the lease that builds. A tag that is the name of a lease is removed after the lease has ended,
    and an image that lost its last tag to the new one at once.
    """
    with lease.turn():
        debian.base(made.engine, 13)
    before = _tagged(made.engine)
    with tempfile.TemporaryDirectory() as folder:
        override = compose.leased(Path(folder) / "build.json", made.files, of, volumes=False)
        replace(made, files=(*made.files, override)).build(*services, follow=progress)
    for former in before - _tagged(made.engine):
        with contextlib.suppress(Refusal):  # a container uses it, or another process has removed it
            made.engine.api.images.remove(former)


def _tagged(engine: Engine) -> set[str]:
    """Return the ids of images that the testbed built and that have a tag."""
    built = engine.api.api.images(filters={"label": [f"{BUILT}={of_this_cache()}"], "dangling": False})
    return {image["Id"] for image in built}


def up(*, port: int | None, progress: IO[str]) -> str:
    """Build and start the deployment, restart what has changed, write the files of .compose/, and return its URL.

    Without `port` it is the current one, or 8080 or the next free one. Progress is written to `progress`.
    """
    FOLDER.mkdir(exist_ok=True)
    here = _open_stay()
    try:
        made = _deployment(here)
        port = _port(made, port)
        made = made.but(PPM_LISTEN=f"127.0.0.1:{port}")
        progress.write("Building the images (takes minutes the first time)\n")
        progress.flush()
        build(made, "nginx", "pypiserver", "sockets", of=here.lease.name, progress=progress)
        made.up()
        url = f"http://{DOMAIN}:{port}"
        _write_credential(made, url, progress)
        write_atomic(FOLDER / "url", f"{url}\n".encode())
    finally:
        here.let_go()
    return url


def down(*, volumes: bool) -> bool:
    """Stop and remove the deployment, with `volumes` its data too. Return whether there was one."""
    existed = FOLDER.exists()
    if not existed and not volumes:
        return False
    FOLDER.mkdir(exist_ok=True)
    here = _open_stay()
    try:
        _deployment(here).down(volumes=volumes)
        (FOLDER / "url").unlink(missing_ok=True)
    finally:
        here.close()
    if volumes:
        shutil.rmtree(FOLDER)
    return existed


def _open_stay() -> Stay:
    return stay(f"compose-{short_name(FOLDER)}", keeper=FOLDER)


def _deployment(here: Stay) -> Compose:
    files = (compose.FILE,)
    override = compose.leased(FOLDER / "compose.json", files, here.lease.name, volumes=False)
    return Compose(engine=here.engine, project=here.lease.name, files=(*files, override), environment=_environment())


def _environment() -> dict[str, str]:
    tag = os.environ.get("PPM_TAG")
    return {"PPM_TAG": tag or "latest", **({"PPM_SOCKETS_TAG": tag} if tag else {})}


def _names(made: Compose) -> list[str]:
    output = made.but(COMPOSE_PROFILES="*").call("config", "--images").out
    return sorted(set(output.split()))


def _port(made: Compose, wanted: int | None) -> int:
    """Return the port that is wanted, else the deployment's current one, else the first free one."""
    boxes = made.containers()
    # in the release before, nginx had the port
    box = next((boxes[name] for name in ("sockets", "nginx") if name in boxes and boxes[name].is_running()), None)
    current = box.port(_INSIDE) if box else None
    if current and wanted in (None, current):
        return current
    return ports.free(wanted, first=FIRST_PORT, hint="make compose-up HOST_PORT=…")


def _write_credential(made: Compose, url: str, progress: IO[str]) -> None:
    """Make sure that .compose/credential is an admin's, also for a new volume; .compose/netrc has the same."""
    path = FOLDER / "credential"
    if path.exists() and _is_accepted(url, path.read_text().strip()):
        return
    add = ("ppmctl", "user", "add", USER, "--role", "admin")
    done = made.exec("pypiserver", *add, check=False)
    if done.code:  # the admin was added with an earlier .compose/
        progress.write(f"{path} is not the credential of {USER} on this volume: {USER} gets another\n")
        made.exec("pypiserver", "ppmctl", "user", "remove", USER)
        done = made.exec("pypiserver", *add)
    secret = _SECRET.search(done.out + done.err)
    if not secret:
        raise BedError(f"ppmctl user add printed no secret for {USER}")
    write_atomic(path, f"{USER}:{secret[0]}\n".encode(), mode=0o600)
    netrc = f"machine {DOMAIN}\nlogin {USER}\npassword {secret[0]}\n"
    write_atomic(FOLDER / "netrc", netrc.encode(), mode=0o600)


def _is_accepted(url: str, credential: str) -> bool:
    user, _, secret = credential.partition(":")
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{url}/simple/", auth=(user, secret), timeout=_ANSWER_SECONDS, stream=True)
        return bool(answer.ok)
