"""What the self-check makes, reads and decides, with a stand-in for the index; in tests/hosts it sees a real one."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.client
import io
import json
import os
import re
import socket
import ssl
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path

import click
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from requests_toolbelt.multipart.decoder import MultipartDecoder
from self_check import access, certificate, findings, forwarder, installing, pages, probe, publishing, reach, run, tls
from self_check import session as sessions
from self_check.certificate import Certificate
from self_check.client import Answer, Index, NoAnswer, explained
from self_check.findings import Finding, State, good, untried, warning, wrong
from self_check.host import Done, Loan, Unreachable, forgotten, forgotten_releases, remove_releases
from self_check.look import Look
from self_check.pages import File, Unreadable
from self_check.settings import PROJECT, Credential, Settings, example_of, is_private

from ppmctl.cli import cli
from ppmctl.publishing.check import check

NOW = datetime(2027, 6, 1, tzinfo=UTC)
SETTINGS = Settings(
    domain="index.test",
    tls="letsencrypt",
    scheme="https",
    hsts_max_age=100,
    read_access="authenticated",
    upstream="redirect",
    upstream_url="",
    private_names=(),
    address="",
    authorities=(),
    served="",
    python="python3",
    version="20270601.1.2",
)
ADMITTED = {"Cache-Control": "max-age=31536000, immutable, private"}


# certificates


def lasting(before: timedelta, after: timedelta) -> Certificate:
    return Certificate(der=b"", subject="", issuer="", names=(), begins=NOW - before, ends=NOW + after)


@pytest.mark.parametrize(
    ("life", "left", "state"),
    [
        (90, 30, State.OK),
        (90, 14.5, State.OK),
        (90, 13, State.WARNING),
        (90, 2, State.WRONG),
        (90, -1, State.WRONG),
        (45, 12, State.OK),  # renewed at 15 days
        (45, 10, State.WARNING),
        (6.7, 3, State.OK),  # renewed when half of it is left
        (6.7, 1, State.WARNING),
        (6.7, 0.3, State.WRONG),
        (3650, 20, State.OK),
    ],
)
def test_a_renewal_is_late_by_the_certificates_own_lifetime(life: float, left: float, state: State) -> None:
    found = lasting(timedelta(days=life - left), timedelta(days=left))
    verdict = certificate.time_left(found, NOW, "Renew it.")
    assert verdict.state is state
    assert verdict.remedy == ("" if state is State.OK else "Renew it.")


def test_a_certificate_of_tomorrow_is_a_matter_of_clocks() -> None:
    verdict = certificate.time_left(lasting(timedelta(days=-1), timedelta(days=90)), NOW, "Renew it.")
    assert verdict.state is State.WRONG
    assert "clocks" in verdict.remedy


def test_the_hosts_own_certificate_is_the_first_in_its_file() -> None:
    """Whatever stands before it: tools write notes there."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = [
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
        for name in ("Index.test", "authority.test")
    ]
    pem = "Bag Attributes\n" + "".join(one.public_bytes(Encoding.PEM).decode() for one in made)
    found = certificate.first_in(pem)
    assert (found.names, found.issuer, found.ends) == (("index.test",), "authority", NOW + timedelta(days=1))
    own = dataclasses.replace(SETTINGS, served=pem)
    assert tls.same_as_on_host(own, found).state is State.OK
    assert tls.same_as_on_host(own, certificate.read(made[1].public_bytes(Encoding.DER))).state is State.WRONG
    assert tls.same_as_on_host(SETTINGS, found).state is State.UNTRIED


def test_who_clients_refuse_is_talked_to_only_as_the_host_that_is_known() -> None:
    found = lasting(timedelta(1), timedelta(1))
    assert tls.find_trust(SETTINGS, found, passes=False) is None, "over SSH nothing was learnt"
    trust = tls.find_trust(SETTINGS, found, passes=True)
    assert trust is not None
    assert (trust.only, trust.context.verify_mode, trust.context.check_hostname) == ("", ssl.CERT_REQUIRED, True)


# names


@pytest.mark.parametrize("pattern", ["acme-*", "*", "*_internal", "ac?e.*", "[ab]c-*", "[!a]c-*", "[a-c]*x"])
def test_an_example_of_a_private_name_is_one(pattern: str) -> None:
    name = example_of(pattern, "0f")
    assert name is not None
    assert is_private(name, [pattern])
    assert "0f" in name


def test_a_pattern_of_one_name_has_no_example_that_nobody_has() -> None:
    assert example_of("acme", "0f") is None


