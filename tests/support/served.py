"""An index as those who use it and the one who looks after it see it, whatever serves it: what tests may ask of any.

`Deployed` is a host's, `Embedded` that of `ppmctl serve` alone; compose has its own.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests

from support import servers
from support.servers import JSON, Server


class Served(ABC):
    """An index that answers, and its volume; `auth` is an admin's."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, without a slash at the end."""

    @property
    @abstractmethod
    def auth(self) -> tuple[str, str]: ...

    @property
    @abstractmethod
    def owner(self) -> str:
        """Whose the credentials are, user:group, as `stat` has it there; all else that it writes is that user's."""

    @property
    def authority(self) -> bytes | None:
        """The root (PEM) that its certificate leads to, or None where it is served over plain HTTP."""
        return None

    @property
    def is_local(self) -> bool:
        """Whether `url` is an address of this machine's loopback."""
        return False

    @abstractmethod
    def new_session(self) -> requests.Session:
        """A session that reaches it by `url`, and nothing else of this machine's settings."""

    @abstractmethod
    def ppmctl(self, arguments: str) -> str:
        """Run `ppmctl` beside the volume, as the one who looks after it would; what it printed."""

    @abstractmethod
    def look(self, command: str) -> str:
        """Run a shell command in the volume's folder, as one who may read and write all of it; what it printed."""

    @abstractmethod
    def restarts(self) -> int:
        """How often the application has ended by itself, or was ended, and was started anew."""

    @contextlib.contextmanager
    def reads_alone(self) -> Iterator[None]:
        """While this holds the application is stopped, where something else serves reads."""
        yield

    @property
    def simple(self) -> str:
        return f"{self.url}/simple/"

    @property
    def name(self) -> str:
        """The host's name in its URL, as .netrc has it."""
        return str(urlsplit(self.url).hostname)

    @cached_property
    def session(self) -> requests.Session:
        """For requests to it, kept open between them."""
        return self.new_session()

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET a path of the index as the admin, without following redirects."""
        return self.ask("GET", path, **options)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        options = {"auth": self.auth, "timeout": 60, "allow_redirects": False} | options
        return self.session.request(method, self.url + path, **options)

    def page(self, project: str) -> dict[str, Any]:
        """A project's page in JSON."""
        answer = self.get(f"/simple/{project}/", headers={"Accept": JSON})
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        page: dict[str, Any] = json.loads(answer.content)
        return page

    def upload(self, made: tuple[str, bytes], **options: Any) -> requests.Response:
        """Upload (filename, content) as the admin; no retries."""
        form = {":action": "file_upload", "protocol_version": "1"}
        return self.ask("POST", "/", **({"data": form, "files": {"content": made}, "timeout": 300} | options))


@dataclass(kw_only=True)
class Embedded(Served):
    """`ppmctl serve` on this machine, with nothing in front of it."""

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
    """A session for plain HTTP: no proxy, no .netrc of this machine's."""
    made = requests.Session()
    made.trust_env = False
    return made
