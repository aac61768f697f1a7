"""Tests of the pages to browse: the home page, lists of projects, search, and the page of a project."""

from __future__ import annotations

import os
import re
import threading
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from support import markup, wheels
from support.pages import Page, Visitor

from ppmctl.distributions import distribution, environment_wheel, inspection
from ppmctl.distributions.environment_revision import Revision
from ppmctl.index.search_index import SearchIndex
from ppmctl.web import projects, release_metadata

OURS = 30_000  # bytes of a project's page besides its description


def made(
    name: str, version: str, description: str = "", tag: str = "py3-none-any", **fields: Any
) -> tuple[str, bytes]:
    """Return a wheel; a list as a field is written as several."""
    lines = [f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}"]
    for key, value in fields.items():
        field = {"project_url": "Project-URL"}.get(key, "-".join(part.capitalize() for part in key.split("_")))
        lines += [f"{field}: {each}" for each in (value if isinstance(value, list) else [value])]
    return wheels.wheel(name, version, tag=tag, meta="\n".join([*lines, "", description]).encode())


def environment(name: str, *requirements: str) -> tuple[str, bytes]:
    revision = Revision(name=name, number=1, requirements=requirements, change="Created")
    return f"ppm_env_{name}-1-py3-none-any.whl", environment_wheel.to_wheel(revision)


def names(page: Page) -> list[str]:
    """Return the projects that a page lists, in order."""
    links = [re.fullmatch(r"(?:\.\./|\./)*project/([^/]+)/", link) for link in page.links]
    return [link[1] for link in links if link is not None]


# the home page


def test_an_empty_index_shows_how_to_fill_it(visitor: Visitor) -> None:
    assert visitor.get("/").location.startswith("./login")
    visitor.as_user("ann", "publisher")
    page = visitor.get("/")
    for command in (
        "ppmctl publish --index http://index.test/",
        "twine upload --repository-url http://index.test/legacy/ dist/*",
        "uv publish --trusted-publishing never --publish-url http://index.test/legacy/",
        "pip install --index-url http://index.test/simple/ --trusted-host index.test NAME",
    ):
        assert command in page.text
    assert "Create an environment" in page.text


def test_the_home_page_shows_what_is_new_how_much_there_is_and_my_environments(visitor: Visitor) -> None:
    visitor.as_user("ann")
    for number in range(11):
        visitor.publish(made(f"p{number}", "1.0"), upload_time=f"2026-01-{number + 1:02}T00:00:00.000000Z")
    visitor.publish(environment("mine", "p1"), upload_time="2025-01-01T00:00:00.000000Z")
    visitor.publish(environment("hers", "p1"), by="bob", upload_time="2025-01-01T00:00:00.000000Z")
    page = visitor.get("/")
    assert names(page) == [f"p{number}" for number in range(10, 0, -1)]
    assert "13 projects, 13 files" in page.text
    assert "environment/mine/" in str(page.links)
    assert "hers" not in page.text
    assert "1 package" in page.text


# lists


def test_projects_are_listed_by_name_or_by_newest_in_pages(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projects, "_EACH", 2)
    visitor.as_user("ann")
    for day, name in enumerate("caebd"):
        visitor.publish(
            made(name, "1.0", summary=f"About {name}."), upload_time=f"2026-01-0{day + 1}T00:00:00.000000Z"
        )
    first = visitor.get("/projects/")
    assert (names(first), "5 projects" in first.text, "About b" in first.text) == (["a", "b"], True, True)
    assert [link for link in first.links if link.startswith("?")][-1] == "?order=name&page=2"
    last = visitor.get("/projects/?order=name&page=3")
    assert (names(last), "Page 3 of 3" in last.text) == (["e"], True)
    assert [link for link in last.links if "page=" in link] == ["?order=name&page=2"]
    newest = visitor.get("/projects/?order=newest&page=2")
    assert names(newest) == ["e", "a"]
    assert [link for link in newest.links if "page=" in link] == ["?order=newest&page=1", "?order=newest&page=3"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("page=4", 404, "The list has only 1 page"),
        *((f"page={page}", 400, "whole number") for page in ("0", "-1", "x", "1.5", "²", "9" * 30, "")),
        ("order=size", 400, "The order can be name or newest"),
    ],
)
def test_a_wrong_page_or_order_is_refused(visitor: Visitor, query: str, status: int, message: str) -> None:
    visitor.as_user("ann")
    page = visitor.get(f"/projects/?{query}")
    assert (page.status, message in page.text) == (status, True)


