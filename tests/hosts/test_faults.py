"""Installs and uploads while the application is stopped, killed, stuck or can't start."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from support import evidence, planted, streams
from support.deployed import Deployed, eventually
from support.load import Reads, Reply, Stream, Wire, during, keeping, table
from support.servers import JSON
from support.streams import Made

from testbed.acme import Acme
from testbed.clients import Client

KILLS = 12  # while it serves; each is followed by another while it starts again
CRASHES = 8  # by default systemd gives up after 5
DROP_IN = "/run/systemd/system/ppm.service.d/test.conf"


@pytest.fixture(scope="module")
def index(deployed: Callable[[int], Deployed]) -> Deployed:
    made = deployed(13)
    planted.plant(made)
    made.host.box.put("/root/authority.pem", made.ca.read_bytes())
    made.host.box.put("/root/credential", f"{made.user}:{made.secret}\n".encode(), mode=0o600)
    return made


@pytest.fixture(scope="module")
def user(client: Client, acme: Acme, index: Deployed) -> Client:
    return planted.user(client, acme, index)


@pytest.fixture(scope="module")
def wire(index: Deployed) -> Wire:
    return planted.wire(index)


@pytest.fixture(scope="module")
def reads(index: Deployed, wire: Wire) -> Reads:
    """Record what nginx answers before the tests, and has to answer during them: they add files but no projects."""
    projects = {"uploaded", *(f"uploaded-{number}" for number in range(4))}
    for project in projects:
        planted.upload(wire, planted.fresh(project))

    def listed() -> set[str]:
        page = index.get("/simple/", headers={"Accept": JSON})
        return {project["name"] for project in page.json()["projects"]}

    eventually(listed, lambda names: names >= projects)
    return planted.reads(index)


def require_clean_503(reply: Reply) -> None:
    """Fail unless the answer is a 503 with Retry-After and a reason in plain text."""
    assert reply.status == 503, str(reply)
    assert reply.headers["retry-after"].isdecimal(), str(reply)
    assert reply.headers["content-type"].startswith("text/plain"), str(reply)
    assert b"Try again" in reply.body, str(reply)
    assert "strict-transport-security" in reply.headers, str(reply)


def upload_until_it_succeeds(wire: Wire, made: Made) -> int:
    """Repeat an upload until it succeeds, and return how often it was answered with a 503.

    Fail on a broken connection or any other answer.
    """
    for attempt in range(60):
        reply = wire.upload(made)
        if reply.status == 200:
            return attempt
        require_clean_503(reply)
        time.sleep(1)
    raise AssertionError(f"not after {attempt} attempts: {made.filename}")


def require_complete(index: Deployed, wire: Wire, made: list[Made]) -> None:
    """Fail unless all uploads are listed and served, nothing is left over, and `index check` succeeds."""
    for project in sorted({one.project for one in made}):
        listed = {file["filename"]: file["hashes"]["sha256"] for file in index.page(project)["files"]}
        for one in made:
            if one.project == project:
                assert listed.get(one.filename) == one.sha256, f"{one.filename}: {listed.get(one.filename)}"
                assert wire.ask("GET", f"/packages/{project}/{one.filename}").body == one.content
    folders = "find /srv/ppm/bodies /srv/ppm/index/pending /srv/ppm/incoming -type f -not -name .lock"
    evidence.until(lambda: not index.host.run(folders).out, "an end of what was under way", seconds=20)
    assert not index.host.run("find /srv/ppm -name '.*' -not -name .lock -not -name .status -type f").out
    index.host.run("ppmctl index check")


def main_pid(index: Deployed) -> int:
    return int(index.host.run("systemctl show -p MainPID --value ppm.service").out)


@contextlib.contextmanager
def changed_unit(index: Deployed, *settings: str) -> Iterator[None]:
    """Run the service with other settings in this context."""
    lines = "\\n".join(("[Service]", *settings, ""))
    index.host.run(f"mkdir -p $(dirname {DROP_IN}); printf '{lines}' >{DROP_IN}; systemctl daemon-reload")
    index.host.run("systemctl restart ppm.service")
    try:
        yield
    finally:
        index.host.run(f"rm {DROP_IN}; systemctl daemon-reload; systemctl restart ppm.service")


def test_installs_work_without_the_application(index: Deployed, wire: Wire, reads: Reads, user: Client) -> None:
    """nginx used to answer with a 502 or its own page."""
    large = planted.fresh("uploaded", size=1 << 20)  # so large that nginx buffers the body on the disk
    index.host.run("systemctl stop ppm.socket ppm.service")
    try:
        for _ in range(3):
            reads.ask_all()
        user.run(f"pip/bin/pip install -q --retries 0 --no-cache-dir -i {index.simple} {planted.PROJECT}")
        user.run(f"uv pip install -q --python uv --no-cache -i {index.simple} {planted.PROJECT}", UV_HTTP_RETRIES="0")

        require_clean_503(wire.upload(planted.fresh("uploaded")))
        require_clean_503(wire.upload(large))
        require_clean_503(wire.ask("GET", f"/simple/{planted.PROJECT}/", headers={"Accept": planted.UNDECIDED}))
        assert wire.upload(planted.fresh("uploaded"), is_signed=False).status == 401
        assert wire.ask("GET", "/", is_signed=False).status == 401
        twine = planted.fresh("uploaded")
        user.put(twine.filename, twine.content)
        command = f"twine upload --non-interactive --repository-url {index.url}/ {twine.filename}"
        credential = {"TWINE_USERNAME": index.user, "TWINE_PASSWORD": index.secret}
        refused = user.run(command, check=False, **credential)
        assert refused.code, refused.out
        assert "503" in refused.out + refused.err
        assert "Traceback" not in refused.out + refused.err
    finally:
        index.host.run("systemctl start ppm.socket ppm.service")
    planted.upload(wire, large)
    user.run(command, **credential)
    require_complete(index, wire, [large, twine])


def test_the_socket_alone_starts_the_application(index: Deployed, wire: Wire) -> None:
    """An upload that finds it stopped waits for it."""
    index.host.run("systemctl stop ppm.service")
    made = planted.fresh("uploaded")
    planted.upload(wire, made)
    assert main_pid(index)
    require_complete(index, wire, [made])


def test_an_application_that_is_killed_over_and_over(
    index: Deployed, wire: Wire, reads: Reads, figures: list[str]
) -> None:
    """All its processes are killed at random moments: reads work, and uploads succeed when repeated."""
    chance = random.Random(evidence.seed())
    done: list[Made] = []
    repeated: list[int] = []

    def send(project: str, _number: int) -> None:
        made = planted.fresh(project, size=streams.some_size(chance))
        repeated.append(upload_until_it_succeeds(wire, made))
        done.append(made)

    def publish(number: int) -> None:
        """Publish with `ppmctl publish`, which retries by itself for a minute; its error says to run it again."""
        made = planted.fresh("uploaded-0")
        file = f"/root/{made.filename}"
        index.host.box.put(file, made.content)
        command = f"ppmctl publish --index {index.url}/ --credential-file /root/credential {file}"
        repeated = f"for run in 1 2 3; do {command} && break; done"
        index.host.run(f"export REQUESTS_CA_BUNDLE=/root/authority.pem; {repeated}; code=$?; rm {file}; exit $code")
        done.append(made)

    def kill() -> None:
        served, starts = ([f"{chance.uniform(0, most):.2f}" for _ in range(KILLS)] for most in (0.8, 0.9))
        once = "systemctl kill --signal=KILL --kill-whom=all ppm.service"
        up = "until systemctl is-active --quiet ppm.service; do sleep 0.05; done"
        each = f"{up}; sleep ${{pauses%:*}}; {once}; sleep ${{pauses#*:}}; {once}"
        pauses = " ".join(":".join(pair) for pair in zip(served, starts, strict=True))
        index.host.run(f"for pauses in {pauses}; do {each}; done; true")

    before = restarts(index)
    clients = [Stream("read", reads.ask, pause=0.03, most=6000) for _ in range(2)]
    clients += [Stream("upload", partial(send, f"uploaded-{number}"), pause=0.05, most=2000) for number in (1, 2, 3)]
    clients.append(Stream("ppmctl publish", publish, most=200))
    row = during(f"kill -9, {2 * KILLS} times", kill, clients, least={})
    figures.extend(table([row]))
    unlucky = [times for times in repeated if times]
    figures.append(f"    {len(unlucky)} uploads were repeated, {max(repeated)} times at most")
    assert row.failures == ()
    assert row.done["read"] >= 300
    assert restarts(index) - before >= KILLS
    # an upload that nginx sent a second time has two times in its log
    log = index.host.run("cat /var/log/nginx/access.log").out
    again = re.findall(r'"method":"POST".*"application":"[\d.-]+, [\d.-]+"', log)
    assert again or unlucky, "no upload was ever interrupted: this showed nothing"
    planted.upload(wire, made := planted.fresh("uploaded"))
    require_complete(index, wire, [*done, made])
    reads.ask_all()


def restarts(index: Deployed) -> int:
    return int(index.host.run("systemctl show -p NRestarts --value ppm.service").out)


def test_an_application_that_hangs_is_restarted(
    index: Deployed, wire: Wire, reads: Reads, figures: list[str]
) -> None:
    """The whole service hangs, or only its worker. A waiting client sees only a slower upload."""
    uploaded = []
    with changed_unit(index, "WatchdogSec=3"), ThreadPoolExecutor(1) as pool:
        for processes in ("all of it", "its worker"):
            stuck = main_pid(index)
            worker = f"kill -STOP $(cat /proc/{stuck}/task/{stuck}/children)"
            whole_service = "systemctl kill --signal=STOP --kill-whom=all ppm.service"
            index.host.run(worker if processes == "its worker" else whole_service)
            began = time.monotonic()
            uploaded.append(planted.fresh("uploaded"))
            sent = pool.submit(planted.upload, wire, uploaded[-1])
            reads.ask_all()
            sent.result(timeout=60)
            took = time.monotonic() - began
            figures.append(f"    hung ({processes}): an upload was done after {took:.1f} s, WatchdogSec=3")
            assert main_pid(index) not in (stuck, 0), processes
    require_complete(index, wire, uploaded)


def test_an_application_that_can_not_start(index: Deployed, wire: Wire, reads: Reads) -> None:
    """Its socket stays open however often it crashes, and waiting requests are answered after the repair."""
    made = planted.fresh("uploaded")
    index.host.run("cp -p /etc/ppm/ppm.env /root/ppm.env; echo PPM_THREADS=none >>/etc/ppm/ppm.env")
    try:
        index.host.run("systemctl kill --signal=KILL --kill-whom=all ppm.service")
        with ThreadPoolExecutor(1) as pool:
            before = restarts(index)
            sent = pool.submit(wire.upload, made)
            evidence.until(lambda: restarts(index) >= before + CRASHES, f"{CRASHES} crashes", seconds=120)
            reads.ask_all()
            index.host.run("systemctl is-active ppm.socket")
            states = index.host.run("systemctl show -p Result ppm.service ppm.socket").out
            assert "limit" not in states, states
            assert not sent.done(), sent.result()
            index.host.run("cp -p /root/ppm.env /etc/ppm/ppm.env")
            reply = sent.result(timeout=60)
            assert reply.status == 200, str(reply)
    finally:
        index.host.run("cp -p /root/ppm.env /etc/ppm/ppm.env; rm /root/ppm.env")
    require_complete(index, wire, [made])


# nginx


RESTARTS = {
    "3 restarts of nginx": "for _ in 1 2 3; do systemctl restart nginx && sleep 0.3 || exit 1; done",
    "3 reloads of nginx": "for _ in 1 2 3; do systemctl reload nginx && sleep 0.3 || exit 1; done",
    "reload, restart": "systemctl reload nginx && systemctl restart nginx",
}


def test_restarts_and_reloads_of_nginx_fail_no_request(
    index: Deployed, wire: Wire, reads: Reads, figures: list[str]
) -> None:
    """Clients without retries see no failure: systemd holds the ports, and current requests are finished first."""
    assert index.host.run("systemctl is-active nginx.socket").out == "active\n"
    ports = index.host.run("systemctl show -p Listen --value nginx.socket").out
    assert {line.split()[0] for line in ports.splitlines()} >= {"0.0.0.0:80", "[::]:80", "0.0.0.0:443", "[::]:443"}
    done: list[Made] = []

    def upload(project: str, _number: int, *, seconds: float = 0.0) -> None:
        made = planted.fresh(project, size=200_000)
        reply = wire.upload(made, seconds=seconds)
        assert reply.status == 200, str(reply)
        done.append(made)

    def plain(_number: int) -> None:
        assert replace(wire, context=None, port=80).ask("GET", "/x", is_signed=False).status == 301

    rows = []
    for name, command in RESTARTS.items():
        clients = [Stream("read", reads.ask, pause=0.03) for _ in range(2)]
        clients += [Stream("upload", partial(upload, f"uploaded-{number}"), pause=0.03) for number in (1, 2)]
        clients.append(Stream("slow upload", partial(upload, "uploaded-3", seconds=3)))
        clients.append(Stream("redirect", plain, pause=0.02))
        with keeping(wire, f"/simple/{planted.PROJECT}/") as kept:
            clients += kept
            rows.append(during(name, partial(index.host.run, command), clients, least={"read": 100, "upload": 20}))
    figures.extend(table(rows))
    if any(row.failures for row in rows):  # requests that took over 10 s
        print(index.host.run('grep -E \'"seconds":[0-9]{2,}|"status":(4|5)\' /var/log/nginx/access.log | tail').out)
    assert [row.failures for row in rows] == [()] * len(rows)
    require_complete(index, wire, done)


def test_nginx_that_is_killed_keeps_its_ports_and_a_stop_closes_them(
    index: Deployed, wire: Wire, reads: Reads
) -> None:
    index.host.run("systemctl kill --signal=KILL --kill-whom=all nginx.service")
    reads.ask_all()
    index.host.run("systemctl stop nginx")
    try:
        closed = "systemctl is-active --quiet nginx.socket || echo closed"
        evidence.until(lambda: index.host.run(closed).out, "an end of the ports")
        with pytest.raises(ConnectionRefusedError):
            wire.ask("GET", "/healthz", is_signed=False)
        assert index.host.run("systemctl is-active nginx.service nginx.socket", check=False).out.split() == [
            "inactive",
            "inactive",
        ]
    finally:
        index.host.run("systemctl start nginx")
    reads.ask_all()
