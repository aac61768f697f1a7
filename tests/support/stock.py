"""An unmodified pypiserver on a folder of packages, as users who leave ppm would run it."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urljoin

import requests

from support.clients import BIN
from support.evidence import until
from support.servers import free_port


@contextlib.contextmanager
def stock_pypiserver(packages: Path, log: Path) -> Iterator[str]:
    """Run pypiserver without ppm on a folder; yield its URL."""
    port = free_port()
    command = [BIN / "pypi-server", "run", "-p", str(port), "-i", "127.0.0.1", "--hash-algo", "sha256"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "-a", ".", "-P", ".", packages], stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{url}/health", timeout=5).ok
        return False

    try:
        until(is_up, "pypiserver answers")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def links(url: str) -> dict[str, tuple[str, str]]:
    """Return a page's files: by name, the URL and the sha256."""
    page = requests.get(url, timeout=60)
    page.raise_for_status()
    files = {}
    for href, text in re.findall(r'<a href="([^"]+)">([^<]+)</a>', page.text):
        target, _, digest = urljoin(page.url, unescape(href)).partition("#sha256=")
        assert unquote(target).rpartition("/")[2] == unescape(text)
        files[unescape(text)] = (target, digest)
    return files
