"""gunicorn's worker, with connections that wait without a thread, and requests that are answered without one."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import time
from concurrent.futures import Future
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import ThreadWorker

from ppmctl import files
from ppmctl.server.front import Answer, Front
from ppmctl.server.waiting import STALLED_AFTER, Waiting

log = logging.getLogger(__name__)

ENDING = frozenset({signal.SIGTERM, signal.SIGQUIT})
_AT_ONCE = 8 << 10  # bytes
_QUICK = 1 << 20  # bytes of a file that the main loop reads from the disk
_ACCEPT_PAUSE = 0.5  # seconds after a connection for which no descriptor was left
_WARN_EVERY = 60.0  # seconds
_KEEPS: Future[bool] = Future()  # the result of a request whose connection is kept
_KEEPS.set_result(True)


def descriptors() -> int:
    """Return how many descriptors this process may have."""
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


class _Request(Request):
    """A request whose answer closes the connection, unless its whole body is here: nobody waits for the rest.

    "close" also counts beside other options, where gunicorn does not see it (RFC 9112, section 9.6).
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self._is_received():
            self._expected_100_continue = False

    def should_close(self) -> bool:
        options = [option for name, value in self.headers if name == "CONNECTION" for option in value.split(",")]
        if not self._is_received() or "close" in (option.strip(" \t").lower() for option in options):
            self.force_close()
        return bool(super().should_close())

    def _is_received(self) -> bool:
        reader = self.body.reader
        if isinstance(reader, ChunkedReader):
            return bool(reader.parser is None)
        return bool(reader.length <= self.unreader.buf.seek(0, os.SEEK_END))


class _Parser(RequestParser):
    mesg_class = _Request


