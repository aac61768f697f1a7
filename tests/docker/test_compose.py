"""An index by docker/compose.yml: first start, crashes, stops and upgrades."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import composed, evidence, planted, streams, wheels
from support.composed import APPLICATION, INSIDE, SOCKETS, WEB, Composed
from support.load import Reads, Reply, Row, Stream, during, keeping, settle, table
from support.servers import JSON, clean_environment
from support.streams import Made

from testbed import compose
from testbed.bed import Bed, open_bed
from testbed.clients import Client

SIMPLE = f"{INSIDE}/simple/"
SERVICES = (SOCKETS, APPLICATION, "pruner", WEB)
CRASHES = 3
STOP_SECONDS = 30  # for an idle service; compose.yml allows a busy one more
PROGRAMS = Path(sys.executable).parent
CHECKSUMS = "find packages credentials audit.jsonl -type f -not -name .lock -print0 | sort -z | xargs -0 sha256sum"


@pytest.fixture(scope="module")
def index(new_shared_compose: Callable[..., Composed]) -> Composed:
    """Start a deployment for all tests of this module, which leave it running."""
    # the engine waits up to a minute before it restarts a container that crashes repeatedly
    made = new_shared_compose(environment={"PPM_PATIENCE": "90"})
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
    """Uploads to a project, one after the other and without retries; `done` has the acknowledged ones.

    With `may_break`, `refused` counts broken connections and 503s, which are no failures. Sending takes `seconds`.
    """

    def __init__(self, index: Composed, project: str, *, may_break: bool = False, seconds: float = 0.0) -> None:
        self.done: list[Made] = []
        self.refused = 0
        self._wire, self._project, self._may_break, self._seconds = index.wire, project, may_break, seconds
        self._chance = random.Random(evidence.seed())

    def __call__(self, _number: int) -> None:
        made = planted.fresh(self._project, size=streams.some_size(self._chance))
        try:
            reply = self._wire.upload(made, seconds=self._seconds)
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
            assert self._may_break, str(reply)
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
    ports = attributes(index, SOCKETS)["NetworkSettings"]["Ports"]
    published = [binding["HostIp"] for bindings in ports.values() for binding in bindings or ()]
    assert set(published) == {"127.0.0.1"}


def attributes(index: Composed, service: str) -> dict[str, Any]:
    box = index.compose.container(service)
    found: dict[str, Any] = box.engine.api.containers.get(box.id).attrs
    return found


def test_a_service_can_take_only_its_own_sockets_and_has_no_network(index: Composed) -> None:
    """The application can't take the ports of nginx, and only the service that holds the sockets is on a network."""
    for service, own in ((APPLICATION, "application"), (WEB, "web")):
        box = index.compose.container(service)
        assert box.run("find /run -name sockets", user="").out.split() == [f"/run/ppm-{own}/sockets"]
        assert box.run("rm -f /run/ppm/ppm.sock", user="", check=False).code, "the socket of the application"
        assert box.run(f"touch /run/ppm-{own}/x", user="", check=False).code
        assert box.run("ls /sys/class/net", user="").out.split() == ["lo"]
    networks = {service: list(attributes(index, service)["NetworkSettings"]["Networks"]) for service in SERVICES}
    assert networks == {name: [index.compose.network if name == SOCKETS else "none"] for name in SERVICES}


def test_each_service_has_limits(index: Composed) -> None:
    """Its log, its memory and its processes are limited; variables set other limits."""
    for service in SERVICES:
        limits = attributes(index, service)["HostConfig"]
        log = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}}
        assert (limits["LogConfig"], limits["Memory"] > 0, limits["PidsLimit"] > 0) == (log, True, True), service
    files = (compose.FILE, compose.FILE.with_name("compose.tls.yml"))
    every = replace(index.compose, files=files).but(COMPOSE_PROFILES="*", PPM_LOG_SIZE="7m", PPM_LOG_FILES="2")
    names = json.loads(every.call("config", "--format", "json").out)["services"]
    set_limits = {f"PPM_{name.upper()}_MEMORY": "77m" for name in names}
    set_limits |= {f"PPM_{name.upper()}_PIDS": "77" for name in names}
    configured = json.loads(every.but(**set_limits).call("config", "--format", "json").out)["services"]
    assert {*SERVICES, "certbot", "publisher"} <= set(configured)
    for service in configured.values():
        assert service["logging"]["options"] == {"max-size": "7m", "max-file": "2"}
        assert (int(service["mem_limit"]), service["pids_limit"]) == (77 << 20, 77)


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
    assert len(bed.engine.api.containers.list(filters=labels)) == len(SERVICES)
    own.close()
    composed.there.remove(index)
    assert [kind.list(filters=labels) for kind in kinds] == [[], []]
    assert bed.engine.api.containers.list(all=True, filters=labels, ignore_removed=True) == []


