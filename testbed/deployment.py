"""`make compose-up`: the compose deployment of this checkout, on a port of this machine's loopback.

What scripts need to know is left in .compose/: `url` while it is up, `credential` (user:secret) and `netrc`. Its data
is in a volume of the engine's, which stays until it is removed by name (`compose-down ARGS=--volumes`). PPM_TAG is
the images' tag, by default `latest`.
"""

from __future__ import annotations

import hashlib
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
from testbed.errors import BedError
from testbed.place import CHECKOUT

DOMAIN, USER = "localhost", "admin"
FOLDER = CHECKOUT / ".compose"
FIRST_PORT = 8080
_INSIDE = 8080
_SECRET = re.compile(r"ppm_[\w-]{40,}")
_ANSWER_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that was built; `size` is in bytes, with the base that it stands on."""

    name: str
    size: int


def images(*, talk: IO[str]) -> list[Image]:
    """Build all images; what happens is told to `talk`. BedError if one can't be built."""
    here = stay(f"images-{os.getpid()}")
    try:
        made = Compose(engine=here.engine, project=here.lease.name, files=files(), environment=_environment())
        build(made, of=here.lease.name, talk=talk)
        found = [here.engine.api.images.get(name) for name in _names(made)]
        return [Image(name=name, size=image.attrs["Size"]) for name, image in zip(_names(made), found, strict=True)]
    finally:
        here.let_go()


def files(folder: Path = compose.FILE.parent) -> tuple[Path, ...]:
    """The compose files that are in a checkout's docker/, the one that others go over first."""
    return (folder / compose.FILE.name, *sorted(folder.glob("compose.*.yml")))


def build(made: Compose, *services: str, of: str, talk: IO[str] | None = None) -> None:
    """Build images of a deployment on the Debian that is pulled, or stands in for it.

    They are of the lease named `of`: when it has ended they go as soon as they have no tag but of a lease's name.
    """
    with lease.turn():
        debian.base(made.engine, 13)
    with tempfile.TemporaryDirectory() as folder:
        over = compose.leased(Path(folder) / "build.json", made.files, of, volumes=False)
        replace(made, files=(*made.files, over)).build(*services, follow=talk)


def up(*, port: int | None, talk: IO[str]) -> str:
    """Build and start the deployment, anew what has changed, and leave what scripts need in .compose/; its URL.

    Without `port` it is the one it has, or 8080 or the next that is free. What happens is told to `talk`.
    """
    FOLDER.mkdir(exist_ok=True)
    here = _come()
    try:
        made = _deployment(here)
        port = _port(made, port)
        made = made.but(PPM_LISTEN=f"127.0.0.1:{port}")
        talk.write("Building the images (the first time: minutes)\n")
        talk.flush()
        build(made, "nginx", "pypiserver", of=here.lease.name, talk=talk)
        made.up()
        url = f"http://{DOMAIN}:{port}"
        _leave_credential(made, url, talk)
        write_atomic(FOLDER / "url", f"{url}\n".encode())
    finally:
        here.let_go()
    return url


def down(*, volumes: bool) -> bool:
    """Stop the deployment and remove it; its data too with `volumes`. Whether there was one."""
    there = FOLDER.exists()
    if not there and not volumes:
        return False
    FOLDER.mkdir(exist_ok=True)
    here = _come()
    try:
        _deployment(here).down(volumes=volumes)
        (FOLDER / "url").unlink(missing_ok=True)
    finally:
        here.close()
    if volumes:
        shutil.rmtree(FOLDER)
    return there


def _come() -> Stay:
    name = hashlib.sha256(bytes(FOLDER)).hexdigest()[:8]
    return stay(f"compose-{name}", keeper=FOLDER)


def _deployment(here: Stay) -> Compose:
    files = (compose.FILE,)
    over = compose.leased(FOLDER / "compose.json", files, here.lease.name, volumes=False)
    return Compose(engine=here.engine, project=here.lease.name, files=(*files, over), environment=_environment())


def _environment() -> dict[str, str]:
    return {"PPM_TAG": os.environ.get("PPM_TAG") or "latest"}


def _names(made: Compose) -> list[str]:
    said = made.but(COMPOSE_PROFILES="*").call("config", "--images").out
    return sorted(set(said.split()))


def _port(made: Compose, wanted: int | None) -> int:
    """The port that is wanted, else the one where the deployment answers already, else the first that is free."""
    box = made.containers().get("nginx")
    there = box.port(_INSIDE) if box and box.is_running() else None
    if there and wanted in (None, there):
        return there
    return ports.free(wanted, first=FIRST_PORT, hint="make compose-up HOST_PORT=…")


def _leave_credential(made: Compose, url: str, talk: IO[str]) -> None:
    """See that .compose/credential is an admin's, for a volume that is new too; .compose/netrc has the same."""
    path = FOLDER / "credential"
    if path.exists() and _lets_in(url, path.read_text().strip()):
        return
    add = ("ppmctl", "user", "add", USER, "--role", "admin")
    done = made.exec("pypiserver", *add, check=False)
    if done.code:  # of an earlier .compose/
        talk.write(f"{path} is not the credential of {USER} on this volume: {USER} gets another\n")
        made.exec("pypiserver", "ppmctl", "user", "remove", USER)
        done = made.exec("pypiserver", *add)
    secret = _SECRET.search(done.out + done.err)
    if not secret:
        raise BedError(f"ppmctl user add says no secret for {USER}")
    write_atomic(path, f"{USER}:{secret[0]}\n".encode(), mode=0o600)
    netrc = f"machine {DOMAIN}\nlogin {USER}\npassword {secret[0]}\n"
    write_atomic(FOLDER / "netrc", netrc.encode(), mode=0o600)


def _lets_in(url: str, credential: str) -> bool:
    user, _, secret = credential.partition(":")
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{url}/simple/", auth=(user, secret), timeout=_ANSWER_SECONDS, stream=True)
        return bool(answer.ok)
