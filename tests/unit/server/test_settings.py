"""The settings of a server: what wins over what, and what a bad value says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ppmctl.errors import UsageError
from ppmctl.server import settings as settings_module


def settings(root: Path, *, flags: dict[str, object] | None = None, **environ: str) -> settings_module.ServerSettings:
    return settings_module.server_settings(root, flags=flags or {}, environ=environ)


def test_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.host, found.port, found.read_access, found.upstream) == (
        "127.0.0.1",
        8080,
        "authenticated",
        "redirect",
    )
    assert found.upstream_url is None
    assert settings(tmp_path, PPM_UPSTREAM_URL="https://x.example/simple").upstream_url == "https://x.example/simple/"
    assert found.max_upload_size == 4 << 30
    assert found.private_names == ()
    assert not found.public_reads


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "ppm.yml").write_text("port: 1001\nupstream: none\nprivate_names: [Acme_*, billing]\n")
    assert settings(tmp_path).port == 1001
    assert settings(tmp_path, PPM_PORT="1002").port == 1002
    assert settings(tmp_path, flags={"port": "1003"}, PPM_PORT="1002").port == 1003
    found = settings(tmp_path, flags={"private_names": ()})
    assert found.upstream == "none"
    assert found.private_names == ("acme-*", "billing")
    assert settings(tmp_path, PPM_PRIVATE_NAMES="a.b, c*").private_names == ("a-b", "c*")


def test_the_environment_can_say_all_of_it(tmp_path: Path) -> None:
    """A service's settings are an environment file; what it leaves empty counts as not said."""
    said = {
        "PPM_HOST": "unix:/run/x.sock",
        "PPM_PORT": "1002",
        "PPM_READ_ACCESS": "public",
        "PPM_UPSTREAM": "none",
        "PPM_UPSTREAM_URL": "https://x.example/simple/",
        "PPM_PRIVATE_NAMES": "Acme-* billing",
        "PPM_MAX_UPLOAD_SIZE": "1G",
        "PPM_THREADS": "3",
    }
    assert set(said) == {setting.variable for setting in settings_module.SETTINGS}
    found = settings(tmp_path, **said)
    assert found.is_local
    assert (found.host, found.port, found.read_access, found.upstream) == ("unix:/run/x.sock", 1002, "public", "none")
    assert (found.upstream_url, found.private_names) == ("https://x.example/simple/", ("acme-*", "billing"))
    assert (found.max_upload_size, found.threads) == (1 << 30, 3)
    assert settings(tmp_path, **dict.fromkeys(said, "")) == settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("port", "http", "PPM_PORT is 'http': it must be a whole number from 1 to 65535"),
        ("port", "0", "1 to 65535"),
        ("port", "70000", "1 to 65535"),
        ("read_access", "none", "authenticated or public"),
        ("upstream", "yes", "redirect or none"),
        ("upstream_url", "index.example/simple", "a URL"),
        ("upstream_url", "https://user:secret@index.example/simple/", "without a credential"),
        ("private_names", "acme/*", "not a pattern of names"),
        ("max_upload_size", "big", "500M or 4G"),
        ("max_upload_size", "0", "500M or 4G"),
        ("threads", "1", "2 to 512"),
    ],
)
def test_a_bad_value_is_named_with_where_it_came_from(tmp_path: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(UsageError) as refusal:
        settings(tmp_path, **{f"PPM_{name.upper()}": value})
    assert says in refusal.value.message
    assert f"PPM_{name.upper()}" in refusal.value.message
    with pytest.raises(UsageError, match="--"):
        settings(tmp_path, flags={name: value})


@pytest.mark.parametrize(
    ("value", "size"),
    [(1000, 1000), ("1000", 1000), ("500M", 500 << 20), ("4G", 4 << 30), ("2 GiB", 2 << 30), ("1kb", 1 << 10)],
)
def test_sizes(value: object, size: int) -> None:
    assert settings_module.parse_size(value) == size


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot: 1\n", "Did you mean 'port'?"),
        ("- port\n", "is not a list of settings"),
        ("port: [1\n", "can't be read"),
        ("port: eighty\n", "port in"),
        ("port: true\n", "whole number"),
        ("private_names: 3\n", "a list of name patterns"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "ppm.yml").write_text(text)
    with pytest.raises(UsageError) as refusal:
        settings(tmp_path)
    assert says in f"{refusal.value.message} {refusal.value.hint}"
    assert "ppm.yml" in refusal.value.message


def test_the_file_that_init_writes_sets_nothing_and_explains_all(tmp_path: Path) -> None:
    """Every setting is there, commented out; without the mark each example is valid."""
    text = settings_module.settings_file()
    assert yaml.safe_load(text) is None
    (tmp_path / "ppm.yml").write_text(
        "\n".join(line.removeprefix("#") for line in text.splitlines() if line[:2] != "# ")
    )
    found = settings(tmp_path)
    assert found.private_names == ("acme-*", "billing")
    for setting in settings_module.SETTINGS:
        assert f"#{setting.name}: " in text
        assert setting.help in text
