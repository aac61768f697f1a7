"""What a page shows of a release's core metadata, which a stranger wrote: texts are cut, links lead to web pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urlsplit

from packaging.metadata import RawMetadata
from packaging.requirements import InvalidRequirement, Requirement

from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.distributions.names import is_name

_MOST = 1000  # entries of a field; a page shows no more
_MAX_URL = 2000  # characters
_MAX_REQUIREMENT = 1000  # characters; a longer one is shown as its beginning
_NONE = "UNKNOWN"  # what old distutils wrote for nothing


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """A requirement: the `project` that it names (normalised, "" if it can't be read), the rest, and its marker."""

    project: str
    text: str
    marker: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The fields of a release for people; "" and () stand for what it does not have. `links`: labels and URLs."""

    summary: str
    license: str
    requires_python: str
    author: str
    maintainer: str
    keywords: tuple[str, ...]
    classifiers: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    requirements: tuple[str, ...]
    description: str
    description_type: str


def of(metadata: RawMetadata) -> Facts:
    """Return the facts of a release with this metadata, which can be {}."""
    text = metadata.get("description", "")
    return Facts(
        summary=_line(metadata.get("summary")),
        license=_line(metadata.get("license_expression") or metadata.get("license")),
        requires_python=_line(metadata.get("requires_python")),
        author=_line(metadata.get("author") or metadata.get("author_email")),
        maintainer=_line(metadata.get("maintainer") or metadata.get("maintainer_email")),
        keywords=_lines(metadata.get("keywords", [])),
        classifiers=_lines(metadata.get("classifiers", [])),
        links=tuple({url: (label, url) for label, url in _links(metadata)}.values()),
        requirements=tuple(metadata.get("requires_dist", [])[:_MOST]),
        description="" if text.strip() in ("", _NONE) else text,
        description_type=metadata.get("description_content_type", ""),
    )


def dependency(requirement: str) -> Dependency:
    """Return the parts of a requirement in the metadata."""
    try:
        parsed = Requirement(requirement[:_MAX_REQUIREMENT])
    except (InvalidRequirement, RecursionError):  # in a file of another index
        return Dependency(project="", text=one_line(requirement))
    marker, parsed.marker = str(parsed.marker or ""), None
    project = normalise(parsed.name) if is_name(parsed.name) else ""
    return Dependency(project=project, text=one_line(parsed), marker=one_line(marker))


def _links(metadata: RawMetadata) -> Iterator[tuple[str, str]]:
    urls = metadata.get("project_urls", {})
    more = {"Home page": metadata.get("home_page"), "Download": metadata.get("download_url")}
    for label, url in [*more.items(), *islice(urls.items(), _MOST)]:  # the label that the publisher chose wins
        if url and _is_link(url):
            yield _line(label)[:100] or url[:100], url


def _is_link(url: str) -> bool:
    """Return whether a URL leads to a web page, without a credential that would hide where."""
    try:
        parts = urlsplit(url)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False
    return is_page and len(url) <= _MAX_URL and url.isprintable() and " " not in url


def _lines(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(filter(None, map(_line, texts[:_MOST])))


def _line(text: str | None) -> str:
    return "" if text in (None, _NONE) else one_line(text)
