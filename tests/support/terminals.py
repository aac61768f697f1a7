"""Run commands on a pseudo-terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Iterator

_CTRL_C = b"\x03"
_SECONDS = 60
_PAUSE = 3.0


@contextlib.contextmanager
def on_a_terminal(command: list[str], environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command on a terminal of 50 lines and 111 columns; yield its process and the terminal's other end."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "50", "cols", "111"], stdin=theirs, check=True, timeout=60)
    environ = {**environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [shutil.which("setsid") or "", "--ctty", "--wait", *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(timeout=30)
        os.close(ours)


def interrupt(terminal: int, *, once: bool = False) -> bytes:
    """Press Ctrl-C, repeatedly if it has no effect, until the end; return the output.

    Python that is about to read a line notes the signal and still waits; a user presses again too. Press it `once` if
    another program gets the key: a second one, after the end of that program, would be for the first.
    """
    os.write(terminal, _CTRL_C)
    return read_until(terminal, b"", again=b"" if once else _CTRL_C)


def read_until(terminal: int, wanted: bytes, *, again: bytes = b"") -> bytes:
    """Return the output up to `wanted`; b"" stands for the end. Fail after a minute.

    `again` is typed whenever there is no output for a while.
    """
    output, until = b"", time.monotonic() + _SECONDS
    while not wanted or wanted not in output:
        if not select.select([terminal], [], [], _PAUSE)[0]:
            assert time.monotonic() < until, f"after {_SECONDS} s there is no {wanted or 'end'!r}: {output!r}"
            if again:
                os.write(terminal, again)
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # no process has the other end open
            piece = b""
        if not piece:
            assert not wanted, f"{wanted!r} did not come: {output!r}"
            break
        output += piece
    return output