def test_a_secret_is_in_no_repr() -> None:
    assert "s3cret" not in repr(Credential(name="a", secret="s3cret"))


# the probe


def test_the_probe_is_a_release_like_any_other(tmp_path: Path) -> None:
    made = probe.make("1.2")
    path = tmp_path / made.filename
    path.write_bytes(made.content)
    file = check(path)  # as `ppmctl publish` and the server check it
    assert (file.project, file.sha256) == (PROJECT, made.sha256)
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.read(f"{probe.MODULE}-1.2.dist-info/METADATA") == made.metadata
        assert archive.read(f"{probe.MODULE}.py") == made.module


def test_two_probes_of_one_version_differ() -> None:
    one, two = probe.make("1.2"), probe.make("1.2")
    assert one.filename == two.filename
    assert one.sha256 != two.sha256


def test_its_upload_is_the_form_that_twine_sends() -> None:
    made = probe.make("1.2")
    headers, body = probe.form(made)
    parts = {
        part.headers[b"Content-Disposition"]: part.content
        for part in MultipartDecoder(body, headers["Content-Type"]).parts
    }
    assert parts[b'form-data; name=":action"'] == b"file_upload"
    assert parts[b'form-data; name="sha256_digest"'] == made.sha256.encode()
    assert parts[f'form-data; name="content"; filename="{made.filename}"'.encode()] == made.content


# pages


def test_both_forms_of_a_page_say_the_same() -> None:
    url = "../../packages/demo/demo-1.whl"
    file = {"filename": "demo-1.whl", "url": url, "hashes": {"sha256": "aa"}, "core-metadata": {"sha256": "bb"}}
    in_json = pages.from_json(json.dumps({"files": [file]}).encode(), "https://index.test/simple/demo/")
    in_html = pages.from_html(
        f'<a href="{url}#sha256=aa" data-core-metadata="sha256=bb">demo-1.whl</a>'.encode(),
        "https://index.test/simple/demo/",
    )
    assert in_json == in_html == {"demo-1.whl": File(path="/packages/demo/demo-1.whl", sha256="aa", metadata="bb")}


def test_a_link_to_another_host_is_none_of_this_index() -> None:
    page = b'{"files": [{"filename": "a", "url": "https://else.test/a", "hashes": {}}]}'
    assert pages.from_json(page, "https://index.test/simple/a/")["a"].path == ""


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"files": [1]}', b'{"files": [{}]}', b"\xff"])
def test_what_is_no_page_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(Unreadable, match="no JSON page"):
        pages.from_json(body, "https://index.test/")


# answers


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Answer(status=status, reason="", headers=message, body=body)


CHALLENGE = answer(401, WWW_Authenticate='Basic realm="ppm"')


class Standin(Index):
    """An index that answers by a function of method, path and whether there was a credential."""

    def __init__(self, reply: Callable[[str, str, bool], Answer]) -> None:
        super().__init__(domain="index.test", address="192.0.2.1", scheme="https")
        object.__setattr__(self, "reply", reply)

    def ask(self, method: str, path: str, *, credential: Credential | None = None, **_options: object) -> Answer:
        return self.reply(method, path, credential is not None)  # type: ignore[attr-defined, no-any-return]


def look_at(reply: Callable[[str, str, bool], Answer], **settings: object) -> Look:
    return Look(
        settings=dataclasses.replace(SETTINGS, **settings),  # type: ignore[arg-type]
        index=Standin(reply),
        probe=probe.make(SETTINGS.version),
        credentials={role: Credential(name=role, secret="s3cret") for role in ("reader", "publisher")},
        pip_may=True,
        stored={},
    )


def closed(_method: str, _path: str, is_signed: bool) -> Answer:
    return answer(200) if is_signed else CHALLENGE


def test_an_index_that_asks_everybody_for_a_credential_is_well() -> None:
    assert access.reading(look_at(closed)).state is State.OK


@pytest.mark.parametrize("open_path", ["/simple/", f"/simple/{PROJECT}/", "/", "upload"])
def test_each_place_that_asks_for_no_credential_is_found(open_path: str) -> None:
    def reply(method: str, path: str, is_signed: bool) -> Answer:
        return answer(200) if path.endswith(open_path) else closed(method, path, is_signed)

    look = look_at(reply)
    verdict = access.reading(look)
    assert verdict.state is State.WRONG
    assert "instead of 401 for /" in verdict.found


