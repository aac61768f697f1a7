"""Resolving an index: URLs in every form, sections of ~/.pypirc, and URLs with secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppmctl.client import index_url
from ppmctl.client.index_url import Address, resolve
from ppmctl.errors import UsageError

PYPIRC = """[distutils]
index-servers =
    internal
    bare
[internal]
repository = https://Index.Test:443/team/legacy/
[bare]
repository = http://127.0.0.1:8080/
[reads]
repository = https://index.test/reads/simple/
[none]
username = ops
[leaky]
repository = https://ops:s3cret@index.test/
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".pypirc").write_text(PYPIRC)
    return tmp_path


@pytest.mark.parametrize("end", ["", "/", "/simple", "/simple/", "/legacy", "/legacy/", "//"])
def test_a_url_with_any_ending_is_the_same_index(end: str, tmp_path: Path) -> None:
    address = resolve(f"https://Index.Test:443/team{end}", environ={}, home=tmp_path)
    assert address == Address(base="https://index.test/team", upload="https://index.test/team/legacy/")
    assert (address.simple, address.host) == ("https://index.test/team/simple/", "index.test")


@pytest.mark.parametrize(
    ("url", "base", "host"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1"),
        ("http://[::1]:80/simple/", "http://[::1]", "::1"),
        ("https://h/a/simple/simple/", "https://h/a/simple", "h"),
        ("https://h/not-simple", "https://h/not-simple", "h"),
    ],
)
def test_default_ports_and_ipv6_addresses(url: str, base: str, host: str, tmp_path: Path) -> None:
    address = resolve(url, environ={}, home=tmp_path)
    assert (address.base, address.host) == (base, host)


def test_a_name_is_a_section_and_its_upload_url_stays(home: Path) -> None:
    internal = resolve("internal", environ={}, home=home)
    assert (internal.base, internal.upload) == ("https://index.test/team", "https://Index.Test:443/team/legacy/")
    bare = resolve("bare", environ={}, home=home)
    assert (bare.simple, bare.upload) == ("http://127.0.0.1:8080/simple/", "http://127.0.0.1:8080/")
    reads = resolve("reads", environ={}, home=home)
    assert reads.upload == "https://index.test/reads/legacy/"


def test_a_url_finds_its_section(home: Path) -> None:
    address = resolve("https://index.test/team/simple/", environ={}, home=home)
    assert address.section is not None
    assert address.section.name == "internal"
    assert resolve("http://127.0.0.1:8080/simple/", environ={}, home=home).upload == "http://127.0.0.1:8080/"


def test_the_variable_counts_without_an_option(home: Path) -> None:
    environ = {"PPMCTL_INDEX": "bare"}
    assert resolve(None, environ=environ, home=home).base == "http://127.0.0.1:8080"
    assert resolve("internal", environ=environ, home=home).base == "https://index.test/team"


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "No index is specified"),
        ("", "No index is specified"),
        ("interna", "neither a URL nor a section"),
        ("index.test", "neither a URL nor a section"),
        ("distutils", "neither a URL nor a section"),
        ("none", "has no repository"),
        ("ftp://index.test/", "not the URL of an index"),
        ("https://", "not the URL of an index"),
        ("https://index.test:x/", "not the URL of an index"),
        ("https://index.test/?a=b", "not the URL of an index"),
        ("https://index.test/#a", "not the URL of an index"),
        ('https://index.test/"\nx = "', "not the URL of an index"),
        ("https://[index.test/", "not the URL of an index"),
    ],
)
def test_an_index_that_does_not_exist_is_an_error(index: str | None, message: str, home: Path) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(index, environ={}, home=home)


@pytest.mark.parametrize("index", [None, "interna", "none", "ftp://index.test/"])
def test_errors_about_an_argument_do_not_name_the_option(index: str | None, home: Path) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(index, environ={}, home=home, by="URL")
    assert "--index" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "https://ops:s3cret@index.test/",
        "https://s3cret@index.test/",
        "https://ops:s3cret@index.test:x/",
        "https://ops:s3cret@[index.test/",
        "https:/ops:s3cret@index.test/",
        "ops:s3cret@index.test",
        "leaky",
        "https://index.test/?token=s3cret",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str, home: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(url, environ={}, home=home)
    assert "s3cret" not in caught.value.message + caught.value.hint


def test_without_a_pypirc_there_are_no_sections(tmp_path: Path) -> None:
    assert index_url.read_sections(tmp_path / ".pypirc") == {}


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [
        ("http://127.0.0.1", True),
        ("http://127.3.2.1:80", True),
        ("http://[::1]:8080", True),
        ("http://localhost:1", True),
        ("http://a.localhost", True),
        ("http://localhost.test", False),
        ("http://10.0.0.1", False),
    ],
)
def test_which_hosts_are_loopback(url: str, is_loopback: bool, tmp_path: Path) -> None:
    assert resolve(url, environ={}, home=tmp_path).is_loopback is is_loopback


@pytest.mark.parametrize(
    ("url", "is_overheard"),
    [
        ("https://index.test", False),
        ("http://localhost:8080", False),
        ("http://NGINX:8080", False),
        ("http://other", False),
        ("http://nginx.test", True),
        ("http://index.test", True),
    ],
)
def test_plain_http_is_overheard_unless_the_host_is_trusted(url: str, is_overheard: bool, tmp_path: Path) -> None:
    environ = {"PPMCTL_TRUSTED_HOST": "Nginx other"}
    assert resolve(url, environ=environ, home=tmp_path).is_overheard is is_overheard
    assert resolve("http://nginx", environ={}, home=tmp_path).is_overheard


def test_the_address_has_the_names_of_the_other_sections(home: Path) -> None:
    """The error for a missing credential lists them."""
    assert resolve("bare", environ={}, home=home).others == ("internal", "reads", "none", "leaky")
    assert len(resolve("https://nobody.test", environ={}, home=home).others) == 5


def test_the_hint_for_a_host_name_has_the_sections_and_the_url(home: Path) -> None:
    with pytest.raises(UsageError) as refused:
        resolve("index.test", environ={}, home=home)
    assert "internal" in (refused.value.hint or "")
    assert "--index https://host/" in (refused.value.hint or "")
