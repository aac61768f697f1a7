"""Tests of descriptions: what a page shows of a text that a stranger wrote, and what it never does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from support import evidence, markup

from ppmctl.distributions import inspection
from ppmctl.web import description
from ppmctl.web.description import Descriptions, render

TAGS = """a abbr b blockquote br caption cite code dd del details div dl dt em figure h3 h4 h5 h6 hr i kbd li ol p pre
span strong sub summary sup table tbody td th thead tr tt ul var"""
ATTRIBUTES = {
    "a": {"href", "title", "rel"},
    "abbr": {"title"},
    "ol": {"start"},
    "pre": {"tabindex"},
    "span": {"class"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan"},
}


class Elements(HTMLParser):
    """The elements of a text, in order: (tag, attributes)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    handle_decl = handle_pi = handle_comment


@pytest.fixture
def descriptions() -> Iterator[Descriptions]:
    """Return a cache with a child of its own."""
    inspection._pool.cache_clear()
    yield Descriptions()
    inspection._pool(os.getpid()).end()
    inspection._pool.cache_clear()


def require_harmless(html: str) -> None:
    for tag, attributes in Elements(html).elements:
        assert tag in TAGS.split(), f"{tag} {attributes}"
        assert attributes.keys() <= {"id", *ATTRIBUTES.get(tag, ())}, f"{tag} {attributes}"
        assert (attributes.get("id") or "user-content-").startswith("user-content-")
        assert set((attributes.get("class") or "").split()) <= description._highlighting()
        if "href" in attributes:
            assert (attributes["href"] or "").startswith(("https://", "http://", "mailto:", "#user-content-"))
            assert attributes["rel"] == "nofollow noreferrer"


@pytest.mark.parametrize("content_type", markup.READMES)
def test_no_trick_gets_through(content_type: str) -> None:
    shown = Descriptions(render).show(markup.READMES[content_type], content_type)
    require_harmless(str(shown.html))
    has_file = "include::" in markup.READMES[content_type]
    assert (markup.OUTSIDE in shown.html, shown.note) == (
        not has_file,
        "It is shown as plain text: it is not valid reStructuredText." if has_file else "",
    )


@pytest.mark.parametrize("kind", ["GFM", "CommonMark", "reStructuredText"])
def test_each_trick_alone_is_harmless(kind: str) -> None:
    for trick in markup.TRICKS.values():
        require_harmless(render(trick, kind) or "")


def test_images_are_links_or_their_text_and_no_link_is_empty() -> None:
    html = render(
        "![A](http://h.test/a.png) ![](https://h.test/b.png) ![c](d.png) [![E](http://h.test/e.png)](http://h.test/f)"
        " [](http://h.test/empty) <a id=mark></a>",
        "GFM",
    )
    rel = 'rel="nofollow noreferrer"'
    assert html == (
        f'<p><a href="http://h.test/a.png" {rel}>A</a> <a href="https://h.test/b.png" {rel}>b.png</a> c'
        f' <a href="http://h.test/f" {rel}>E</a> <span></span> <span id="user-content-mark"></span></p>\n'
    )


def test_a_link_without_a_scheme_leads_nowhere_and_one_to_a_heading_reaches_it() -> None:
    html = render(
        "# The end\n[a](#the-end) [b](/logout) [c](x.md) [d](//h.test/) [e](MAILTO:a@h.test) [f][]\n\n[f]: #x", "GFM"
    )
    elements = Elements(html or "").elements
    assert ("h3", {"id": "user-content-the-end"}) in elements
    links = [attributes.get("href") for tag, attributes in elements if tag == "a"]
    assert links == ["#user-content-the-end", None, None, None, "MAILTO:a@h.test", "#user-content-x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a\n## b\n# c", "343"),
        ("### a\n# b\n###### c\n#### d", "3344"),
        ("# a\n## b\n### c\n#### d\n##### e", "34566"),
    ],
)
def test_headings_continue_those_of_the_page_without_a_gap(text: str, expected: str) -> None:
    elements = Elements(render(text, "CommonMark") or "").elements
    assert "".join(tag[1] for tag, _attributes in elements if tag.startswith("h")) == expected


def test_the_content_type_decides_as_on_the_public_index() -> None:
    def shown(content_type: str, text: str) -> str:
        return str(Descriptions(render).show(text, content_type).html)

    assert "<em>a</em>" in shown("text/markdown; charset=utf-8", "*a*")
    assert "<del>a</del>" in shown("text/markdown", "~~a~~")
    assert "<del>" not in shown("text/markdown; variant=CommonMark", "~~a~~")
    for content_type in ("", "text/x-rst", "TEXT/X-RST; charset=UTF-8"):
        assert "<strong>a</strong>" in shown(content_type, "**a**")
    for content_type in ("text/plain", "text/html", "nonsense", 'a; b="c'):
        assert shown(content_type, "**a** <b>") == '<pre tabindex="0">**a** &lt;b&gt;</pre>'


def test_one_that_takes_too_long_is_plain_text(descriptions: Descriptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "_SECONDS", 1)
    text = "- x\n\n" * 100_000

    def is_told() -> bool:
        shown = descriptions.show(text, "text/x-rst")
        assert shown.html == f'<pre tabindex="0">{text}</pre>'
        return "takes more than" in shown.note

    evidence.until(is_told, "no busy machine ends it first")
    assert descriptions.show("**a**", "text/x-rst").html == "<p><strong>a</strong></p>\n"


def test_one_that_grows_too_long_is_plain_text(descriptions: Descriptions) -> None:
    text = f".. |a| replace:: {'x' * 4900}\n\n" + "|a| " * 1900
    shown = descriptions.show(text, "text/x-rst")
    assert shown.html.startswith('<pre tabindex="0">.. |a| replace::')
    assert "formatting it gives more than 8 MB" in shown.note


def test_one_that_is_too_long_is_cut(descriptions: Descriptions) -> None:
    for content_type in ("text/markdown", "text/plain"):
        shown = descriptions.show("a" * (description.MAX_LENGTH + 9), content_type)
        assert (shown.html.count("a" * description.MAX_LENGTH), shown.html.count("a" * 9 + "<")) == (1, 1)
        assert shown.note == "Only the first 512 kB are shown."


def test_a_result_is_remembered_up_to_a_size_and_a_busy_server_is_not() -> None:
    asked = []

    def counted(text: str, _kind: str) -> str:
        asked.append(text)
        if text == "busy" and asked.count("busy") == 1:
            raise inspection.Busy
        if text == "bad":
            raise inspection.Ended("takes too much memory")
        return text * description._MAX_HTML if text in "12345" else text

    descriptions = Descriptions(counted)
    for text in ("busy", "busy", "busy", "bad", "bad"):
        descriptions.show(text, "text/markdown")
    assert asked == ["busy", "busy", "bad"]
    assert "busy" in Descriptions(counted).show("busy", "text/markdown").html
    for text in "12345":
        descriptions.show(text, "text/markdown")
    assert descriptions._recent.size <= description._REMEMBERED
    descriptions.show("5", "text/markdown")
    descriptions.show("1", "text/markdown")
    assert (asked.count("5"), asked.count("1")) == (1, 2)
