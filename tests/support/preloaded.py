"""`ppmctl` without the start of an interpreter: in a fork of the tests' process, which has imported it.

A start costs 0.2 s of processor time, a fork 0.01 s. Everything after the start is a process of its own: arguments,
environment, working directory, streams, signals, exit code, and whatever user it becomes.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import logging
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

import ppmctl

# Imported where they are used, by one of several commands.
_LATER = ("build", "keyring.backends", "passlib.handlers.digests", "passlib.handlers.ldap_digests", "rich.progress")

# Variables that an interpreter reads when it starts; those that only reach what it starts, or are read later.
_OF_START = ("PYTHON", "LANG", "LC_")
_OF_CHILDREN = {"PYTHONDONTWRITEBYTECODE", "PYTHON_KEYRING_BACKEND"}

# Shown to developers alone, also by an interpreter that was started for ppmctl.
_NOT_SHOWN = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def can_run(arguments: Sequence[str], env: Mapping[str, str] | None = None) -> bool:
    """Tell whether the start may be left out: not for a server, nor where the environment changes the interpreter."""
    environ, here = env or os.environ, os.environ
    of_start = {name for name in environ.keys() | here.keys() if name.startswith(_OF_START)} - _OF_CHILDREN
    return "serve" not in arguments[:1] and all(environ.get(name) == here.get(name) for name in of_start)


def run(arguments: Sequence[str], *, timeout: float = 600, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `ppmctl` as `subprocess.run` would, with text; options are those of `start`."""
    return start(arguments, **options).wait(timeout)


def start(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: str | None = None,  # noqa: A002 - as subprocess.run has it
    merged: bool = False,
) -> Running:
    """Start `ppmctl`; what goes to stderr is `merged` into stdout on request."""
    _import()
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - `wait` closes them
    with tempfile.TemporaryFile() as given:
        given.write((input or "").encode())
        given.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: other threads may hold locks
            process = os.fork()
        if process == 0:
            _become_ppmctl(arguments, env=env, cwd=cwd, streams=(given, out, out if merged else err))
    return Running(arguments=arguments, process=process, out=out, err=err)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A `ppmctl` that was started, and the files that have what it prints."""

    arguments: Sequence[str]
    process: int
    out: IO[bytes]
    err: IO[bytes]

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Wait for its end and return what it printed; kill it, and fail, after `timeout` seconds."""
        with self.out, self.err:
            descriptor, ended = os.pidfd_open(self.process), []
            try:
                ended, _, _ = select.select([descriptor], [], [], timeout)
            finally:
                os.close(descriptor)
                if not ended:
                    os.kill(self.process, signal.SIGKILL)
                _, status = os.waitpid(self.process, 0)
            if not ended:
                raise subprocess.TimeoutExpired(["ppmctl", *self.arguments], timeout)
            code = os.waitstatus_to_exitcode(status)
            return subprocess.CompletedProcess([*self.arguments], code, _text(self.out), _text(self.err))


@cache
def _import() -> None:
    """Import what the commands do; who serves is not needed."""
    for module in pkgutil.walk_packages(ppmctl.__path__, "ppmctl."):
        if module.name not in ("ppmctl.__main__", "ppmctl.server"):
            importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()


def _become_ppmctl(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    streams: tuple[IO[bytes], IO[bytes], IO[bytes]],
) -> NoReturn:
    """Run `ppmctl` in this process, which has nothing else of the tests' state than its memory, and end it."""
    code = 1
    try:
        gc.freeze()  # what the tests' process has is never looked through here
        atexit._clear()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        logging.root.handlers.clear()
        logging.root.setLevel(logging.WARNING)
        for category in _NOT_SHOWN:
            warnings.simplefilter("ignore", category)
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what subprocess would not hand on
        sys.stdin = os.fdopen(0, encoding="utf-8")
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
        sys.argv = [str(Path(ppmctl.__file__).with_name("__main__.py")), *arguments]
        if env is not None:
            os.environ.clear()
            os.environ.update(env)
        if cwd is not None:
            os.chdir(cwd)
        code = _exit_code()
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _exit_code() -> int:
    from ppmctl.cli import main

    try:
        main()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    raise AssertionError("ppmctl came back")
