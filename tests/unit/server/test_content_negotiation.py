"""The form of a page: the table of known headers agrees with the general rules."""

from __future__ import annotations

from typing import Any

import pytest
from support.generated import given, st

from ppmctl.server import content_negotiation
from ppmctl.server.content_negotiation import FORMS, HTML, JSON, PLAIN_HTML, Form, negotiate, weigh

NAMES = {
    JSON.media_type: JSON,
    "application/vnd.pypi.simple.latest+json": JSON,
    HTML.media_type: HTML,
    "application/vnd.pypi.simple.latest+html": HTML,
    PLAIN_HTML.media_type: PLAIN_HTML,
}
OTHERS = ("image/png", "text/plain", "application/json", "application/vnd.pypi.simple.v2+json", "nonsense", "*")
qualities = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
ranges = st.sampled_from([*NAMES, *OTHERS, "*/*", "text/*", "application/*"])


def header_of(weights: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name};q={quality:.3f}" for name, quality in weights)


@pytest.mark.parametrize(
    ("client", "header", "form"), content_negotiation.TABLE, ids=[row[0] for row in content_negotiation.TABLE]
)
def test_the_table_agrees_with_the_rules(client: str, header: str, form: Form) -> None:
    """nginx uses the table and the application the rules, so both must agree for known clients."""
    assert negotiate(header) is form
    assert weigh(header) is form


@pytest.mark.parametrize("header", ["", "  "])
def test_an_empty_header_takes_any_form(header: str) -> None:
    assert negotiate(header) is PLAIN_HTML


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("application/*", JSON),
        ("text/*", PLAIN_HTML),
        ("text/html, application/*;q=0.9", PLAIN_HTML),
        ("application/vnd.pypi.simple.v1+json;q=0, */*", PLAIN_HTML),
        ("text/html;q=0, */*", JSON),
        ("*/*;q=0", None),
        ("text/html;q=0", None),
        ("image/png", None),
        ("APPLICATION/VND.PYPI.SIMPLE.V1+JSON ; Q=1", JSON),
        ("text/html;q=nonsense", None),
        ("text/html;level=1", PLAIN_HTML),
        (",,", None),
    ],
)
def test_wildcards_and_quality_values(header: str, form: Form | None) -> None:
    """A form with q=0 is never sent; a wildcard gives the form that a browser shows."""
    assert weigh(header) is form


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), qualities, min_size=1), st.randoms(use_true_random=False))
def test_the_form_of_the_highest_quality_is_chosen(weights: dict[str, float], chance: Any) -> None:
    """Whatever the order of the header; with q=0 for all forms there is none."""
    items = list(weights.items())
    chance.shuffle(items)
    best = max(weights.values())
    chosen = weigh(header_of(items))
    if best == 0:
        assert chosen is None
    else:
        assert chosen in {NAMES[name] for name, quality in weights.items() if quality == best}
    assert chosen is weigh(header_of(sorted(items)))


@given(st.lists(st.tuples(st.sampled_from(OTHERS), qualities)), st.sampled_from(sorted(NAMES)))
def test_unknown_media_types_are_ignored(others: list[tuple[str, float]], name: str) -> None:
    assert weigh(header_of([*others, (name, 0.1)])) is NAMES[name]
    assert weigh(header_of(others)) is None


@given(st.lists(st.tuples(ranges, qualities), min_size=1))
def test_the_most_precise_range_decides_about_a_form(weights: list[tuple[str, float]]) -> None:
    """RFC 9110, section 12.5.1."""
    chosen = weigh(header_of(weights))
    accepted = {form for form in FORMS if quality_of(form, weights) > 0}
    assert (chosen in accepted) if accepted else (chosen is None)
    if chosen is not None:
        assert quality_of(chosen, weights) == max(quality_of(form, weights) for form in accepted)


def quality_of(form: Form, weights: list[tuple[str, float]]) -> float:
    major = form.media_type.partition("/")[0]
    for ranges_of_form in ([name for name in NAMES if NAMES[name] is form], [f"{major}/*"], ["*/*"]):
        matching = [quality for name, quality in weights if name in ranges_of_form]
        if matching:
            return max(matching)
    return 0.0


@given(st.text())
def test_no_accept_header_raises_an_error(header: str) -> None:
    assert negotiate(header) in (None, *FORMS)
