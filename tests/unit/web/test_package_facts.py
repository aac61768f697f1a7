"""Tests of what a page shows of core metadata."""

from __future__ import annotations

import pytest
from packaging.metadata import RawMetadata

from ppmctl.web import package_facts
from ppmctl.web.package_facts import Dependency


@pytest.mark.parametrize(
    "url",
    [
        *(
            "javascript:alert(1)",
            "JAVASCRIPT://h.test/%0aalert(1)",
            "data:text/html,x",
            "//h.test/",
            "/login",
            "h.test",
        ),
        *(
            "https://",
            "https:h.test",
            "http://[x",
            "https://user:secret@h.test/",
            "https://h.test/ x",
            "ftp://h.test/",
        ),
        *("https://h.test/\n", "https://h.test/\u202e", "https://h.test/" + "x" * 2000, " https://h.test/", ""),
    ],
)
def test_only_a_link_to_a_web_page_is_shown(url: str) -> None:
    metadata: RawMetadata = {"home_page": url, "download_url": "https://h.test/a", "project_urls": {"Bad": url}}
    assert package_facts.of(metadata).links == (("Download", "https://h.test/a"),)


def test_a_link_is_shown_once_with_the_label_of_its_publisher() -> None:
    urls = {"Site": "https://h.test/", "": "http://h.test/b", "x" * 200: "HTTPS://h.test/c"}
    links = package_facts.of({"home_page": "https://h.test/", "project_urls": urls}).links
    assert links == (("Site", "https://h.test/"), ("http://h.test/b",) * 2, ("x" * 100, "HTTPS://h.test/c"))


@pytest.mark.parametrize(
    ("requirement", "dependency"),
    [
        ("Flask_Login >= 1", Dependency(project="flask-login", text="Flask_Login>=1")),
        ("a[b]; extra == 'c'", Dependency(project="a", text="a[b]", marker='extra == "c"')),
        ("a @ https://h.test/a.whl", Dependency(project="a", text="a @ https://h.test/a.whl")),
        ("a >>> 1", Dependency(project="", text="a >>> 1")),
        ("a; " + "(" * 900, Dependency(project="", text=("a; " + "(" * 900)[:300])),
        ("a" * 300, Dependency(project="", text="a" * 300)),
    ],
)
def test_a_dependency_has_the_name_of_its_project(requirement: str, dependency: Dependency) -> None:
    assert package_facts.dependency(requirement) == dependency


def test_fields_are_lines_and_what_old_tools_wrote_for_nothing_is_nothing() -> None:
    facts = package_facts.of(
        {
            "summary": "UNKNOWN",
            "license": "Permission\n  is granted\x1b[0m " + "x" * 500,
            "author_email": "Ann <ann@h.test>",
            "description": "UNKNOWN\n\n",
            "keywords": ["a", "", "b"],
        }
    )
    assert (facts.summary, facts.description, facts.author) == ("", "", "Ann <ann@h.test>")
    assert (facts.license[:27], len(facts.license)) == ("Permission is granted?[0m xx"[:27], 300)
    assert facts.keywords == ("a", "b")
    assert package_facts.of({"license": "MIT", "license_expression": "BSD-3-Clause"}).license == "BSD-3-Clause"


def test_a_field_with_very_many_entries_is_cut() -> None:
    many = [f"a{number}" for number in range(1500)]
    urls = {each: f"https://h.test/{each}" for each in many}
    facts = package_facts.of({"keywords": many, "classifiers": many, "requires_dist": many, "project_urls": urls})
    assert {len(field) for field in (facts.keywords, facts.classifiers, facts.requirements, facts.links)} == {1000}
