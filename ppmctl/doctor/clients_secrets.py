"""Find credentials in URLs of configuration, requirements and lock files, which are shared and committed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ppmctl import regular_file, user_dirs
from ppmctl.doctor.client_model import Client
from ppmctl.doctor.finding import Context, Finding

_LARGEST = 20 << 20  # bytes of a file; there are lock files of several MB
_IN_PROJECTS = (
    *("pyproject.toml", "uv.toml", "pdm.toml", "Pipfile", "setup.cfg", "pip.conf", ".pypirc", "environment.yml"),
    *("requirements*.txt", "requirements/*.txt", "constraints*.txt", "Dockerfile", ".gitlab-ci.yml"),
    *("Pipfile.lock", "poetry.lock", "pdm.lock", "uv.lock", "pylock*.toml"),
)
_USERINFO = re.compile(r"https?://(?P<user>[^\s/@:\"'<>]*)(?::(?P<secret>[^\s/@\"'<>]*))?@(?P<host>[^\s/\"'<>]+)")
# instead of a secret, in an example or for a variable
_PLACEHOLDER = re.compile(r".*[${}%].*|\*+|x+|\.+|pass(word)?|secret|(my|your)?[-_]?token|pw", re.IGNORECASE)
# a user name that can only be a token
_TOKEN = re.compile(r"ppm_.+|(?=.*\d)(?=.*[A-Za-z])[\w.~-]{24,}")


def check(clients: Iterable[Client], context: Context) -> Iterator[Finding]:
    """Find each line with a credential in a URL; the credential is never shown."""
    files, is_clean = _files(clients, context), True
    for path in files:
        for number, line in enumerate(_lines(path), start=1):
            for match in _USERINFO.finditer(line):
                if _is_secret(match["user"], match["secret"]):
                    is_clean = False
                    yield _finding(path, number, match["host"], context)
    if is_clean and files:
        message = f"files of clients and of this folder have no credential in a URL ({len(files)} checked)"
        yield Finding("secrets", "ok", message)


def _is_secret(user: str, secret: str | None) -> bool:
    return not _PLACEHOLDER.fullmatch(secret) if secret else _TOKEN.fullmatch(user) is not None


def _finding(path: Path, number: int, host: str, context: Context) -> Finding:
    command = f"sed -i {shlex.quote(rf'{number}s#//[^/@ ]*@#//#g')} {shlex.quote(str(path))}"
    then = f"  # then, with a new secret: machine {host} in ~/.netrc"
    if host == urlsplit(context.address.base).netloc:
        then = f"; ppmctl login {context.address.base} --netrc  # with a new secret: others may have seen this one"
    message = f"the URL of {host} has a credential in it, which is shown and copied with the file"
    return Finding("secrets", "fail", f"{path}, line {number}: {message}", command + then)


def _files(clients: Iterable[Client], context: Context) -> list[Path]:
    config = user_dirs.config(context.environ, context.home)
    files = [setting.file for client in clients for chain in client.settings.values() for setting in chain]
    known = [context.home / ".pypirc", config / "pypoetry" / "config.toml", config / "pdm" / "config.toml"]
    here = [path for pattern in _IN_PROJECTS for path in sorted(context.cwd.glob(pattern))]
    return list(dict.fromkeys(filter(regular_file.is_present, (*filter(None, files), *known, *here))))


def _lines(path: Path) -> list[str]:
    try:
        return regular_file.read(path, most=_LARGEST).decode(errors="replace").splitlines()
    except OSError:
        return []