def test_a_refusal_without_a_challenge_is_none() -> None:
    """Clients ask their users, or look into their netrc, for a challenge alone."""
    assert access.reading(look_at(lambda *_: answer(401))).state is State.WRONG


def test_public_reads_are_as_the_inventory_says() -> None:
    look = look_at(lambda *_: answer(200), read_access="public")
    assert (access.reading(look).state, access.wrong_reading(look).state) == (State.OK, State.OK)
    assert access.reading(look_at(lambda *_: CHALLENGE, read_access="public")).state is State.WRONG


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "no Strict-Transport-Security"),
        ({"Strict_Transport_Security": "max-age=5"}, "'max-age=5', and ppm_hsts_max_age 100"),
        ({"Strict_Transport_Security": "max-age=100", "Server": "nginx/1.26.3"}, "nginx/1.26.3"),
    ],
)
def test_headers_that_are_missing_or_say_too_much_are_named(headers: dict[str, str], said: str) -> None:
    verdict = access.headers(look_at(lambda *_: answer(401, X_Content_Type_Options="nosniff", **headers)))
    assert verdict.state is State.WRONG
    assert said in verdict.found


def test_behind_a_proxy_its_headers_are_not_ours_to_judge() -> None:
    look = look_at(lambda *_: answer(401, X_Content_Type_Options="nosniff", Server="proxy/1.0"), tls="none")
    assert access.headers(look).state is State.OK


@pytest.mark.parametrize(
    ("reply", "state", "said"),
    [
        (answer(302, Location="https://public.test/simple/{}/"), State.OK, "https://public.test/simple/"),
        (answer(302, Location="https://else.test/simple/{}/"), State.WRONG, "https://else.test/simple/"),
        (answer(302, Location="https://public.test/simple/"), State.WRONG, "instead of https://public.test/simple/"),
        (answer(200), State.WRONG, "instead of 302"),
        (answer(404), State.WRONG, "instead of 302"),
    ],
)
def test_where_other_names_are_sent(reply: Answer, state: State, said: str) -> None:
    def named(_method: str, path: str, _is_signed: bool) -> Answer:
        target = reply.header("Location").format(path.split("/")[2])
        return answer(reply.status, **({"Location": target} if target else {}))

    verdict = access.elsewhere(look_at(named, upstream_url="https://public.test/simple/"))
    assert verdict.state is state
    assert said in verdict.found


def test_a_redirect_to_the_index_itself_is_a_loop() -> None:
    look = look_at(lambda _method, path, _is_signed: answer(302, Location=f"https://index.test{path}"))
    assert "itself" in access.elsewhere(look).found


def test_a_private_name_that_is_sent_elsewhere_is_named_with_where() -> None:
    look = look_at(lambda *_: answer(302, Location="https://public.test/"), private_names=("acme-*", "acme"))
    verdict = access.private(look)
    assert verdict.state is State.WRONG
    assert "https://public.test/" in verdict.found
    assert "acme-*" in verdict.found


def test_where_all_names_are_private_nothing_is_sent_elsewhere() -> None:
    assert access.elsewhere(look_at(lambda *_: answer(404), private_names=("*",))).state is State.OK


@pytest.mark.parametrize(
    ("status", "stored", "remedy"),
    [
        (200, True, ""),
        (403, None, "ppm.service"),
        (502, False, "systemctl status ppm.socket"),
        (503, False, "systemctl status ppm.socket"),
        (507, False, "volume is full"),
        (None, False, ""),
    ],
)
def test_what_an_upload_may_have_left_is_known(status: int | None, stored: bool | None, remedy: str) -> None:
    def reply(*_: object) -> Answer:
        if status is None:
            raise NoAnswer("it broke")
        return answer(status)

    look = look_at(reply)
    verdict = run.attempt("upload", lambda: publishing.accepted(look)).verdict
    assert look.stored.get(SETTINGS.version) is stored
    assert verdict.state is (State.OK if status == 200 else State.WRONG)
    assert remedy in verdict.remedy


def test_an_upload_that_should_be_refused_and_is_not_is_removed_later() -> None:
    look = look_at(lambda *_: answer(200))
    assert access.readers_upload(look).state is State.WRONG
    assert look.stored == {f"{SETTINGS.version}.post1": True}


