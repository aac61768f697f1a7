"""A project's page in either form (PEP 503, 691, 658, 714), as files by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
# As pip asks for it: with what clients really send, nginx decides alone, whether the application is up or not.
ACCEPT_JSON = f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"


class Unreadable(Exception):
    """What came is no page, and why."""


@dataclass(frozen=True, kw_only=True)
class File:
    """`path`: where it is on this index, "" if its link leads elsewhere. `metadata`: the SHA-256 of its METADATA."""

    path: str
    sha256: str
    metadata: str


def from_json(body: bytes, base: str) -> dict[str, File]:
    """The files of a JSON page that was got from the URL `base`."""
    try:
        page = json.loads(body)
        files = {file["filename"]: file for file in page["files"]}
        return {
            name: File(
                path=_path(file["url"], base),
                sha256=file["hashes"].get("sha256", ""),
                metadata=_hash_of(file.get("core-metadata")),
            )
            for name, file in files.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Unreadable(f"it is no JSON page ({type(exc).__name__}: {exc})") from exc


def names_in_json(body: bytes) -> list[str]:
    """The projects of a JSON list of projects."""
    try:
        return [project["name"] for project in json.loads(body)["projects"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise Unreadable(f"it is no JSON list of projects ({type(exc).__name__}: {exc})") from exc


def from_html(body: bytes, base: str) -> dict[str, File]:
    """The files of an HTML page that was got from the URL `base`."""
    parser = _Links()
    parser.feed(body.decode(errors="replace"))
    parser.close()
    files = {}
    for link in parser.links:
        target, fragment = urldefrag(urljoin(base, link.get("href") or ""))
        metadata = (link.get("data-core-metadata") or "").removeprefix("sha256=")
        name = unquote(urlsplit(target).path).rpartition("/")[2]
        files[name] = File(
            path=_path(target, base),
            sha256=fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else "",
            metadata=metadata,
        )
    return files


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[Mapping[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs))


def _hash_of(metadata: object) -> str:
    return str(metadata.get("sha256", "")) if isinstance(metadata, dict) else ""


def _path(url: str, base: str) -> str:
    there, here = urlsplit(urljoin(base, url)), urlsplit(base)
    return there.path if (there.scheme, there.netloc) == (here.scheme, here.netloc) else ""
