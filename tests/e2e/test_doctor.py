"""Tests of `ppmctl doctor`: each planted fault is found, and its repair is named."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import bcrypt
import pytest
from support import faulty, namespaces, servers, sshd, wheels
from support.faulty import LIST, Response
from support.servers import JSON, PPMCTL, Server, clean_environment, free_port, ppmctl, run_ppmctl
from support.terminals import on_a_terminal, read_until
from support.tls import Authority

ASKED = ("proxy", "tcp", "http", "clock", "url", "credential", "login", "places")
OFFERED = ("api", "hashes", "times", "metadata", "pages", "files", "uploads")


@dataclass(frozen=True)
class Diagnosis:
    """The findings of doctor: a list of (check, state, message, hint)."""

    findings: list[tuple[str, str, str, str]]

    def of(self, check: str) -> tuple[str, str, str]:
        """Return the only finding of a check."""
        (finding,) = [each[1:] for each in self.findings if each[0] == check]
        return finding

    def states(self, *checks: str) -> dict[str, str]:
        return {check: state for check, state, _message, _hint in self.findings if check in checks}

    @property
    def bad(self) -> list[str]:
        return [check for check, state, _message, _hint in self.findings if state in ("fail", "warn")]


@dataclass(frozen=True)
class User:
    """A user with an empty home and no clients. `behind` is a command prefix that starts doctor."""

    home: Path
    behind: tuple[str, ...] = ()

    def doctor(self, *arguments: str, expect: int, **more: str) -> Diagnosis:
        # a machine that runs many tests at once may need more than the default
        asked, environ = ("doctor", *arguments, "--timeout", "300", "--json"), self.environ(**more)
        if self.behind:
            command = [*self.behind, *PPMCTL, *asked]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=120, env=environ, stdin=subprocess.DEVNULL
            )
        else:
            done = run_ppmctl(asked, env=environ, timeout=120)
        code, output, complained = done.returncode, done.stdout, done.stderr
        assert (code, complained) == (expect, ""), output + complained
        document = json.loads(output)
        assert document["ok"] == (expect == 0)
        keys = ("check", "state", "found", "repair")
        return Diagnosis([tuple(each[key] for key in keys) for each in document["findings"]])

    def environ(self, **more: str) -> dict[str, str]:
        """Return an environment without clients, and without this machine's proxies and authorities."""
        foreign = ("_PROXY", "_CA_BUNDLE", "_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR")
        plain = clean_environment(self.home)
        kept = {name: value for name, value in plain.items() if not name.upper().endswith(foreign)}
        return {**kept, "PATH": "/usr/sbin:/sbin", **more}

    def run(self, command: str, **more: str) -> None:
        """Run a repair's command, in a shell unless it is only `ppmctl`."""
        environ = self.environ(**more)
        if command.startswith("ppmctl "):
            ppmctl(*shlex.split(command)[1:], env=environ)
            return
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=environ)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "home")


@pytest.fixture(scope="module", autouse=True)
def wheel(index: Server) -> None:
    """Publish the index's project."""
    assert index.upload(wheels.wheel("acme", "1.0", requires_python=">=3.8")).status_code == 200


def known(index: Server) -> dict[str, str]:
    return {"PPMCTL_USERNAME": index.user, "PPMCTL_TOKEN": index.secret}


def write_netrc(home: Path, host: str, name: str, secret: str, *, mode: int = 0o600) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    path = home / ".netrc"
    path.write_text(f"machine {host} login {name} password {secret}\n")
    path.chmod(mode)
    return path


# a healthy index


def test_a_healthy_index(index: Server, user: User) -> None:
    audited = (index.root / "audit.jsonl").read_bytes()
    seen = user.doctor(index.url, expect=0, **known(index))
    assert (index.root / "audit.jsonl").read_bytes() == audited
    assert set(seen.states(*ASKED, *OFFERED).values()) == {"ok"}
    assert set(seen.states(*ASKED, *OFFERED)) == {*ASKED, *OFFERED}
    assert not {"fail", "warn"} & {state for _check, state, _message, _hint in seen.findings}
    assert "from PPMCTL_USERNAME and PPMCTL_TOKEN" in seen.of("credential")[1]


