"""Run servers in their own mount namespace: on a small or read-only file system, or with a mount in the volume.

Only the server sees the mounts, and they end with it. unshare(1) needs no root where users may make namespaces.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import servers
from support.evidence import until
from support.servers import PPMCTL, Server

_USER = () if os.geteuid() == 0 else ("--map-root-user",)


def command(script: str, *more: str) -> tuple[str, ...]:
    """Return a command prefix that runs the shell commands `script` in a new mount namespace, then the command.

    `more` are options of unshare(1), such as further namespaces.
    """
    inside = f"set -e; {script}; exec " + '"$@"'
    return ("unshare", *_USER, "--mount", "--propagation", "private", *more, "sh", "-c", inside, "sh")


def _mount(folder: Path, size: str, files: int = 0) -> str:
    limit = f"size={size}" + (f",nr_inodes={files}" if files else "")
    return f"mount -t tmpfs -o {limit},mode=0755 tmpfs '{folder}'"


@contextmanager
def lasting_disk(folder: Path, *, size: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield a folder on a small file system that outlives its processes, and the command prefix to run on it."""
    folder.mkdir()
    with subprocess.Popen(
        [*command(f"{_mount(folder, size)}; echo mounted"), "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mounted\n"
        user = ("--user", "--preserve-credentials") if _USER else ()
        enter = ("nsenter", "--target", str(holder.pid), "--mount", f"--wd={Path.cwd()}", *user, "--")
        try:
            yield folder / "root", enter
        finally:
            holder.terminate()


def run(command: Sequence[str], *arguments: str, expect: int = 0) -> str:
    """Run arguments after the prefix `command` and return the output; fail with it unless it exits with `expect`."""
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == expect, f"{arguments} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A small file system with an index on it, which `server` serves. `root` is the volume, seen from the test."""

    server: Server

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.server.process.pid}/root{self.server.root}")

    def log_in(self) -> None:
        """Set the server's first credential for its requests."""
        self.server.user, _, self.server.secret = (self.root / "first-credential").read_text().strip().partition(":")

    @property
    def free(self) -> int:
        """Return the number of free bytes."""
        entry = os.statvfs(self.root)
        return entry.f_bavail * entry.f_bsize

    @property
    def free_files(self) -> int:
        """Return the number of free inodes."""
        return os.statvfs(self.root).f_favail

    def fill(self, *, leave: int) -> None:
        """Leave only `leave` bytes free: a ballast file outside the index takes the rest."""
        ballast = self.root / "ballast"

        def fills() -> bool:
            ballast.unlink(missing_ok=True)
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.free - leave)
            return self.free == leave

        until(fills, f"{leave} free bytes")  # a thread of the server writes the search index meanwhile

    def fill_names(self, *, leave: int) -> None:
        """Leave only `leave` free inodes."""
        ballast = self.root / "names"
        ballast.mkdir(exist_ok=True)
        for number in range(self.free_files - leave):
            (ballast / f"{leave}-{number}").touch()
        assert self.free_files == leave, f"{self.free_files} files are free"

    def empty(self) -> None:
        """Delete the ballast."""
        (self.root / "ballast").unlink(missing_ok=True)
        names = self.root / "names"
        if names.exists():
            for name in names.iterdir():
                name.unlink()
            names.rmdir()


def serve_on_disk(root: Path, *, size: str, files: int = 0, options: Sequence[str] = ()) -> Disk:
    """Serve an index on a file system of `size` with `files` inodes (0: unlimited)."""
    root.mkdir(parents=True)
    alone = (*command(_mount(root, size, files)), *PPMCTL)
    disk = Disk(server=servers.start(root, options=options, command=alone))
    disk.log_in()
    return disk
