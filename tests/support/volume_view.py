"""Read a volume's files without the product's code: what is in it, and what its pages say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

SIDE_FILES = (".metadata", ".upload", ".attestations", ".provenance", ".yanked", ".removed")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project's folder. `files` maps the names of distributions to paths, `beside` other names to contents."""

    name: str
    files: dict[str, Path]
    beside: dict[str, bytes]
    is_marked: bool

    @property
    def status(self) -> dict[str, str]:
        written: dict[str, str] = json.loads(self.beside.get(".status", b'{"state": "active", "reason": ""}'))
        return written

    @property
    def removed(self) -> frozenset[str]:
        return frozenset(name.removesuffix(".removed") for name in self.beside if name.endswith(".removed"))

    @property
    def listed(self) -> list[str]:
        """Return the files that the project's page lists."""
        if self.status["state"] == "quarantined":
            return []
        return sorted(set(self.files) - self.removed)

    def record(self, filename: str) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.beside[f"{filename}.upload"])
        return values

    def yanked(self, filename: str) -> str | None:
        text = self.beside.get(f"{filename}.yanked")
        return None if text is None else text.decode().strip()


@dataclass(frozen=True, kw_only=True)
class View:
    """A volume's files at one moment."""

    root: Path

    @cached_property
    def marks(self) -> frozenset[str]:
        folder = self.root / "index/pending"
        return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()

    @cached_property
    def projects(self) -> dict[str, Project]:
        folders = sorted(path for path in (self.root / "packages").iterdir() if path.is_dir())
        return {folder.name: self._project(folder) for folder in folders}

    def _project(self, folder: Path) -> Project:
        files: dict[str, Path] = {}
        beside: dict[str, bytes] = {}
        kept = self.root / "quarantine" / folder.name
        for path in (*folder.iterdir(), *(kept.iterdir() if kept.is_dir() else ())):
            if path.name.startswith(".") or path.name.endswith(SIDE_FILES):
                beside[path.name] = path.read_bytes()
            else:
                assert path.name not in files, f"{path} is in packages/ and in quarantine/"
                files[path.name] = path
        return Project(name=folder.name, files=files, beside=beside, is_marked=folder.name in self.marks)

    def pages(self, project: str) -> dict[str, bytes]:
        """Return the pages of a project by file name, or of the list of projects for ""."""
        folder = self.root / "index/simple" / project
        if not folder.is_dir():
            return {}
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    def content(self, *, without: tuple[str, ...] = ("locks", "incoming")) -> dict[str, bytes]:
        """Return the content of every file by its path below the root. The search index has V27 instead."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file()
            and path.relative_to(self.root).parts[0] not in without
            and not path.name.startswith("search.sqlite3")
            and path.relative_to(self.root).parts[0] not in ("requests", "stats")
        }


@dataclass
class Page:
    """What a page in HTML says: the attributes of its links by their text, and its meta elements."""

    links: dict[str, dict[str, str]] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False


def html(content: bytes) -> Page:
    reader = _Reader()
    reader.feed(content.decode())
    reader.close()
    return reader.page


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._link: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "meta" and "name" in values:
            self.page.meta[values["name"]] = values["content"]
        self._link = values if tag == "a" else None

    def handle_data(self, data: str) -> None:
        if self._link is not None:
            self.page.links[data] = self._link

    def handle_endtag(self, tag: str) -> None:
        self._link = None
        self.page.is_whole = tag == "html"
