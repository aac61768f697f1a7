"""Commands on a terminal, as somebody who types sees them."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def on_a_terminal(command: list[str], environ: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of 50 lines with 111 columns; its process, and the other end of the terminal."""
    ours, theirs = pty.openpty()
    subprocess.run(["stty", "rows", "50", "cols", "111"], stdin=theirs, check=True, timeout=60)
    environ = {**environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environ
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait(timeout=30)
        os.close(ours)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What comes until `wanted` has come; b"" stands for the end."""
    said = b""
    while not wanted or wanted not in said:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # nobody has its other end any more
            piece = b""
        if not piece:
            assert not wanted, f"{wanted!r} did not come: {said!r}"
            break
        said += piece
    return said
