"""One file of an index, and its project's page in each form, to see by them what the index offers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ppmctl.client.http import Answer
from ppmctl.client.simple_api import parse_names, parse_page
from ppmctl.distributions.project_page import PageFile, ProjectPage
from ppmctl.doctor.finding import Visit
from ppmctl.doctor.probe import PROJECT
from ppmctl.errors import PpmError

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html, text/html;q=0.5"
_MOST_PROJECTS = 20


@dataclass(frozen=True)
class Sample:
    """A project of the index that has files, a wheel if one is found soon."""

    visit: Visit
    name: str

    @property
    def url(self) -> str:
        return f"{self.visit.address.simple}{self.name}/"

    @cached_property
    def json(self) -> Answer:
        """What is answered to whoever takes JSON alone."""
        return ask(self.visit, "GET", self.url, {"Accept": JSON})

    @cached_property
    def html(self) -> Answer:
        return ask(self.visit, "GET", self.url, {"Accept": HTML})

    @property
    def has_json(self) -> bool:
        return self.json.status == 200 and self.json.content_type == JSON

    @cached_property
    def page(self) -> ProjectPage:
        """The page as pip reads it."""
        answer = self.json if self.has_json else self.html
        return parse_page(answer.body, content_type=answer.content_type, url=answer.url)

    @cached_property
    def file(self) -> PageFile:
        """The newest wheel, or else the newest file."""
        wheels = [file for file in self.page.files if file.filename.endswith(".whl")]
        return (wheels or list(self.page.files))[-1]


def choose(visit: Visit) -> Sample | None:
    """The probe's project, if that was published; else one with a wheel, or any file; None where there is none."""
    if "probe" in visit.remembered:
        return Sample(visit, PROJECT)
    answer = visit.listed if not visit.listed.location else ask(visit, "GET", visit.address.simple)
    names = parse_names(answer.body, content_type=answer.content_type, url=answer.url)
    second_best = None
    for name in names[:_MOST_PROJECTS]:
        sample = Sample(visit, name)
        try:
            files = sample.page.files
        except PpmError:
            continue
        if any(file.filename.endswith(".whl") for file in files):
            return sample
        if files and second_best is None:
            second_best = sample
    return second_best


def ask(visit: Visit, method: str, url: str, headers: dict[str, str] | None = None) -> Answer:
    """One request, and those that it is redirected to."""
    for _ in range(5):
        answer = visit.ask(method, url, **(headers or {}))
        if not answer.location:
            break
        url = answer.location
    return answer
