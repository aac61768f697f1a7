"""What doctor decides without a network: of certificates, lists of projects, disks, and what depends on what."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography.hazmat.primitives import serialization
from support.tls import Authority

from ppmctl.client.http import Answer
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import is_index
from ppmctl.doctor import checks, tls, volume_checks, x509
from ppmctl.doctor.checks import Check
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.index_url import near
from ppmctl.doctor.volume_checks import Room
from ppmctl.doctor.x509 import Certificate
from ppmctl.errors import PpmError
from ppmctl.index.layout import Volume


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


# certificates


def test_a_certificate_is_read_as_its_maker_wrote_it(authority: Authority, tmp_path: Path) -> None:
    chain, _key = authority.issue(tmp_path / "tls", "index.example", days=20)
    found = x509.read_first(chain.read_text())
    assert (found.subject, found.issuer, found.hosts) == ("index.example", "Issuing", ("index.example",))
    assert timedelta(days=19) < found.ends - datetime.now(UTC) < timedelta(days=21)
    assert not found.is_own_issuer
    root = x509.parse(authority.root.public_bytes(serialization.Encoding.DER))
    assert (root.is_own_issuer, root.begins) == (True, authority.root.not_valid_before_utc)


def test_certificates_of_this_machine_are_read_too() -> None:
    context = ssl.create_default_context(cafile=certifi.where())
    expected = zip(context.get_ca_certs(), context.get_ca_certs(binary_form=True), strict=True)
    read = 0
    for theirs, der in expected:
        found = x509.parse(der)
        times = (
            ssl.cert_time_to_seconds(str(theirs["notBefore"])),
            ssl.cert_time_to_seconds(str(theirs["notAfter"])),
        )
        assert (found.begins.timestamp(), found.ends.timestamp()) == times
        read += 1
    assert read > 50


@pytest.mark.parametrize("cut", [0, 1, 5, 40, 200])
def test_what_is_no_certificate(cut: int, authority: Authority) -> None:
    whole = authority.root.public_bytes(serialization.Encoding.DER)
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        x509.parse(whole[:cut])
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        x509.read_first("-----BEGIN NOTHING-----")


@pytest.mark.parametrize(
    ("life", "left", "late", "last_moment"),
    [
        (90, 30, False, False),
        (90, 14.5, False, False),
        (90, 13, True, False),
        (90, 2, True, True),
        (45, 12, False, False),  # renewed at 15 days
        (45, 10, True, False),
        (6.7, 3, False, False),  # renewed when half of it is left
        (6.7, 1, True, False),
        (6.7, 0.3, True, True),
        (3650, 20, False, False),
    ],
)
def test_a_renewal_is_late_by_the_certificates_own_lifetime(
    life: float, left: float, late: bool, last_moment: bool
) -> None:
    now = datetime.now(UTC)
    begins, ends = now - timedelta(days=life - left), now + timedelta(days=left)
    found = Certificate(der=b"", subject="", issuer="", begins=begins, ends=ends, hosts=(), is_own_issuer=False)
    assert (found.is_late(now), found.is_last_moment(now)) == (late, last_moment)


@pytest.mark.parametrize(("days", "state"), [(60, "ok"), (5, "warn"), (2, "fail"), (-2, "fail")])
def test_the_days_that_a_certificate_beside_has_left(
    days: int, state: str, authority: Authority, tmp_path: Path
) -> None:
    chain, _key = authority.issue(tmp_path / "tls", "index.example", days=days, age=85)
    (found,) = tls.beside(chain)
    assert (found.state, "certbot" in found.mend) == (state, state != "ok")
    assert list(tls.beside(tmp_path / "none")) == []
    (tmp_path / "other").write_text("text")
    assert next(tls.beside(tmp_path / "other")).state == "fail"


def test_a_certificate_of_tomorrow_is_a_matter_of_clocks() -> None:
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
    (found,) = tls._out_of_time([later])
    assert (found.state, "timedatectl" in found.mend) == ("fail", True)
    named = {host: tls._is_for(later, host) for host in ("index.example", "a.example.org", "a.b.example.org", "x")}
    assert named == {"index.example": True, "a.example.org": True, "a.b.example.org": False, "x": False}


# what is an index


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
def test_what_is_a_list_of_projects(body: str, content_type: str, expected: bool) -> None:
    assert is_index(answer(body, content_type)) is expected
    assert not is_index(answer(body, content_type, status=404))


def test_where_an_index_may_be_instead() -> None:
    found = [simple for _base, simple in near(Address(base="https://x/a/b", upload=""))]
    assert found[:2] == ["https://x/a/simple/", "https://x/simple/"]
    assert {"https://x/a/b/+simple/", "https://x/a/b/"} <= set(found)
    assert "https://x/a/b/simple/" not in found  # it was asked already


# the room that is left


@pytest.mark.parametrize(
    ("room", "disk", "inodes"),
    [
        (Room(free=50 << 30, size=100 << 30, names=10**6, all_names=2 * 10**6), "ok", "ok"),
        (Room(free=50 << 30, size=1 << 50, names=10**6, all_names=2 * 10**6), "ok", "ok"),
        (Room(free=5 << 30, size=100 << 30, names=10**4, all_names=10**6), "warn", "warn"),
        (Room(free=50 << 20, size=100 << 30, names=999, all_names=10**6), "fail", "fail"),
        (Room(free=50 << 30, size=100 << 30, names=0, all_names=0), "ok", None),
    ],
)
def test_the_room_that_is_left(room: Room, disk: str, inodes: str | None) -> None:
    found = {each.check: each for each in volume_checks.disk(Volume(root=Path("/srv/ppm")), room)}
    assert found["disk"].state == disk
    assert (found["inodes"].state if "inodes" in found else None) == inodes
    assert {bool(each.mend) for each in found.values() if each.state != "ok"} <= {True}


# what depends on what


def test_what_failed_is_named_by_all_that_needed_it() -> None:
    def finds(check: str, state: str) -> Check:
        def run(_visit: Visit) -> Iterator[Finding]:
            if state == "raises":
                raise PpmError("It broke.", hint="Mend it")
            yield Finding(check, state, "")  # type: ignore[arg-type]  # one of its states

        return Check(name=check, run=run, needs=needs[check])

    needs: dict[str, tuple[str, ...]] = {"a": (), "b": ("a",), "c": ("b",), "d": (), "e": ("d", "c"), "f": ("g",)}
    states = {"a": "fail", "b": "ok", "c": "ok", "d": "raises", "e": "ok", "f": "ok"}
    visit = Visit(
        address=Address(base="https://x", upload=""),
        credential=None,
        environ={},
        home=Path(),
        cwd=Path(),
    )
    found = list(checks.walk(visit, [finds(check, state) for check, state in states.items()]))
    assert [(each.check, each.state) for each in found] == [
        *(("a", "fail"), ("b", "skip"), ("c", "skip"), ("d", "fail"), ("e", "skip"), ("f", "ok")),
    ]
    assert [each.found for each in found[1:3]] == ["not tried, because of: a"] * 2
    assert found[3] == Finding("d", "fail", "It broke", "Mend it")
    assert found[4].found == "not tried, because of: d, a"


def test_every_check_needs_only_what_is_before_it() -> None:
    before: set[str] = set()
    for check in checks.CHECKS:
        assert set(check.needs) <= before
        before.add(check.name)
