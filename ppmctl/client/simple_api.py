"""Client of a Simple API: a project's page as values, from JSON or HTML (PEP 503, 592, 629, 691, 700, 714, 792)."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from ppmctl.client.http import Answer, Transport, absolute, failed
from ppmctl.client.index_url import Address
from ppmctl.distributions.distribution import is_name, normalise, one_line
from ppmctl.distributions.project_page import ProjectPage
from ppmctl.errors import NOT_SUCH_JSON, PpmError

# As pip sends it, so that every index has an answer to it.
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
_JSON = ("application/vnd.pypi.simple.v1+json", "application/json")
_HTML = ("application/vnd.pypi.simple.v1+html", "text/html")
_GONE = (404, 410)


class Index:
    """The index at `address`, read through `transport`."""

    def __init__(self, address: Address, transport: Transport) -> None:
        self.address = address
        self._transport = transport

    def project(self, name: str) -> ProjectPage | None:
        """The page of the project `name` as this index itself has it, or None.

        None also where the index sends elsewhere for it: what another index says of the same name is about
        another project. CredentialError for 401 and 403; Unreachable and PpmError as in `Transport.request`;
        PpmError where there is no Simple API at the address, or one that is not version 1.
        """
        answer = self._page(f"{self.address.simple}{normalise(name)}/")
        if answer is None or answer.status in _GONE:
            if answer is not None:
                self._see_that_it_is_an_index()
            return None
        return parse_page(answer.body, content_type=answer.content_type, url=answer.url)

    def names(self) -> list[str]:
        """The normalised names of all projects, sorted; the errors are those of `project`."""
        answer = self._page(self.address.simple)
        if answer is None or answer.status in _GONE:
            raise self._no_index()
        return parse_names(answer.body, content_type=answer.content_type, url=answer.url)

    def _page(self, url: str) -> Answer | None:
        """A page, or that it is not here; None where the index sends elsewhere."""
        # a page that a cache on the way has kept would hide what was published a moment ago
        headers = {"Accept": ACCEPT, "Cache-Control": "no-cache"}
        answer = self._transport.followed(
            url, lambda page: self._transport.ask("GET", page, headers=headers), may_follow=self._is_own
        )
        if answer.location:
            return None
        if answer.status != 200 and answer.status not in _GONE:
            raise failed(answer, hint="The index's own log may say why.")
        return answer

    def _is_own(self, location: str) -> bool:
        """Whether a redirect stays within this index: the same server, and below the same list of projects."""
        if location.startswith(self.address.simple):
            return True
        here, there = urlsplit(self.address.simple), urlsplit(location)
        if (here.scheme, there.scheme) == ("http", "https") and here.hostname == there.hostname:
            moved = location.partition("/simple/")[0]
            raise PpmError(f"The index at {self.address.base} redirects to HTTPS.", hint=f"Use --index {moved}/")
        return False

    def _see_that_it_is_an_index(self) -> None:
        answer = self._transport.request("HEAD", self.address.simple, headers={"Accept": ACCEPT})
        if answer.status in _GONE:
            raise self._no_index()

    def _no_index(self) -> PpmError:
        return PpmError(
            f"There is no Simple API at {self.address.simple}.",
            hint="Is the URL right? It is what pip has as its index URL, with or without /simple/ at its end.",
        )


def parse_page(body: bytes, *, content_type: str, url: str) -> ProjectPage:
    """Read a project's page that came from `url` as `content_type`; PpmError says why it is none."""
    if content_type in _JSON:
        try:
            values = json.loads(body)
            _check_version(str(values["meta"]["api-version"]), url)
            return ProjectPage.from_json(values, lambda target: absolute(url, target))
        except NOT_SUCH_JSON as exc:
            raise PpmError(f"{url} is not a page of a Simple API: {type(exc).__name__}: {exc}.") from exc
    if content_type in _HTML:
        return ProjectPage.from_json(_html_values(body.decode("utf-8", "replace"), url), str)
    raise _no_page(content_type, url)


def _no_page(content_type: str, url: str) -> PpmError:
    return PpmError(
        f"{url} answered with {content_type or 'nothing that says what it is'}, not with a page of a Simple API.",
        hint="Is it the URL of an index?",
    )


def parse_names(body: bytes, *, content_type: str, url: str) -> list[str]:
    """Read the list of projects that came from `url`: normalised names, sorted; PpmError says why it is none."""
    if content_type in _JSON:
        try:
            page = json.loads(body)
            _check_version(str(page["meta"]["api-version"]), url)
            names = [str(project["name"]) for project in page["projects"]]
        except NOT_SUCH_JSON as exc:
            raise PpmError(f"{url} is not a list of a Simple API: {type(exc).__name__}: {exc}.") from exc
    elif content_type in _HTML:
        reader = _read_html(body.decode("utf-8", "replace"), url)
        paths = (urlsplit(absolute(url, anchor.get("href", ""))).path for anchor in reader.anchors)
        names = [unquote(path.rstrip("/").rpartition("/")[2]) for path in paths]
    else:
        raise _no_page(content_type, url)
    return sorted({normalise(name) for name in names if is_name(name)})


def is_index(answer: Answer) -> bool:
    """Whether an answer is a list of projects. Of HTML without a version, where its links lead decides."""
    try:
        names = parse_names(answer.body, content_type=answer.content_type, url=answer.url)
    except PpmError:
        return False
    if answer.status != 200 or answer.content_type in _JSON:
        return answer.status == 200
    reader = _read_html(answer.body.decode("utf-8", "replace"), answer.url)
    if "pypi:repository-version" in reader.meta:
        return True
    here = answer.url.removesuffix("/")
    links = [absolute(answer.url, anchor.get("href", "")).rstrip("/") for anchor in reader.anchors]
    projects = [link for link in links if link.rpartition("/")[0] == here]
    return bool(names) and len(projects) * 2 > len(links) if links else b"simple" in answer.body.lower()


def _html_values(text: str, url: str) -> dict[str, Any]:
    """A page in HTML as the same page in JSON would be, with absolute URLs."""
    reader = _read_html(text, url)
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


def _read_html(text: str, url: str) -> _PageReader:
    reader = _PageReader()
    reader.feed(text)
    reader.close()
    _check_version(reader.meta.get("pypi:repository-version", "1.0"), url)
    return reader


class _PageReader(HTMLParser):
    """Collects what a page of links is made of; whatever else it holds is passed over."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: list[dict[str, str]] = []
        self.meta: dict[str, str] = {}
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.anchors.append(attributes)
        elif tag == "meta" and "name" in attributes:
            self.meta[attributes["name"]] = attributes.get("content", "")
        elif tag == "base":
            self.base = attributes.get("href", "")


def _check_version(version: str, url: str) -> None:
    if version.partition(".")[0] != "1":
        raise PpmError(
            f"{url} speaks version {one_line(version)} of the Simple API; ppmctl knows version 1.",
            hint="Is there a newer ppmctl?",
        )
