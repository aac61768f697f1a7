"""Backups of an index in a repository of a test, and the commands for them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.servers import run_ppmctl
from testbed.hosts import Host

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, kw_only=True)
class Backups:
    """The backups of the volume `root`; `location` is the repository's."""

    root: Path
    location: str
    password_file: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        return {
            **os.environ,
            "PPM_BACKUP_REPOSITORY": self.location,
            "PPM_BACKUP_PASSWORD_FILE": str(self.password_file),
            **self.environ,
        }

    def run(self, *arguments: str | Path, expect: int = 0, root: Path | None = None) -> str:
        """Run `ppmctl backup` for the volume, or another one; return stdout, after a failure with stderr."""
        words = ["backup", *map(str, arguments), "--root", str(root or self.root)]
        done: subprocess.CompletedProcess[str] = run_ppmctl(words, env=self.variables())
        assert done.returncode == expect, f"{words} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if expect else "")

    def json(self, *arguments: str | Path, root: Path | None = None) -> dict[str, Any]:
        """Run it with --json and return the document."""
        document: dict[str, Any] = json.loads(self.run(*arguments, "--json", root=root))
        return document

    def result(self, name: str) -> dict[str, Any]:
        """Return the recorded result of the operation `name`."""
        document: dict[str, Any] = json.loads((self.root / "operations" / f"{name}.json").read_bytes())
        return document

    def packs(self) -> list[Path]:
        """Return the files with data of a repository in a folder."""
        return sorted(path for path in Path(self.location, "data").rglob("*") if path.is_file())


def make_account(host: Host, key: Path) -> None:
    """Make a user `keeper` on the host, whom the key (beside `key`.pub) lets in for SFTP, as docs/backup.md says."""
    public = key.with_suffix(".pub").read_text().strip()
    host.run(
        "useradd --create-home keeper && install -d -m 0700 -o keeper -g keeper /home/keeper/.ssh &&"
        f" echo {shlex.quote(f'restrict {public}')} >/home/keeper/.ssh/authorized_keys"
    )


def backups(root: Path, folder: Path, *, location: str = "", **environ: str) -> Backups:
    """Return new backups of the volume `root`, in `folder` unless a location is given. Nothing is made yet."""
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    return Backups(
        root=root, location=location or str(folder / "repository"), password_file=password, environ=environ
    )


def own_files(root: Path) -> dict[str, bytes]:
    """Return what a restore brings back, by path below the volume's root; not the audit log, which goes on."""
    kept = ("packages", "quarantine", "claims", "credentials", "first-credential", "netrc", "ppm.yml")
    paths = (
        path for name in kept for path in ((root / name).rglob("*") if (root / name).is_dir() else [root / name])
    )
    without = ("credentials/nginx", "credentials/sessions", "credentials/login-links")
    return {
        name: path.read_bytes()
        for path in paths
        if path.is_file() and not (name := str(path.relative_to(root))).startswith(without)
    }
