"""The settings of a server: which origin overrides which, and the errors for bad values."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
import yaml

from ppmctl.access.audit_rotation import Limits
from ppmctl.errors import UsageError
from ppmctl.server.setting_table import SETTINGS, parse_size
from ppmctl.server.settings import ServerSettings, server_settings, settings_file


def settings(root: Path, *, flags: dict[str, object] | None = None, **environ: str) -> ServerSettings:
    return server_settings(root, flags=flags or {}, environ=environ)


def test_defaults(tmp_path: Path) -> None:
    read = settings(tmp_path)
    assert (read.host, read.port, read.read_access, read.upstream) == (
        "127.0.0.1",
        8080,
        "authenticated",
        "redirect",
    )
    assert read.upstream_url is None
    assert settings(tmp_path, PPM_UPSTREAM_URL="https://x.example/simple").upstream_url == "https://x.example/simple/"
    assert read.max_upload_size == 4 << 30
    assert read.private_names == ()
    assert read.public_names == "admin"
    assert read.audit_limits == Limits(size=50 << 20, files=20, days=730)
    assert not read.public_reads


def test_a_flag_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    (tmp_path / "ppm.yml").write_text("port: 1001\nupstream: none\nprivate_names: [Acme_*, billing]\n")
    assert settings(tmp_path).port == 1001
    assert settings(tmp_path, PPM_PORT="1002").port == 1002
    assert settings(tmp_path, flags={"port": "1003"}, PPM_PORT="1002").port == 1003
    read = settings(tmp_path, flags={"private_names": ()})
    assert read.upstream == "none"
    assert read.private_names == ("acme-*", "billing")
    assert settings(tmp_path, PPM_PRIVATE_NAMES="a.b, c*").private_names == ("a-b", "c*")


def test_every_setting_can_be_a_variable(tmp_path: Path) -> None:
    """As in a service's environment file. An empty variable counts as not set."""
    variables = {
        "PPM_HOST": "unix:/run/x.sock",
        "PPM_PORT": "1002",
        "PPM_READ_ACCESS": "public",
        "PPM_UPSTREAM": "none",
        "PPM_UPSTREAM_URL": "https://x.example/simple/",
        "PPM_PRIVATE_NAMES": "Acme-* billing",
        "PPM_PUBLIC_NAMES": "deny",
        "PPM_REGISTRATION": "open",
        "PPM_MAX_UPLOAD_SIZE": "1G",
        "PPM_THREADS": "3",
        "PPM_AUDIT_MAX_SIZE": "1M",
        "PPM_AUDIT_KEEP_FILES": "2",
        "PPM_AUDIT_KEEP_DAYS": "30",
        "PPM_METRICS": "loopback",
        "PPM_CERTIFICATE": "/etc/c.pem",
        "PPM_BACKUPS": "expected",
        "PPM_STORAGE": "s3://bucket/some/prefix/",
        "PPM_STORAGE_REDIRECT": "true",
        "PPM_CACHE_MAX_SIZE": "10G",
    }
    assert set(variables) == {setting.variable for setting in SETTINGS}
    read = settings(tmp_path, **variables)
    assert read.is_local
    assert (read.host, read.port, read.read_access, read.upstream) == ("unix:/run/x.sock", 1002, "public", "none")
    assert (read.upstream_url, read.private_names) == ("https://x.example/simple/", ("acme-*", "billing"))
    assert (read.public_names, read.max_upload_size, read.threads) == ("deny", 1 << 30, 3)
    assert read.audit_limits == Limits(size=1 << 20, files=2, days=30)
    assert (read.metrics, read.certificate, read.backups) == ("loopback", Path("/etc/c.pem"), "expected")
    assert (read.storage, read.storage_redirect, read.cache_max_size) == ("s3://bucket/some/prefix", True, 10 << 30)
    assert (settings(tmp_path).storage, settings(tmp_path).storage_redirect) == (None, False)
    assert (read.registration, settings(tmp_path).registration) == ("open", "invite")
    assert settings(tmp_path, **dict.fromkeys(variables, "")) == settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port", "http", "PPM_PORT is 'http': it must be a whole number from 1 to 65535"),
        ("port", "0", "1 to 65535"),
        ("port", "70000", "1 to 65535"),
        ("read_access", "none", "authenticated or public"),
        ("upstream", "yes", "redirect or none"),
        ("metrics", "everyone", "credential or loopback"),
        ("certificate", "c.pem", "a path that begins with /"),
        ("backups", "daily", "none or expected"),
        ("upstream_url", "index.example/simple", "a URL"),
        ("upstream_url", "https://user:hunter2@index.example/simple/", "without a credential"),
        ("upstream_url", "https://index.example/simple/?token=hunter2", "without a credential, ? and #"),
        ("upstream_url", "https://index.example/simple/#hunter2", "without a credential, ? and #"),
        ("upstream_url", "https://300.1.1.1/simple/", "its host or port can't exist"),
        ("upstream_url", "https://index.example:99999/simple/", "its host or port can't exist"),
        ("upstream_url", "https://[::1/simple/", "its host or port can't exist"),
        ("host", "300.1.1.1", "PPM_HOST is '300.1.1.1': it must be an IP address such as 127.0.0.1 or ::1, the name"),
        ("host", "index.example:8080", "the port is a setting of its own"),
        ("host", "https://user:hunter2@index.example/", "it must be an IP address"),
        ("host", "a b", "it must be an IP address"),
        ("host", "unix:", "unix: needs a path"),
        ("port", "https://user:hunter2@index.example/", "1 to 65535"),
        ("private_names", "https://user:hunter2@index.example/", "not a pattern of names"),
        ("private_names", "acme/*", "not a pattern of names"),
        (
            "private_names",
            "ok acme-[",
            "'acme-[' is not a pattern of names such as acme-*: it has a [ or ] on its own",
        ),
        ("public_names", "none", "admin or allow or deny"),
        ("registration", "closed", "invite or open"),
        ("max_upload_size", "big", "500M or 4G"),
        ("max_upload_size", "0", "500M or 4G"),
        ("threads", "1", "2 to 512"),
        ("audit_max_size", "0", "500M or 4G"),
        ("audit_keep_files", "0", "1 to 10000"),
        ("audit_keep_days", "-1", "1 to 36500"),
        ("storage", "/srv/bucket", "the address of a bucket such as s3://bucket/prefix"),
        ("storage", "s3://key:hunter2@bucket/x", "without a credential"),
        ("storage", "s3://bucket/x?key=hunter2", "without a credential"),
        ("storage", "s3://bucket/../x//y", "the address of a bucket"),
        ("storage_redirect", "yes", "true or false"),
        ("cache_max_size", "0", "500M or 4G"),
    ],
)
def test_the_error_for_a_bad_value_names_its_origin(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(UsageError) as refusal:
        settings(tmp_path, **{f"PPM_{name.upper()}": value})
    assert message in refusal.value.message
    assert f"PPM_{name.upper()}" in refusal.value.message
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value)), "-v prints it"
    with pytest.raises(UsageError, match="--"):
        settings(tmp_path, flags={name: value})


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0", "localhost", "index_1", "a.example.", "unix:/x"]
)
def test_an_address_to_listen_on_can_be_of_each_kind(tmp_path: Path, host: str) -> None:
    assert settings(tmp_path, PPM_HOST=host).host == host