def page(look: Look, **changed: object) -> Answer:
    file = {
        "filename": look.probe.filename,
        "url": f"../..{look.probe.path}",
        "hashes": {"sha256": look.probe.sha256},
        "core-metadata": {"sha256": hashlib.sha256(look.probe.metadata).hexdigest()},
    }
    body = json.dumps({"files": [file | changed]}).encode()
    return answer(200, body, Content_Type=pages.JSON, Cache_Control="no-cache", ETag='"1"')


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"filename": "another.whl"}, "is not on it"),
        ({"url": "https://else.test/a.whl"}, "its link is to another host"),
        ({"hashes": {"sha256": "00"}}, "SHA-256 on it"),
        ({"hashes": {}}, "SHA-256 on it"),
        ({"core-metadata": {"sha256": "00"}}, "SHA-256 of the metadata"),
        ({"core-metadata": True}, "SHA-256 of the metadata"),
    ],
)
def test_what_a_page_says_of_the_probe_is_compared_with_it(changed: dict[str, object], said: str) -> None:
    look = look_at(lambda *_: page(look, **changed))
    verdict = publishing.json_page(look)
    assert verdict.state is (State.WRONG if said else State.OK)
    assert said in verdict.found


def test_a_page_that_clients_may_keep_hides_releases() -> None:
    def reply(*_: object) -> Answer:
        made = page(look)
        made.headers.replace_header("Cache-Control", "max-age=600")
        return made

    look = look_at(reply)
    assert "max-age=600" in publishing.json_page(look).found


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (answer(200, b"other", **{"Cache-Control": "immutable, private"}), "another than that of what was uploaded"),
        (answer(404), "instead of 200"),
        (None, "without immutable, private"),
    ],
)
def test_a_file_that_comes_out_differently_is_found(reply: Answer | None, said: str) -> None:
    look = look_at(lambda *_: reply or answer(200, look.probe.content))
    assert said in publishing.file(look).found
    assert publishing.file(look_at(lambda *_: answer(401))).state is State.WRONG


def test_a_side_file_that_is_served_is_named() -> None:
    look = look_at(lambda _method, path, _signed: answer(200 if path.endswith("access.yml") else 404))
    assert "/credentials/access.yml" in publishing.side_files(look).found


@pytest.mark.parametrize("status", [302, 404, 502])
def test_a_removed_probes_name_that_is_looked_for_elsewhere_is_found(status: int) -> None:
    assert publishing.gone(look_at(lambda *_: answer(status))).state is State.WRONG


def test_a_probe_that_stays_on_its_page_is_found() -> None:
    look = look_at(lambda *_: page(look))
    assert "still on its page" in publishing.gone(look).found


def test_a_credential_that_the_application_still_takes_is_found() -> None:
    credential = Credential(name="a+b", secret="s3cret")
    look = look_at(lambda method, *_: answer(409 if method == "POST" else 401))
    verdict = publishing.revoked(look, credential)
    assert verdict.state is State.WRONG
    assert "ppmctl user remove a+b" in verdict.remedy
    assert publishing.revoked(look_at(lambda *_: answer(401)), credential).state is State.OK


# reaching it


