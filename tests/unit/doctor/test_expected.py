"""What doctor decides of an index that is meant to be as its inventory says, with a stand-in for the index."""

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
from ppmctl.doctor import checks, expected, index_features, network, probe, promises, publish, web_server
from ppmctl.doctor.expected import Expected
from ppmctl.doctor.finding import Finding, Visit
from ppmctl.doctor.probe import PROJECT
from ppmctl.doctor.sample_project import Sample
from ppmctl.errors import UsageError
from ppmctl.publishing.check import check
from ppmctl.secret import Secret

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
        found = self.reply(method, url.removeprefix("https://index.test"), is_signed)
        return replace(found, url=url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def visit_of(reply: Reply, **expects: Any) -> Visit:
    return Visit(
        address=Address(base="https://index.test", upload="https://index.test/legacy/"),
        credential=Credential(username="ops", secret=Secret("s3cret"), source=""),
        environ={},
        home=Path(),
        cwd=Path(),
        transport=lambda credential, _home: Standin(reply, credential),  # type: ignore[arg-type, return-value]  # as one
        expected=replace(HOST, publish=VERSION, **expects),
    )


def of(findings: Any, check: str) -> Finding:
    (found,) = [finding for finding in findings if finding.check == check]
    return found  # type: ignore[no-any-return]  # of what it was given


def closed(_method: str, _path: str, is_signed: bool) -> Answer:
    return answer(200) if is_signed else CHALLENGE


# what it is meant to be


@pytest.mark.parametrize("pattern", ["acme-*", "*", "*_internal", "ac?e.*", "[ab]c-*", "[!a]c-*", "[a-c]*x"])
def test_an_example_of_a_private_name_is_one(pattern: str) -> None:
    host = replace(HOST, private_names=(pattern,))
    assert host.is_private(host.private_examples()[pattern])


def test_a_pattern_of_one_name_has_no_example_that_nobody_has() -> None:
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
def test_what_an_index_can_not_be_meant_to_be(values: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        expected.parse(values)


def test_numbers_of_an_inventory_may_be_texts() -> None:
    said = {"tls": "none", "read_access": "public", "upstream": "none", "hsts_max_age": "5", "private_names": ["a"]}
    found = expected.parse(json.dumps(said))
    assert (found.hsts_max_age, found.private_names, found.has_own_tls, found.is_public) == (5, ("a",), False, True)


# who gets in


def test_an_index_that_asks_everybody_for_a_credential_is_well() -> None:
    assert of(promises.anonymous(visit_of(closed)), "anonymous").state == "ok"


@pytest.mark.parametrize("open_path", ["/simple/", f"/simple/{PROJECT}/", "/", "upload"])
def test_each_place_that_asks_for_no_credential_is_found(open_path: str) -> None:
    def reply(method: str, path: str, is_signed: bool) -> Answer:
        return answer(200) if path.endswith(open_path) else closed(method, path, is_signed)

    found = of(promises.anonymous(visit_of(reply)), "anonymous")
    assert (found.state, "instead of 401 for /" in found.found) == ("fail", True)


def test_a_refusal_without_a_challenge_is_none() -> None:
    """Clients ask their users, or look into their netrc, for a challenge alone."""
    assert of(promises.anonymous(visit_of(lambda *_: answer(401))), "anonymous").state == "fail"


def test_public_reads_are_as_the_inventory_says() -> None:
    assert of(promises.anonymous(visit_of(lambda *_: answer(200), read_access="public")), "anonymous").state == "ok"
    assert of(promises.anonymous(visit_of(lambda *_: CHALLENGE, read_access="public")), "anonymous").state == "fail"


def test_a_wrong_secret_that_lets_in_is_found() -> None:
    assert of(promises.check(visit_of(closed)), "secret").state == "fail"
    assert of(promises.check(visit_of(lambda *_: CHALLENGE)), "secret").state == "ok"


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "no Strict-Transport-Security"),
        ({"Strict_Transport_Security": "max-age=5"}, "'max-age=5', and ppm_hsts_max_age 100"),
        ({"Strict_Transport_Security": "max-age=100", "Server": "nginx/1.26.3"}, "nginx/1.26.3"),
    ],
)
def test_headers_that_are_missing_or_say_too_much_are_named(headers: dict[str, str], said: str) -> None:
    found = of(
        promises.check(visit_of(lambda *_: answer(401, X_Content_Type_Options="nosniff", **headers))), "headers"
    )
    assert (found.state, said in found.found) == ("fail", True)


