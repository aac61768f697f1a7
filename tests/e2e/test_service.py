"""Tests of `ppmctl serve` as a service: socket activation, start, restarts and watchdog."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from support import forking, wheels
from support.activation import Unit, unit
from support.evidence import is_waited_for, until
from support.servers import PPMCTL, free_port, ppmctl

from ppmctl import files
from ppmctl.index.layout import Volume


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """Yield a service that the tests of this module share."""
    with unit(tmp_path_factory.mktemp("service") / "root", "--upstream", "none") as made:
        made.start()
        assert made.receives_notification("READY=1", within=60), made.log.read_text()
        yield made


# its socket


def test_a_passed_socket_is_used_instead_of_a_port_and_stays_open(tmp_path: Path) -> None:
    """The port of the settings is not used, and no commands are printed.

    The socket belongs to systemd: connections after the service's end are answered by the next process.
    """
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with unit(tmp_path / "root", "--port", port, "--first-credential") as service:
            service.start()
            assert service.request("GET", "/simple/").status == 200
            assert service.log.read_text() == ""
            assert service.stop() == 0
            assert service.path.is_socket()
            late: list[int] = []
            waiting = threading.Thread(target=lambda: late.append(service.request("GET", "/simple/").status))
            waiting.start()
            service.start()
            waiting.join()
            assert late == [200]


def test_sockets_for_another_process_are_ignored(tmp_path: Path) -> None:
    """A child of a service inherits its variables; LISTEN_PID names the process that gets the sockets."""
    environ = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1"}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = str(other.getsockname()[1])
        done = ppmctl("serve", "--root", str(tmp_path / "root"), "--port", port, env=environ, expect=1)
    assert f"port {port}" in done.stderr


def test_ready_is_sent_when_requests_are_answered(tmp_path: Path) -> None:
    """gunicorn alone sends it before the application is loaded; here loading waits for a lock.

    A watchdog for another process is ignored.
    """
    volume = Volume(root=tmp_path / "root")
    with unit(volume.root, environ={"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}) as service:
        with files.lock(volume.incoming_lock):
            service.start()
            until(lambda: is_waited_for(volume.incoming_lock), "a start that waits for the lock")
            assert not service.receives_notification("READY=1", within=0.5)
        assert service.receives_notification("READY=1", within=60), service.log.read_text()
        assert not service.receives_notification("WATCHDOG=1", within=1), "five times as long as one would last"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "unix:"])
def test_ready_is_sent_without_a_passed_socket_too(tmp_path: Path, host: str) -> None:
    """A service may open its own socket: it sends itself a request there, at any address."""
    with unit(tmp_path / "other") as manager:
        path = manager.path.with_name("own")
        listen = f"unix:{path}" if host == "unix:" else host
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [*PPMCTL, "serve", "--root", str(tmp_path / "root"), "--host", listen, "--port", str(free_port())],
                stderr=log,
                start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": str(manager.notified.getsockname())},
            )
        manager.process = process  # so that it ends with the block
        assert manager.receives_notification("READY=1", within=60), (tmp_path / "log").read_text()
        assert path.exists() is (host == "unix:")
        assert manager.stop() == 0
        assert not path.exists()


# restarts


class Clients:
    """Parallel clients that read and upload on new connections, as nginx does, without retries."""

    def __init__(self, service: Unit, *, number: int) -> None:
        self._service = service
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(name,)) for name in range(number)]
        self.failed: list[str] = []
        self.answered = 0
        self.uploaded: list[str] = []

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def await_answers(self, number: int) -> None:
        """Wait until `number` more requests are answered."""
        wanted = self.answered + number
        until(lambda: self.answered >= wanted or self.failed, "answers")

    def _go(self, name: int) -> None:
        for number in itertools.count():
            if self._done.is_set():
                return
            try:
                if number % 4 == 0:
                    made = wheels.wheel(f"steady-{name}", f"1.{number}")
                    reply = self._service.upload(made)
                    self.uploaded.append(made[0])
                else:
                    reply = self._service.request("GET", "/simple/")
                if reply.status != 200:
                    self.failed.append(f"{reply.status} {reply.reason}")
            except Exception as exc:
                self.failed.append(repr(exc))
            self.answered += 1


def test_no_request_is_lost_over_restarts(tmp_path: Path) -> None:
    """Running ones are answered before the end, the others by the next process: no error, no reset, no 5xx.

    With two threads for six clients, some accepted requests wait for a thread at any moment.
    """
    with unit(tmp_path / "root", "--threads", "2") as service:
        service.start()
        with Clients(service, number=6) as clients:
            for pause in (0.0, 0.1, 0.2, 0.4):
                clients.await_answers(20)
                # 0, or -15 before its handler was set; then no request was accepted
                assert service.stop() in (0, -15), service.log.read_text()
                service.start()
                time.sleep(pause)  # and again, at some moment of its start
                assert service.stop() in (0, -15), service.log.read_text()
                service.start()
            clients.await_answers(20)
        assert clients.failed == []
        assert service.stop() == 0
        stored = {path.name for path in (service.root / "packages").rglob("*.whl")}
        assert stored == set(clients.uploaded)
        assert "Traceback" not in service.log.read_text()
        ppmctl("index", "check", "--root", str(service.root))


def test_an_ending_service_finishes_an_upload_and_leaves_new_requests_to_the_next(tmp_path: Path) -> None:
    """Both are answered, and the watchdog is notified: the service is not stuck, and uploads may take a minute."""
    lock = Volume(root=tmp_path / "root").lock("slow")
    with unit(tmp_path / "root", environ={"WATCHDOG_USEC": "1000000"}) as service, ThreadPoolExecutor() as pool:
        service.start()
        assert service.receives_notification("READY=1", within=60)
        with files.lock(lock):
            replies = [pool.submit(service.upload, wheels.wheel("slow", "1.0"))]
            until(lambda: is_waited_for(lock), "an upload that waits for the lock")
            stopped = pool.submit(service.stop)

            def is_not_answered() -> bool:
                replies.append(pool.submit(service.request, "GET", "/simple/"))
                return bool(wait(replies[-1:], timeout=1).not_done)

            until(is_not_answered, "a service that takes no request any more")
            service.drop_notifications()
            assert service.receives_notification("WATCHDOG=1", within=30)
            assert not replies[0].done()
        assert stopped.result() == 0
        service.start()
        assert {reply.result().status for reply in replies} == {200}


def test_a_signal_during_the_workers_start_ends_the_service(tmp_path: Path) -> None:
    """gunicorn loses it: its worker would serve until it is killed a minute later, with its running requests."""
    with unit(tmp_path / "root", command=forking.COMMAND) as service:
        service.start()
        assert service.process is not None
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        until(children.read_text, "a worker")
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 30


def test_a_proxys_connection_is_closed_after_the_answer(running: Unit) -> None:
    """A restart could close a persistent one just when the proxy sends the next request."""
    assert running.request("GET", "/simple/", headers={"Connection": "keep-alive"}).headers["Connection"] == "close"


# the watchdog


def test_the_watchdog_is_notified_unless_all_threads_are_stuck(tmp_path: Path) -> None:
    """It sends requests through the real socket and threads; here each thread waits for a lock."""
    volume = Volume(root=tmp_path / "root")
    with unit(volume.root, "--threads", "2", environ={"WATCHDOG_USEC": "1000000"}) as service:
        service.start()
        assert service.receives_notification("READY=1", within=60), service.log.read_text()
        for _ in range(3):
            assert service.receives_notification("WATCHDOG=1", within=60)
        with files.lock(volume.lock("stuck")):
            uploads = [
                threading.Thread(target=service.upload, args=(wheels.wheel("stuck", f"{number}.0"),))
                for number in range(2)
            ]
            for upload in uploads:
                upload.start()
            until(
                lambda: not service.receives_notification("WATCHDOG=1", within=2),
                "silence for twice as long as it may last",
            )
        assert service.receives_notification("WATCHDOG=1", within=60)
        for upload in uploads:
            upload.join()
        assert service.stop() == 0


# the client's address and scheme


def audited(root: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (root / "audit.jsonl").read_text().splitlines()]


def test_the_client_address_comes_from_the_proxy(running: Unit) -> None:
    """With a socket, only the proxy knows it; an invalid address is ignored."""
    for number, (header, origin) in enumerate(
        [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::7"), ("evil\ttext", ""), ("192.0.2.7, 1.1.1.1", "")]
    ):
        made = wheels.wheel("origins", f"{number}.0")
        assert running.upload(made, headers={"X-Real-IP": header}).status == 200
        assert audited(running.root)[-1] | {"time": ""} == {
            "time": "",
            "action": "publish",
            "by": "admin",
            "from": origin,
            "what": made[0],
            "result": "done",
        }


def test_the_scheme_comes_from_the_proxy(running: Unit) -> None:
    """The host comes only from the Host header; a client's X-Forwarded-Host would get into links."""
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "1.2.3.4"}
    page = running.request("GET", "/", headers=headers).body.decode()
    assert "https://index.example/simple/" in page
    assert "evil" not in page
    assert "http://index.example/simple/" in running.request("GET", "/").body.decode()


_SHOWS_ITS_SCHEME = """
if b"serve" in open("/proc/self/cmdline", "rb").read().split(bytes(1)):
    from ppmctl.server import app

    answer = app.Index.__call__

    def shown(index, environ, start_response):
        def start(status, headers, *more):
            return start_response(status, [*headers, ("X-Scheme", environ["wsgi.url_scheme"])], *more)

        return answer(index, environ, start)

    app.Index.__call__ = shown
"""


def test_the_scheme_is_in_the_wsgi_environment(tmp_path: Path) -> None:
    """pypiserver's pages read the header; other code uses wsgi.url_scheme."""
    (tmp_path / "sitecustomize.py").write_text(_SHOWS_ITS_SCHEME)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    with unit(tmp_path / "root", environ={"PYTHONPATH": path}) as service:
        service.start()
        for headers, scheme in (({"X-Forwarded-Proto": "https"}, "https"), ({}, "http")):
            assert service.request("GET", "/simple/", headers=headers).headers["X-Scheme"] == scheme
