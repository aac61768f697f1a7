"""An Accept header → the form of a page, or none (PEP 691). One table that every server of ours obeys."""

from __future__ import annotations

from dataclasses import dataclass

from ppmctl.index.pages import HTML_PAGE, JSON_PAGE


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of a page: its media type, the Content-Type to answer with, and the file that has it."""

    media_type: str
    page: str
    charset: str = ""

    @property
    def content_type(self) -> str:
        return self.media_type + self.charset


JSON = Form(media_type="application/vnd.pypi.simple.v1+json", page=JSON_PAGE)
HTML = Form(media_type="application/vnd.pypi.simple.v1+html", page=HTML_PAGE)
PLAIN_HTML = Form(media_type="text/html", page=HTML_PAGE, charset="; charset=utf-8")

# What clients really send. tests/e2e/test_accept.py listens to each of them and fails where this is not it.
TABLE: tuple[tuple[str, str, Form], ...] = (
    (
        "pip from 22.2",
        "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
        JSON,
    ),
    (
        "uv",
        "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
        JSON,
    ),
    (
        "pypi-simple",
        "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html, text/html;q=0.01",
        JSON,
    ),
    ("scripts after JSON", JSON.media_type, JSON),
    ("scripts after HTML", HTML.media_type, HTML),
    ("pip before 22.2", "text/html", PLAIN_HTML),
    ("curl, requests", "*/*", PLAIN_HTML),
    (
        "Chromium",
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,"
            "application/signed-exchange;v=b3;q=0.7"
        ),
        PLAIN_HTML,
    ),
    (
        "Firefox",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        PLAIN_HTML,
    ),
)
_KNOWN = {header: form for _client, header, form in TABLE}

_OTHER_NAMES = {
    "application/vnd.pypi.simple.latest+json": JSON.media_type,
    "application/vnd.pypi.simple.latest+html": HTML.media_type,
}
# Where a client likes two forms as much: what it names, JSON first; where it takes anything, what a browser shows.
_BY_NAME = (JSON, HTML, PLAIN_HTML)
_BY_WILDCARD = (PLAIN_HTML, JSON, HTML)


def negotiate(header: str) -> Form | None:
    """The form to answer with; None where the client takes none of them (406). An empty header takes anything."""
    if not header.strip():
        return PLAIN_HTML
    known = _KNOWN.get(header)
    return known if known is not None else weigh(header)


def weigh(header: str) -> Form | None:
    """Return the form that RFC 9110, section 12.5.1, gives for a header, without the exceptions of `negotiate`.

    werkzeug's `best_match` is not asked: it gives text/html to a client that sends "text/html;q=0, */*".
    """
    from werkzeug.http import parse_accept_header  # not above: `ppmctl health` needs the forms alone

    liked: dict[str, float] = {}
    for sent, quality in parse_accept_header(header):  # of one name, the best liked first
        name = sent.partition(";")[0].lower()
        liked.setdefault(_OTHER_NAMES.get(name, name), quality)

    def weight(form: Form) -> tuple[float, int, int]:
        """How much it is liked, by the most precise range that means it, and how precise that is."""
        ranges = ("*/*", f"{form.media_type.partition('/')[0]}/*", form.media_type)
        precision = max((number for number, name in enumerate(ranges) if name in liked), default=0)
        order = _BY_WILDCARD if precision == 0 else _BY_NAME
        return liked.get(ranges[precision], 0.0), precision, -order.index(form)

    best = max(_BY_NAME, key=weight)
    return best if weight(best)[0] > 0 else None