def test_the_output_for_people(index: Server, user: User) -> None:
    """In columns, with the repair below; without secrets and control characters."""
    command = ["doctor", index.url]
    done = run_ppmctl(command, env=user.environ(**known(index)))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"ok    index       {index.url}, from the command line" in lines
    assert index.secret not in done.stdout
    done = run_ppmctl(command, env=user.environ())
    assert done.returncode == 1
    failures = [line for line in done.stdout.splitlines() if line.startswith("fail  login       ")]
    (hint,) = [line for line in done.stdout.splitlines() if line.startswith(f"{'':18}→ ppmctl login {index.url}/")]
    assert len(failures) == 1
    assert "--netrc" in hint


def test_doctor_publishes_and_installs_a_release_and_checks_a_removal(index: Server, user: User) -> None:
    """The index is expected to run without nginx; pip runs without this user's settings."""
    mine = {"PIP_NO_INDEX": "1", "PIP_INDEX_URL": "http://nowhere.invalid/simple/"}
    expected = {"tls": "none", "read_access": "authenticated", "upstream": "none", "publish": "1.1"}
    expect = ("--expect", json.dumps(expected))
    seen = user.doctor(index.url.replace("127.0.0.1", "localhost"), *expect, expect=1, **mine, **known(index))
    kinds = ("refusals", "publish", "immutable", "listed", "page", "reader", "revoked", "install", "files")
    assert set(seen.states(*kinds).values()) == {"ok"}
    assert len(seen.states(*kinds)) == len(kinds)
    assert set(seen.bad) == {"strangers", "headers"}, "which nginx sees to"
    for state, code in (("fail", 1), ("ok", 0)):
        gone = json.dumps({**expected, "removed": ["1.1"], "address": "127.0.0.1"})
        seen = user.doctor(f"http://index.test:{index.port}/", "--expect", gone, expect=code, **known(index))
        assert [(check, result) for check, result, *_ in seen.findings] == [("removed", state)]
        if state == "fail":
            ppmctl("package", "remove", "ppm-self-check", "1.1", "--yes", "--root", str(index.root))


@pytest.mark.parametrize("kind", ["pypiserver", "a folder"])
def test_another_index_is_reported_as_old_not_broken(kind: str, tmp_path: Path, user: User) -> None:
    """Typical ones: a bare pypiserver, and a static folder."""
    port = free_port()
    folder = tmp_path / "served" / "simple" / "acme"
    folder.mkdir(parents=True)
    filename, content = wheels.wheel("acme", "1.0")
    (folder / filename).write_bytes(content)
    python = str(Path(sys.executable))
    command = {
        "pypiserver": [
            python,
            "-m",
            "pypiserver",
            "run",
            "-i",
            "127.0.0.1",
            "-p",
            str(port),
            "-a.",
            "-P.",
            "--disable-fallback",
            folder,
        ],
        "a folder": [python, "-m", "http.server", "-b", "127.0.0.1", "-d", folder.parents[1], str(port)],
    }[kind]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*map(str, command)], **quiet) as server:
        try:
            until_answers(port)
            seen = user.doctor(f"http://127.0.0.1:{port}/simple", expect=0)
        finally:
            server.kill()
    assert set(seen.states(*ASKED).values()) == {"ok"}
    old = {"api", "metadata", "pages", "files", "uploads"} | ({"hashes"} if kind == "a folder" else set())
    assert set(seen.bad) & set(OFFERED) == old
    assert "HTML alone" in seen.of("api")[1]
    assert "ppmctl index adopt" in seen.of("api")[2]
    if kind == "pypiserver":
        assert f"repository = http://127.0.0.1:{port}/" in seen.of("uploads")[2]


