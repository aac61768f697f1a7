"""Read the pages of a Simple API, in JSON or HTML (PEP 503, 592, 629, 691, 700, 714, 792)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urlsplit

from ppmctl.client.http import Answer, Transport, absolute, failed
from ppmctl.client.index_url import Address
from ppmctl.distributions.distribution import normalise, one_line
from ppmctl.distributions.names import is_name
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.errors import NOT_SUCH_JSON, PpmError

if TYPE_CHECKING:
    from ppmctl.client.html_page import PageReader

# The header that pip sends, so every index can answer it.
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
_JSON = ("application/vnd.pypi.simple.v1+json", "application/json")
_HTML = ("application/vnd.pypi.simple.v1+html", "text/html")
NOT_FOUND = (404, 410)


class Index:
    """The pages of the index at `address`."""

    def __init__(self, address: Address, transport: Transport) -> None:
        self.address = address
        self._transport = transport

    def project(self, name: str) -> ProjectPage | None:
        """Return the page of the project `name`, or None if this index has no such project.

        A redirect to another index means None too: a project of the same name there is another project. Raise as
        `Transport.ask` does, and PpmError if there is no Simple API of version 1 at the address.
        """
        answer = self._page(f"{self.address.simple}{normalise(name)}/")
        if answer is None or answer.status in NOT_FOUND:
            if answer is not None:
                self._require_index()
            return None
        return parse_page(answer.body, content_type=answer.content_type, url=answer.url)

    def names(self) -> list[str]:
        """Return the normalised names of all projects, sorted. Raise as `project` does."""
        answer = self._page(self.address.simple)
        if answer is None or answer.status in NOT_FOUND:
            raise self._no_index()
        return parse_names(answer.body, content_type=answer.content_type, url=answer.url)

    def _page(self, url: str) -> Answer | None:
        """Return the answer with a page or in NOT_FOUND; None for a redirect to another index."""
        # a cached page would hide what was published a moment ago
        headers = {"Accept": ACCEPT, "Cache-Control": "no-cache"}
        answer = self._transport.followed(
            url, lambda page: self._transport.ask("GET", page, headers=headers), may_follow=self._is_own
        )
        if answer.location:
            return None
        if answer.status != 200 and answer.status not in NOT_FOUND:
            raise failed(answer, hint="The index's own log may give the reason.")
        return answer

    def _is_own(self, location: str) -> bool:
        """Return whether a redirect stays within this index: on the same server, below the list of projects."""
        if location.startswith(self.address.simple):
            return True
        own, target = urlsplit(self.address.simple), urlsplit(location)
        if (own.scheme, target.scheme) == ("http", "https") and own.hostname == target.hostname:
            moved = location.partition("/simple/")[0]
            raise PpmError(f"The index at {self.address.base} redirects to HTTPS.", hint=f"Use --index {moved}/")
        return False

    def _require_index(self) -> None:
        answer = self._transport.request("HEAD", self.address.simple, headers={"Accept": ACCEPT})
        if answer.status in NOT_FOUND:
            raise self._no_index()

    def _no_index(self) -> PpmError:
        return PpmError(
            f"There is no Simple API at {self.address.simple}.",
            hint="Is the URL right? It is pip's index URL, with or without /simple/ at its end.",
        )


def parse_page(body: bytes, *, content_type: str, url: str) -> ProjectPage:
    """Return the project's page that came from `url` as `content_type`. Raise PpmError if it is invalid."""
    if content_type in _JSON:
        try:
            values = json.loads(body)
            _check_version(str(values["meta"]["api-version"]), url)
            return ProjectPage.from_json(values, lambda target: absolute(url, target))
        except NOT_SUCH_JSON as exc:
            raise PpmError(f"{url} is not a page of a Simple API: {type(exc).__name__}: {exc}.") from exc
    if content_type in _HTML:
        return ProjectPage.from_json(_html_values(body, url), str)
    raise _no_page(content_type, url)


