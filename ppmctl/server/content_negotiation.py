"""Choose the form of a page by an Accept header (PEP 691). nginx and the application use the same table."""

from __future__ import annotations

from dataclasses import dataclass

from ppmctl.index.pages import HTML_PAGE, JSON_PAGE


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of a page: its media type and charset, which make its Content-Type, and the file that has it."""

    media_type: str
    page: str
    charset: str = ""

    @property
    def content_type(self) -> str:
        return self.media_type + self.charset


JSON = Form(media_type="application/vnd.pypi.simple.v1+json", page=JSON_PAGE)
HTML = Form(media_type="application/vnd.pypi.simple.v1+html", page=HTML_PAGE)
PLAIN_HTML = Form(media_type="text/html", page=HTML_PAGE, charset="; charset=utf-8")
FORMS = (JSON, HTML, PLAIN_HTML)

_BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9"
# The Accept headers that clients send. tests/e2e/test_accept.py compares them with the real clients.
TABLE: tuple[tuple[str, str, Form], ...] = (
    ("pip from 22.2", f"{JSON.media_type}, {HTML.media_type}; q=0.1, text/html; q=0.01", JSON),
    ("uv", f"{JSON.media_type}, {HTML.media_type};q=0.2, text/html;q=0.01", JSON),
    ("pypi-simple", f"{JSON.media_type}, {HTML.media_type}, text/html;q=0.01", JSON),
    ("scripts after JSON", JSON.media_type, JSON),
    ("scripts after HTML", HTML.media_type, HTML),
    ("pip before 22.2", "text/html", PLAIN_HTML),
    ("curl, requests", "*/*", PLAIN_HTML),
    (
        "Chromium",
        f"{_BROWSER},image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
        PLAIN_HTML,
    ),
    ("Firefox", f"{_BROWSER},*/*;q=0.8", PLAIN_HTML),
)
_KNOWN = {header: form for _client, header, form in TABLE}

_OTHER_NAMES = {
    "application/vnd.pypi.simple.latest+json": JSON.media_type,
    "application/vnd.pypi.simple.latest+html": HTML.media_type,
}
# Between forms of equal quality: JSON first if the client names them, and what a browser shows if it takes anything.
_BY_WILDCARD = (PLAIN_HTML, JSON, HTML)


def negotiate(header: str) -> Form | None:
    """Return the form to answer with, or None if the client takes none (406). An empty header takes any form."""
    if not header.strip():
        return PLAIN_HTML
    return _KNOWN.get(header) or weigh(header)


def weigh(header: str) -> Form | None:
    """Return the form that RFC 9110, section 12.5.1, gives for a header, without the exceptions of `negotiate`.

    werkzeug's `best_match` can't be used: it gives text/html to a client that sends "text/html;q=0, */*".
    """
    from werkzeug.http import parse_accept_header  # here, because `ppmctl health` imports this module for the forms

    qualities: dict[str, float] = {}
    for media_range, quality in parse_accept_header(header):  # of equal ranges the one with the best quality is first
        name = media_range.partition(";")[0].lower()
        qualities.setdefault(_OTHER_NAMES.get(name, name), quality)

    def weight(form: Form) -> tuple[float, int, int]:
        """Return a form's quality, by the most precise range that matches it, and how precise that range is."""
        ranges = ("*/*", f"{form.media_type.partition('/')[0]}/*", form.media_type)
        precision = max((number for number, name in enumerate(ranges) if name in qualities), default=0)
        order = _BY_WILDCARD if precision == 0 else FORMS
        return qualities.get(ranges[precision], 0.0), precision, -order.index(form)

    best = max(FORMS, key=weight)
    return best if weight(best)[0] > 0 else None
