"""Checks of doctor with an expected configuration, against a stand-in for the index."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import re
import socket
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import click
import pytest

from ansible_collections.ppm.index.plugins.filter.self_check import self_check
from ppmctl.cli.commands import cli
from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import ACCEPT
from ppmctl.doctor import (
    checks,
    expected,
    index_features,
    network,
    probe,
    promises,
    publish,
    sample_project,
    web_server,
)
from ppmctl.doctor.expected import Expected
from ppmctl.doctor.finding import Context, Finding
from ppmctl.doctor.probe import PROJECT
from ppmctl.doctor.sample_project import Sample
from ppmctl.errors import UsageError
from ppmctl.publishing.check import check
from ppmctl.secret import Secret
from ppmctl.server import content_negotiation

HOST = Expected(tls="letsencrypt", read_access="authenticated", upstream="redirect", hsts_max_age=100)
VERSION = "1795911278.1"


def answer(status: int, body: bytes = b"", *, location: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Answer(url="https://index.test/x/", status=status, reason="", headers=named, body=body, location=location)


CHALLENGE = answer(401, WWW_Authenticate='Basic realm="ppm"')
Reply = Callable[[str, str, bool], Answer]


class Standin:
    """A connection to an index that answers by a function of method, path and whether there is a credential."""

    def __init__(self, reply: Reply, credential: Credential | None) -> None:
        self.reply, self.credential = reply, credential

    def request(self, method: str, url: str, **_options: Any) -> Answer:
        is_signed = self.credential is not None and url.startswith("https://index.test/")
        answer = self.reply(method, url.removeprefix("https://index.test"), is_signed)
        return replace(answer, url=url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def context_of(reply: Reply, **expects: Any) -> Context:
    return Context(
        address=Address(base="https://index.test", upload="https://index.test/legacy/"),
        credential=Credential(username="ops", secret=Secret("s3cret"), source=""),
        environ={},
        home=Path(),
        cwd=Path(),
        transport=lambda credential, _home: Standin(reply, credential),  # type: ignore[arg-type, return-value]  # as one
        expected=replace(HOST, publish=VERSION, **expects),
    )


def of(findings: Any, check: str) -> Finding:
    (finding,) = [each for each in findings if each.check == check]
    return finding  # type: ignore[no-any-return]  # findings may be a list or an iterator


def closed(_method: str, _path: str, is_signed: bool) -> Answer:
    return answer(200) if is_signed else CHALLENGE


# the expected configuration


@pytest.mark.parametrize("pattern", ["acme-*", "*", "*_internal", "ac?e.*", "[ab]c-*", "[!a]c-*", "[a-c]*x"])
def test_private_examples_match_their_pattern(pattern: str) -> None:
    host = replace(HOST, private_names=(pattern,))
    assert host.is_private(host.private_examples()[pattern])


def test_a_pattern_without_a_wildcard_has_no_example() -> None:
    host = replace(HOST, private_names=("acme", "a*"))
    assert host.private_examples().keys() == {"a*"}
    assert not host.is_private(host.free_name())
    assert not host.free_name().startswith("a")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("[]", "not a JSON object"),
        ('{"tls": "letsencrypt"}', "missing"),
        ('{"tls": "none", "read_access": "public", "upstream": "none", "color": 1}', "color"),
        ('{"tls": "maybe", "read_access": "public", "upstream": "none"}', "letsencrypt or provided or selfsigned"),
        ('{"tls": "none", "read_access": "public", "upstream": "none", "hsts_max_age": "x"}', "'x'"),
    ],
)
def test_invalid_expected_configuration_is_refused(values: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        expected.parse(values)


def test_numbers_may_be_strings_as_in_an_inventory() -> None:
    values = {"tls": "none", "read_access": "public", "upstream": "none", "hsts_max_age": "5", "private_names": ["a"]}
    host = expected.parse(json.dumps(values))
    assert (host.hsts_max_age, host.private_names, host.has_own_tls, host.is_public) == (5, ("a",), False, True)


# with and without a credential


def test_anonymous_is_ok_if_every_path_answers_401() -> None:
    assert of(promises.anonymous(context_of(closed)), "anonymous").state == "ok"


@pytest.mark.parametrize("open_path", ["/simple/", f"/simple/{PROJECT}/", "/", "upload"])
def test_each_path_without_401_is_found(open_path: str) -> None:
    def reply(method: str, path: str, is_signed: bool) -> Answer:
        return answer(200) if path.endswith(open_path) else closed(method, path, is_signed)

    finding = of(promises.anonymous(context_of(reply)), "anonymous")
    assert (finding.state, "instead of 401 for /" in finding.message) == ("fail", True)


def test_a_401_without_a_challenge_fails() -> None:
    """Clients ask their users or read netrc only after a challenge."""
    assert of(promises.anonymous(context_of(lambda *_: answer(401))), "anonymous").state == "fail"


def test_public_read_access_is_checked() -> None:
    assert of(promises.anonymous(context_of(lambda *_: answer(200), read_access="public")), "anonymous").state == "ok"
    assert of(promises.anonymous(context_of(lambda *_: CHALLENGE, read_access="public")), "anonymous").state == "fail"


def test_an_accepted_wrong_secret_is_found() -> None:
    assert of(promises.check(context_of(closed)), "secret").state == "fail"
    assert of(promises.check(context_of(lambda *_: CHALLENGE)), "secret").state == "ok"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "no Strict-Transport-Security"),
        ({"Strict_Transport_Security": "max-age=5"}, "'max-age=5', and ppm_hsts_max_age 100"),
        ({"Strict_Transport_Security": "max-age=100", "Server": "nginx/1.26.3"}, "nginx/1.26.3"),
    ],
)
def test_missing_or_wrong_headers_are_named(headers: dict[str, str], text: str) -> None:
    finding = of(
        promises.check(context_of(lambda *_: answer(401, X_Content_Type_Options="nosniff", **headers))), "headers"
    )
    assert (finding.state, text in finding.message) == ("fail", True)


def test_headers_of_a_proxy_are_not_checked() -> None:
    context = context_of(lambda *_: answer(401, X_Content_Type_Options="nosniff", Server="proxy/1.0"), tls="none")
    assert of(promises.check(context), "headers").state == "ok"


# other names


@pytest.mark.parametrize(
    ("status", "location", "state", "text"),
    [
        (302, "https://public.test/simple/{}/", "ok", "https://public.test/simple/"),
        (302, "https://else.test/simple/{}/", "fail", "https://else.test/simple/"),
        (302, "https://public.test/simple/", "fail", "instead of https://public.test/simple"),
        (200, "", "fail", "instead of 302"),
        (404, "", "fail", "instead of 302"),
    ],
)
def test_redirects_of_other_names(status: int, location: str, state: str, text: str) -> None:
    def named(_method: str, path: str, _is_signed: bool) -> Answer:
        return answer(status, location=location.format(path.split("/")[2]))

    finding = of(promises.other_names(context_of(named, upstream_url="https://public.test/simple/")), "upstream")
    assert (finding.state, text in finding.message) == (state, True)


def test_a_redirect_to_the_index_itself_is_a_loop() -> None:
    context = context_of(lambda _method, path, _is_signed: answer(302, location=f"https://index.test{path}"))
    assert "itself" in of(promises.other_names(context), "upstream").message


def test_a_redirected_private_name_is_found() -> None:
    context = context_of(lambda *_: answer(302, location="https://public.test/"), private_names=("acme-*", "acme"))
    finding = of(promises.other_names(context), "private")
    assert (finding.state, "https://public.test/" in finding.message, "acme-*" in finding.message) == (
        "fail",
        True,
        True,
    )


def test_if_all_names_are_private_none_is_redirected() -> None:
    findings = promises.other_names(context_of(lambda *_: answer(404), private_names=("*",)))
    assert [each.state for each in findings] == ["ok", "ok"]


def test_a_readable_side_file_is_named() -> None:
    context = context_of(lambda _method, path, _signed: answer(200 if path.endswith("access.yml") else 404))
    context.shared["probe"] = probe.make(VERSION)
    assert "/credentials/access.yml" in of(promises.side_files(context), "side files").message


# the probe


def test_the_probe_passes_the_checks_of_publish(tmp_path: Path) -> None:
    made = probe.make("1.2")
    path = tmp_path / made.filename
    path.write_bytes(made.content)
    file = check(path, is_own=True)  # as `ppmctl publish` and the server do
    assert (file.project, file.sha256) == (PROJECT, made.sha256)
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.read(f"{probe.MODULE}-1.2.dist-info/METADATA") == made.metadata
        assert archive.read(f"{probe.MODULE}.py") == made.module
    assert probe.make("1.2").sha256 != made.sha256


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (403, "access.yml"),
        (502, "systemctl status ppm.socket"),
        (503, "systemctl status ppm.socket"),
        (507, "volume is full"),
    ],
)
def test_a_failed_upload_has_a_hint_for_its_status(status: int, hint: str) -> None:
    context = context_of(lambda *_: answer(status))
    finding = of(publish.check(context), "publish")
    assert (finding.state, hint in finding.hint) == ("fail", True)


@pytest.mark.parametrize("status", [200, 403])
def test_an_upload_that_is_not_refused_with_401_is_found(status: int) -> None:
    finding = of(publish.refusals(context_of(lambda *_: answer(status))), "refusals")
    assert (finding.state, "401 for an upload without a credential" in finding.message) == ("fail", True)


def page(made: probe.Probe, changed: Mapping[str, object]) -> Answer:
    file = {
        "filename": made.filename,
        "url": f"https://index.test{made.path}",
        "hashes": {"sha256": made.sha256},
        "core-metadata": {"sha256": hashlib.sha256(made.metadata).hexdigest()},
    }
    body = {"meta": {"api-version": "1.0"}, "name": PROJECT, "files": [file | changed]}
    return answer(200, json.dumps(body).encode(), Content_Type=ACCEPT.partition(",")[0])


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, ""),
        ({"filename": "ppm_self_check-9-py3-none-any.whl"}, "is not on it"),
        ({"url": "https://else.test/a.whl"}, "its link is https://else.test/a.whl"),
        ({"hashes": {"sha256": "0" * 64}}, "SHA-256 on it"),
        ({"hashes": {}}, "SHA-256 on it"),
        ({"core-metadata": {"sha256": "0" * 64}}, "SHA-256 of the metadata"),
        ({"core-metadata": True}, "SHA-256 of the metadata"),
    ],
)
def test_the_page_is_compared_with_the_probe(changed: dict[str, object], text: str) -> None:
    made = probe.make(VERSION)
    finding = publish._pages(context_of(lambda *_: page(made, changed)), made)
    assert (finding.state, text in finding.message) == ("fail" if text else "ok", True)


@pytest.mark.parametrize(
    ("content", "kept", "text"),
    [
        (b"other", "immutable, private", "is not what the page has the hash of"),
        (None, "immutable, private", "can be requested in parts"),
        (None, "immutable, public", "Cache-Control: immutable, public"),
    ],
)
def test_the_download_is_compared_with_the_page(content: bytes | None, kept: str, text: str) -> None:
    made = probe.make(VERSION)

    def reply(_method: str, path: str, _is_signed: bool) -> Answer:
        return page(made, {}) if path.endswith("/") else answer(206, content or made.content, Cache_Control=kept)

    context = context_of(lambda method, *more: replace(reply(method, *more), status=200 if method == "HEAD" else 206))
    context.shared["probe"] = made
    sample = Sample(context, PROJECT)
    sample.__dict__["json"] = page(made, {})
    assert text in index_features._download(sample).message


def test_pages_are_requested_with_headers_that_nginx_answers_from_disk() -> None:
    """For others nginx asks the application, and while that is down the pages would be reported as faulty too."""
    from_disk = {header for _client, header, _form in content_negotiation.TABLE}
    assert {ACCEPT, sample_project.JSON, sample_project.HTML} <= from_disk


@pytest.mark.parametrize("status", [302, 404, 502])
def test_a_removed_probe_needs_a_page_without_it(status: int) -> None:
    context = context_of(lambda *_: answer(status), removed=(VERSION,))
    assert of(publish.removed(context), "removed").state == "fail"


def test_a_removed_probe_that_is_still_on_its_page_is_found() -> None:
    context = context_of(lambda *_: page(probe.make(VERSION), {}), removed=(VERSION,))
    assert "still on its page" in of(publish.removed(context), "removed").message


def test_a_revoked_token_that_still_works_is_found() -> None:
    given = answer(201, b'{"name": "ops+reader", "secret": "x"}')
    state = {"revoked": False}

    def reply(method: str, path: str, _is_signed: bool) -> Answer:
        if path == "/api/tokens":
            return given
        if method == "DELETE":
            state["revoked"] = True
            return answer(200)
        if not state["revoked"]:
            return answer(403 if method == "POST" else 200)
        return answer(409) if method == "POST" else CHALLENGE

    findings = list(publish.reader(context_of(reply)))
    assert of(findings, "reader").state == "ok"
    assert of(findings, "revoked").state == "fail"
    assert "ppmctl token revoke ops+reader" in of(findings, "revoked").hint


# the connection


@pytest.mark.parametrize(
    ("replies", "state"),
    [
        ({"192.0.2.1": None}, "ok"),
        ({"192.0.2.1": ConnectionRefusedError(), "192.0.2.2": None}, "warn"),
        ({"192.0.2.1": TimeoutError()}, "fail"),
        ({"2001:db8::1": OSError(errno.ENETUNREACH, ""), "192.0.2.1": None}, "ok"),
        ({"2001:db8::1": ConnectionRefusedError(), "192.0.2.1": None}, "warn"),
        ({"2001:db8::1": OSError(errno.ENETUNREACH, "")}, "fail"),
    ],
)
def test_every_address_of_the_host_must_answer(
    replies: dict[str, OSError | None], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a DNS record of an address that the host no longer has, every other client waits."""

    def connect(target: tuple[str, int], **_: object) -> socket.socket:
        if exc := replies[target[0]]:
            raise exc
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (to, 0)) for to in replies])
    assert network.listening(context_of(closed), 443, check="tcp").state == state
    check_of_tcp = [each for each in checks.CHECKS if each.name == "tcp"]
    (finding,) = checks.walk(context_of(closed), [replace(check_of_tcp[0], needs=())])
    assert finding.state == ("ok" if state == "ok" else "fail"), "a host whose configuration is expected"