def test_behind_a_proxy_its_headers_are_not_ours_to_judge() -> None:
    visit = visit_of(lambda *_: answer(401, X_Content_Type_Options="nosniff", Server="proxy/1.0"), tls="none")
    assert of(promises.check(visit), "headers").state == "ok"


# other names


@pytest.mark.parametrize(
    ("status", "location", "state", "said"),
    [
        (302, "https://public.test/simple/{}/", "ok", "https://public.test/simple/"),
        (302, "https://else.test/simple/{}/", "fail", "https://else.test/simple/"),
        (302, "https://public.test/simple/", "fail", "instead of https://public.test/simple"),
        (200, "", "fail", "instead of 302"),
        (404, "", "fail", "instead of 302"),
    ],
)
def test_where_other_names_are_sent(status: int, location: str, state: str, said: str) -> None:
    def named(_method: str, path: str, _is_signed: bool) -> Answer:
        return answer(status, location=location.format(path.split("/")[2]))

    found = of(promises.names(visit_of(named, upstream_url="https://public.test/simple/")), "upstream")
    assert (found.state, said in found.found) == (state, True)


def test_a_redirect_to_the_index_itself_is_a_loop() -> None:
    visit = visit_of(lambda _method, path, _is_signed: answer(302, location=f"https://index.test{path}"))
    assert "itself" in of(promises.names(visit), "upstream").found


def test_a_private_name_that_is_sent_elsewhere_is_named_with_where() -> None:
    visit = visit_of(lambda *_: answer(302, location="https://public.test/"), private_names=("acme-*", "acme"))
    found = of(promises.names(visit), "private")
    assert (found.state, "https://public.test/" in found.found, "acme-*" in found.found) == ("fail", True, True)


def test_where_all_names_are_private_nothing_is_sent_elsewhere() -> None:
    found = promises.names(visit_of(lambda *_: answer(404), private_names=("*",)))
    assert [each.state for each in found] == ["ok", "ok"]


def test_a_side_file_that_is_served_is_named() -> None:
    visit = visit_of(lambda _method, path, _signed: answer(200 if path.endswith("access.yml") else 404))
    visit.remembered["probe"] = probe.make(VERSION)
    assert "/credentials/access.yml" in of(promises.side_files(visit), "side files").found


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
    assert probe.make("1.2").sha256 != made.sha256


@pytest.mark.parametrize(
    ("status", "mend"),
    [
        (403, "access.yml"),
        (502, "systemctl status ppm.socket"),
        (503, "systemctl status ppm.socket"),
        (507, "volume is full"),
    ],
)
def test_an_upload_that_does_not_go_in_says_why(status: int, mend: str) -> None:
    visit = visit_of(lambda *_: answer(status))
    found = of(publish.check(visit), "publish")
    assert (found.state, mend in found.mend) == ("fail", True)


@pytest.mark.parametrize("status", [200, 403])
def test_an_upload_that_should_be_refused_and_is_not_is_found(status: int) -> None:
    found = of(publish.refusals(visit_of(lambda *_: answer(status))), "refusals")
    assert (found.state, "401 for an upload by nobody" in found.found) == ("fail", True)


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
    ("changed", "said"),
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
def test_what_a_page_says_of_the_probe_is_compared_with_it(changed: dict[str, object], said: str) -> None:
    made = probe.make(VERSION)
    found = publish._pages(visit_of(lambda *_: page(made, changed)), made)
    assert (found.state, said in found.found) == ("fail" if said else "ok", True)


@pytest.mark.parametrize(
    ("content", "kept", "said"),
    [
        (b"other", "immutable, private", "is not what the page has the hash of"),
        (None, "immutable, private", "can be had in parts"),
        (None, "immutable, public", "Cache-Control: immutable, public"),
    ],
)
def test_a_file_that_comes_out_differently_is_found(content: bytes | None, kept: str, said: str) -> None:
    made = probe.make(VERSION)

    def reply(_method: str, path: str, _is_signed: bool) -> Answer:
        return page(made, {}) if path.endswith("/") else answer(206, content or made.content, Cache_Control=kept)

    visit = visit_of(lambda method, *more: replace(reply(method, *more), status=200 if method == "HEAD" else 206))
    visit.remembered["probe"] = made
    sample = Sample(visit, PROJECT)
    sample.__dict__["json"] = page(made, {})
    assert said in index_features._download(sample).found


