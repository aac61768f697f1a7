"""Several nodes on a bucket behind a balancer: uploads to one of them, and what the others serve then."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from support import planted, streams
from support.load import Stream, Wire
from support.streams import Made
from testbed.clients import Client

SEEN_SECONDS = 30.0  # limit of a test that hangs; the product promises 1 s
ADMIN = "admin"


def publish(wire: Wire, project: str, *, size: int = 2000) -> Made:
    """Upload a new file without a second attempt, and return it."""
    made = planted.fresh(project, size=size)
    reply = wire.upload(made)
    assert reply.status == 200, str(reply)
    return made


def seconds_until_served(wire: Wire, made: Made) -> float:
    """Return after how many seconds a node lists and serves a file; fail if it takes too long."""
    began = time.monotonic()
    while True:
        page = wire.ask("GET", f"/simple/{made.project}/")
        if page.status == 200 and f"{made.filename}#sha256={made.sha256}" in page.body.decode():
            break
        # a node that does not know a project yet must not send its clients to the public index
        assert page.status in (200, 404, 503), str(page)
        assert time.monotonic() - began < SEEN_SECONDS, f"{made.filename} is not listed: {page}"
        time.sleep(0.05)
    file = wire.ask("GET", f"/packages/{made.project}/{made.filename}")
    assert (file.status, file.body) == (200, made.content), str(file)
    return time.monotonic() - began


def uploads(wire: Wire, projects: Sequence[str], done: list[Made], *, pause: float = 0.5) -> list[Stream]:
    """Return streams of uploads that are never repeated, one for each project; `done` gets what was acknowledged."""
    chance = random.Random()

    def upload_to(project: str) -> Callable[[int], None]:
        def upload(_number: int) -> None:
            done.append(publish(wire, project, size=streams.some_size(chance, largest=1 << 20)))

        return upload

    return [Stream("upload", upload_to(project), pause=pause) for project in projects]


def installs(client: Client, simple: str, project: str, *, pause: float = 1.0) -> list[Stream]:
    """Return streams of pip and uv that install a project repeatedly, with the retries that they do by default."""
    host = simple.split("/")[2].partition(":")[0]

    def pip(_number: int) -> None:
        options = f"--no-cache-dir --force-reinstall --index-url {simple} --trusted-host {host}"
        client.run(f"pip/bin/pip install -q {options} {project}")

    def uv(_number: int) -> None:
        options = f"--python uv --no-cache --reinstall --index-url {simple} --allow-insecure-host {host}"
        client.run(f"uv pip install -q {options} {project}")

    return [Stream("pip", pip, pause=pause), Stream("uv", uv, pause=pause)]


def prepare(client: Client, hosts: Sequence[str], secret: str) -> None:
    """Give a machine's user the admin's credential for hosts, and virtual environments for pip and uv."""
    lines = "".join(f"machine {host} login {ADMIN} password {secret}\n" for host in hosts)
    client.put(".netrc", lines.encode(), mode=0o600)
    client.run("test -d pip || { python3 -m venv pip && uv venv --quiet --clear uv; }")
