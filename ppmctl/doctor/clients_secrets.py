"""Credentials in URLs, where they are shown, committed and copied: in configuration, requirements and lock files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ppmctl.doctor.clients_values import Client
from ppmctl.doctor.finding import Finding, Visit

_LARGEST = 20 << 20  # bytes of a file that is read; there are lock files of several
_IN_PROJECTS = (
    *("pyproject.toml", "uv.toml", "pdm.toml", "Pipfile", "setup.cfg", "pip.conf", ".pypirc", "environment.yml"),
    *("requirements*.txt", "requirements/*.txt", "constraints*.txt", "Dockerfile", ".gitlab-ci.yml"),
    *("Pipfile.lock", "poetry.lock", "pdm.lock", "uv.lock", "pylock*.toml"),
)
# Not a name alone, which is no secret, and not ${VARIABLE}, which is where a secret is not.
_WITH_SECRET = re.compile(r"https?://(?P<user>[^\s/@:\"'<>]*):(?P<secret>[^\s/@\"'<>]+)@(?P<host>[^\s/\"'<>]+)")


def check(clients: Iterable[Client], visit: Visit) -> Iterator[Finding]:
    """Each line of a file with a credential in a URL; it is never shown."""
    looked_at, is_clean = 0, True
    for path in _files(clients, visit):
        looked_at += 1
        for number, line in enumerate(_lines(path), start=1):
            for match in _WITH_SECRET.finditer(line):
                if "$" in match["secret"] or match["secret"].strip("*") == "":
                    continue
                is_clean = False
                yield _finding(path, number, match["host"], visit)
    if is_clean and looked_at:
        files = "file" if looked_at == 1 else "files"
        yield Finding(
            "secrets", "ok", f"no URL of {looked_at} {files} of clients and of this folder has a credential"
        )


def _finding(path: Path, number: int, host: str, visit: Visit) -> Finding:
    base = visit.address.base if host == urlsplit(visit.address.base).netloc else f"https://{host}/"
    taken_out = f"sed -i {shlex.quote(rf'{number}s#//[^/@ ]*@#//#g')} {shlex.quote(str(path))}"
    return Finding(
        "secrets",
        "fail",
        f"{path}, line {number}: the URL of {host} has a credential in it, which is shown and copied with the file",
        f"{taken_out}; ppmctl login {base} --netrc  # with another one: this one has been seen",
    )


def _files(clients: Iterable[Client], visit: Visit) -> list[Path]:
    config = Path(visit.environ.get("XDG_CONFIG_HOME") or visit.home / ".config")
    files = [setting.file for client in clients for chain in client.settings.values() for setting in chain]
    known = [visit.home / ".pypirc", config / "pypoetry" / "config.toml", config / "pdm" / "config.toml"]
    here = [path for pattern in _IN_PROJECTS for path in sorted(visit.cwd.glob(pattern))]
    return list(dict.fromkeys(path for path in (*filter(None, files), *known, *here) if path.is_file()))


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _LARGEST:
            return []
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