def test_a_search_shows_its_words_again_and_what_it_finds(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.as_user("ann")
    visitor.publish(
        made("flask", "1.0", summary='A "web" <framework>'), made("flask-login", "2.0"), made("numpy", "1")
    )
    page = visitor.get("/search?q=FLA")
    assert (sorted(names(page)), "2 projects" in page.text) == (["flask", "flask-login"], True)
    assert 'value="FLA"' in page.html
    assert 'A "web" <framework>' in page.text
    assert "No project" in visitor.get('/search?q="><script>').text
    assert 'value="&#34;&gt;&lt;script&gt;"' in visitor.get('/search?q="><script>').html
    too_long = visitor.get("/search?q=" + "x" * 201)
    assert (too_long.status, "200 characters at most" in too_long.text) == (400, True)
    monkeypatch.setattr(projects, "_EACH", 1)
    links = visitor.get("/search?q=flask%20%26").links + visitor.get("/search?q=flask").links
    assert "?q=flask&page=2" in links
    assert len(names(visitor.get("/search?q="))) == 1


# who may read what


def test_what_a_limited_reader_may_not_read_exists_on_no_page(visitor: Visitor) -> None:
    visitor.as_user("ann", reads=["acme-*"])
    visitor.publish(made("acme-app", "1.0", requires_dist=["secret-lib>=2"]), made("secret-lib", "1.0"))
    visitor.publish(environment("secret", "acme-app"))
    for path in ("/", "/projects/", "/search?q=1", "/search?q=lib"):
        page = visitor.get(path)
        assert (page.status, "secret" in page.text) == (200, False), path
    page = visitor.get("/project/acme-app/")
    assert "secret-lib>=2" in page.text
    assert names(page) == []
    assert "Environments that use it" not in page.text
    there, nowhere = (visitor.get(f"/project/{name}/") for name in ("secret-lib", "secret-lob"))
    assert there.status == 404
    assert there.fixed.replace("secret-lib", "x") == nowhere.fixed.replace("secret-lob", "x")


def test_an_anonymous_visitor_of_a_public_index_sees_no_names_of_users(visitor: Visitor) -> None:
    visitor.as_user("reader")
    visitor.publish(made("a", "1.0"), by="ann+ci")
    assert "by ann" in visitor.get("/project/a/").text
    public = Visitor(visitor.store, read_access="public")
    page = public.get("/project/a/")
    assert (page.status, "ann" in page.text) == (200, False)
    assert public.get("/").status == public.get("/projects/").status == public.get("/search?q=a").status == 200


# the page of a project


def test_a_project_page_shows_what_the_project_is(visitor: Visitor) -> None:
    visitor.as_user("bob")
    visitor.publish(made("dep", "1.0"))
    wheel = made(
        "Demo.App",
        "1.0",
        "# The *title*",
        summary="A demonstration",
        license_expression="MIT OR Apache-2.0",
        requires_python=">=3.9",
        author="Ann",
        maintainer_email="Bob <bob@h.test>",
        keywords="one,two",
        classifier=["Topic :: Utilities", "Typing :: Typed"],
        home_page="https://h.test/",
        project_url=[
            "Source, https://h.test/source",
            "Bad, javascript:alert(1)",
            "Login, https://user:secret@h.test/",
            "Home, https://h.test/",
        ],
        requires_dist=["Dep>=1; python_version < '3.12'", "numpy"],
        description_content_type="text/markdown",
    )
    visitor.publish(wheel, wheels.sdist("Demo.App", "1.0"))
    visitor.publish(made("Demo.App", "0.9"), by="drop")
    visitor.publish(environment("web", "demo-app>=1"))
    page = visitor.get("/project/demo-app/")
    for text in (
        *("demo-app 1.0", "A demonstration", "MIT OR Apache-2.0", ">=3.9", "Ann", "Bob <bob@h.test>", "one, two"),
        *("Topic :: Utilities", "numpy", 'if python_version < "3.12"', "by ann", "Environments that use it web"),
        *("Demo.App-1.0-py3-none-any.whl", "Demo.App-1.0.tar.gz"),
    ):
        assert text in page.text, text
    assert '<h3 id="user-content-the-title">The <em>title</em>' in page.html
    outside = [link for link in page.links if "://" in link]
    assert outside == ["https://h.test/", "https://h.test/source"]
    assert ("../../project/dep/" in page.links, "../../environment/web/" in page.links) == (True, True)
    assert "../../project/demo-app/files/Demo.App-1.0.tar.gz" in page.links
    (sha256,) = re.findall(r"""(?s)>Demo.App-1.0.tar.gz<.*?<code class="hash">([0-9a-f]{64})</code>""", page.html)
    assert sha256 == visitor.store.read("demo-app").files[-1].record.sha256
    older = visitor.get("/project/demo-app/0.9/")
    assert "This is not the latest release: demo-app 1.0" in older.text
    assert "pip install --index-url http://index.test/simple/ --trusted-host index.test demo-app==0.9" in older.text
    assert "by drop" not in older.text


def test_commands_are_for_the_host_of_the_browser_and_the_form_of_the_index(visitor: Visitor) -> None:
    secret = visitor.as_user("ann")
    visitor.publish(made("a", "1.0"))
    page = visitor.get("/project/a/")
    for text in (
        "pip install --index-url http://index.test/simple/ --trusted-host index.test a",
        "uv add --default-index internal=http://index.test/simple/ a",
        'priority = "primary"',
        "pdm add a",
    ):
        assert text in page.text
    assert secret not in page.html
    extra = Visitor(visitor.store, https=True, upstream="none", read_access="public").get("/project/a/")
    for text in (
        "pip install --extra-index-url https://index.test/simple/ a",
        "uv add --index internal=https://index.test/simple/ a",
        "poetry add --source internal a",
        'exclude_packages = ["*"]',
        "Dependency confusion",
    ):
        assert text in extra.text


def test_a_project_with_an_sdist_alone_has_its_metadata(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.as_user("ann")
    visitor.publish(wheels.sdist("a", "1.0", summary="From an sdist", license="BSD"))
    for _time in range(2):
        page = visitor.get("/project/a/")
        monkeypatch.setattr(distribution, "core_metadata", None)  # the second page does not parse again
        assert ("From an sdist" in page.text, "BSD" in page.text, "Made by a test." in page.text) == (
            True,
            True,
            True,
        )


def test_a_page_does_not_wait_long_for_an_sdist(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor.as_user("ann")
    visitor.publish(wheels.sdist("a", "1.0", license="BSD"))
    monkeypatch.setattr(release_metadata, "_PATIENCE", 0.01)
    slots = threading.BoundedSemaphore(1)
    monkeypatch.setattr(inspection._pool(os.getpid()), "_slots", slots)
    with slots:
        page = visitor.get("/project/a/")
        assert (page.status, "BSD" in page.text) == (200, False)
    assert "BSD" in visitor.get("/project/a/").text


def test_yanks_and_statuses_are_shown_with_their_reasons(visitor: Visitor) -> None:
    visitor.as_user("ann")
    store = visitor.store
    visitor.publish(made("a", "1.0"), made("a", "2.0"), made("a", "2.0", tag="cp311-cp311-any"), made("a", "3.0"))
    store.yank("a", "1.0", "broken <b>build</b>")
    store.yank("a", "a-2.0-cp311-cp311-any.whl", "wrong tag")
    page = visitor.get("/project/a/1.0/")
    assert (
        "Yanked. Installers take this release only where it is asked for by its exact version. Reason: broken <b>"
        in page.text
    )
    assert "1.0 yanked: broken" in visitor.get("/project/a/").text
    page = visitor.get("/project/a/2.0/")
    assert ("yanked: wrong tag" in page.text, "Yanked." in page.text) == (True, False)
    for state, text in (("archived", "No new release"), ("deprecated", "another project")):
        store.set_status("a", state, "use b")
        page = visitor.get("/project/a/")
        assert (f"{state.capitalize()}." in page.text, text in page.text, "Reason: use b" in page.text) == (True,) * 3
    store.set_status("a", "quarantined", "malware?")
    page = visitor.get("/project/a/")
    assert ("Quarantined." in page.text, "Reason: malware?" in page.text, ".whl" in page.text) == (True, True, False)
    assert visitor.get("/project/a/1.0/").status == 404


def test_a_name_or_version_in_another_form_leads_to_the_page(visitor: Visitor) -> None:
    visitor.as_user("ann")
    visitor.publish(made("demo-app", "1.0"), made("demo-app", "2!1.0+local.1"))
    for path, location in (
        ("/project/Demo_App/", "../../project/demo-app/"),
        ("/project/Demo.App/1/", "../../../project/demo-app/1.0/"),
        ("/project/demo-app/v1.0.0/", "../../../project/demo-app/1.0/"),
        ("/project/demo-app/02!1+LOCAL-1/", "../../../project/demo-app/2!1.0+local.1/"),
        ("/project/demo-app", "../project/demo-app/"),
        ("/project/demo-app/1.0", "../../project/demo-app/1.0/"),
        ("/projects", "./projects/"),
    ):
        page = visitor.get(path)
        assert (page.status, page.location) == (303, location), path
    assert visitor.get("/project/demo-app/2!1.0+local.1/").status == 200


def test_what_is_not_here_is_404_and_leads_on(visitor: Visitor) -> None:
    visitor.as_user("ann")
    visitor.publish(made("a", "1.0"))
    page = visitor.get("/project/Flask_Login/")
    assert (page.status, "There is no project flask-login in this index" in page.text) == (404, True)
    assert "../../search?q=Flask_Login" in page.links
    assert "public index" in page.text
    for name in ("-", "x y", "é", "a" * 300, "ppm-env-x"):
        page = visitor.get(f"/project/{name}/")
        assert (page.status, "public index" in page.text) == (404, False)
    alone = Visitor(visitor.store, upstream="none", read_access="public").get("/project/flask/")
    assert (alone.status, "public index" in alone.text) == (404, False)
    private = Visitor(visitor.store, private_names=["acme-*"], read_access="public")
    assert "public index" not in private.get("/project/acme-x/").text
    page = visitor.get("/project/a/2.0/")
    assert (page.status, "a has no release '2.0'. It has 1.0." in page.text) == (404, True)
    assert "../../../project/a/" in page.links
    assert visitor.get("/project/a/nonsense/").status == 404
    visitor.store.claim("claimed", by="root")
    page = visitor.get("/project/claimed/")
    assert (page.status, "The name was claimed on" in page.text) == (200, True)


def test_the_project_of_an_environment_leads_to_its_page(visitor: Visitor) -> None:
    visitor.as_user("ann")
    visitor.publish(environment("web", "flask"))
    assert "../../environment/web/" in visitor.get("/project/ppm-env-web/").links


def test_a_page_is_small_for_a_project_of_any_size(visitor: Visitor) -> None:
    visitor.as_user("ann")
    many = {
        "requires_dist": [
            f"dependency-{number}[extra]>=1.{number}; python_version >= '3.9'" for number in range(300)
        ],
        "classifier": [f"Topic :: Software Development :: Libraries :: Number {number}" for number in range(300)],
        "project_url": [f"Label {number}, https://example.test/a/rather/long/path/{number}" for number in range(300)],
        "keywords": ",".join(f"keyword{number}" for number in range(1000)),
        "license": "Permission is hereby granted, " * 500,
        "summary": "s" * 5000,
    }
    name = "a-project-with-a-name-of-usual-length"
    tags = [f"cp3{number}-cp3{number}-manylinux_2_17_x86_64" for number in range(25)]
    visitor.publish(*(made(name, "200.0", tag=tag, **(many if tag == tags[0] else {})) for tag in tags))
    visitor.publish(*(made(name, f"{number}.0") for number in range(35)))
    page = visitor.get(f"/project/{name}/")
    assert len(page.html.encode()) <= OURS
    assert ("Show all 25" in page.text, "Show all 36" in page.text, "Show all 300" in page.text) == (True, True, True)
    whole = visitor.get(f"/project/{name}/?all")
    assert "Show all" not in whole.text
    assert sum("/files/" in link for link in whole.links) == 25
    assert "./0.0/" in whole.links
    assert "../30.0/" in visitor.get(f"/project/{name}/3.0/").links


# hostile values


class Elements(HTMLParser):
    """The elements of a page besides its description, with the names of their attributes; its links and ids."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.kinds: set[str] = set()
        self.ids: list[str] = []
        self.links: list[tuple[str, str, str]] = []  # the element, its URL and its rel
        self.feed(re.sub(r'(?s)<div class="description">.*</div>\n<h2 id="files">', "", page.html))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.add(" ".join([tag, *sorted(name for name, _value in attrs)]))
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        urls = [values[name] for name in ("href", "src", "action", "formaction", "data", "srcset") if name in values]
        self.links += [(tag, url, values.get("rel", "")) for url in urls]

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def hostile(name: str, trick: str) -> tuple[str, bytes]:
    """Return a wheel with a trick in every field."""
    text = " ".join(trick.split())
    return made(
        name,
        "1.0",
        trick,
        summary=text,
        license=text,
        author=text,
        author_email=text,
        maintainer=text,
        keywords=f"{text},{text}",
        classifier=[text],
        home_page=text,
        download_url=text,
        project_url=[f"{text[:30]}, https://h.test/", f"Label, {text}"],
        requires_dist=[text, f"x @ {text}", f"y; extra == '{text[:30]}'"],
        description_content_type="text/markdown",
    )


def test_a_browser_with_a_session_gets_files(visitor: Visitor) -> None:
    """Below /packages/ it would be asked for a name and a secret again."""
    name, content = wheels.wheel("got", "1.0+a.b")
    visitor.publish((name, content))
    path = f"/project/got/files/{name}"
    assert visitor.get(path).location.startswith("../../../login?")
    visitor.as_user("ann", reads=["got"])
    answer = visitor.client.get(path, base_url=visitor.base, headers={"Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.get_data()) == (200, content)
    assert (answer.mimetype, answer.headers["Content-Disposition"]) == ("application/octet-stream", "attachment")
    answer.close()
    limited = visitor.another()
    limited.as_user("bob", reads=["other"])
    for browser, wrong in (
        (visitor, f"{path}.metadata"),
        (visitor, "/project/got/files/..%2f..%2f..%2fppm.yml"),
        (visitor, f"/project/Got/files/{name}"),
        (limited, path),
    ):
        assert browser.get(wrong).status == 404, wrong
    visitor.store.set_status("got", "quarantined", "")
    assert visitor.get(path).status == 404


def require_the_same_elements(page: Page, kinds: set[str]) -> None:
    assert page.status in (200, 400)
    elements = Elements(page)
    assert not elements.kinds - kinds
    assert len(elements.ids) == len(set(elements.ids))
    for tag, url, rel in elements.links:
        if "://" in url:
            assert (tag, rel, url.startswith(("http://", "https://"))) == ("a", "nofollow noreferrer", True)
        else:
            assert re.fullmatch(r"(\.\./|\./|\?|#)[^\\:]*", url), url


def test_no_value_of_a_package_adds_anything_to_a_page(visitor: Visitor) -> None:
    visitor.as_user("ann")
    tricks = {"harmless": "harmless", **{f"p{number}": text for number, text in enumerate(markup.TRICKS.values())}}
    kinds: dict[str, set[str]] = {}
    for name, text in tricks.items():
        visitor.publish(hostile(name, text), by=text)
        line = "".join(character for character in text if character.isprintable())
        visitor.store.yank(name, "1.0", line)
        visitor.store.set_status(name, "deprecated", line)
        if not kinds:
            SearchIndex(visitor.store).refresh()
            paths = ("/project/harmless/", "/", "/projects/", "/search?q=harmless")
            kinds = {path: Elements(visitor.get(path)).kinds for path in paths}
    SearchIndex(visitor.store).refresh()
    for name, text in tricks.items():
        page = visitor.get(f"/project/{name}/")
        require_the_same_elements(page, kinds["/project/harmless/"])
        assert "Reason: " in page.text, text
    require_the_same_elements(visitor.get("/"), kinds["/"])
    for path in ("/projects/", "/projects/?page=2"):
        require_the_same_elements(
            visitor.get(path), kinds["/projects/"] | {"nav aria-label class", "a href rel", "span"}
        )
    for text in markup.TRICKS.values():
        page = visitor.get(f"/search?{urlencode({'q': text[:200]})}")
        require_the_same_elements(page, kinds["/search?q=harmless"] | {"p class role"})  # too many words
