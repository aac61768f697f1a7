"""Credentials in URLs, where they are shown, committed and copied: in configuration, requirements and lock files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ppmctl import user_dirs
from ppmctl.doctor.client_model import Client
from ppmctl.doctor.finding import Finding, Visit

_LARGEST = 20 << 20  # bytes of a file that is read; there are lock files of several
_IN_PROJECTS = (
    *("pyproject.toml", "uv.toml", "pdm.toml", "Pipfile", "setup.cfg", "pip.conf", ".pypirc", "environment.yml"),
    *("requirements*.txt", "requirements/*.txt", "constraints*.txt", "Dockerfile", ".gitlab-ci.yml"),
    *("Pipfile.lock", "poetry.lock", "pdm.lock", "uv.lock", "pylock*.toml"),
)
_USERINFO = re.compile(r"https?://(?P<user>[^\s/@:\"'<>]*)(?::(?P<secret>[^\s/@\"'<>]*))?@(?P<host>[^\s/\"'<>]+)")
# What stands for a secret in an example, or where a variable is to be.
_PLACEHOLDER = re.compile(r".*[${}%].*|\*+|x+|\.+|pass(word)?|secret|(my|your)?[-_]?token|pw", re.IGNORECASE)
# A name alone is none, unless it is one that only a machine would make.
_TOKEN = re.compile(r"ppm_.+|(?=.*\d)(?=.*[A-Za-z])[\w.~-]{24,}")


def check(clients: Iterable[Client], visit: Visit) -> Iterator[Finding]:
    """Each line of a file with a credential in a URL; it is never shown."""
    looked_at, is_clean = 0, True
    for path in _files(clients, visit):
        looked_at += 1
        for number, line in enumerate(_lines(path), start=1):
            for match in _USERINFO.finditer(line):
                if _is_secret(match["user"], match["secret"]):
                    is_clean = False
                    yield _finding(path, number, match["host"], visit)
    if is_clean and looked_at:
        files = "file" if looked_at == 1 else "files"
        said = f"no URL of {looked_at} {files} of clients and of this folder has a credential"
        yield Finding("secrets", "ok", said)


def _is_secret(user: str, secret: str | None) -> bool:
    return not _PLACEHOLDER.fullmatch(secret) if secret else _TOKEN.fullmatch(user) is not None


def _finding(path: Path, number: int, host: str, visit: Visit) -> Finding:
    taken_out = f"sed -i {shlex.quote(rf'{number}s#//[^/@ ]*@#//#g')} {shlex.quote(str(path))}"
    then = f"  # then, with another secret: machine {host} in ~/.netrc"
    if host == urlsplit(visit.address.base).netloc:
        then = f"; ppmctl login {visit.address.base} --netrc  # with another secret: this one has been seen"
    said = f"the URL of {host} has a credential in it, which is shown and copied with the file"
    return Finding("secrets", "fail", f"{path}, line {number}: {said}", taken_out + then)


def _files(clients: Iterable[Client], visit: Visit) -> list[Path]:
    config = user_dirs.config(visit.environ, visit.home)
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