# faults


def test_installs_work_with_the_application_stopped(index: Composed, reads: Reads, client: Client) -> None:
    """Public packages too, which nginx redirects by itself. An upload waits a while, then gets a clean 503."""
    given = settings(index)
    index.compose.but(PPM_PATIENCE="3").up()
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
        reads.ask_all()
    finally:
        index.compose.up()
    client.run(f"twine upload {made.filename}", **given)
    require_complete(index, [made])


def test_an_application_that_crashes_over_and_over(
    index: Composed, reads: Reads, client: Client, figures: list[str]
) -> None:
    """No read, no install and no upload fails: nginx sends an interrupted upload a second time."""
    uploads = [Uploads(index, f"uploaded-{number}") for number in range(3)]
    clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
    clients += [Stream("upload", one, pause=0.02) for one in uploads]
    crash = partial(crashes, index, APPLICATION, tuple(clients))
    clients += installs(client, index)
    least = {"read": 300, "upload": 100, "pip": 2, "uv": 2}
    row = during(f"crash of {APPLICATION}", crash, clients, least=least)
    figures.extend(table([row]))
    assert row.failures == ()
    assert sum(len(one.done) for one in uploads) >= 20
    # an upload that was answered at the second attempt has two times in the log
    repeated = re.findall(
        r'"method":"POST".*"status":200,.*"application":"[\d.-]+, [\d.-]+"', index.compose.logs(WEB)
    )
    assert repeated, "no upload was ever interrupted: this showed nothing"
    figures.append(f"    {CRASHES} crashes; nginx repeated {len(repeated)} uploads")
    require_complete(index, [made for one in uploads for made in one.done])
    reads.ask_all()


def test_a_web_server_that_crashes_over_and_over(
    index: Composed, reads: Reads, client: Client, figures: list[str]
) -> None:
    """Connections break, but no acknowledged upload is lost, and pip and uv succeed with retries."""
    uploads = [Uploads(index, f"uploaded-{number}", may_break=True) for number in range(3)]
    clients = [Stream("upload", one, pause=0.02) for one in uploads]
    crash = partial(crashes, index, WEB, tuple(clients))
    clients += installs(client, index, PIP_RETRIES="10", UV_HTTP_RETRIES="10")
    least = {"upload": 100, "pip": 2, "uv": 2}
    row = during(f"crash of {WEB}", crash, clients, least=least)
    report(figures, row, uploads)
    assert row.failures == ()
    require_complete(index, [made for one in uploads for made in one.done])
    reads.ask_all()


def crashes(index: Composed, service: str, clients: Sequence[Stream]) -> None:
    """Kill a service during uploads, and again each time after it was restarted and is healthy.

    nginx repeats an upload only once, so those that a crash has interrupted end before the next crash.
    """
    chance = random.Random(evidence.seed())
    for _ in range(CRASHES):
        settle(clients)
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


# replacements


REPLACEMENTS = {
    "up --force-recreate": (("up", "--detach", "--no-build", "--no-deps", "--force-recreate"),),
    "restart": (("restart",),),
    "kill, up": (("kill",), ("up", "--detach", "--no-build", "--no-deps")),
}


