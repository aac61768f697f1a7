"""Run `ppmctl` in forks of a process that has imported its modules: a start takes a tenth of the time.

Each is a real process in its own session and process group, with its own arguments, environment, folder, streams
and exit code; it runs `ppmctl`'s main function and exits as an interpreter does. Differences from
`python -m ppmctl`: /proc/PID/cmdline is that of the process it was forked from, and so is what an interpreter reads
at its start (PYTHONWARNINGS, PYTHONPATH). The tests' own process is not forked, so that a test's imports and set-up
are not part of the command.

    server = servers.start(root, warm=True)
    done = warm.run("package", "yank", …)
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# Modules that `ppmctl` imports on use, besides its own.
_MODULES = (
    *("build", "encodings.cp437", "encodings.idna", "keyring.backends", "readme_renderer.rst", "requests_toolbelt"),
    *("passlib.handlers.digests", "passlib.handlers.ldap_digests", "rich.console", "rich.progress"),
    *("twine.commands.check", "twine.package"),
)
_MOST = 1 << 17  # bytes of a request; the environment is most of it

# Variables that an interpreter reads when it starts; those that it passes on or reads later.
_OF_START = ("PYTHON", "LANG", "LC_")
_OF_CHILDREN = {"PYTHONDONTWRITEBYTECODE", "PYTHON_KEYRING_BACKEND"}


def can_run(env: Mapping[str, str] | None = None) -> bool:
    """Return whether a fork may replace a new interpreter: not if the environment changes the interpreter."""
    environ, here = os.environ if env is None else env, os.environ
    of_start = {name for name in environ.keys() | here.keys() if name.startswith(_OF_START)} - _OF_CHILDREN
    return all(environ.get(name) == here.get(name) for name in of_start)


class Process:
    """A forked process, with the parts of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, report: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._report = report
        self._guard = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code (-N for signal N), or None while the process runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; subprocess.TimeoutExpired if that takes longer than `timeout` seconds."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _ended(self, timeout: float | None) -> int | None:
        with self._guard:
            if self.returncode is None:
                self._report.settimeout(timeout)
                with contextlib.suppress(BlockingIOError, TimeoutError):
                    self.returncode = int(_received(self._report))
                    self._report.close()
            return self.returncode


def start(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    stdout: IO[Any],
    stderr: IO[Any],
    stdin: IO[Any] | None = None,
    folder: Path | None = None,
) -> Process:
    """Run `ppmctl` with `arguments` in `folder` (default: this process's); without `stdin`, stdin is empty.

    If `environ` has the variable of a plan (`crashing`), the process follows that plan.
    """
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = {"arguments": list(arguments), "environ": dict(environ), "folder": str(folder or Path.cwd())}
    request = json.dumps(asked).encode()
    assert len(request) < _MOST, "an environment that is too large"
    with its, open(os.devnull) as nothing:
        streams = [(stdin or nothing).fileno(), stdout.fileno(), stderr.fileno()]
        socket.send_fds(_origin(), [request], [its.fileno(), *streams])
    mine.settimeout(60)
    return Process(int(_received(mine)), mine)


def run(
    *arguments: str,
    expect: int | None = 0,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    given: str = "",
    merged: bool = False,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl` to its end; fail with its output unless it exits with `expect` (-N: by signal N; None: any).

    `environ` is its whole environment and `folder` its working folder, by default this process's; `given` is its
    standard input. With `merged` stderr goes to stdout. After `timeout` seconds it is killed, and
    subprocess.TimeoutExpired raised.
    """
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given.encode())
        stdin.seek(0)
        process = start(
            arguments,
            environ=os.environ if environ is None else environ,
            stdin=stdin,
            stdout=stdout,
            stderr=stdout if merged else stderr,
            folder=folder,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = subprocess.CompletedProcess(["ppmctl", *arguments], code, _text(stdout), _text(stderr))
    if expect is not None:
        assert code == expect, f"ppmctl {arguments} exited {code}:\n{done.stdout}\n{done.stderr}"
    return done


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


def _received(report: socket.socket) -> str:
    text = report.recv(64).decode()
    assert text, "the process that forks the others has died"
    return text


_guard = threading.Lock()
_running: tuple[subprocess.Popen[bytes], socket.socket] | None = None


def _origin() -> socket.socket:
    """Return the socket to the process that forks; it is started at the first call."""
    global _running
    with _guard:
        if _running is None:
            mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with its:
                command = [sys.executable, str(Path(__file__).resolve()), str(its.fileno())]
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True
                )
            _running = process, mine
        return _running[1]


@atexit.register
def stop() -> None:
    """End the process that forks. Its forks continue; the next `start` makes another."""
    global _running
    with _guard:
        if _running is not None:
            process, way = _running
            way.close()
            process.wait(timeout=60)
            _running = None


def _fork_for(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request and report its end. Return in each fork, with its request."""
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    reports: dict[int, tuple[int, socket.socket]] = {}  # by the process's descriptor
    while True:
        for key, _events in waiting.select():
            if key.fd in reports:
                waiting.unregister(key.fd)
                pid, report = reports.pop(key.fd)
                os.close(key.fd)
                _pid, status = os.waitpid(pid, 0)
                with report, contextlib.suppress(BrokenPipeError):
                    report.send(str(os.waitstatus_to_exitcode(status)).encode())
                continue
            message, descriptors, _flags, _address = socket.recv_fds(requests, _MOST, 4)
            if not message:
                os._exit(0)  # the process that requested it has ended
            its_report, *streams = descriptors
            pid = os.fork()
            if pid == 0:
                os.setsid()
                with socket.socket(fileno=its_report) as report:
                    report.send(str(os.getpid()).encode())
                waiting.close()
                for descriptor, (_pid, other) in reports.items():
                    os.close(descriptor)
                    other.close()
                requests.close()
                for number, stream in enumerate(streams):
                    os.dup2(stream, number)
                    os.close(stream)
                request: dict[str, Any] = json.loads(message)
                return request
            for stream in streams:
                os.close(stream)
            descriptor = os.pidfd_open(pid)
            reports[descriptor] = pid, socket.socket(fileno=its_report)
            waiting.register(descriptor, selectors.EVENT_READ)


def main() -> None:
    import crashing

    sys.path.pop(0)  # this file's folder: the program must not import from it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also if a shell runs this in the background
    os.environ.setdefault("HOME", "/")  # pypiserver reads it when it is imported
    import ppmctl

    own = (module.name for module in pkgutil.walk_packages(ppmctl.__path__, "ppmctl."))
    for module in (*(name for name in own if name != "ppmctl.__main__"), *_MODULES):
        importlib.import_module(module)
    from ppmctl.cli.commands import main as command

    gc.collect()
    gc.freeze()  # a collection in a fork then touches, and so copies, no object of this process
    request = _fork_for(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    os.chdir(request["folder"])
    sys.argv = [str(Path(ppmctl.__path__[0]) / "__main__.py"), *request["arguments"]]
    if crashing.VARIABLE in os.environ:
        crashing.obey()
    command()


if __name__ == "__main__":
    main()