def _no_page(content_type: str, url: str) -> PpmError:
    return PpmError(
        f"{url} answered with {content_type or 'no content type'}, not with a page of a Simple API.",
        hint="Is it the URL of an index?",
    )


def parse_names(body: bytes, *, content_type: str, url: str) -> list[str]:
    """Return the normalised names of a list of projects, sorted. Raise PpmError if it is invalid."""
    if content_type in _JSON:
        try:
            page = json.loads(body)
            _check_version(str(page["meta"]["api-version"]), url)
            names = [str(project["name"]) for project in page["projects"]]
        except NOT_SUCH_JSON as exc:
            raise PpmError(f"{url} is not a list of a Simple API: {type(exc).__name__}: {exc}.") from exc
    elif content_type in _HTML:
        reader = _read_html(body, url)
        paths = (urlsplit(absolute(url, anchor.get("href", ""))).path for anchor in reader.anchors)
        names = [unquote(path.rstrip("/").rpartition("/")[2]) for path in paths]
    else:
        raise _no_page(content_type, url)
    return sorted({normalise(name) for name in names if is_name(name)})


def is_index(answer: Answer) -> bool:
    """Return whether an answer is a list of projects. For HTML without a version, the targets of its links decide."""
    try:
        names = parse_names(answer.body, content_type=answer.content_type, url=answer.url)
    except PpmError:
        return False
    if answer.status != 200 or answer.content_type in _JSON:
        return answer.status == 200
    reader = _read_html(answer.body, answer.url)
    if "pypi:repository-version" in reader.meta:
        return True
    list_url = answer.url.removesuffix("/")
    links = [absolute(answer.url, anchor.get("href", "")).rstrip("/") for anchor in reader.anchors]
    projects = [link for link in links if link.rpartition("/")[0] == list_url]
    return bool(names) and len(projects) * 2 > len(links) if links else b"simple" in answer.body.lower()


def _html_values(body: bytes, url: str) -> dict[str, Any]:
    """Return a page in HTML as the values of the same page in JSON, with absolute URLs."""
    reader = _read_html(body, url)
    base = absolute(url, reader.base)
    return {
        "name": urlsplit(url).path.rstrip("/").rpartition("/")[2],
        "project-status": {
            "status": reader.meta.get("pypi:project-status", "active"),
            "reason": reader.meta.get("pypi:project-status-reason", ""),
        },
        "files": [_html_file(anchor, base) for anchor in reader.anchors if anchor.get("href")],
    }


def _html_file(anchor: dict[str, str], base: str) -> dict[str, Any]:
    target = absolute(base, anchor["href"])
    algorithm, _, digest = urldefrag(anchor["href"]).fragment.partition("=")
    metadata = anchor.get("data-core-metadata", anchor.get("data-dist-info-metadata"))
    return {
        "filename": unquote(urlsplit(target).path.rpartition("/")[2]),
        "url": target,
        "hashes": {algorithm: digest},
        "requires-python": anchor.get("data-requires-python"),
        "yanked": anchor.get("data-yanked"),
        "core-metadata": {"sha256": metadata.removeprefix("sha256=").removeprefix("true")}
        if metadata is not None
        else None,
    }


def _read_html(body: bytes, url: str) -> PageReader:
    from ppmctl.client.html_page import PageReader  # with html.parser, which pages in JSON don't need

    reader = PageReader()
    try:
        reader.feed(body.decode("utf-8", "replace"))
        reader.close()
    except AssertionError as exc:  # Python's parser raises it for some declarations: <![x
        raise PpmError(f"{url} is not a page in HTML: {one_line(exc)}.") from exc
    _check_version(reader.meta.get("pypi:repository-version", "1.0"), url)
    return reader


def _check_version(version: str, url: str) -> None:
    if version.partition(".")[0] != "1":
        raise PpmError(
            f"{url} has version {one_line(version)} of the Simple API; ppmctl supports version 1.",
            hint="Is there a newer ppmctl?",
        )
