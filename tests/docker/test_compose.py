"""An index by docker/compose.yml: from nothing, through faults and new versions, and its data elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException
from pathlib import Path

import pytest
from support import composed, evidence, planted, streams, wheels
from support.composed import APPLICATION, INSIDE, WEB, Composed
from support.load import Reads, Reply, Row, Stream, during, table
from support.servers import JSON, clean_environment
from support.streams import Made

from testbed.bed import Bed, open_bed
from testbed.clients import Client
from testbed.container import lease_labels

SIMPLE = f"{INSIDE}/simple/"
CRASHES = 3
STOP_SECONDS = 30  # of a service that has nothing to do; compose.yml lets one that has take 90
PROGRAMS = Path(sys.executable).parent
KEPT = "find packages credentials audit.jsonl -type f -not -name .lock -print0 | sort -z | xargs -0 sha256sum"


@pytest.fixture(scope="module")
def index(new_shared_compose: Callable[..., Composed]) -> Composed:
    """A deployment that the tests of this module share; they leave it up."""
    made = new_shared_compose()
    planted.plant(made)
    return made


def seat(bed: Bed, index: Composed, name: str) -> Client:
    """Somebody on the services' network, with pip, uv and twine, and a credential."""
    client = bed.client(name, network=index.compose.network)
    user, secret = index.auth
    client.put(".netrc", f"machine {WEB} login {user} password {secret}\n".encode(), mode=0o600)
    client.run("python3 -m venv pip && uv venv --quiet --clear uv")
    return client


@pytest.fixture(scope="module")
def client(bed: Bed, index: Composed) -> Iterator[Client]:
    made = seat(bed, index, "beside")
    yield made
    made.box.remove()


@pytest.fixture
def reads(index: Composed) -> Reads:
    """What nginx answers, as it is before the test."""
    projects = {"uploaded", *(f"uploaded-{number}" for number in range(3))}
    for project in projects:
        planted.upload(index.wire, planted.fresh(project))
    evidence.until(lambda: projects <= listed(index), "the list of projects follows")
    return planted.reads_over(index.wire)


def listed(index: Composed) -> set[str]:
    """Return the names in the list of all projects, which follows an upload within 2 s."""
    return {one["name"] for one in index.get("/simple/", headers={"Accept": JSON}).json()["projects"]}


def settings(index: Composed) -> dict[str, str]:
    """Of clients on the deployment's network: every index is this one, and nothing is tried twice."""
    return {
        "PIP_INDEX_URL": SIMPLE,
        "PIP_TRUSTED_HOST": WEB,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
        "UV_DEFAULT_INDEX": SIMPLE,
        "UV_INSECURE_HOST": WEB,
        "UV_HTTP_RETRIES": "0",
        "UV_NO_CACHE": "1",
        "UV_PUBLISH_URL": f"{INSIDE}/",
        "UV_PUBLISH_USERNAME": index.user,
        "UV_PUBLISH_PASSWORD": index.secret,
        "TWINE_REPOSITORY_URL": f"{INSIDE}/",
        "TWINE_USERNAME": index.user,
        "TWINE_PASSWORD": index.secret,
        "TWINE_NON_INTERACTIVE": "1",
    }


