"""One project of an index, to check by its page and one of its files what the index offers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ppmctl.client.http import Answer
from ppmctl.client.simple_api import parse_names, parse_page
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.doctor.finding import Context
from ppmctl.doctor.probe import PROJECT
from ppmctl.errors import PpmError

# two headers that nginx answers from disk, also while the application is down (server/content_negotiation.py)
JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"  # as pip before 22.2 sends it
_MOST_PROJECTS = 20


@dataclass(frozen=True)
class Sample:
    """A project of the index that has files."""

    context: Context
    name: str

    @property
    def url(self) -> str:
        return f"{self.context.address.simple}{self.name}/"

    @cached_property
    def json(self) -> Answer:
        """Return the answer to a client that accepts only JSON."""
        return fetch(self.context, "GET", self.url, {"Accept": JSON})

    @cached_property
    def html(self) -> Answer:
        """Return the answer to a client that accepts only HTML."""
        return fetch(self.context, "GET", self.url, {"Accept": HTML})

    @property
    def has_json(self) -> bool:
        return self.json.status == 200 and self.json.content_type == JSON

    @cached_property
    def page(self) -> ProjectPage:
        """Return the page as pip reads it."""
        answer = self.json if self.has_json else self.html
        return parse_page(answer.body, content_type=answer.content_type, url=answer.url)

    @cached_property
    def file(self) -> PageFile:
        """Return the newest wheel, or else the newest file."""
        wheels = [file for file in self.page.files if file.filename.endswith(".whl")]
        return (wheels or list(self.page.files))[-1]


def choose(context: Context) -> Sample | None:
    """Return the probe's project if it was published; else one with a wheel, or with any file; or None."""
    if "probe" in context.shared:
        return Sample(context, PROJECT)
    answer = context.listed if not context.listed.location else fetch(context, "GET", context.address.simple)
    names = parse_names(answer.body, content_type=answer.content_type, url=answer.url)
    without_wheel = None
    for name in names[:_MOST_PROJECTS]:
        sample = Sample(context, name)
        try:
            files = sample.page.files
        except PpmError:
            continue
        if any(file.filename.endswith(".whl") for file in files):
            return sample
        if files and without_wheel is None:
            without_wheel = sample
    return without_wheel


def fetch(context: Context, method: str, url: str, headers: dict[str, str] | None = None) -> Answer:
    """Send a request and follow redirects."""
    for _ in range(5):
        answer = context.ask(method, url, **(headers or {}))
        if not answer.location:
            break
        url = answer.location
    return answer
