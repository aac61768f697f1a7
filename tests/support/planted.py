"""Content for an index under load: requests to read, distributions to upload, and a client that installs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator

from ppmctl.server import content_negotiation
from support import load, streams, wheels
from support.deployed import Deployed
from support.environments import revision
from support.load import Read, Reads, Wire
from support.raw import basic
from support.served import Served
from support.streams import Made
from testbed.acme import Acme
from testbed.clients import Client

PROJECT, DEPENDENCY, PUBLIC = "planted", "planted-part", "six"
_ENVIRONMENT = (
    "requirements.txt",
    "constraints.txt",
    "environment.yml",
    "pylock.toml",
    "requirements-locked.txt",
    "env.json",
)
_LOCK = 'lock-version = "1.0"\ncreated-by = "a test"\npackages = []\n'
# an Accept header that nginx's table lacks: the application decides the form
UNDECIDED = "text/html;q=0.7, application/vnd.pypi.simple.v1+json;q=0.9"
_numbers = itertools.count(1)


def wire(index: Deployed) -> Wire:
    """Return a wire to a host, as its admin."""
    return load.wire(index.domain, index.host.address, index.ca, index.auth)


def plant(index: Served) -> None:
    """Publish the content that is missing."""
    for made in (
        wheels.wheel(DEPENDENCY, "1.0"),
        wheels.wheel(PROJECT, "1.0"),
        wheels.wheel(PROJECT, "2.0", requires_dist=DEPENDENCY),
        wheels.sdist(PROJECT, "2.0", requires_dist=DEPENDENCY),
        revision(PROJECT, 1, f"{PROJECT}==2.0", lock=_LOCK),
    ):
        answer = index.upload(made)
        assert answer.status_code in (200, 409), f"{answer.status_code} {answer.text}"


def user(client: Client, acme: Acme, index: Deployed) -> Client:
    """Give a machine's user a credential for the index, and virtual environments for pip and uv."""
    client.trust("acme", acme.root())
    netrc = f"machine {index.domain} login {index.user} password {index.secret}\n"
    client.put(".netrc", netrc.encode(), mode=0o600)
    client.run("python3 -m venv pip && uv venv --quiet --clear uv")
    return client


def fresh(project: str, *, size: int = 2000) -> Made:
    """Make a wheel that was never uploaded, with about `size` random bytes."""
    return streams.dist(random.Random(), project, f"{time.time_ns()}.{next(_numbers)}", size=size)


def upload(wire: Wire, made: Made, *, seconds: float = 0.0) -> None:
    """Upload it, taking `seconds`; fail unless the index has it then."""
    reply = wire.upload(made, seconds=seconds)
    assert reply.status == 200, str(reply)
    page = wire.ask("GET", f"/simple/{made.project}/").body.decode()
    assert f"{made.filename}#sha256={made.sha256}" in page, f"{made.filename} is not on its page"


def reads(index: Deployed) -> Reads:
    """Return every request that a host's nginx answers alone, with its current answers."""
    return reads_over(wire(index))


def reads_over(wire: Wire) -> Reads:
    """Return the same for any index."""
    return Reads(wire, sorted(set(_reads(wire.auth[0])), key=repr))


def _reads(admin: str) -> Iterator[Read]:
    accepts = [header for _client, header, _form in content_negotiation.TABLE]
    for path in ("/simple/", f"/simple/{PROJECT}/", f"/simple/{DEPENDENCY}/"):
        again = path == "/simple/"
        yield Read(path=path, written_again=again)
        for header in accepts:
            for coding in ("gzip", "identity"):
                asked = (("Accept", header), ("Accept-Encoding", coding))
                yield Read(path=path, headers=asked, written_again=again)
        yield Read(path=path, method="HEAD", headers=(("Accept", accepts[0]),), written_again=again)
    wheel = f"/packages/{PROJECT}/{PROJECT}-2.0-py3-none-any.whl"
    for path in (wheel, f"{wheel}.metadata", f"/packages/{PROJECT}/{PROJECT}-2.0.tar.gz"):
        yield Read(path=path)
        yield Read(path=path, method="HEAD")
        yield Read(path=path, headers=(("Range", "bytes=5-20"),))
    for name in _ENVIRONMENT:
        yield Read(path=f"/env/{PROJECT}/{name}")
        yield Read(path=f"/env/{PROJECT}/1/{name}")
    yield Read(path=f"/env/{PROJECT}/")
    yield Read(path=f"/simple/{PUBLIC}/")
    for path in ("/simple/", f"/simple/{PROJECT}/", wheel, f"{wheel}.metadata", f"/simple/{PUBLIC}/", "/nothing"):
        yield Read(path=path, is_signed=False)
        yield Read(path=path, is_signed=False, headers=(("Authorization", basic(admin, "wrong")),))
    yield Read(path=f"/env/{PROJECT}/requirements.txt", is_signed=False)
    yield Read(path="/healthz", is_signed=False)
    yield Read(path="/.well-known/ppm.json", is_signed=False)