@pytest.mark.parametrize("service", [APPLICATION, WEB])
def test_no_read_and_no_upload_fails_while_a_service_is_replaced(
    service: str, index: Composed, reads: Reads, figures: list[str]
) -> None:
    """Clients without retries see no failure. (A nginx that is killed breaks the connections that it has.)"""
    uploads = [Uploads(index, "uploaded-0"), Uploads(index, "uploaded-1"), Uploads(index, "uploaded-2", seconds=2)]
    held = index.compose.container(SOCKETS).id
    rows = []
    for name, steps in REPLACEMENTS.items():
        if service == WEB and ("kill",) in steps:
            continue

        clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
        clients += [Stream("upload", one, pause=0.02) for one in uploads]

        def replace_it(
            steps: tuple[tuple[str, ...], ...] = steps, clients: tuple[Stream, ...] = tuple(clients)
        ) -> None:
            for step in steps:
                index.compose.call(*step, service)
            index.compose.wait(service)
            settle(clients)

        with keeping(index.wire, f"/simple/{planted.PROJECT}/") as kept:
            clients += kept
            rows.append(during(f"{name} {service}", replace_it, clients, least={"read": 50, "upload": 12}))
    figures.extend(table(rows))
    assert [row.failures for row in rows] == [()] * len(rows)
    assert index.compose.container(SOCKETS).id == held
    require_complete(index, [made for one in uploads for made in one.done])


def test_services_take_new_sockets_when_their_holder_crashed(index: Composed, reads: Reads) -> None:
    """The ports of a container end with it, so the others restart by themselves."""
    held = index.compose.container(SOCKETS)
    before = {service: composed.restarts(index.compose.container(service)) for service in (SOCKETS, WEB, APPLICATION)}
    composed.crash(held)
    for service, restarts in before.items():
        composed.runs_again(index.compose.container(service), restarts)
    index.compose.wait()
    assert "the service `sockets` has ended" in index.compose.logs(WEB, APPLICATION)
    reads.ask_all()
    planted.upload(index.wire, planted.fresh("uploaded"))


def test_a_deployment_of_the_release_before_is_upgraded(
    bed: Bed, new_compose: Callable[..., Composed], tmp_path: Path
) -> None:
    """There nginx published the port, and the application made its socket: no manual step is needed."""
    index = new_compose(up=False)
    services = yaml.safe_load(compose.FILE.read_text())
    before = services["services"]
    before[WEB]["ports"] = before.pop(SOCKETS)["ports"]
    for service in (APPLICATION, WEB):
        del before[service]["depends_on"], before[service]["command"]
        before[service]["volumes"] = [
            volume.replace("/run/ppm:ro", "/run/ppm") for volume in before[service]["volumes"]
        ]
        before[service]["volumes"] = [one for one in before[service]["volumes"] if "/run/ppm-" not in one]
    del before[WEB]["network_mode"]
    for service in before.values():
        service.pop("build", None)
    old = compose.FILE.parent / f".before-{os.getpid()}.yml"  # beside the files that it names
    old.write_text(yaml.safe_dump(services))
    try:
        over = compose.leased(tmp_path / "over.json", (old,), bed.lease.name, volumes=True)
        first = replace(index, compose=replace(index.compose, files=(old, over)))
        first.up()
        index.secret = first.secret
        made = planted.fresh("before")
        planted.upload(first.wire, made)
    finally:
        old.unlink()
    index.up()
    require_complete(index, [made])
    planted.upload(index.wire, planted.fresh("before"))


# upgrades


@pytest.fixture(scope="module")
def next_version(bed: Bed, images: str) -> Iterator[str]:
    """Make images of another version, and return their tag."""
    tag = f"{images}-next"
    names = [f"ppm-{service}" for service in (APPLICATION, WEB)]
    for name in names:
        box = bed.engine.api.containers.create(f"{name}:{images}", name=f"{bed.lease.name}-{name}-next")
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


def test_upgrading_all_services_fails_no_request(
    index: Composed, images: str, next_version: str, client: Client, figures: list[str]
) -> None:
    """`up -d` replaces nginx's container too; connections wait for the next one."""
    held = index.compose.container(SOCKETS).id

    def roll() -> None:
        for tag in (next_version, images):
            before = {service: box.id for service, box in index.compose.containers().items()}
            index.compose.but(PPM_TAG=tag).up()
            after = {service: box.id for service, box in index.compose.containers().items()}
            assert all(after[service] != before[service] for service in (WEB, APPLICATION))

    uploads = Uploads(index, "uploaded-0")
    streams = [Stream("upload", uploads, pause=0.1), *installs(client, index)]
    with restored_version(index, images):
        row = during("up -d", roll, streams, least={"pip": 2, "uv": 2})
    figures.extend(table([row]))
    assert row.failures == ()
    assert index.compose.container(SOCKETS).id == held
    require_complete(index, uploads.done)
