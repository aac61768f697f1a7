"""An index by docker/compose.yml: first start, crashes, stops and upgrades."""

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
STOP_SECONDS = 30  # for an idle service; compose.yml allows a busy one 90
PROGRAMS = Path(sys.executable).parent
CHECKSUMS = "find packages credentials audit.jsonl -type f -not -name .lock -print0 | sort -z | xargs -0 sha256sum"


@pytest.fixture(scope="module")
def index(new_shared_compose: Callable[..., Composed]) -> Composed:
    """Start a deployment for all tests of this module, which leave it running."""
    made = new_shared_compose()
    planted.plant(made)
    return made


def make_client(bed: Bed, index: Composed, name: str) -> Client:
    """Start a user's machine on the services' network, with pip, uv, twine and a credential."""
    client = bed.client(name, network=index.compose.network)
    user, secret = index.auth
    client.put(".netrc", f"machine {WEB} login {user} password {secret}\n".encode(), mode=0o600)
    client.run("python3 -m venv pip && uv venv --quiet --clear uv")
    return client


@pytest.fixture(scope="module")
def client(bed: Bed, index: Composed) -> Iterator[Client]:
    made = make_client(bed, index, "beside")
    yield made
    made.box.remove()


@pytest.fixture
def reads(index: Composed) -> Reads:
    """Record what nginx answers before the test."""
    projects = {"uploaded", *(f"uploaded-{number}" for number in range(3))}
    for project in projects:
        planted.upload(index.wire, planted.fresh(project))
    evidence.until(lambda: projects <= listed(index), "the list of projects follows")
    return planted.reads_over(index.wire)


def listed(index: Composed) -> set[str]:
    """Return the names in the list of all projects, which follows an upload within 2 s."""
    return {one["name"] for one in index.get("/simple/", headers={"Accept": JSON}).json()["projects"]}


def settings(index: Composed) -> dict[str, str]:
    """Return the environment of clients on the deployment's network: this index only, and no retries."""
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


def run_on_this_machine(index: Composed, folder: Path, *command: str) -> str:
    """Run a command of this virtual environment, over the published port, and return its output."""
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
    """Download with pip on this machine, and return filename → sha256."""
    options = ("--no-cache-dir", "--no-deps", "--retries", "0", "--no-binary", ":none:")
    run_on_this_machine(
        index, folder, "pip", "download", "-q", "-d", "got", *options, "--index-url", index.simple, *names
    )
    return {path.name: evidence.sha256(path.read_bytes()) for path in (folder / "got").iterdir()}


def require_complete(index: Composed, made: list[Made]) -> None:
    """Fail unless acknowledged files are listed and served, nothing is left over, and `index check` succeeds."""
    for project in sorted({one.project for one in made}):
        listed = {file["filename"]: file["hashes"]["sha256"] for file in index.page(project)["files"]}
        for one in made:
            if one.project == project:
                assert listed.get(one.filename) == one.sha256, f"{one.filename}: {listed.get(one.filename)}"
                assert index.get(f"/packages/{project}/{one.filename}").content == one.content
    unfinished = "find bodies index/pending incoming -type f -not -name .lock"
    evidence.until(lambda: not index.look(unfinished), "an end of what was under way", seconds=20)
    assert index.look("find . -name '.*' -not -name .lock -not -name .status -type f") == ""
    index.ppmctl("index check")


def require_clean_503(reply: Reply) -> None:
    """Fail unless the answer is a 503 with Retry-After and a reason in plain text."""
    assert reply.status == 503, str(reply)
    assert reply.headers["retry-after"].isdecimal(), str(reply)
    assert reply.headers["content-type"].startswith("text/plain"), str(reply)
    assert b"Try again" in reply.body, str(reply)


class Uploads:
    """Uploads to a project, one after the other and without retries; `done` has the acknowledged ones."""

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
            require_clean_503(reply)
            self.refused += 1
            time.sleep(0.1)


def installs(client: Client, index: Composed, **env: str) -> list[Stream]:
    """Return streams of pip and uv that install repeatedly."""
    given = settings(index) | env

    def pip(_number: int) -> None:
        client.run(f"pip/bin/pip install -q --force-reinstall {planted.PROJECT}", **given)

    def uv(_number: int) -> None:
        client.run(f"uv pip install -q --python uv --reinstall {planted.PROJECT}", **given)

    return [Stream("pip", pip, pause=0.5), Stream("uv", uv, pause=0.3)]


# publish and install


