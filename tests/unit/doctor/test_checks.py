"""Checks of doctor without a network: certificates, lists of projects, disks, and the order of checks."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives import serialization
from support.tls import Authority

from ansible_collections.ppm.index.plugins.modules import ask_index
from ppmctl import user_dirs
from ppmctl.client.http import Answer
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import is_index
from ppmctl.doctor import checks, clients, network, programs, tls, volume_checks, x509
from ppmctl.doctor.checks import Check
from ppmctl.doctor.client_model import Client, Setting
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.index_url import similar, without_userinfo
from ppmctl.doctor.x509 import Certificate
from ppmctl.errors import PpmError
from ppmctl.index import operation_result
from ppmctl.index.layout import Volume
from ppmctl.index.operation_result import OperationResult


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


# certificates


def test_certificate_fields_are_read(authority: Authority, tmp_path: Path) -> None:
    chain, _key = authority.issue(tmp_path / "tls", "index.example", days=20)
    leaf = x509.read_first("Bag Attributes\n    friendlyName: index\n" + chain.read_text())  # as of openssl pkcs12
    assert (leaf.subject, leaf.issuer, leaf.hosts) == ("index.example", "Issuing", ("index.example",))
    assert timedelta(days=19) < leaf.ends - datetime.now(UTC) < timedelta(days=21)
    assert not leaf.is_own_issuer
    root = x509.parse(authority.root.public_bytes(serialization.Encoding.DER))
    assert (root.is_own_issuer, root.begins) == (True, authority.root.not_valid_before_utc)


def test_every_certificate_of_certifi_is_read() -> None:
    context = ssl.create_default_context(cafile=certifi.where())
    expected = zip(context.get_ca_certs(), context.get_ca_certs(binary_form=True), strict=True)
    read = 0
    for theirs, der in expected:
        ours = x509.parse(der)
        times = (
            ssl.cert_time_to_seconds(str(theirs["notBefore"])),
            ssl.cert_time_to_seconds(str(theirs["notAfter"])),
        )
        assert (ours.begins.timestamp(), ours.ends.timestamp()) == times
        read += 1
    assert read > 50


@pytest.mark.parametrize("cut", [0, 1, 5, 40, 200])
def test_invalid_certificates_raise_value_error(cut: int, authority: Authority) -> None:
    whole = authority.root.public_bytes(serialization.Encoding.DER)
    with pytest.raises(ValueError):  # noqa: PT011 - with any message
        x509.parse(whole[:cut])
    with pytest.raises(ValueError):  # noqa: PT011 - with any message
        x509.read_first("-----BEGIN NOTHING-----")


@pytest.mark.parametrize(
    ("life", "left", "late", "last_moment"),
    [
        (90, 30, False, False),
        (90, 20.5, False, False),
        (90, 19, True, False),
        (90, 2, True, True),
        (45, 12, False, False),  # renewed at 15 days
        (45, 10, True, False),
        (6.7, 3, False, False),  # renewed when half of it is left
        (6.7, 1, True, False),
        (6.7, 0.3, True, True),
        (3650, 20, False, False),
    ],
)
def test_renewal_is_late_relative_to_the_lifetime(life: float, left: float, late: bool, last_moment: bool) -> None:
    now = datetime.now(UTC)
    begins, ends = now - timedelta(days=life - left), now + timedelta(days=left)
    certificate = Certificate(der=b"", subject="", issuer="", begins=begins, ends=ends, hosts=(), is_own_issuer=False)
    assert (certificate.is_late(now), certificate.is_last_moment(now)) == (late, last_moment)
    assert ask_index.is_late(begins, ends, now) == late, "site.yml warns when doctor does"


@pytest.mark.parametrize(("days", "state"), [(60, "ok"), (5, "warn"), (2, "fail"), (-2, "fail")])
def test_expiry_of_a_certificate_file(days: int, state: str, authority: Authority, tmp_path: Path) -> None:
    chain, _key = authority.issue(tmp_path / "tls", "index.example", days=days, age=85)
    (finding,) = tls.check_file(chain)
    assert (finding.state, "certbot" in finding.hint) == (state, state != "ok")
    assert list(tls.check_file(tmp_path / "none")) == []
    (tmp_path / "other").write_text("text")
    assert next(tls.check_file(tmp_path / "other")).state == "fail"


def test_a_certificate_that_is_not_valid_yet_blames_the_clock() -> None:
    begins = datetime.now(UTC) + timedelta(days=1)
    later = Certificate(
        der=b"",
        subject="",
        issuer="",
        begins=begins,
        ends=begins + timedelta(days=90),
        hosts=("index.example", "*.example.org"),
        is_own_issuer=False,
    )
    (finding,) = tls._out_of_time([later])
    assert (finding.state, "timedatectl" in finding.hint) == ("fail", True)
    named = {host: tls._is_for(later, host) for host in ("index.example", "a.example.org", "a.b.example.org", "x")}
    assert named == {"index.example": True, "a.example.org": True, "a.b.example.org": False, "x": False}


# lists of projects


def answer(body: str, content_type: str, status: int = 200) -> Answer:
    return Answer(
        url="https://x/simple/", status=status, reason="", headers={"content-type": content_type}, body=body.encode()
    )


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ('{"meta": {"api-version": "1.0"}, "projects": []}', "application/vnd.pypi.simple.v1+json", True),
        ('{"meta": {"api-version": "2.0"}, "projects": []}', "application/vnd.pypi.simple.v1+json", False),
        ('{"some": "thing"}', "application/json", False),
        ('<a href="acme/">acme</a>', "text/html", True),
        ('<a href="/simple/acme">acme</a> <a href="..">up</a> <a href="b/">b</a>', "text/html", True),
        ('<a href="/login">Log in</a> <a href="/about/">About</a>', "text/html", False),
        ('<meta name="pypi:repository-version" content="1.0">', "text/html", True),
        ("<title>Simple Index</title>", "text/html", True),
        ("<title>Welcome</title>", "text/html", False),
        ("ok", "text/plain", False),
    ],
)
def test_is_index_recognises_a_list_of_projects(body: str, content_type: str, expected: bool) -> None:
    assert is_index(answer(body, content_type)) is expected
    assert not is_index(answer(body, content_type, status=404))


def test_similar_urls_of_a_mistyped_one() -> None:
    lists = [simple for _base, simple in similar(Address(base="https://x/a/b", upload=""))]
    assert lists[:2] == ["https://x/a/simple/", "https://x/simple/"]
    assert {"https://x/a/b/+simple/", "https://x/a/b/"} <= set(lists)
    assert "https://x/a/b/simple/" not in lists  # it was requested before


def test_a_url_is_compared_without_the_credential_in_it() -> None:
    assert without_userinfo("https://me:s3cret@x/simple/") == "https://x/simple/"
    assert without_userinfo("https://me:s3@cret@x/simple/") == "https://x/simple/"
    assert without_userinfo("https://x/simple/@me/") == "https://x/simple/@me/"


# free disk space


def space(*, free: int, size: int, free_inodes: int, inodes: int) -> os.statvfs_result:
    """Return what statvfs reports of such a file system with blocks of one byte."""
    return os.statvfs_result((1, 1, size, free, free, inodes, free_inodes, free_inodes, 0, 255))


@pytest.mark.parametrize(
    ("room", "disk", "inodes"),
    [
        (space(free=50 << 30, size=100 << 30, free_inodes=10**6, inodes=2 * 10**6), "ok", "ok"),
        (space(free=50 << 30, size=1 << 50, free_inodes=10**6, inodes=2 * 10**6), "ok", "ok"),
        (space(free=5 << 30, size=100 << 30, free_inodes=10**4, inodes=10**6), "warn", "warn"),
        (space(free=50 << 20, size=100 << 30, free_inodes=999, inodes=10**6), "fail", "fail"),
        (space(free=50 << 30, size=100 << 30, free_inodes=0, inodes=0), "ok", None),
    ],
)
def test_free_bytes_and_inodes(room: os.statvfs_result, disk: str, inodes: str | None) -> None:
    findings = {each.check: each for each in volume_checks.disk(Volume(root=Path("/srv/ppm")), room)}
    assert findings["disk"].state == disk
    assert (findings["inodes"].state if "inodes" in findings else None) == inodes
    assert {bool(each.hint) for each in findings.values() if each.state != "ok"} <= {True}


# the order of checks

CONTEXT = Context(
    address=Address(base="https://x", upload=""),
    credential=None,
    environ={},
    home=Path(),
    cwd=Path(),
)


def test_skipped_checks_name_the_check_that_failed() -> None:
    def finds(check: str, state: str) -> Check:
        def run(_context: Context) -> Iterator[Finding]:
            if state == "raises":
                raise PpmError("It broke.", hint="Repair it")
            yield Finding(check, state, "")  # type: ignore[arg-type]  # one of its states

        return Check(name=check, run=run, needs=needs[check])

    needs: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("b",), "d": (), "e": ("d", "c"), "f": ("g",)}
    states = {"a": "fail", "b": "ok", "c": "ok", "d": "raises", "e": "ok", "f": "ok"}
    findings = list(checks.walk(CONTEXT, [finds(check, state) for check, state in states.items()]))
    assert [(each.check, each.state) for each in findings] == [
        *(("a", "fail"), ("b", "skip"), ("c", "skip"), ("d", "fail"), ("e", "skip"), ("f", "ok")),
    ]
    assert [each.message for each in findings[1:3]] == ["not tried, because of: a"] * 2
    assert findings[3] == Finding("d", "fail", "It broke", "Repair it")
    assert findings[4].message == "not tried, because of: d, a"


def test_a_file_that_cannot_be_read_is_no_broken_connection() -> None:
    def look(_context: Context) -> Iterator[Finding]:
        Path("/" + "long" * 100).stat()
        yield from ()

    (finding,) = checks.walk(CONTEXT, [Check(name="files", run=look)])
    assert finding.message == f"/{'long' * 100} can't be read: File name too long"


def test_every_check_needs_only_earlier_checks() -> None:
    before: set[str] = set()
    for check in checks.CHECKS:
        assert set(check.needs) <= before
        before.add(check.name)


# what is reported of clients and proxies


def context_at(url: str, **environ: str) -> Context:
    address = Address(base=url, upload=f"{url}/legacy/")
    return Context(address=address, credential=None, environ=environ, home=Path("/nowhere"), cwd=Path("/nowhere"))


@pytest.mark.parametrize(
    ("client", "option", "value", "base", "findings"),
    [
        ("pip", "trusted-host", "pypi.corp", "https://pypi.corp", ["does not verify"]),
        ("pip", "trusted-host", "PyPI.corp", "https://pypi.corp", ["does not verify"]),
        ("pip", "trusted-host", "https://pypi.corp", "https://pypi.corp", []),  # a host of the name "https"
        ("pip", "trusted-host", "pypi.corp", "http://pypi.corp", []),
        ("pip", "trusted-host", "http://pypi.corp", "http://pypi.corp", ["speaks plain HTTP"]),
        ("uv", "allow-insecure-host", "pypi.corp", "https://pypi.corp", ["does not verify"]),
        ("uv", "allow-insecure-host", "https://pypi.corp", "https://pypi.corp", ["does not verify"]),
        ("uv", "allow-insecure-host", "PyPI.corp", "https://pypi.corp", []),
    ],
)
def test_trusted_hosts_are_compared_as_the_client_does(
    client: str, option: str, value: str, base: str, findings: list[str]
) -> None:
    setting = Setting(name=option, value=value, undo="")
    found = Client(
        name=client, command=(client,), version="1", settings={option: [setting]}, sources=(), use="single"
    )
    reported = [finding.message for finding in clients._certificates(found, context_at(base))]
    assert len(reported) == len(findings)
    assert all(text in message for text, message in zip(findings, reported, strict=True))


@pytest.mark.parametrize(
    "url", ["user:s3cret@127.0.0.1:1", "http://user:s3cret@127.0.0.1:1", "http://u:s3@cret@127.0.0.1:1"]
)
def test_a_proxy_is_shown_without_its_credential(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "proxy_to", lambda _base: url)
    monkeypatch.setattr(network, "connection", fail)
    (finding,) = network.proxy(context_at("https://pypi.corp", HTTPS_PROXY=url))
    assert "127.0.0.1:1" in finding.message
    assert not re.search("s3|cret", finding.message + finding.hint)


def fail(_context: Context) -> None:
    raise OSError("refused")


def test_operations_that_failed_the_last_time(tmp_path: Path) -> None:
    volume = Volume(root=tmp_path)
    assert list(volume_checks.operations(volume)) == []
    for name, succeeded in (("certificate", True), ("certificate", False), ("backup", True), ("drill", False)):
        operation_result.write(volume, OperationResult(name=name, succeeded=succeeded, detail="why"))
    drill, renewal = sorted(volume_checks.operations(volume), key=lambda finding: finding.check)
    assert (drill.check, drill.state, renewal.check, renewal.state) == ("last drill", "fail", "last renewal", "fail")
    assert "It never succeeded." in drill.hint
    assert "It last succeeded at " in renewal.hint
    assert renewal.message.endswith(": why")


# files of the user


@pytest.mark.parametrize("folder", ["/" + "long" * 100, "/dev/null", "/nowhere", ""])
def test_a_folder_that_cannot_be_looked_into_has_no_programs(folder: str, tmp_path: Path) -> None:
    """As one of another user; for root, only a name that is too long gives the same error."""
    program = tmp_path / "pip"
    program.touch(mode=0o755)
    assert programs.on_path(("pip", "pip3"), {"PATH": f"{folder}:{tmp_path}"}) == [program]


def test_a_file_above_a_folder_that_cannot_be_looked_into_is_found(tmp_path: Path) -> None:
    (tmp_path / "Pipfile").touch()
    assert user_dirs.above(tmp_path / ("long" * 100), "Pipfile") == tmp_path / "Pipfile"
