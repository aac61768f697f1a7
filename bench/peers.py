"""Other products that `make bench` measures: how each is installed, set up, started and stopped."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.indexes import CACHE, Index

USER, SECRET = "bench", "a-secret-of-the-benchmark"


class Peer(Index):
    """Another product, installed with pip into a virtual environment of its own below .cache."""

    requirements: tuple[str, ...] = ()

    @property
    def venv(self) -> Path:
        return CACHE / re.sub(r"[^a-z0-9.]+", "-", "-".join(self.requirements))

    def install(self) -> None:
        if (self.venv / "installed").exists():
            return
        subprocess.run([sys.executable, "-m", "venv", "--clear", self.venv], check=True, capture_output=True)
        pip = [self.program("pip"), "install", "--quiet", "--disable-pip-version-check", *self.requirements]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"{self.name} can't be installed: {_last(done.stderr)}")
        (self.venv / "installed").touch()

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of its programs to its end."""
        command = [self.venv / "bin" / program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=self.folder)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {program} failed: {_last(done.stderr)}")

    def program(self, name: str) -> str:
        return str(self.venv / "bin" / name)


class Pypiserver(Peer):
    name = "pypiserver"
    how = "`pypi-server run --server gunicorn`, every read with a credential of htpasswd (SHA-1)"
    requirements = ("pypiserver[passlib]==2.4.2", "gunicorn==27.0.1")
    auth, is_read_with_auth = (USER, SECRET), True

    def set_up(self) -> None:
        (self.folder / "packages").mkdir()
        stored = base64.b64encode(hashlib.sha1(SECRET.encode(), usedforsecurity=False).digest()).decode()
        (self.folder / "htpasswd").write_text(f"{USER}:{{SHA}}{stored}\n")

    def launch(self) -> None:
        options = ["--server", "gunicorn", "--disable-fallback", "-P", "htpasswd", "-a", "update,download,list"]
        options += ["-i", "127.0.0.1", "-p", str(self.port)]
        self.popen([self.program("pypi-server"), "run", *options, "packages"])


class Devpi(Peer):
    name = "devpi"
    how = "`devpi-server --enable-core-metadata` (experimental), uploads with a token, reads without a credential"
    requirements = ("devpi-server==6.20.3",)
    simple, upload = "/bench/dev/+simple/", "/bench/dev/"

    def set_up(self) -> None:
        self.run("devpi-init", "--serverdir", "data", "--no-root-pypi", "--root-passwd", SECRET)
        self.start()
        self._put("/bench", {"password": SECRET})
        self._put("/bench/dev", {"type": "stage", "bases": []})
        self.stop()

    def launch(self) -> None:
        options = ["--serverdir", "data", "--host", "127.0.0.1", "--port", str(self.port), "--enable-core-metadata"]
        self.popen([self.program("devpi-server"), *options])

    def started(self) -> None:
        """Log in: a token is checked faster than a password."""
        with contextlib.suppress(KeyError):  # before the user is made
            self.auth = USER, self._ask("POST", "/+login", {"user": USER, "password": SECRET}, {})["password"]

    def _put(self, path: str, content: Mapping[str, Any]) -> None:
        root = self._ask("POST", "/+login", {"user": "root", "password": SECRET}, {})["password"]
        self._ask("PUT", path, content, {"X-Devpi-Auth": base64.b64encode(f"root:{root}".encode()).decode()})

    def _ask(self, method: str, path: str, content: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        with contextlib.closing(self.connect()) as connection:
            connection.request(
                method,
                path,
                json.dumps(content),
                {"Content-Type": "application/json", "Accept": "application/json"} | dict(headers),
            )
            answer = connection.getresponse()
            result: dict[str, Any] = json.loads(answer.read()).get("result", {})
            return result


class Pypiron(Peer):
    name = "pypiron"
    how = "`pypiron serve` on disk, every read with its one credential for that, without its feed of advisories"
    requirements = ("pypiron==0.0.29",)
    upload = "/legacy/"
    auth, is_read_with_auth = (USER, SECRET), True

    def launch(self) -> None:
        (self.folder / "spool").mkdir(exist_ok=True)
        options = ["--data-dir", "data", "--spool-dir", "spool", "--bind-addr", f"127.0.0.1:{self.port}"]
        options += ["--uploader-user", USER, "--uploader-pass", SECRET, "--advisory-feed", ""]
        options += ["--read-user", "reader", "--read-pass", f"{SECRET}-too"]
        self.popen([self.program("pypiron"), "serve", *options])


class Peryx(Peer):
    name = "peryx"
    how = "`peryx serve` with one hosted index, every read with a token, without its TLS"
    requirements = ("peryx==2026.1010.0",)
    simple, upload = "/bench/simple/", "/bench/"
    auth, is_read_with_auth = ("__token__", SECRET), True
    can_tls = True

    def set_up(self) -> None:
        (self.folder / "peryx.toml").write_text(
            'data_dir = "data"\n\n[[index]]\necosystem = "pypi"\nname = "bench"\nhosted = true\n'
            'anonymous_read = false\n\n[[index.access_token]]\nname = "upload"\n'
            f'secret = "{SECRET}"\nactions = ["read", "write"]\n'
        )

    def launch(self) -> None:
        self.popen([self.program("peryx"), "serve", "--config", "peryx.toml", "--port", str(self.port)])


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("WARNING")]
    return lines[-1].strip() if lines else "no message"
