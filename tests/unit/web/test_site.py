"""Tests of what all pages have in common."""

from __future__ import annotations

import gzip

import pytest
from support.pages import Visitor


@pytest.mark.parametrize("path", ["/login", "/static/style.css"])
def test_pages_are_compressed_for_who_can_read_it(visitor: Visitor, path: str) -> None:
    plain, packed = (visitor.client.get(path, headers={"Accept-Encoding": sent}) for sent in ("identity", "gzip, br"))
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.get_data()) == int(packed.headers["Content-Length"]) < len(plain.get_data())
    assert gzip.decompress(packed.get_data())[:200] == plain.get_data()[:200]
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["Vary"]


def test_the_token_of_a_form_is_another_text_each_time(visitor: Visitor) -> None:
    """Otherwise the length of a compressed page would tell a guesser how much of it is right (BREACH)."""
    visitor.as_user("ann")
    tokens = {visitor.get("/").fields["form_token"] for _ in range(3)}
    assert len(tokens) == 3
    for token in tokens:
        for wrong in (token[:-2], token[64:], token + "00", token[:64] * 2, token.replace(token[-1], "x"), "é"):
            assert visitor.send("/logout", form_token=wrong).status == 403, wrong
    for token in tokens:
        assert visitor.send("/account/nothing", form_token=token).status == 404
    assert visitor.send("/logout", form_token=tokens.pop()).status == 303
