"""A secret in a text for people is masked, and what is none stays as it is."""

from __future__ import annotations

import time

import pytest
from support.generated import given, st

from ppmctl.secret import masked

TOKEN = "aB3" * 14


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:s3cret@x/simple/", "https://***@x/simple/"),
        ("https://me:s3@cret@x/simple/", "https://***@x/simple/"),
        ("https://s3cret@x/simple/", "https://***@x/simple/"),
        ("HTTPS://me:s3cret@x/simple/", "HTTPS://***@x/simple/"),
        ("index-url = https://s3cret@x/ https://y/", "index-url = https://***@x/ https://y/"),
        ('url = "https://me:s3cret@x/", proxy = "y@z"', 'url = "https://***@x/", proxy = "y@z"'),
        ("https://a:s3@x,https://b:cret@y", "https://***@x,https://***@y"),
        ("a @ git+https://me:s3cret@x/r.git@v1", "a @ git+https://***@x/r.git@v1"),
        ("git+ssh://git:s3cret@x/r.git@v1", "git+ssh://git:***@x/r.git@v1"),
        ("ssh://me:s3cret@x", "ssh://me:***@x"),
        # not a URL, or half of one
        ("https://me:s3/cret@x/simple/", "https://***@x/simple/"),
        ("https://me:s3?cret@x/simple/", "https://***@x/simple/"),
        ("https://me:s3#cret@x/simple/", "https://***@x/simple/"),
        ("https://me:s3'cret@x/simple/", "https://***@x/simple/"),
        ("https://me:s3cre", "https://***"),
        ("me:s3cret@x/simple/", "me:***@x/simple/"),
        ("https:/me:s3cret@x", "https:/***@x"),
        ("see a:,b:/s3cret@x, c:s3cret@x", "see a:,b:/***@x, c:***@x"),
        (f"me:{'s3cret,' * 300}@x", "me:***@x"),
        # a query, and a fragment that no installer knows
        ("https://x/a.whl?token=s3cret&b=s3cret", "https://x/a.whl?token=***&b=***"),
        ("https://x/a.whl?s3cret", "https://x/a.whl?***"),
        ("https://x/a.whl?a=s3cret#sha256=ab&egg=a", "https://x/a.whl?a=***#sha256=ab&egg=a"),
        ("https://x/a.whl#access_token=s3cret", "https://x/a.whl#access_token=***"),
        # tokens, wherever they are
        (f"https://x/{'ppm_' + TOKEN}/simple/", "https://x/ppm_***/simple/"),
        (f"--token ghp_{TOKEN} -v", "--token ghp_*** -v"),
        (f"glpat-{TOKEN}", "glpat-***"),
    ],
)
def test_a_secret_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://x/simple/",
        "https://x:8443/simple/@me/",
        "https://[::1]:8080/simple/",
        "a @ git+https://x/r.git@v1#subdirectory=b&egg=a",
        "a @ git+ssh://git@x/r.git",
        "git@x:team/repository.git",
        "It is http://127.0.0.1:8080; http://x:1, (http://[::1]:80) or http://x:80: see http://y:9.",
        "ann@example.com",
        "web@3: numpy>=2 is replaced by numpy>=2.1.",
        "ssh://[user@]host[:port], ssh+sudo://[user@]host[:port], or docker://container.",
        "ppm_env_for_everybody_who_learns_machines-1.0.0-py3-none-any.whl",
        "2030-01-31T12:00:00Z",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


@given(st.text("ab:@/?#='& \"", max_size=12), st.text("ab/?&", max_size=5))
def test_no_userinfo_is_left_before_the_host(userinfo: str, path: str) -> None:
    """Whatever is between :// and the last @ of an authority is masked, whichever characters it has."""
    before = userinfo.replace("/", "").replace("?", "").replace("#", "").replace(" ", "").replace('"', "")
    assert masked(f"https://secret{before}@host/{path}").startswith("https://***@host/")


def test_long_texts_are_masked_quickly() -> None:
    begun = time.process_time()
    for part in ("a://", "a:", "a:,", "a:,b:/", "a:@", "npm_", "'", "a", "/", ",", "[", "=", "a b:"):
        for text in (part * 50_000, f"https://{part * 50_000}:a"):
            masked(text)
    assert time.process_time() - begun < 5
