"""Show the description of a package: Markdown, reStructuredText or plain text, as a stranger wrote it.

It is rendered in a child process with limits (`inspection.call`), because a hostile text can take minutes. One that
can't be rendered is shown as plain text. Images are shown as links, and nothing of another server is loaded.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from functools import cache
from html import escape
from html.parser import HTMLParser

from markupsafe import Markup

from ppmctl.distributions import inspection
from ppmctl.web.recent import Recent

MAX_LENGTH = 512 << 10  # characters
_MAX_TYPE = 200  # characters of a Content-Type
_MAX_HTML = 2 << 20  # characters
_SECONDS = 3  # of processor time
_REMEMBERED = 8 << 20  # characters of HTML
_PREFIX = "user-content-"  # of ids, which must not be those of the page; readme_renderer has the same
_GFM, _COMMONMARK, _RST = "GFM", "CommonMark", "reStructuredText"
_DIVISIONS = frozenset({"aside", "nav", "section"})  # landmarks of a page, which a description has none of
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_UPPERMOST = 3  # level of the first heading: the page's title is 1, that of the description 2
# What readme_renderer leaves, and a page does not: what `_Rewriter` replaces.
_REPLACED = frozenset({"h1", "h2", "img", "input", "picture", *_DIVISIONS})
_ATTRIBUTES = {
    "*": {"id"},
    "a": {"href", "title"},
    "abbr": {"title"},
    "ol": {"start"},
    "span": {"class"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan"},
}


@dataclass(frozen=True, kw_only=True)
class Description:
    """A description as a page shows it; `note` is a sentence for the reader about what was not possible, or ""."""

    html: Markup
    note: str = ""


class Descriptions:
    """The descriptions that were rendered last."""

    def __init__(self, render: Callable[[str, str], str | None] | None = None) -> None:
        self._render = render or _in_child
        self._recent = Recent[Description](_REMEMBERED)

    def show(self, text: str, content_type: str) -> Description:
        """Return a description as HTML. `content_type` is the field Description-Content-Type, or ""."""
        key = hashlib.sha256(f"{content_type}\n{text}".encode(errors="surrogatepass")).digest()
        shown = self._recent.get(key)
        if shown is not None:
            return shown
        try:
            shown = self._shown(text, content_type)
        except inspection.Busy:
            note = "The server is too busy to format this description now: load the page again in a moment."
            return _plain(text, note)
        return self._recent.put(key, shown, len(shown.html))

    def _shown(self, text: str, content_type: str) -> Description:
        kind = _kind(content_type)
        note = f"Only the first {MAX_LENGTH >> 10} kB are shown." if len(text) > MAX_LENGTH else ""
        text = text[:MAX_LENGTH]
        if kind is None:
            return _plain(text, note)
        try:
            html = self._render(text, kind)
        except inspection.Ended as exc:
            return _plain(text, f"It is shown as plain text: formatting it {exc.args[0]}.")
        if html is not None and len(html) <= _MAX_HTML:
            sanitised = Markup(html)  # noqa: S704 - `render` has removed all scripts # nosec B704
            return Description(html=sanitised, note=note)
        because = f"it is not valid {kind}" if html is None else "formatted it is too long"
        return _plain(text, f"It is shown as plain text: {because}." if content_type else note)


def _in_child(text: str, kind: str) -> str | None:
    return inspection.call(f"{__name__}:render", text, kind, seconds=_SECONDS)


def _plain(text: str, note: str) -> Description:
    text = text[:MAX_LENGTH]
    return Description(html=Markup('<pre tabindex="0">{}</pre>').format(text), note=note)


def _kind(content_type: str) -> str | None:
    """Return how to read a text with this Content-Type, as PyPI does; None for plain text."""
    if not content_type:
        return _RST
    message = Message()
    message["Content-Type"] = " ".join(content_type.split())[:_MAX_TYPE]
    if message.get_content_type() == "text/markdown":
        return _COMMONMARK if message.get_param("variant") == _COMMONMARK else _GFM
    return _RST if message.get_content_type() == "text/x-rst" else None


def render(text: str, kind: str) -> str | None:
    """Return a description as HTML without anything that could harm the page around it; None if it is invalid.

    It may take any time: ask for it in a child process.
    """
    import nh3  # only the child needs these, and 13 MB for them
    from readme_renderer import clean, markdown, rst

    rendered = rst.render(text) if kind == _RST else markdown.render(text, variant=kind)
    if rendered is None:
        return None
    rewritten = _Rewriter()
    rewritten.feed(rendered)
    rewritten.close()
    return nh3.clean(
        rewritten.html,
        tags=clean.ALLOWED_TAGS - _REPLACED,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        set_tag_attribute_values={"pre": {"tabindex": "0"}},  # it may be wide: the keyboard can scroll it
        link_rel="nofollow noreferrer",
        url_schemes={"http", "https", "mailto"},
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value that an attribute gets, or None to leave it out."""
    if name == "id":
        return _own_id(value)
    if name == "class":
        return " ".join(each for each in value.split() if each in _highlighting()) or None
    if name == "align":
        return value if value in ("left", "center", "right") else None
    if name == "href" and value.startswith("#"):
        return f"#{_own_id(value[1:])}"
    if name == "href":  # one without a scheme would lead to a page of this index
        return value if _is_outside(value) or value.lower().startswith("mailto:") else None
    return value