def test_down_and_up_lose_nothing(index: Composed, tmp_path: Path) -> None:
    index.ppmctl("package yank planted 1.0 --reason old")
    evidence.until(lambda: planted.PROJECT in listed(index), "the list of projects follows")
    before, checksums = planted.reads_over(index.wire), index.look(CHECKSUMS)
    downloaded = downloads(index, tmp_path / "before", planted.PROJECT)

    index.compose.down()
    assert index.compose.containers() == {}
    with pytest.raises(OSError, match="refused"):
        index.wire.ask("GET", "/healthz")
    index.compose.up()

    assert index.look(CHECKSUMS) == checksums
    before.ask_all()
    assert downloads(index, tmp_path / "after", planted.PROJECT) == downloaded
    planted.upload(index.wire, planted.fresh("after"))
    index.ppmctl("index check")


def test_publish_and_install_on_the_network_of_the_services(index: Composed, client: Client) -> None:
    """twine and uv publish; pip and uv install private packages and, through the redirect, public ones."""
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
    """The port is published on the loopback only."""
    filename, content = wheels.wheel("by-ppmctl", "1.0")
    (tmp_path / filename).write_bytes(content)
    (tmp_path / "credential").write_text(f"{index.user}:{index.secret}\n")
    publish = ("publish", "--index", index.url, "--credential-file", "credential", filename)
    assert "published" in run_on_this_machine(index, tmp_path, "ppmctl", *publish)
    assert downloads(index, tmp_path, "by-ppmctl") == {filename: evidence.sha256(content)}
    run_on_this_machine(
        index, tmp_path, "uv", "pip", "install", "-q", "--target", "t", "--index-url", index.simple, "by-ppmctl"
    )
    assert (tmp_path / "t" / "by_ppmctl.py").exists() or (tmp_path / "t" / "by_ppmctl").exists()
    ports = index.web.engine.api.containers.get(index.web.id).attrs["NetworkSettings"]["Ports"]
    published = [binding["HostIp"] for bindings in ports.values() for binding in bindings or ()]
    assert set(published) == {"127.0.0.1"}


def test_a_stop_right_after_a_start_is_obeyed_at_once(index: Composed) -> None:
    """The first process of a container ignores a signal before it has a handler, and would be killed later."""
    index.compose.stop()
    for service in index.compose.containers():
        index.compose.call("start", service)
        began = time.monotonic()
        index.compose.stop(service)
        assert time.monotonic() - began < STOP_SECONDS, service
    index.compose.up()


def test_a_deployment_is_removed_with_its_lease(bed: Bed, images: str, tmp_path: Path) -> None:
    """Containers, networks and volumes of a killed test are removed."""
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


def test_installs_work_with_the_application_stopped(index: Composed, reads: Reads, client: Client) -> None:
    """Public packages too, which nginx redirects by itself. An upload gets a 503 with Retry-After."""
    given = settings(index)
    index.compose.stop(APPLICATION)
    try:
        assert not index.application.is_running()
        reads.ask_all()
        client.run(f"pip/bin/pip install -q --force-reinstall {planted.PROJECT} six", **given)
        client.run(f"uv pip install -q --python uv --reinstall {planted.PROJECT} six", **given)
        require_clean_503(index.wire.upload(planted.fresh("uploaded")))
        require_clean_503(index.wire.ask("GET", f"/simple/{planted.PROJECT}/", headers={"Accept": planted.UNDECIDED}))
        assert index.wire.ask("GET", "/", is_signed=False).status == 401
        made = planted.fresh("uploaded")
        client.put(made.filename, made.content)
        refused = client.run(f"twine upload {made.filename}", check=False, **given)
        assert "503" in refused.out + refused.err
        index.compose.call("restart", WEB)  # nginx starts without the application too
        index.compose.up(WEB)
        reads.ask_all()
    finally:
        index.compose.start(APPLICATION)
    client.run(f"twine upload {made.filename}", **given)
    require_complete(index, [made])


def test_an_application_that_crashes_over_and_over(
    index: Composed, reads: Reads, client: Client, figures: list[str]
) -> None:
    """No read and no install fails; acknowledged uploads are stored, and the others got a 503."""
    uploads = [Uploads(index, f"uploaded-{number}") for number in range(3)]
    clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
    clients += [Stream("upload", one, pause=0.02) for one in uploads]
    clients += installs(client, index)
    least = {"read": 300, "upload": 100, "pip": 2, "uv": 2}
    row = during(f"crash of {APPLICATION}", partial(crashes, index, APPLICATION), clients, least=least)
    report(figures, row, uploads)
    assert row.failures == ()
    require_complete(index, [made for one in uploads for made in one.done])
    reads.ask_all()