def here(index: Composed, folder: Path, *command: str) -> str:
    """Run a command of this environment on this machine, over the published port; what it said."""
    folder.mkdir(parents=True, exist_ok=True)
    user, secret = index.auth
    netrc = folder / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login {user} password {secret}\n")
    netrc.chmod(0o600)
    environ = {**clean_environment(folder / "home"), "NETRC": str(netrc)}
    done = subprocess.run(
        [str(PROGRAMS / command[0]), *command[1:]],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def downloads(index: Composed, folder: Path, *names: str) -> dict[str, str]:
    """What pip on this machine downloads: filename → sha256."""
    options = ("--no-cache-dir", "--no-deps", "--retries", "0", "--no-binary", ":none:")
    here(index, folder, "pip", "download", "-q", "-d", "got", *options, "--index-url", index.simple, *names)
    return {path.name: evidence.sha256(path.read_bytes()) for path in (folder / "got").iterdir()}


def is_whole(index: Composed, made: list[Made]) -> None:
    """All that was acknowledged is listed and handed out, nothing else is left, and the volume agrees with itself."""
    for project in sorted({one.project for one in made}):
        listed = {file["filename"]: file["hashes"]["sha256"] for file in index.page(project)["files"]}
        for one in made:
            if one.project == project:
                assert listed.get(one.filename) == one.sha256, f"{one.filename}: {listed.get(one.filename)}"
                assert index.get(f"/packages/{project}/{one.filename}").content == one.content
    under_way = "find bodies index/pending incoming -type f -not -name .lock"
    evidence.until(lambda: not index.look(under_way), "an end of what was under way", seconds=20)
    assert index.look("find . -name '.*' -not -name .lock -not -name .status -type f") == ""
    index.ppmctl("index check")


def is_clean(reply: Reply) -> None:
    """A 503 that a client can act on: when to come again, and why, in words."""
    assert reply.status == 503, str(reply)
    assert reply.headers["retry-after"].isdecimal(), str(reply)
    assert reply.headers["content-type"].startswith("text/plain"), str(reply)
    assert b"Try again" in reply.body, str(reply)


class Uploads:
    """Uploads to a project, one after the other, of which none is sent twice: what was acknowledged is kept."""

    def __init__(self, index: Composed, project: str, *, may_break: bool = False) -> None:
        self.done: list[Made] = []
        self.refused = 0
        self._wire, self._project, self._may_break = index.wire, project, may_break
        self._chance = random.Random(evidence.seed())

    def __call__(self, _number: int) -> None:
        made = planted.fresh(self._project, size=streams.some_size(self._chance))
        try:
            reply = self._wire.upload(made)
        except (OSError, HTTPException):
            if not self._may_break:
                raise
            self.refused += 1
            time.sleep(0.1)
            return
        if reply.status == 200:
            self.done.append(made)
        else:
            is_clean(reply)
            self.refused += 1
            time.sleep(0.1)


def installs(client: Client, index: Composed, **env: str) -> list[Stream]:
    """pip and uv that install over and over."""
    given = settings(index) | env

    def pip(_number: int) -> None:
        client.run(f"pip/bin/pip install -q --force-reinstall {planted.PROJECT}", **given)

    def uv(_number: int) -> None:
        client.run(f"uv pip install -q --python uv --reinstall {planted.PROJECT}", **given)

    return [Stream("pip", pip, pause=0.5), Stream("uv", uv, pause=0.3)]


# from nothing


def test_down_and_up_lose_nothing(index: Composed, tmp_path: Path) -> None:
    index.ppmctl("package yank planted 1.0 --reason old")
    evidence.until(lambda: planted.PROJECT in listed(index), "the list of projects follows")
    before, kept = planted.reads_over(index.wire), index.look(KEPT)
    got = downloads(index, tmp_path / "before", planted.PROJECT)

    index.compose.down()
    assert index.compose.containers() == {}
    with pytest.raises(OSError, match="refused"):
        index.wire.ask("GET", "/healthz")
    index.compose.up()

    assert index.look(KEPT) == kept
    before.ask_all()
    assert downloads(index, tmp_path / "after", planted.PROJECT) == got
    planted.upload(index.wire, planted.fresh("after"))
    index.ppmctl("index check")


def test_publish_and_install_beside_the_services(index: Composed, client: Client) -> None:
    """twine and uv publish; pip and uv install what is here, and what the redirect leads to, from one index."""
    given = settings(index)
    for command, name in (("twine upload", "by-twine"), ("uv publish", "by-uv")):
        filename, content = wheels.wheel(name, "1.0", requires_dist="six")
        client.put(filename, content)
        client.run(f"{command} {filename}", **given)
    show = "python -c 'import by_twine, by_uv, six; print(\"here\")'"
    for command in ("pip/bin/pip install -q", "pip-newest --python pip/bin/python install -q --force-reinstall"):
        client.run(f"{command} by-twine by-uv", **given)
        assert client.run(f"pip/bin/{show}").out == "here\n"
    client.run("uv pip install -q --python uv by-twine by-uv", **given)
    assert client.run(f"uv/bin/{show}").out == "here\n"
    refused = client.run("pip/bin/pip download -q by-twine", check=False, **given, NETRC="/dev/null")
    assert refused.code, "nothing is public by default"


def test_publish_and_install_on_this_machine(index: Composed, tmp_path: Path) -> None:
    """Over the published port, which is the loopback's alone."""
    filename, content = wheels.wheel("by-ppmctl", "1.0")
    (tmp_path / filename).write_bytes(content)
    (tmp_path / "credential").write_text(f"{index.user}:{index.secret}\n")
    publish = ("publish", "--index", index.url, "--credential-file", "credential", filename)
    assert "published" in here(index, tmp_path, "ppmctl", *publish)
    assert downloads(index, tmp_path, "by-ppmctl") == {filename: evidence.sha256(content)}
    here(index, tmp_path, "uv", "pip", "install", "-q", "--target", "t", "--index-url", index.simple, "by-ppmctl")
    assert (tmp_path / "t" / "by_ppmctl.py").exists() or (tmp_path / "t" / "by_ppmctl").exists()
    ports = index.web.engine.api.containers.get(index.web.id).attrs["NetworkSettings"]["Ports"]
    published = [binding["HostIp"] for bindings in ports.values() for binding in bindings or ()]
    assert set(published) == {"127.0.0.1"}


def test_a_stop_right_after_a_start_is_obeyed_at_once(index: Composed) -> None:
    """A first process of a container that has no handler for a signal yet ignores it, and is killed in the end."""
    index.compose.stop()
    for service in index.compose.containers():
        index.compose.call("start", service)
        began = time.monotonic()
        index.compose.stop(service)
        assert time.monotonic() - began < STOP_SECONDS, service
    index.compose.up()


def test_a_deployment_goes_with_its_lease(bed: Bed, images: str, tmp_path: Path) -> None:
    """What a test that was killed left is swept: containers, networks and volumes."""
    own = open_bed(f"compose-{os.getpid()}", tmp_path / "bed")
    index = next(composed.maker(own, images, tmp_path))(up=False)
    index.compose.call("up", "--detach", "--no-build")
    labels = {"label": f"com.docker.compose.project={index.compose.project}"}
    kinds = (bed.engine.api.networks, bed.engine.api.volumes)
    assert all(kind.list(filters=labels) for kind in kinds)
    assert len(bed.engine.api.containers.list(filters=labels)) == 3
    own.close()
    composed.there.remove(index)
    assert [kind.list(filters=labels) for kind in kinds] == [[], []]
    assert bed.engine.api.containers.list(all=True, filters=labels, ignore_removed=True) == []


# faults


def test_installs_go_on_with_the_application_stopped(index: Composed, reads: Reads, client: Client) -> None:
    """Public names too, which nginx redirects by itself. An upload is told to come again."""
    given = settings(index)
    index.compose.stop(APPLICATION)
    try:
        assert not index.application.is_running()
        reads.ask_all()
        client.run(f"pip/bin/pip install -q --force-reinstall {planted.PROJECT} six", **given)
        client.run(f"uv pip install -q --python uv --reinstall {planted.PROJECT} six", **given)
        is_clean(index.wire.upload(planted.fresh("uploaded")))
        is_clean(index.wire.ask("GET", f"/simple/{planted.PROJECT}/", headers={"Accept": planted.UNDECIDED}))
        assert index.wire.ask("GET", "/", is_signed=False).status == 401
        made = planted.fresh("uploaded")
        client.put(made.filename, made.content)
        refused = client.run(f"twine upload {made.filename}", check=False, **given)
        assert "503" in refused.out + refused.err
        index.compose.call("restart", WEB)  # which starts without it too
        index.compose.up(WEB)
        reads.ask_all()
    finally:
        index.compose.start(APPLICATION)
    client.run(f"twine upload {made.filename}", **given)
    is_whole(index, [made])


def test_an_application_that_crashes_over_and_over(
    index: Composed, reads: Reads, client: Client, figures: list[str]
) -> None:
    """No read and no install fails; of uploads, what was acknowledged is there, and the others were told so."""
    uploads = [Uploads(index, f"uploaded-{number}") for number in range(3)]
    clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
    clients += [Stream("upload", one, pause=0.02) for one in uploads]
    clients += installs(client, index)
    least = {"read": 300, "upload": 100, "pip": 2, "uv": 2}
    row = during(f"crash of {APPLICATION}", partial(crashes, index, APPLICATION), clients, least=least)
    tell(figures, row, uploads)
    assert row.failures == ()
    is_whole(index, [made for one in uploads for made in one.done])
    reads.ask_all()


def test_a_web_server_that_crashes_over_and_over(
    index: Composed, reads: Reads, client: Client, figures: list[str]
) -> None:
    """Connections break, but nothing is lost that was acknowledged, and pip and uv get over it by themselves."""
    uploads = [Uploads(index, f"uploaded-{number}", may_break=True) for number in range(3)]
    clients = [Stream("upload", one, pause=0.02) for one in uploads]
    clients += installs(client, index, PIP_RETRIES="8", UV_HTTP_RETRIES="8")
    least = {"upload": 100, "pip": 2, "uv": 2}
    row = during(f"crash of {WEB}", partial(crashes, index, WEB), clients, least=least)
    tell(figures, row, uploads)
    assert row.failures == ()
    is_whole(index, [made for one in uploads for made in one.done])
    reads.ask_all()


def crashes(index: Composed, service: str) -> None:
    """Kill a service while uploads are sent, again once the engine has started it and it has answered."""
    chance = random.Random(evidence.seed())
    for _ in range(CRASHES):
        time.sleep(chance.uniform(0, 1))
        box = index.compose.container(service)
        before = composed.restarts(box)
        composed.crash(box)
        composed.runs_again(box, before)
        index.compose.wait(service)


def tell(figures: list[str], row: Row, uploads: list[Uploads]) -> None:
    figures.extend(table([row]))
    done, refused = sum(len(one.done) for one in uploads), sum(one.refused for one in uploads)
    figures.append(f"    {CRASHES} crashes; {done} uploads were acknowledged, {refused} were not")
    assert done >= 20
    assert refused, "no upload was ever interrupted: this showed nothing"


def is_under_way(index: Composed, service: str) -> bool:
    """Whether an upload has begun to arrive in a service."""
    if service == APPLICATION:
        return bool(index.look("find incoming -type f -size +1024k"))
    # it has no name on the volume
    return "bodies" in index.web.run("ls -l /proc/[0-9]*/fd 2>/dev/null || true", user="").out


@pytest.mark.parametrize("service", [APPLICATION, WEB])
def test_a_stop_during_an_upload_loses_nothing(service: str, index: Composed) -> None:
    """The upload that is under way in the service is let end, and answered."""
    for attempt in itertools.count():
        assert attempt < 10, f"no upload was ever under way when {service} stopped"
        made = planted.fresh("stopped", size=80 << 20)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(index.wire.upload, made, seconds=3 if service == WEB else 0)
            while not (under_way := is_under_way(index, service)) and not sent.done():
                pass
            pending = not sent.done()
            index.compose.stop(service)
            try:
                reply = sent.result(timeout=120)
            finally:
                index.compose.start(service)
        assert reply.status == 200, str(reply)
        is_whole(index, [made])
        if under_way and pending:
            return


# the next version


@pytest.fixture(scope="module")
def next_version(bed: Bed, images: str) -> Iterator[str]:
    """The tag of images that are another version than this checkout's."""
    tag = f"{images}-next"
    names = [f"ppm-{service}" for service in (APPLICATION, WEB)]
    for name in names:
        box = bed.engine.api.containers.create(f"{name}:{images}", labels=lease_labels(bed.lease.name))
        box.commit(name, tag, changes=["LABEL version=next"])
        box.remove()
    yield tag
    for name in names:
        bed.engine.api.images.remove(f"{name}:{tag}", force=True)


@contextlib.contextmanager
def rolled(index: Composed, images: str) -> Iterator[None]:
    """The deployment is this checkout's again in the end."""
    try:
        yield
    finally:
        index.compose.but(PPM_TAG=images).up()


def test_the_application_is_rolled_with_no_failed_request(
    index: Composed, images: str, next_version: str, reads: Reads, client: Client, figures: list[str]
) -> None:
    """Of clients that try once, while another version takes over, and this one again."""

    def roll() -> None:
        for tag in (next_version, images):
            index.compose.but(PPM_TAG=tag).up("--no-deps", APPLICATION)

    clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
    with rolled(index, images):
        row = during(f"up -d {APPLICATION}", roll, [*clients, *installs(client, index)], least={"pip": 2, "uv": 2})
    figures.extend(table([row]))
    assert row.failures == ()


def test_all_of_it_is_rolled_with_no_failed_install(
    index: Composed, images: str, next_version: str, client: Client, figures: list[str]
) -> None:
    """`up -d` makes nginx's container anew too: for a moment nobody listens, which pip and uv sit out.

    They have 5 and 3 retries by default, which is enough for a few seconds; this machine may be busier than that.
    """
    gap = Gap(index)

    def roll() -> None:
        for tag in (next_version, images):
            before = {service: box.id for service, box in index.compose.containers().items()}
            index.compose.but(PPM_TAG=tag).up()
            after = {service: box.id for service, box in index.compose.containers().items()}
            assert all(after[service] != before[service] for service in (WEB, APPLICATION))

    uploads = Uploads(index, "uploaded-0", may_break=True)
    streams = [Stream("upload", uploads, pause=0.1), *installs(client, index, PIP_RETRIES="8", UV_HTTP_RETRIES="8")]
    with rolled(index, images), gap:
        row = during("up -d", roll, streams, least={"pip": 2, "uv": 2})
    figures.extend(table([row]))
    figures.append(f"    nobody listened for {gap.longest:.2f} s at most")
    assert row.failures == ()
    is_whole(index, uploads.done)


class Gap:
    """Meanwhile, how long nobody answers."""

    def __init__(self, index: Composed) -> None:
        self.longest = 0.0
        self._wire = index.wire
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        answered = time.monotonic()
        while not self._over.is_set():
            with contextlib.suppress(OSError, HTTPException):
                self._wire.ask("GET", "/healthz", is_signed=False, timeout=5)
                self.longest = max(self.longest, time.monotonic() - answered)
                answered = time.monotonic()
            time.sleep(0.02)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
