"""`ppmctl` in processes that are forked from one that has imported its modules: a start costs a tenth of the time.

Each is a real process in a session and process group of its own, with its own environment and output; it goes through
`ppmctl`'s main function and ends as an interpreter ends. What differs from `python -m ppmctl`: /proc/PID/cmdline is
that of the process it was forked from, and so is what an interpreter reads at its start (PYTHONWARNINGS, PYTHONPATH).

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

# What `ppmctl` imports when it is asked for: that of a server, of the commands beside a volume and of a publish.
_MODULES = (
    *(f"ppmctl.cli.{name}" for name in ("index", "package", "publish", "serve", "token", "user")),
    *(f"ppmctl.{name}" for name in ("download", "first_admin", "mend", "rebuild", "server", "session", "verify")),
    *(
        f"ppmctl.publishing.{name}"
        for name in ("build", "check", "contents", "existing_dist", "publish", "same_content", "upload")
    ),
    *("encodings.cp437", "encodings.idna", "readme_renderer.rst", "requests_toolbelt", "rich.console"),
    *("twine.commands.check", "twine.package"),
)
_MOST = 1 << 17  # bytes of a request; the environment is most of it


class Process:
    """A process that was forked for this one: what tests use of `subprocess.Popen`."""

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
    folder: Path | None = None,
) -> Process:
    """Run `ppmctl` with `arguments` in `folder` (else in this process's); nothing is on its standard input.

    Where `environ` has the variable of a plan (`crashing`), the process obeys that plan.
    """
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    asked = {"arguments": list(arguments), "environ": dict(environ), "folder": str(folder or Path.cwd())}
    request = json.dumps(asked).encode()
    assert len(request) < _MOST, "an environment that is too large"
    with its:
        socket.send_fds(_origin(), [request], [its.fileno(), stdout.fileno(), stderr.fileno()])
    mine.settimeout(60)
    return Process(int(_received(mine)), mine)


def run(
    *arguments: str,
    expect: int = 0,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl` to its end; fail, with all it printed, unless it exits with `expect` (-N: by signal N).

    `environ` is its whole environment, `folder` where it runs; this process's, if left out.
    """
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        environ = os.environ if environ is None else environ
        process = start(arguments, environ=environ, stdout=stdout, stderr=stderr, folder=folder)
        code = process.wait(timeout)
        stdout.seek(0)
        stderr.seek(0)
        done = subprocess.CompletedProcess(["ppmctl", *arguments], code, stdout.read(), stderr.read())
    assert code == expect, f"ppmctl {arguments} exited {code}:\n{done.stdout}\n{done.stderr}"
    return done


def _received(report: socket.socket) -> str:
    text = report.recv(64).decode()
    assert text, "the process that forks the others has died"
    return text


_guard = threading.Lock()
_running: tuple[subprocess.Popen[bytes], socket.socket] | None = None


def _origin() -> socket.socket:
    """Return the way to the process that forks the others; it is started at the first call."""
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
    """End the process that forks the others. Those that it has forked go on; the next `start` makes another."""
    global _running
    with _guard:
        if _running is not None:
            process, way = _running
            way.close()
            process.wait(timeout=60)
            _running = None


def _fork_for(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request and report its end. Returns in each of them, with its request."""
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    reports: dict[int, tuple[int, socket.socket]] = {}  # by a descriptor of the process
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
            message, descriptors, _flags, _address = socket.recv_fds(requests, _MOST, 3)
            if not message:
                os._exit(0)  # whoever asked has ended
            its_report, stdout, stderr = descriptors
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
                os.dup2(stdout, 1)
                os.dup2(stderr, 2)
                os.close(stdout)
                os.close(stderr)
                request: dict[str, Any] = json.loads(message)
                return request
            os.close(stdout)
            os.close(stderr)
            descriptor = os.pidfd_open(pid)
            reports[descriptor] = pid, socket.socket(fileno=its_report)
            waiting.register(descriptor, selectors.EVENT_READ)


def main() -> None:
    import crashing

    sys.path.pop(0)  # the folder of this file, whose names are none of the program's
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell runs this in the background
    os.environ.setdefault("HOME", "/")  # pypiserver asks for it when it is imported
    for module in _MODULES:
        importlib.import_module(module)
    from ppmctl.cli import main as ppmctl

    gc.collect()
    gc.freeze()  # a collection in a forked process touches, and so copies, nothing of this one
    request = _fork_for(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(request["environ"])
    time.tzset()
    os.chdir(request["folder"])
    sys.argv = [str(Path(sys.modules["ppmctl"].__path__[0]) / "__main__.py"), *request["arguments"]]
    if crashing.VARIABLE in os.environ:
        crashing.obey()
    ppmctl()


if __name__ == "__main__":
    main()