def until_answers(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("nothing listens")


# the network


def test_no_index_is_configured(user: User) -> None:
    seen = user.doctor(expect=1)
    assert [check for check, *_ in seen.findings] == ["index"]
    assert "PPMCTL_INDEX" in seen.of("index")[2]


def test_a_host_without_an_address(user: User) -> None:
    seen = user.doctor("https://no.such.invalid/", expect=1)
    state, message, hint = seen.of("dns")
    assert (state, message.startswith("no.such.invalid has no address")) == ("fail", True)
    assert "getent hosts no.such.invalid" in hint
    assert seen.of("tls") == seen.of("login") == ("skip", "not tried, because of: dns", "")


def test_nothing_listens(user: User) -> None:
    port = free_port()
    state, message, hint = user.doctor(f"http://127.0.0.1:{port}/", expect=1).of("tcp")
    assert (state, f"port {port}: Connection refused" in message) == ("fail", True)
    assert "ppmctl serve --root DIR" in hint


@contextlib.contextmanager
def never_answering(*, sends: bytes) -> Iterator[int]:
    """Yield the port of a server that accepts connections, and repeats `sends` without an end of its answer."""
    ended = threading.Event()

    def drip(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: " if sends else b"")
            while not ended.wait(0.1):
                line.sendall(sends)

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        ended.set()


@pytest.mark.parametrize("sends", [b"", b"x"], ids=["silent", "a byte now and then"])
def test_a_server_that_never_answers_is_reported_in_time(user: User, sends: bytes) -> None:
    """On a terminal the check that takes long is shown meanwhile."""
    with never_answering(sends=sends) as port:
        command = [*PPMCTL, "doctor", f"http://127.0.0.1:{port}/", "--timeout", "2"]
        with on_a_terminal(command, user.environ()) as (process, terminal):
            began = time.monotonic()
            shown = read_until(terminal, b"Checking clock") + read_until(terminal, b"")
            assert process.wait(timeout=60) == 1
            assert time.monotonic() - began < 40
    assert b"clock       it did not end within 2 seconds" in shown
    assert b"--timeout 300" in shown


def test_a_proxy_that_can_not_be_reached(index: Server, user: User) -> None:
    proxy = f"http://me:hush-hush@127.0.0.1:{free_port()}"
    state, message, hint = (seen := user.doctor(index.url, expect=1, HTTP_PROXY=proxy, **known(index))).of("proxy")
    assert (state, "HTTP_PROXY) can't be reached: Connection refused" in message) == ("fail", True)
    assert not [each for each in seen.findings if "hush-hush" in "".join(each)]
    assert hint == "Without it: export NO_PROXY=127.0.0.1"
    repaired = user.doctor(index.url, expect=0, HTTP_PROXY=proxy, NO_PROXY="127.0.0.1", **known(index))
    assert repaired.of("proxy") == ("ok", "none for 127.0.0.1: NO_PROXY has it", "")


def test_a_proxy_that_refuses_to_connect(index: Server, user: User) -> None:
    with faulty.index({}) as proxy:  # it does not support CONNECT
        url = f"http://127.0.0.1:{proxy}"
        state, message, _hint = user.doctor(index.url, expect=1, HTTP_PROXY=url, **known(index)).of("proxy")
    assert (state, f"{url} (HTTP_PROXY) refuses the connection: 501" in message) == ("fail", True)


@pytest.mark.parametrize(("minutes", "state"), [(-10, "fail"), (2, "warn")])
def test_a_clock_that_is_wrong(user: User, minutes: int, state: str) -> None:
    with faulty.index(ahead=minutes * 60) as port:
        seen = user.doctor(f"http://127.0.0.1:{port}/", expect=int(state == "fail"))
    result, printed, hint = seen.of("clock")
    which = "behind" if minutes > 0 else "ahead of"
    assert (result, printed.startswith("this machine's clock is "), f" {which} the index's" in printed) == (
        state,
        True,
        True,
    )
    assert "sudo timedatectl set-ntp true" in hint


def test_plain_http_to_another_machine(index: Server, user: User) -> None:
    """Linux treats 0.0.0.0 as this machine; ppm does not."""
    url = f"http://0.0.0.0:{index.port}/"
    seen = user.doctor(url, expect=0, **known(index))
    state, message, hint = seen.of("http")
    assert (state, "pip ignores such an index" in message) == ("warn", True)
    assert "export PPMCTL_TRUSTED_HOST=0.0.0.0" in hint
    assert "goes over plain HTTP" in seen.of("credential")[1]
    trusted = user.doctor(url, expect=0, PPMCTL_TRUSTED_HOST="0.0.0.0", **known(index))
    assert trusted.states("http", "credential") == {"http": "ok", "credential": "ok"}


# TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_a_certificate_of_a_private_authority(authority: Authority, tmp_path: Path, user: User) -> None:
    ca = authority.write_root(tmp_path / "ca.pem")
    with faulty.index(certificate=authority.issue(tmp_path / "tls", "localhost")) as port:
        url = f"https://localhost:{port}/"
        state, message, hint = user.doctor(url, expect=1).of("tls")
        assert (state, message) == ("fail", "its certificate chain leads to Root, which is not trusted here")
        assert "export REQUESTS_CA_BUNDLE=/path/ca.pem SSL_CERT_FILE=/path/ca.pem" in hint
        repaired = user.doctor(url, expect=0, REQUESTS_CA_BUNDLE=str(ca)).of("tls")
        assert repaired == ("ok", f"its certificate is trusted (by {ca}, from REQUESTS_CA_BUNDLE), for 30 days", "")
        by_system = user.doctor(url, expect=0, SSL_CERT_FILE=str(ca)).of("tls")
        assert by_system[0] == "ok"


@pytest.mark.parametrize(
    ("days", "domain", "state", "message", "hint"),
    [
        (-3, "localhost", "fail", "its certificate expired on ", "On the index's machine: systemctl start certbot"),
        (5, "localhost", "warn", "and expires in 5 days", "On the index's machine: systemctl start certbot"),
        (30, "index.example", "fail", "is for index.example, not for localhost", "Use https://index.example/"),
    ],
)
def test_a_certificate_that_is_expired_or_for_another_host(
    days: int, domain: str, state: str, message: str, hint: str, authority: Authority, tmp_path: Path, user: User
) -> None:
    ca = authority.write_root(tmp_path / "ca.pem")
    with faulty.index(certificate=authority.issue(tmp_path / "tls", domain, days=days, age=60)) as port:
        expect = int(state == "fail")
        seen = user.doctor(f"https://localhost:{port}/", expect=expect, REQUESTS_CA_BUNDLE=str(ca)).of("tls")
    assert (seen[0], message in seen[1], hint in seen[2]) == (state, True, True), seen


def test_all_problems_of_a_certificate_are_reported_at_once(authority: Authority, tmp_path: Path, user: User) -> None:
    """Its authority is not trusted, it has expired, and it is for another host."""
    with faulty.index(certificate=authority.issue(tmp_path / "tls", "index.example", days=-3)) as port:
        seen = user.doctor(f"https://localhost:{port}/", expect=1)
    messages = [each[2] for each in seen.findings if each[0] == "tls"]
    assert [
        words in printed for words, printed in zip(("expired on", "not for localhost", "Root"), messages, strict=True)
    ] == ([True] * 3), messages


def test_a_chain_without_the_intermediate_certificate(authority: Authority, tmp_path: Path, user: User) -> None:
    ca = authority.write_root(tmp_path / "ca.pem")
    chain, key = authority.issue(tmp_path / "tls", "localhost")
    end = "-----END CERTIFICATE-----\n"
    alone = tmp_path / "alone.pem"
    alone.write_text(chain.read_text().partition(end)[0] + end)
    with faulty.index(certificate=(alone, key)) as port:
        state, message, hint = user.doctor(f"https://localhost:{port}/", expect=1, REQUESTS_CA_BUNDLE=str(ca)).of(
            "tls"
        )
    assert (state, message.startswith("Issuing, which issued its certificate, is not trusted here")) == ("fail", True)
    assert "fullchain.pem" in hint


def test_a_self_signed_certificate(authority: Authority, tmp_path: Path, user: User) -> None:
    certificate = authority.issue_self_signed(tmp_path / "tls", "localhost")
    with faulty.index(certificate=certificate) as port:
        url = f"https://localhost:{port}/"
        state, message, _hint = user.doctor(url, expect=1).of("tls")
        assert (state, message) == ("fail", "its certificate is self-signed: no authority confirms it")
        assert user.doctor(url, expect=0, REQUESTS_CA_BUNDLE=str(certificate[0])).of("tls")[0] == "ok"


def test_a_missing_file_of_authorities(tmp_path: Path, user: User) -> None:
    with faulty.index(certificate=Authority().issue(tmp_path / "tls", "localhost")) as port:
        seen = user.doctor(f"https://localhost:{port}/", expect=1, REQUESTS_CA_BUNDLE="/no/such.pem")
    state, message, hint = seen.of("tls")
    assert (state, message) == ("fail", "REQUESTS_CA_BUNDLE names /no/such.pem, which does not exist")
    assert hint.endswith("unset REQUESTS_CA_BUNDLE")


def test_https_to_a_port_that_speaks_http(index: Server, user: User) -> None:
    state, message, hint = user.doctor(f"https://127.0.0.1:{index.port}/", expect=1).of("tls")
    assert (state, message) == ("fail", "the server does not speak TLS")
    assert f"{index.url}/" in hint


# the URL


def test_an_endless_redirect(user: User) -> None:
    answers = {"/simple/": Response.moved("/else/"), "/else/": Response.moved("/simple/")}
    with faulty.index(answers) as port:
        state, message, hint = user.doctor(f"http://127.0.0.1:{port}/", expect=1).of("url")
    assert (state, message.startswith("it redirects in a loop: ")) == ("fail", True)
    assert "X-Forwarded-Proto" in hint


def test_a_redirect_to_https(authority: Authority, tmp_path: Path, user: User) -> None:
    ca = authority.write_root(tmp_path / "ca.pem")
    with faulty.index(certificate=authority.issue(tmp_path / "tls", "localhost")) as safe:
        answers = {"/simple/": Response.moved(f"https://localhost:{safe}/simple/")}
        with faulty.index(answers) as port:
            seen = user.doctor(f"http://localhost:{port}/", expect=1, REQUESTS_CA_BUNDLE=str(ca))
    state, message, hint = seen.of("url")
    assert (state, "it redirects to https" in message) == ("fail", True)
    assert f"ppmctl login https://localhost:{safe}/" in hint


def test_a_redirect_that_loses_the_credential(index: Server, user: User) -> None:
    with faulty.index({"/simple/": Response.moved(f"{index.url}/simple/")}) as port:
        url = f"http://localhost:{port}/"
        state, message, hint = user.doctor(url, expect=1, **known(index)).of("url")
        assert (state, f"which asks for a credential: clients send it only to localhost:{port}" in message) == (
            "fail",
            True,
        )
        assert f"export PPMCTL_INDEX={index.url}/" in hint
    assert user.doctor(expect=0, PPMCTL_INDEX=f"{index.url}/", **known(index)).of("url")[0] == "ok"


def test_a_redirect_to_another_server(user: User) -> None:
    with (
        faulty.index() as target_port,
        faulty.index({"/simple/": Response.moved(f"http://127.0.0.1:{target_port}/simple/")}) as port,
    ):
        state, message, hint = user.doctor(f"http://localhost:{port}/", expect=1).of("url")
    assert (state, message.endswith("pip and uv follow, ppmctl and uploads do not")) == ("fail", True)
    assert f"ppmctl login http://127.0.0.1:{target_port}/" in hint


@pytest.mark.parametrize("slip", ["simple/acme", "acme", "simple/simple", "pypi"])
def test_a_mistake_in_the_url(slip: str, index: Server, user: User) -> None:
    state, message, hint = user.doctor(f"{index.url}/{slip}", expect=1, **known(index)).of("url")
    assert (state, message.startswith("there is ")) == ("fail", True)
    assert hint == f"The index is at {index.url}/ : ppmctl doctor {index.url}/"


def test_a_web_page_and_a_list_at_another_path(user: User) -> None:
    page = Response(body=b'<html><a href="/login">Log in</a></html>', headers={"Content-Type": "text/html"})
    with faulty.index({"/simple/": page}) as port:
        state, message, hint = user.doctor(f"http://127.0.0.1:{port}/", expect=1).of("url")
    assert (state, "a web page, not a list of projects" in message) == ("fail", True)
    assert "pip config list" in hint
    with faulty.index({"/": LIST}) as port:
        _state, _message, hint = user.doctor(f"http://127.0.0.1:{port}/", expect=1).of("url")
    assert hint.startswith(f"The list is at http://127.0.0.1:{port}/ : pip takes that")


# credentials


def test_a_missing_credential(index: Server, user: User) -> None:
    state, message, hint = user.doctor(index.url, expect=1).of("login")
    assert (state, "No matching distribution found" in message) == ("fail", True)
    assert hint.startswith(f"ppmctl login {index.url}/ --netrc")
    user.run(f'printf \'%s:%s\' "$U" "$S" | {hint.partition("  ")[0]}', U=index.user, S=index.secret)
    assert user.doctor(expect=0).of("login")[0] == "ok"


def test_a_wrong_or_expired_credential(index: Server, user: User) -> None:
    """They are distinguished, as the index distinguishes them."""
    wrong = {"PPMCTL_USERNAME": index.user, "PPMCTL_TOKEN": "not-it"}
    state, message, hint = user.doctor(index.url, expect=1, **wrong).of("login")
    assert (state, "does not accept the credential of" in message, "expired" in message) == ("fail", True, False)
    assert "It is wrong" in hint
    root = ["--root", str(index.root)]
    secret = ppmctl("user", "add", "late", "--role", "reader", "--expires", "2d", *root).stdout.strip()
    late = {"PPMCTL_USERNAME": "late", "PPMCTL_TOKEN": secret}
    soon = user.doctor(index.url, expect=0, **late).of("login")
    assert (soon[0], soon[1].endswith("that is soon")) == ("warn", True)
    assert "ppmctl user enable late --expires 90d" in soon[2]
    user.run(f"ppmctl user enable late --expires 1s {shlex.join(root)}")
    until = time.monotonic() + 30
    while index.get("/simple/", auth=("late", secret)).status_code != 401:
        assert time.monotonic() < until
        time.sleep(0.1)
    state, message, hint = user.doctor(index.url, expect=1, **late).of("login")
    assert (state, "it has expired" in message, f"ppmctl login {index.url}/" in hint) == ("fail", True, True)
    user.run(f"ppmctl user enable late --expires 90d {shlex.join(root)}")
    assert user.doctor(index.url, expect=0, **late).of("login")[0] == "ok"


def test_different_credentials_in_two_places(index: Server, user: User) -> None:
    """netrc has no ports, so an entry for another index on this host is sent to this one."""
    write_netrc(user.home, "127.0.0.1", "someone", "another-secret")
    state, message, hint = user.doctor(index.url, expect=1, **known(index)).of("places")
    assert (state, "and the index refuses it" in message, "that of someone" in message) == ("fail", True, True)
    assert hint.startswith("netrc has no ports")
    (user.home / ".netrc").unlink()
    root = ["--root", str(index.root)]
    secret = ppmctl("user", "add", "second", "--role", "reader", *root).stdout.strip()
    write_netrc(user.home, "127.0.0.1", "second", secret)
    seen = user.doctor(index.url, expect=0, **known(index))
    assert seen.of("places")[0] == "warn"
    assert not [each for each in seen.findings if secret in "".join(each)]


def test_an_expired_credential_before_a_valid_one(index: Server, user: User) -> None:
    """ppmctl uses the first one; doctor reports which one is valid."""
    write_netrc(user.home, "127.0.0.1", index.user, index.secret)
    section = user.home / ".pypirc"
    section.write_text(f"[work]\nrepository = {index.url}/legacy/\nusername = {index.user}\npassword = stale\n")
    section.chmod(0o600)
    seen = user.doctor("work", expect=1)
    assert seen.of("index")[1].endswith(f"; its settings are in {section}, section [work]")
    assert seen.of("login")[0] == "fail"
    state, message, hint = seen.of("places")
    assert (state, message.endswith("; the index accepts this one")) == ("warn", True)
    assert hint == f"Delete the other one from {section}, section [work]."
    section.write_text(f"[work]\nrepository = {index.url}/legacy/\n")
    assert user.doctor("work", expect=0).states("login", "places") == {"login": "ok", "places": "ok"}


def test_a_netrc_that_others_can_read(index: Server, user: User) -> None:
    path = write_netrc(user.home, "127.0.0.1", index.user, index.secret, mode=0o644)
    state, message, hint = user.doctor(index.url, expect=0).of("places")
    assert (state, message, hint) == ("warn", f"others can read {path} (mode 0644)", f"chmod 600 {path}")
    user.run(hint)
    assert user.doctor(index.url, expect=0).of("places")[0] == "ok"


def test_a_netrc_of_another_user(index: Server, user: User) -> None:
    if os.geteuid() == 0:
        path = write_netrc(user.home, "127.0.0.1", index.user, index.secret)
        os.chown(path, pwd.getpwnam("nobody").pw_uid, -1)
    else:
        path = Path(os.devnull)  # root's
    state, message, hint = user.doctor(index.url, expect=1, NETRC=str(path)).of("places")
    assert (state, message) == ("fail", f"{path} belongs to another user (uid {path.stat().st_uid})")
    assert hint == f"sudo chown {os.geteuid()} {path} && chmod 600 {path}"


def test_an_invalid_netrc(index: Server, user: User) -> None:
    path = write_netrc(user.home, "127.0.0.1", index.user, index.secret)
    path.write_text(f"machine 127.0.0.1\nlogin x\npasswort {index.secret}\n")
    seen = user.doctor(index.url, expect=1)
    assert seen.of("credential")[:2] == ("fail", f"{path} can't be read: line 3 is invalid")
    assert not [each for each in seen.findings if index.secret in "".join(each)]


# content of the index


def test_a_listed_file_that_is_missing(tmp_path: Path, user: User) -> None:
    server = servers.start(tmp_path / "root", options=("--upstream", "none", "--read-access", "public"))
    try:
        made = wheels.wheel("acme", "1.0")
        assert server.upload(made).status_code == 200
        folder = server.root / "packages" / "acme"
        (folder / f"{made[0]}.metadata").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 9\n")
        state, message, hint = user.doctor(server.url, expect=1).of("metadata")
        assert (state, message) == ("fail", f"{made[0]}.metadata is not what the page has the hash of: pip fails")
        assert hint == "On the index's machine: ppmctl index check, and ppmctl index rebuild"
        (folder / f"{made[0]}.metadata").unlink()
        assert "it answers 404" in user.doctor(server.url, expect=1).of("metadata")[1]
        user.run(f"ppmctl index rebuild --root {server.root}")
        assert user.doctor(server.url, expect=0).of("metadata")[0] == "ok"
        (folder / made[0]).unlink()
        state, message, hint = user.doctor(server.url, expect=1).of("files")
        assert (state, f"the page lists {made[0]}, and it answers 404" in message) == ("fail", True)
        assert "ppmctl index check" in hint
    finally:
        server.kill()


def test_pages_with_wrong_cache_headers(user: User) -> None:
    evil = "acme-1.0.tar.gz\nok    login       \x1b[32mall is well"
    page = {
        "meta": {"api-version": "1.0"},
        "name": "acme",
        "files": [{"filename": evil, "url": "/acme-1.0.tar.gz", "hashes": {}}],
    }
    kept = {"Content-Type": JSON, "Cache-Control": "public, max-age=600"}
    listed = json.dumps({"meta": {"api-version": "1.0"}, "projects": [{"name": "acme"}]}).encode()
    answers = {
        "/simple/": Response(body=listed, headers=kept),
        "/simple/acme/": Response(body=json.dumps(page).encode(), headers=kept),
        "/acme-1.0.tar.gz": Response(body=b"x"),
    }
    with faulty.index(answers) as port:
        seen = user.doctor(f"http://127.0.0.1:{port}/", expect=0)
        done = run_ppmctl(["doctor", f"http://127.0.0.1:{port}/"], env=user.environ())
    assert len([line for line in done.stdout.splitlines() if line.startswith("ok    login ")]) == 1
    assert "\x1b" not in done.stdout
    state, message, hint = seen.of("pages")
    assert (state, "pages may be kept for 600 seconds" in message) == ("warn", True)
    assert "Cache-Control: no-cache" in hint
    assert "no Vary: Accept" in seen.of("vary")[1]
    assert "Vary: Accept" in seen.of("vary")[2]
    assert seen.of("hashes")[0] == seen.of("times")[0] == "warn"
    assert "no hash of acme-1.0.tar.gz" in seen.of("hashes")[1]


def test_a_page_without_the_files_requires_python(user: User) -> None:
    filename, content = wheels.wheel("acme", "1.0", requires_python=">=3.8")
    metadata = wheels.metadata("acme", "1.0", requires_python=">=3.8")
    printed = {"Content-Type": "text/html"}
    page = f'<a href="/{filename}#sha256={sha256(content).hexdigest()}" data-core-metadata="true">{filename}</a>'
    answers = {
        "/simple/": Response(body=b'<a href="acme/">acme</a>', headers=printed),
        "/simple/acme/": Response(body=page.encode(), headers=printed),
        f"/{filename}": Response(body=content),
        f"/{filename}.metadata": Response(body=metadata),
    }
    with faulty.index(answers) as port:
        seen = user.doctor(f"http://127.0.0.1:{port}/", expect=0)
    state, message, hint = seen.of("python")
    assert (state, f"{filename} needs Python >=3.8, and the page does not say so" in message) == ("warn", True)
    assert "ppmctl index adopt" in hint
    assert seen.of("hashes")[0] == "ok"


# on the server host


@pytest.fixture(scope="module")
def on_server_host(index: Server) -> dict[str, str]:
    """Return the environment of an administrator on the server's host, whose settings are not the server's."""
    return {"PPM_PORT": str(free_port()), "PPM_READ_ACCESS": "public"}


def test_doctor_on_the_server_host(index: Server, on_server_host: dict[str, str], user: User) -> None:
    """Without a URL only the checks of the server host; with one both."""
    seen = user.doctor("--root", str(index.root), expect=0, **on_server_host)
    assert [check for check, *_ in seen.findings if check not in ("inodes", "certificate")] == [
        *("volume", "disk", "htpasswd", "pending", "server"),
    ]
    both = user.doctor(index.url, "--root", str(index.root), expect=0, **on_server_host, **known(index))
    assert set(both.states("login", "server").values()) == {"ok"}
    assert user.doctor("--root", str(user.home), expect=1).of("volume")[2].endswith(f"ppmctl init --root {user.home}")


def test_doctor_on_a_remote_server_host(tmp_path: Path) -> None:
    """`--on`: the findings on that machine, on its disk."""
    with sshd.running(tmp_path / "host") as host:
        root = tmp_path / "root"
        namespaces.run(PPMCTL, "init", "--root", str(root))
        environ = host.environ()
        command = [*PPMCTL, "doctor", "--root", str(root), "--json", "--on", host.target]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=environ, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 1, done.stderr
    states = {each["check"]: each["state"] for each in json.loads(done.stdout)["findings"]}
    assert (states["volume"], states["disk"], states["server"]) == ("ok", "ok", "fail")


def test_slow_hashes(index: Server, on_server_host: dict[str, str], user: User, tmp_path: Path) -> None:
    """Made with a high cost, which nginx computes for each request."""
    root = ["--root", str(index.root)]
    (tmp_path / "htpasswd").write_bytes(b"slow:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(8)) + b"\n")
    listed = index.root / "credentials" / "htpasswd"
    ppmctl("user", "add", "slow", "--role", "reader", *root)
    lines = [line for line in listed.read_text().splitlines() if not line.startswith("slow:")]
    listed.write_text("\n".join([*lines, (tmp_path / "htpasswd").read_text()]))
    state, message, hint = user.doctor(*root, expect=0, **on_server_host).of("htpasswd")
    assert (state, message.startswith("slow has a hash (bcrypt) that takes ")) == ("warn", True)
    user.run(hint.partition("  ")[0])
    assert user.doctor(*root, expect=0, **on_server_host).of("htpasswd")[0] == "ok"


def test_pages_with_pending_marks(index: Server, on_server_host: dict[str, str], user: User) -> None:
    (index.root / "index" / "pending" / "acme").touch()
    root = ["--root", str(index.root)]
    state, message, hint = user.doctor(*root, expect=0, **on_server_host).of("pending")
    assert (state, "1: acme" in message) == ("warn", True)
    user.run(hint)
    assert user.doctor(*root, expect=0, **on_server_host).of("pending")[0] == "ok"


def test_a_stopped_application(tmp_path: Path, user: User) -> None:
    """nginx still serves reads, and uploads fail."""
    root = ("--root", str(tmp_path / "root"))
    ppmctl("init", *root)
    state, message, hint = user.doctor(*root, expect=1, PPM_PORT=str(free_port())).of("server")
    assert (state, "Connection refused" in message) == ("fail", True)
    assert "systemctl restart ppm.service" in hint


def test_a_disk_that_is_nearly_full(tmp_path: Path, user: User) -> None:
    with namespaces.lasting_disk(tmp_path / "disk", size="16m") as (root, on_disk):
        namespaces.run((*on_disk, *PPMCTL), "init", "--root", str(root))
        seen = User(user.home, (shutil.which(on_disk[0]) or "", *on_disk[1:])).doctor("--root", str(root), expect=1)
    state, message, hint = seen.of("disk")
    assert (state, message.endswith(" of 16.8 MB are free: uploads fail")) == ("fail", True)
    assert f"ppmctl stats --root {root}" in hint


def test_a_disk_without_inodes(tmp_path: Path, user: User) -> None:
    disk = namespaces.serve_on_disk(tmp_path / "disk", size="200m", files=700)
    try:
        seen = user.doctor("--root", str(disk.root), expect=1, PPM_PORT=str(disk.server.port))
    finally:
        disk.server.kill()
    state, message, hint = seen.of("inodes")
    assert (state, message.endswith(" of 700 inodes are free: uploads fail")) == ("fail", True)
    assert "df -i" in hint
    assert seen.of("disk")[0] == "ok"
