"""Negotiation of a page's form: the table, and the rules that it must agree with."""

from __future__ import annotations

import pytest
from support.generated import given, st

from ppmctl.server import content_negotiation
from ppmctl.server.content_negotiation import HTML, JSON, PLAIN_HTML, Form, negotiate, weigh

FORMS = (JSON, HTML, PLAIN_HTML)
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


def written(weights: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name};q={quality:.3f}" for name, quality in weights)


@pytest.mark.parametrize(
    ("client", "header", "form"), content_negotiation.TABLE, ids=[row[0] for row in content_negotiation.TABLE]
)
def test_the_table_says_what_the_rules_say(client: str, header: str, form: Form) -> None:
    """nginx obeys the table, the application the rules: for known clients both must give the same."""
    assert negotiate(header) is form
    assert weigh(header) is form


@pytest.mark.parametrize("header", ["", "  "])
def test_no_header_takes_anything(header: str) -> None:
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
def test_corners(header: str, form: Form | None) -> None:
    """What a client rules out it never gets; a wildcard gives what a browser shows."""
    assert weigh(header) is form


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), qualities, min_size=1), st.randoms(use_true_random=False))
def test_what_is_liked_best_is_given(weights: dict[str, float], chance: object) -> None:
    """Of the forms that are named, one of the highest quality; none at q=0; in whatever order they are said."""
    items = list(weights.items())
    chance.shuffle(items)  # type: ignore[attr-defined]
    best = max(weights.values())
    chosen = weigh(written(items))
    if best == 0:
        assert chosen is None
    else:
        assert chosen in {NAMES[name] for name, quality in weights.items() if quality == best}
    assert chosen is weigh(written(sorted(items)))


@given(st.lists(st.tuples(st.sampled_from(OTHERS), qualities)), st.sampled_from(sorted(NAMES)))
def test_types_that_are_not_here_change_nothing(others: list[tuple[str, float]], name: str) -> None:
    assert weigh(written([*others, (name, 0.1)])) is NAMES[name]
    assert weigh(written(others)) is None


@given(st.lists(st.tuples(ranges, qualities), min_size=1))
def test_a_form_is_given_only_if_something_that_means_it_is_liked(weights: list[tuple[str, float]]) -> None:
    """The most precise range that means a form decides about it (RFC 9110, 12.5.1)."""
    chosen = weigh(written(weights))
    liked = {form for form in FORMS if quality_of(form, weights) > 0}
    assert (chosen in liked) if liked else (chosen is None)
    if chosen is not None:
        assert quality_of(chosen, weights) == max(quality_of(form, weights) for form in liked)


def quality_of(form: Form, weights: list[tuple[str, float]]) -> float:
    major = form.media_type.partition("/")[0]
    for means in ([name for name in NAMES if NAMES[name] is form], [f"{major}/*"], ["*/*"]):
        found = [quality for name, quality in weights if name in means]
        if found:
            return max(found)
    return 0.0


@given(st.text())
def test_any_text_is_judged(header: str) -> None:
    """No header makes the server fail."""
    assert negotiate(header) in (None, *FORMS)