def test_address_override_is_limited_to_one_host_and_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *_, **__: name)
    with network.address_override("index.test", "192.0.2.1"):
        assert [socket.getaddrinfo(name, 1) for name in ("index.test", "else.test")] == ["192.0.2.1", "else.test"]
    assert socket.getaddrinfo("index.test", 1) == "index.test"


# the report of playbooks/self_check.yml

DONE = {"rc": 0, "stdout": "", "stderr": ""}
AWAY = {"unreachable": True, "msg": "ssh: no route"}


def doctor_output(*findings: tuple[str, str, str, str]) -> dict[str, object]:
    keys = ("check", "state", "found", "repair")
    return DONE | {"stdout": json.dumps({"findings": [dict(zip(keys, each, strict=True)) for each in findings]})}


def test_the_report_shows_each_fault_with_its_hint() -> None:
    findings = [
        ("one", "ok", "works", ""),
        ("second", "fail", "does not", "Repair it."),
        ("third", "warn", "may not", "Look at it."),
        ("last", "skip", "does not exist", ""),
    ]
    results = {
        "lent": DONE,
        "returned": DONE,
        "release": DONE,
        "doctors": [doctor_output(*findings), {"skipped": True}],
    }
    seen = self_check(results, "t")
    assert seen["report"].splitlines() == [
        "ok        host          it made a token for this run",
        "ok        one           works",
        "WRONG     second        does not",
        "                        → Repair it.",
        "warning   third         may not",
        "                        → Look at it.",
        "not tried last          does not exist",
        "ok        self-check    the release works on the host",
        "ok        token         revoked",
        "7 checks: 4 ok, 1 warning, 1 WRONG, 1 not tried",
    ]
    assert seen["wrong"] == "Failed checks, see above: second"