def _own_id(value: str) -> str:
    return value if value.startswith(_PREFIX) else _PREFIX + value


@cache
def _highlighting() -> frozenset[str]:
    """Return the names of the classes of highlighted code."""
    return frozenset(importlib.import_module("pygments.token").STANDARD_TYPES.values()) - {""}


class _Rewriter(HTMLParser):
    """Writes HTML again: images as links, check boxes as signs, headings below those of the page, no empty link."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[str] = []
        self._levels: list[int] = []  # of the headings that the next one is below
        self._link: tuple[int, str] | None = None  # where in `_written` the open link starts, and its id

    @property
    def html(self) -> str:
        return "".join(self._written)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._image(values.get("src", ""), " ".join(values.get("alt", "").split()))
        elif tag == "input":
            self._written.append("\N{BALLOT BOX WITH CHECK}" if "checked" in values else "\N{BALLOT BOX}")
        else:
            if tag == "a":
                self._end_link()
                self._link = len(self._written), values.get("id", "")
            if tag in _HEADINGS:
                self._open_heading(int(tag[1]))
            text = "".join(f' {name}="{escape(value)}"' for name, value in values.items())
            self._written.append(f"<{self._name(tag)}{text}>")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._end_link()
        else:
            self._written.append(f"</{self._name(tag)}>")

    def handle_data(self, data: str) -> None:
        self._written.append(escape(data))

    def _name(self, tag: str) -> str:
        if tag in _HEADINGS:
            return f"h{min(_UPPERMOST - 1 + len(self._levels), 6)}"
        return "div" if tag in _DIVISIONS else tag

    def _open_heading(self, level: int) -> None:
        while self._levels and self._levels[-1] >= level:
            self._levels.pop()
        self._levels.append(level)

    def _image(self, source: str, alt: str) -> None:
        text = escape(alt or source.rpartition("/")[2][:100] or "image")
        is_link = self._link is None and _is_outside(source)
        self._written.append(f'<a href="{escape(source)}">{text}</a>' if is_link else text)

    def _end_link(self) -> None:
        """Close the open link. One without a text only marks a place, or leads to its own heading."""
        if self._link is None:
            return
        at, name = self._link
        if any(each.strip() for each in self._written[at + 1 :] if not each.startswith("<")):
            self._written.append("</a>")
        else:
            self._written[at] = f'<span id="{escape(name)}">' if name else "<span>"
            self._written.append("</span>")
        self._link = None


def _is_outside(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))