@pytest.mark.parametrize(
    ("value", "size"),
    [(1000, 1000), ("1000", 1000), ("500M", 500 << 20), ("4G", 4 << 30), ("2 GiB", 2 << 30), ("1kb", 1 << 10)],
)
def test_a_size_can_have_a_unit(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1\n", "Did you mean 'port'?"),
        ("- port\n", "must be a mapping of setting names to values"),
        ("port: [1\n", "ppm.yml, line 1: the [ of line 1 is not closed"),
        ("host: x\nport: 2026-99-99\n", "ppm.yml, line 2: a value has a form"),
        ("host: a\nport: 1\nhost: hunter2\n", "ppm.yml, line 3: the name 'host' is also in line 1"),
        ("private_names: [*-internal]\n", "ppm.yml, line 1: a * starts the name of an anchor"),
        ("upstream_url: https://user:hunter2@h/: x\n", "ppm.yml, line 1: a colon where none can be"),
        ("upstream_url: https://user:hunter2@h/\n", "is 'https://***@h/': it must be a URL"),
        ("upstream_url: [https://user:hunter2@h/]\n", "is ['https://***@h/']: it must be a URL"),
        ("host: 300.1.1.1\n", "it must be an IP address"),
        ("host: 3\n", "is 3: it must be an IP address"),
        ("https://user:hunter2@h/: 1\n", "unknown setting 'https://***@h/'"),
        ("port: eighty\n", "port in"),
        ("port: true\n", "whole number"),
        ("private_names: 3\n", "a list of name patterns"),
        ("private_names: ['']\n", "it is empty"),
        ("private_names: ['!x']\n", "no name matches it"),
        ("private_names: [7]\n", "it is not a text"),
    ],
)
def test_the_error_for_a_bad_file_names_it(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "ppm.yml").write_text(text)
    with pytest.raises(UsageError) as refusal:
        settings(tmp_path)
    assert message in f"{refusal.value.message} {refusal.value.hint}"
    assert "ppm.yml" in refusal.value.message
    assert "hunter2" not in "".join(traceback.format_exception(refusal.value)) + refusal.value.hint


def test_the_file_that_init_writes_sets_nothing_and_explains_all(tmp_path: Path) -> None:
    """Every setting is commented out, and valid when the comment sign is removed."""
    text = settings_file()
    assert yaml.safe_load(text) is None
    (tmp_path / "ppm.yml").write_text(
        "\n".join(line.removeprefix("#") for line in text.splitlines() if line[:2] != "# ")
    )
    read = settings(tmp_path)
    assert read.private_names == ("acme-*", "billing")
    for setting in SETTINGS:
        assert f"#{setting.name}: " in text
        assert setting.help in text