def test_an_unreachable_host_is_reported_once() -> None:
    results = {"lent": AWAY, "returned": AWAY, "release": AWAY, "doctors": [doctor_output(), {"skipped": True}, AWAY]}
    seen = self_check(results, "t")
    assert "ssh: no route" in seen["report"]
    assert seen["wrong"].endswith("above: host")


def test_output_of_a_failed_command_is_not_shown() -> None:
    """It may be a secret."""
    failed = {"rc": 1, "stdout": "ppm_never-to-be-shown", "stderr": "ppmctl: no room"}
    results = {"lent": failed, "returned": DONE, "release": DONE, "doctors": []}
    assert "ppm_never" not in self_check(results, "t")["report"]
    results = {"lent": DONE, "returned": failed, "release": failed, "doctors": [failed]}
    seen = self_check(results, "ppm-self-check+1")
    assert "ppm_never" not in seen["report"]
    assert seen["report"].count("ppmctl: no room") == 3
    assert "On the host: ppmctl token revoke ppm-self-check+1" in seen["report"]


def test_hints_name_existing_commands() -> None:
    """People type hints when something is broken, and they must work then."""
    modules = [web_server, promises, publish, expected]
    text = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in modules)
    named = set(re.findall(r"ppmctl ([a-z-]+) ([a-z]+)", text))
    assert named >= {("index", "rebuild"), ("index", "check"), ("package", "remove"), ("token", "revoke")}
    for name, command in named & {
        (name, each) for name in cli.list_commands(click.Context(cli)) for _, each in named
    }:
        group = cli.get_command(click.Context(cli), name)
        assert isinstance(group, click.Group)
        assert command in group.commands