@pytest.mark.parametrize("status", [302, 404, 502])
def test_a_removed_probes_name_that_is_looked_for_elsewhere_is_found(status: int) -> None:
    visit = visit_of(lambda *_: answer(status), removed=(VERSION,))
    assert of(publish.removed(visit), "removed").state == "fail"


def test_a_probe_that_stays_on_its_page_is_found() -> None:
    visit = visit_of(lambda *_: page(probe.make(VERSION), {}), removed=(VERSION,))
    assert "still on its page" in of(publish.removed(visit), "removed").found


def test_a_revoked_token_that_the_application_still_takes_is_found() -> None:
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

    found = list(publish.reader(visit_of(reply)))
    assert of(found, "reader").state == "ok"
    assert of(found, "revoked").state == "fail"
    assert "ppmctl token revoke ops+reader" in of(found, "revoked").mend


# reaching it


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
def test_every_address_of_the_name_has_to_answer(
    replies: dict[str, OSError | None], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of an address that the host no longer has makes every other client wait."""

    def connect(target: tuple[str, int], **_: object) -> socket.socket:
        if exc := replies[target[0]]:
            raise exc
        return socket.socket()

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (to, 0)) for to in replies])
    assert network.listening(visit_of(closed), 443, check="tcp").state == state
    check_of_tcp = [each for each in checks.CHECKS if each.name == "tcp"]
    (found,) = checks.walk(visit_of(closed), [replace(check_of_tcp[0], needs=())])
    assert found.state == ("ok" if state == "ok" else "fail"), "of a host that promises it"


def test_the_address_that_is_led_to_is_for_one_name_and_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *_, **__: name)
    with network.leading("index.test", "192.0.2.1"):
        assert [socket.getaddrinfo(name, 1) for name in ("index.test", "else.test")] == ["192.0.2.1", "else.test"]
    assert socket.getaddrinfo("index.test", 1) == "index.test"


# what people read

DONE = {"rc": 0, "stdout": "", "stderr": ""}
AWAY = {"unreachable": True, "msg": "ssh: no route"}


def doctor_said(*findings: tuple[str, str, str, str]) -> dict[str, object]:
    keys = ("check", "state", "found", "mend")
    return DONE | {"stdout": json.dumps({"findings": [dict(zip(keys, each, strict=True)) for each in findings]})}


def test_each_fault_stands_with_its_remedy() -> None:
    said = [
        ("one", "ok", "is well", ""),
        ("second", "fail", "is not", "Mend it."),
        ("third", "warn", "may be", "See to it."),
        ("last", "skip", "is not there", ""),
    ]
    results = {"lent": DONE, "returned": DONE, "release": DONE, "doctors": [doctor_said(*said), {"skipped": True}]}
    seen = self_check(results, "t")
    assert seen["report"].splitlines() == [
        "ok        host          it made a token for this run",
        "ok        one           is well",
        "WRONG     second        is not",
        "                        → Mend it.",
        "warning   third         may be",
        "                        → See to it.",
        "not tried last          is not there",
        "ok        self-check    the release works on the host",
        "ok        token         revoked",
        "7 checks: 4 ok, 1 warning, 1 WRONG, 1 not tried",
    ]
    assert seen["wrong"] == "Failed checks, see above: second"


def test_a_host_that_can_not_be_entered_is_the_only_fault_of_it() -> None:
    results = {"lent": AWAY, "returned": AWAY, "release": AWAY, "doctors": [doctor_said(), {"skipped": True}, AWAY]}
    seen = self_check(results, "t")
    assert "ssh: no route" in seen["report"]
    assert seen["wrong"].endswith("above: host")


def test_what_a_command_printed_is_not_said_where_it_fails() -> None:
    """It may be a secret."""
    failed = {"rc": 1, "stdout": "ppm_never-to-be-said", "stderr": "ppmctl: no room"}
    results = {"lent": failed, "returned": DONE, "release": DONE, "doctors": []}
    assert "ppm_never" not in self_check(results, "t")["report"]
    results = {"lent": DONE, "returned": failed, "release": failed, "doctors": [failed]}
    seen = self_check(results, "ppm-self-check+1")
    assert "ppm_never" not in seen["report"]
    assert seen["report"].count("ppmctl: no room") == 3
    assert "On the host: ppmctl token revoke ppm-self-check+1" in seen["report"]


def test_remedies_name_commands_that_there_are() -> None:
    """Whoever types what a remedy says, types it on a bad day."""
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