def test_a_web_server_that_crashes_over_and_over(
    index: Composed, reads: Reads, client: Client, figures: list[str]
) -> None:
    """Connections break, but no acknowledged upload is lost, and pip and uv succeed with retries."""
    uploads = [Uploads(index, f"uploaded-{number}", may_break=True) for number in range(3)]
    clients = [Stream("upload", one, pause=0.02) for one in uploads]
    clients += installs(client, index, PIP_RETRIES="10", UV_HTTP_RETRIES="10")
    least = {"upload": 100, "pip": 2, "uv": 2}
    row = during(f"crash of {WEB}", partial(crashes, index, WEB), clients, least=least)
    report(figures, row, uploads)
    assert row.failures == ()
    require_complete(index, [made for one in uploads for made in one.done])
    reads.ask_all()


def crashes(index: Composed, service: str) -> None:
    """Kill a service during uploads, and again each time after it was restarted and is healthy."""
    chance = random.Random(evidence.seed())
    for _ in range(CRASHES):
        time.sleep(chance.uniform(0, 1))
        box = index.compose.container(service)
        before = composed.restarts(box)
        composed.crash(box)
        composed.runs_again(box, before)
        index.compose.wait(service)


def report(figures: list[str], row: Row, uploads: list[Uploads]) -> None:
    figures.extend(table([row]))
    done, refused = sum(len(one.done) for one in uploads), sum(one.refused for one in uploads)
    figures.append(f"    {CRASHES} crashes; {done} uploads were acknowledged, {refused} were not")
    assert done >= 20
    assert refused, "no upload was ever interrupted: this showed nothing"


def is_uploading(index: Composed, service: str) -> bool:
    """Return whether a service is receiving an upload."""
    if service == APPLICATION:
        return bool(index.look("find incoming -type f -size +1024k"))
    # nginx's file has no name on the volume
    return "bodies" in index.web.run("ls -l /proc/[0-9]*/fd 2>/dev/null || true", user="").out


@pytest.mark.parametrize("service", [APPLICATION, WEB])
def test_a_stop_during_an_upload_loses_nothing(service: str, index: Composed) -> None:
    """The service completes and answers a running upload before it stops."""
    for attempt in itertools.count():
        assert attempt < 10, f"no upload was ever under way when {service} stopped"
        made = planted.fresh("stopped", size=80 << 20)
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(index.wire.upload, made, seconds=3 if service == WEB else 0)
            while not (under_way := is_uploading(index, service)) and not sent.done():
                pass
            pending = not sent.done()
            index.compose.stop(service)
            try:
                reply = sent.result(timeout=120)
            finally:
                index.compose.start(service)
        assert reply.status == 200, str(reply)
        require_complete(index, [made])
        if under_way and pending:
            return


# upgrades


@pytest.fixture(scope="module")
def next_version(bed: Bed, images: str) -> Iterator[str]:
    """Make images of another version, and return their tag."""
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
def restored_version(index: Composed, images: str) -> Iterator[None]:
    """Go back to this checkout's images at the end."""
    try:
        yield
    finally:
        index.compose.but(PPM_TAG=images).up()


def test_upgrading_the_application_fails_no_request(
    index: Composed, images: str, next_version: str, reads: Reads, client: Client, figures: list[str]
) -> None:
    """Clients without retries see no failure while another version is started, and then this one again."""

    def roll() -> None:
        for tag in (next_version, images):
            index.compose.but(PPM_TAG=tag).up("--no-deps", APPLICATION)

    clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
    with restored_version(index, images):
        row = during(f"up -d {APPLICATION}", roll, [*clients, *installs(client, index)], least={"pip": 2, "uv": 2})
    figures.extend(table([row]))
    assert row.failures == ()


def test_upgrading_all_services_fails_no_install(
    index: Composed, images: str, next_version: str, client: Client, figures: list[str]
) -> None:
    """`up -d` replaces nginx's container too: for a moment no process listens, and pip and uv retry.

    They have 5 and 3 retries by default, which is enough for a few seconds; a busy machine may take longer.
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
    with restored_version(index, images), gap:
        row = during("up -d", roll, streams, least={"pip": 2, "uv": 2})
    figures.extend(table([row]))
    figures.append(f"    nobody listened for {gap.longest:.2f} s at most")
    assert row.failures == ()
    require_complete(index, uploads.done)


class Gap:
    """A context that measures the longest time without an answer."""

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