@pytest.mark.parametrize(
    ("replies", "first", "state"),
    [
        ({"192.0.2.1": None}, "192.0.2.1", State.OK),
        ({"192.0.2.1": ConnectionRefusedError(), "192.0.2.2": None}, "192.0.2.2", State.WRONG),
        ({"192.0.2.1": TimeoutError()}, "", State.WRONG),
        ({"2001:db8::1": OSError(errno.ENETUNREACH, ""), "192.0.2.1": None}, "192.0.2.1", State.OK),
        ({"2001:db8::1": ConnectionRefusedError(), "192.0.2.1": None}, "192.0.2.1", State.WRONG),
        ({"2001:db8::1": OSError(errno.ENETUNREACH, "")}, "", State.WRONG),
    ],
)
def test_every_address_of_the_name_has_to_answer(
    replies: dict[str, OSError | None], first: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of an address that the host no longer has makes every other client wait."""

    def connect(target: tuple[str, int], **_: object) -> socket.socket:
        if exc := replies[target[0]]:
            raise exc
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    reached, verdict = reach.port(replies, "https")
    assert (reached, verdict.state) == (first, state)


@pytest.mark.parametrize(
    ("exc", "said", "is_closed"),
    [
        (ConnectionRefusedError(), "nothing listens", False),
        (http.client.RemoteDisconnected(), "closed without an answer", True),
        (http.client.BadStatusLine("x"), "no HTTP", False),
        (TimeoutError(), "no answer within", False),
        (ssl.SSLError(1, "[SSL] alert"), "no TLS connection", True),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host", False),
    ],
)
def test_why_there_was_no_answer(exc: Exception, said: str, is_closed: bool) -> None:
    found = explained(exc)
    assert said in str(found)
    assert found.closed is is_closed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("CONNECT index.test:443 HTTP/1.1", ("index.test", 443)),
        ("GET http://index.test/simple/ HTTP/1.1", ("index.test", 80)),
        ("GET http://index.test:8080/simple/ HTTP/1.1", ("index.test", 8080)),
    ],
)
def test_whom_pip_asks_the_proxy_for(line: str, expected: tuple[str, int]) -> None:
    assert forwarder.target(line) == expected


def test_what_is_no_request_to_a_proxy_is_refused() -> None:
    with pytest.raises(ValueError, match=r".*"):
        forwarder.target("GET /simple/ HTTP/1.1")


def test_pip_is_without_this_users_settings(tmp_path: Path) -> None:
    mine = {"PIP_INDEX_URL": "x", "https_proxy": "x", "HTTP_PROXY": "x", "PYTHONPATH": "x", "HOME": "/h"}
    kept = installing.environment(mine | {"REQUESTS_CA_BUNDLE": "b"}, tmp_path, has_bundle=False)
    assert kept == {"HOME": "/h", "NETRC": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "REQUESTS_CA_BUNDLE": "b"}
    assert "REQUESTS_CA_BUNDLE" not in installing.environment(
        mine | {"REQUESTS_CA_BUNDLE": "b"}, tmp_path, has_bundle=True
    )


# what is lent


class Host:
    """A host whose ppmctl remembers what it was told. `refuse` names what fails, `away` what never arrives."""

    def __init__(self, *, refuse: str = "", away: str = "", listing: str = "[]") -> None:
        self.refuse, self.away, self.listing = refuse, away, listing
        self.users: set[str] = set()
        self.commands: list[str] = []

    def __call__(self, command: list[str]) -> Done:
        line = " ".join(command)
        self.commands.append(line)
        if self.away and self.away in line:
            raise Unreachable("ssh: no route")
        if self.refuse and self.refuse in line:
            return Done(code=1, out="ppm_never-to-be-said", error="ppmctl: no room\n")
        if "user list" in line:
            return Done(code=0, out=self.listing, error="")
        if "user add" in line:
            self.users.add(command[3])
        if "user remove" in line:
            self.users.discard(command[3])
        return Done(code=0, out="ppm_secret\n", error="")


def test_what_was_lent_is_given_back() -> None:
    host = Host()
    loan = Loan(host, "0f")
    assert loan.take().verdict.state is State.OK
    assert host.users == {f"{PROJECT}+reader-0f", f"{PROJECT}+publisher-0f"}
    assert loan.credentials["reader"] == Credential(name=f"{PROJECT}+reader-0f", secret="ppm_secret")
    assert [finding.verdict.state for finding in loan.end()] == [State.OK, State.OK]
    assert host.users == set()
    assert loan.end() == []


@pytest.mark.parametrize("fault", [{"refuse": "--role publisher"}, {"away": "--role publisher"}])
def test_half_a_loan_is_none_and_is_given_back_too(fault: dict[str, str]) -> None:
    host = Host(**fault)
    loan = Loan(host, "0f")
    finding = loan.take()
    assert finding.verdict.state is State.WRONG
    assert "ppm_" not in finding.verdict.found
    assert loan.credentials == {}
    loan.end()
    assert host.users == set()
    assert any(f"user remove {PROJECT}+publisher-0f" in line for line in host.commands), (
        "it may be there all the same"
    )


def test_what_can_not_be_given_back_is_said_with_the_command() -> None:
    loan = Loan(Host(refuse="user remove"), "0f")
    loan.take()
    verdicts = [finding.verdict for finding in loan.end()]
    assert [verdict.state for verdict in verdicts] == [State.WRONG, State.WRONG]
    assert verdicts[0].found == "it could not be taken away: ppmctl: no room"
    assert verdicts[0].remedy.endswith(f"ppmctl user remove {PROJECT}+reader-0f")


def test_what_a_killed_run_left_is_taken_away_by_the_next() -> None:
    listing = json.dumps(
        [
            {"name": f"{PROJECT}+reader-0a", "created": "2027-05-31T22:00:00Z"},
            {"name": f"{PROJECT}+reader-0b", "created": "2027-05-31T23:30:00Z"},
            {"name": "ops", "created": ""},
            {"name": f"{PROJECT}x+reader", "created": "2020-01-01T00:00:00Z"},
        ]
    )
    assert forgotten(listing, NOW) == [f"{PROJECT}+reader-0a"]
    host = Host(listing=listing.replace("2027", "2017"))
    Loan(host, "0f").take()
    assert [line for line in host.commands if "remove" in line] == [
        f"/usr/local/bin/ppmctl user remove {PROJECT}+reader-0{letter}" for letter in "ab"
    ]


def test_a_probe_that_was_stored_late_is_removed_by_the_next_run() -> None:
    early = [probe.version_at(NOW - timedelta(hours=hours)) for hours in (30, 2)]
    late = [probe.version_at(NOW - timedelta(minutes=minutes)) for minutes in (0, 50)]
    there = [probe.make(version).filename for version in (*early, *late, f"{early[0]}.post1", "1.0")]
    assert forgotten_releases([*there, "a", "a-b.tar.gz"], NOW) == [*early, f"{early[0]}.post1"]


def test_a_version_says_when_it_was_made() -> None:
    now = datetime(2027, 1, 2, 0, 3, 4, tzinfo=UTC)
    assert probe.made_at(probe.version_at(now)) == now


def test_a_release_that_was_perhaps_not_stored_is_removed_without_a_word() -> None:
    host = Host(refuse="remove")
    assert remove_releases(host, {"1.0": False}) == []
    stored = {"1.0": True}
    (finding,) = remove_releases(host, stored)
    assert finding.verdict.state is State.WRONG
    assert stored == {}
    assert f"package remove {PROJECT} 1.0 --yes" in finding.verdict.remedy


@pytest.mark.parametrize("ending", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_look_leaves_nothing(ending: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    def arrive(_settings: Settings, _credentials: object, stored: dict[str, bool]) -> None:
        stored["1.0"] = True
        raise ending

    monkeypatch.setattr(run, "arrive", arrive)
    host = Host()
    with pytest.raises(ending):
        sessions.check(SETTINGS, host, "0f")
    assert host.users == set()
    assert any(f"package remove {PROJECT} 1.0" in line for line in host.commands)


def test_without_a_server_everything_is_listed_as_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    found = sessions.check(SETTINGS, Host(away="ppmctl"), "0f")
    states = {finding.what: finding.verdict.state for finding in found}
    assert (states["address"], states["the host, over SSH"]) == (State.WRONG, State.WRONG)
    assert states["pip install"] is states["health"] is State.UNTRIED
    assert len(findings.failed(found)) == 2, "what follows from something else is no fault of its own"


# what is said


def test_each_fault_stands_with_its_remedy() -> None:
    found = [
        Finding(what="one", verdict=good("is well")),
        Finding(what="second", verdict=wrong("is not", "Mend it.")),
        Finding(what="third", verdict=warning("may be", "See to it.")),
        Finding(what="last", verdict=untried("is not there")),
    ]
    assert findings.rendered(found).splitlines() == [
        "ok        one     is well",
        "WRONG     second  is not",
        "                  → Mend it.",
        "warning   third   may be",
        "                  → See to it.",
        "not tried last    is not there",
    ]
    assert findings.summary(found) == "4 checks: 1 ok, 1 warning, 1 WRONG, 1 not tried"
    assert findings.complaint(found) == "1 of 4 checks say what is wrong and what to do, above: second"
    assert findings.complaint(found[:1]) == ""


def test_remedies_name_commands_that_there_are() -> None:
    """Whoever types what a remedy says, types it on a bad day."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(run.__file__).parent.glob("*.py")))
    named = set(re.findall(r"(?:ppmctl |PPMCTL, \")([a-z-]+)(?: |\", \")([a-z]+)", text))
    assert named >= {("user", "list"), ("user", "add"), ("index", "rebuild"), ("package", "remove")}
    known = set()
    for name in {name for name, _ in named} & set(cli.list_commands(click.Context(cli))):
        group = cli.get_command(click.Context(cli), name)
        assert isinstance(group, click.Group)
        known |= {(name, command) for command in group.commands}
    assert named <= known


@pytest.mark.parametrize("exc", [NoAnswer("nothing listens there"), Unreadable("it is no page")])
def test_a_check_that_gets_no_answer_has_a_verdict_as_well(exc: Exception) -> None:
    def check() -> findings.Verdict:
        raise exc

    verdict = run.attempt("it", check).verdict
    assert (verdict.state, verdict.found) == (State.WRONG, str(exc))
    assert verdict.remedy
