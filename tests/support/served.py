"""An index for users and administrators, however it is deployed: the interface of tests for any deployment.

`Deployed` is on a host, `Embedded` is `ppmctl serve` alone; `Composed` is by compose.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests

from support import servers
from support.servers import JSON, Server


class Served(ABC):
    """A running index and its volume; `auth` is an admin's credential."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Return the URL for clients, without a slash at the end."""

    @property
    @abstractmethod
    def auth(self) -> tuple[str, str]: ...

    @property
    @abstractmethod
    def owner(self) -> str:
        """Return the owner of the credential files, user:group, as in `stat`; all other files have the same user."""

    @property
    def authority(self) -> bytes | None:
        """Return the root (PEM) of its certificate, or None with plain HTTP."""
        return None

    @property
    def is_local(self) -> bool:
        """Return whether `url` is an address of this machine's loopback."""
        return False

    @abstractmethod
    def new_session(self) -> requests.Session:
        """Return a session that reaches `url` without this machine's proxies and other settings."""

    @abstractmethod
    def ppmctl(self, arguments: str) -> str:
        """Run `ppmctl` on the server host, as an administrator would; return its output."""

    @abstractmethod
    def look(self, command: str) -> str:
        """Run a shell command in the volume's folder, as a user with all rights there; return its output."""

    @abstractmethod
    def restarts(self) -> int:
        """Return how often the application has restarted."""

    @contextlib.contextmanager
    def reads_alone(self) -> Iterator[None]:
        """Stop the application during the block, if another program (nginx) serves reads."""
        yield

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    @property
    def name(self) -> str:
        """Return the host name in its URL, as in .netrc."""
        return str(urlsplit(self.url).hostname)

    @cached_property
    def session(self) -> requests.Session:
        """Return a session whose connections stay open between requests."""
        return self.new_session()

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET a path of the index as the admin, without following redirects."""
        return self.ask("GET", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"auth": self.auth, "timeout": 60, "allow_redirects": False} | options
        return self.session.request(method, self.url + path, **options)

    def page(self, project: str) -> dict[str, Any]:
        """Return a project's page in JSON."""
        answer = self.get(f"/simple/{project}/", headers={"Accept": JSON})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        page: dict[str, Any] = json.loads(answer.content)
        return page

    def upload(
        self, made: tuple[str, bytes], *, fields: Mapping[str, str] | None = None, **options: Any
    ) -> requests.Response:
        """Upload (filename, content) as the admin; no retries."""
        form = {":action": "file_upload", "protocol_version": "1"} | dict(fields or {})
        return self.ask("POST", "/", **({"data": form, "files": {"content": made}, "timeout": 300} | options))


@dataclass(kw_only=True)
class Embedded(Served):
    """`ppmctl serve` on this machine, without a proxy."""

    server: Server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def auth(self) -> tuple[str, str]:
        return self.server.auth

    @property
    def owner(self) -> str:
        return f"{self.server.root.owner()}:{self.server.root.group()}"

    @property
    def is_local(self) -> bool:
        return True

    def new_session(self) -> requests.Session:
        return plain_session()

    def ppmctl(self, arguments: str) -> str:
        return servers.ppmctl(*shlex.split(arguments), "--root", str(self.server.root)).stdout

    def look(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.server.root, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def restarts(self) -> int:
        assert self.server.process.poll() is None, self.server.log.read_text()[-2000:]
        return 0


def plain_session() -> requests.Session:
    """Return a session for plain HTTP, without this machine's proxies and .netrc."""
    made = requests.Session()
    made.trust_env = False
    return made