class Worker(ThreadWorker):
    """A worker whose threads get requests that have arrived; `waiting` has the other connections."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._front: Front | None = None
        self._unsent = 0  # answers whose rest a thread sends, or will
        self._accept_from = 0.0  # no sooner than at this time
        self._warned = -_WARN_EVERY
        if any(listener.FAMILY == socket.AF_UNIX for listener in self.sockets):
            # A restart would close a kept connection just when the proxy sends its next request, which then fails.
            self.max_keepalived = 0

    def accept(self, listener: Any) -> None:
        """Accept a connection. If that fails, as without a free descriptor, new connections wait a moment.

        The error would end the worker, and with it all requests that it is processing.
        """
        try:
            super().accept(listener)
        except OSError as exc:
            now = time.monotonic()
            self._accept_from = now + _ACCEPT_PAUSE
            self.set_accept_enabled(False)
            if now - self._warned >= _WARN_EVERY:
                self._warned = now
                limit = f" (ulimit -n: {descriptors()})" if files.is_out_of_descriptors(exc) else ""
                log.error("New connections have to wait: %s%s", exc.strerror, limit)

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled and time.monotonic() >= self._accept_from)

    def init_signals(self) -> None:
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def run(self) -> None:
        self._front = self.app.front
        self._waiting = Waiting(self.poller, self._hand_over, self._closed)
        super().run()

    def enqueue_req(self, conn: Any) -> None:
        if conn.parser is None:
            conn.parser = _Parser(self.cfg, conn.sock, conn.client)
            conn.initialized = conn.data_ready = True
        self._waiting.receive(conn, conn.parser.unreader.take_buffered())

    def finish_request(self, conn: Any, fs: Any) -> None:
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._waiting.leave(conn)
        else:
            super().finish_request(conn, fs)

    def murder_pending(self) -> None:
        super().murder_pending()
        self._waiting.close_late()
        if self.nr_conns >= self.worker_connections:
            self._waiting.close_oldest(max(self.worker_connections // 10, 1))

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        self._waiting.stop(deadline)

    def on_client_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """Answer the next request of a kept connection here if that is possible; the connection then waits on."""
        received = b""
        with contextlib.suppress(OSError):
            received = client.recv(_AT_ONCE)
        answer = self._answer(received) if len(self.keepalived_conns) <= self.max_keepalived else None
        self.keepalived_conns.remove(conn)
        if answer is not None and self._sends(conn, answer):
            conn.set_timeout()
            self.keepalived_conns.append(conn)  # they are sorted by their timeout
            return
        self.poller.unregister(client)
        if answer is None:
            conn.parser.unreader.unread(received)
            self.enqueue_req(conn)

    def _hand_over(self, conn: Any, received: bytes) -> None:
        answer = self._answer(received) if len(self.keepalived_conns) < self.max_keepalived else None
        if answer is None:
            conn.parser.unreader.unread(received)
            super().enqueue_req(conn)
        elif self._sends(conn, answer):
            super().finish_request(conn, _KEEPS)

    def _answer(self, received: bytes) -> Answer | None:
        if self._front is None or not self.alive or not self.log.can_print():
            return None
        # of more answers than threads, files would only be open; the application opens one when a thread is free
        may_open = self._unsent < self.cfg.threads
        try:
            return self._front.answer(received, wsgi.SERVER, may_open=may_open)
        except Exception:  # a bug, which would end the main loop and all requests with it
            log.exception("A request could not be answered in the main loop")
            return None

    def _sends(self, conn: Any, answer: Answer) -> bool:
        """Send an answer and return whether all of it is sent. If not, a thread sends the rest, or it is too late."""
        try:
            sent = _send_at_once(conn.sock, answer)
        except OSError:  # the client has gone
            self.method_queue.defer(self._waiting.leave, conn)
            self._end(conn, answer, 0)
            return False
        if sent == len(answer.content) + answer.left:
            self._end(conn, answer, answer.length)
            return True
        self._unsent += 1
        job = self.tpool.submit(self._send_rest, conn, answer, sent)
        job.add_done_callback(lambda done: self.method_queue.defer(self._finish_rest, conn, done))
        return False

    def _finish_rest(self, conn: Any, done: Future[bool]) -> None:
        self._unsent -= 1
        self.finish_request(conn, done)

    def _send_rest(self, conn: Any, answer: Answer, sent: int) -> bool:
        """Send an answer from its byte `sent` on, in a thread; return whether the connection is kept."""
        done = 0  # bytes of the body: how much of a file was sent before an error is not known
        try:
            conn.sock.settimeout(STALLED_AFTER)
            conn.sock.sendall(answer.content[sent:])
            if answer.file is not None:
                start = max(sent - len(answer.content), 0)
                if conn.sock.sendfile(answer.file, start, answer.left - start) < answer.left - start:
                    return False  # it was cut; the next answer would be taken for its rest
            done = answer.length
        except OSError:
            return False
        finally:
            self._end(conn, answer, done)
        return True

    def _end(self, conn: Any, answer: Answer, sent: int) -> None:
        """Log an answer, of whose body `sent` bytes were sent."""
        if answer.file is not None:
            answer.file.close()
        self.log.write(
            is_counted=True,
            address=conn.client[0],
            user=answer.client.user,
            method="GET",
            path=answer.target.path,
            protocol="HTTP/1.1",
            agent=answer.client.agent,
            status=answer.status,
            sent=sent,
            length=answer.length if answer.status == 200 else None,
            seconds=time.perf_counter() - answer.began,
        )

    def _closed(self) -> None:
        self.nr_conns -= 1


def _send_at_once(connection: socket.socket, answer: Answer) -> int:
    """Send what fits into the buffers of a connection that does not block; return how many bytes of the answer."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        sent = connection.send(answer.content, socket.MSG_MORE if answer.file else 0)
    if answer.file is not None and sent == len(answer.content) and answer.left <= _QUICK:
        with contextlib.suppress(OSError):  # a thread goes on; without sendfile, as some file systems are, it reads
            sent += os.sendfile(connection.fileno(), answer.file.fileno(), 0, answer.left)
    return sent
