"""Tests of the sources of index and credential for `ppmctl publish`, and its output on a terminal and as JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import wheels
from support.clients import Machine, machine
from support.recorder import recording
from support.servers import PPMCTL, Server, ppmctl
from support.terminals import interrupt, on_a_terminal, read_until
from support.tls import Authority

README = {"description_content_type": "text/markdown"}


@pytest.fixture
def user(tmp_path: Path, index: Server) -> Machine:
    """Return a machine without settings for the index."""
    return machine(tmp_path / "home")


def wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    return wheels.write(folder, wheels.wheel(name, version, **README))


def section(user: Machine, index: Server, *, password: bool = True) -> None:
    lines = [
        "[distutils]",
        "index-servers = mine",
        "[mine]",
        f"repository = {index.url}/legacy/",
        f"username = {index.user}",
    ]
    (user.home / ".pypirc").write_text(
        "\n".join([*lines, *([f"password = {index.secret}"] if password else [])]) + "\n"
    )


def pypirc(user: Machine, index: Server) -> dict[str, str]:
    section(user, index)
    return {"PPMCTL_INDEX": "mine"}


def twine_section(user: Machine, index: Server) -> dict[str, str]:
    section(user, index)
    return {"TWINE_REPOSITORY": "mine"}


def twine(user: Machine, index: Server) -> dict[str, str]:
    return {
        "TWINE_REPOSITORY_URL": f"{index.url}/legacy/",
        "TWINE_USERNAME": index.user,
        "TWINE_PASSWORD": index.secret,
    }


def keyring(user: Machine, index: Server) -> dict[str, str]:
    """Store twine's entry with the keyring's command, under the upload URL."""
    section(user, index, password=False)
    environ = {
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        "XDG_DATA_HOME": str(user.home / "data"),
    }
    code = "import keyring, sys; keyring.set_password(*sys.argv[1:])"
    user.run(sys.executable, "-c", code, f"{index.url}/legacy/", index.user, index.secret, **environ)
    return {"PPMCTL_INDEX": "mine", **environ}


def token(user: Machine, index: Server) -> dict[str, str]:
    return {"PPMCTL_INDEX": index.simple, "PPMCTL_USERNAME": index.user, "PPMCTL_TOKEN": index.secret}


def file(user: Machine, index: Server) -> dict[str, str]:
    (user.home / "credential").write_text(f"{index.user}:{index.secret}\n")
    return {"PPMCTL_INDEX": index.url, "PPMCTL_CREDENTIAL_FILE": str(user.home / "credential")}


def netrc(user: Machine, index: Server) -> dict[str, str]:
    (user.home / "elsewhere").write_text(f"machine 127.0.0.1 login {index.user} password {index.secret}\n")
    return {"PPMCTL_INDEX": index.url, "NETRC": str(user.home / "elsewhere")}


def home_netrc(user: Machine, index: Server) -> dict[str, str]:
    (user.home / ".netrc").write_text(f"machine 127.0.0.1 login {index.user} password {index.secret}\n")
    return {"PPMCTL_INDEX": index.url}


SOURCES: dict[Callable[[Machine, Server], dict[str, str]], str] = {
    token: "PPMCTL_USERNAME and PPMCTL_TOKEN",
    file: "the file",
    twine: "TWINE_USERNAME and TWINE_PASSWORD",
    pypirc: "section [mine]",
    twine_section: "section [mine]",
    keyring: "the keyring",
    netrc: "elsewhere, machine",
    home_netrc: ".netrc, machine",
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_a_credential_and_an_index_are_found(
    source: Callable[[Machine, Server], dict[str, str]], user: Machine, index: Server, tmp_path: Path
) -> None:
    name = f"from-{source.__name__.replace('_', '-')}"
    made = wheel(tmp_path, name)
    printed = user.run(*PPMCTL, "publish", made, **source(user, index)).output
    assert f"Publishing to {index.url} as {index.user} (from " in printed
    assert SOURCES[source] in printed
    assert index.secret not in printed
    assert index.filenames(name) == {made.name}


def test_sections_of_other_indexes_are_named(user: Machine, index: Server, tmp_path: Path) -> None:
    """Without a credential for this index, one of them may be meant."""
    (user.home / ".pypirc").write_text("[elsewhere]\nrepository = https://elsewhere.test/legacy/\n")
    done = user.run(*PPMCTL, "publish", wheel(tmp_path, "sectioned"), "--index", index.url, expect=4)
    assert "(~/.pypirc is about other indexes; by its sections' names: --index elsewhere)" in done.output


def test_options_override_twines_variables(user: Machine, index: Server, tmp_path: Path) -> None:
    elsewhere = {**twine(user, index), "TWINE_REPOSITORY_URL": "http://127.0.0.1:1/legacy/"}
    made = wheel(tmp_path, "named")
    user.run(*PPMCTL, "publish", made, "--dry-run", PPMCTL_INDEX=index.url, **elsewhere)
    user.run(*PPMCTL, "publish", made, "--dry-run", "--index", index.url, **elsewhere)
    assert "127.0.0.1:1" in user.run(*PPMCTL, "publish", made, "--dry-run", expect=1, **elsewhere).output


def test_twine_cert_is_trusted(user: Machine, index: Server, tmp_path: Path) -> None:
    authority = Authority()
    ca = authority.write_root(tmp_path / "ca.pem")
    made = wheel(tmp_path, "certified")
    with recording(index.port, certificate=authority.issue(tmp_path / "tls", "localhost")) as front:
        environ = {**twine(user, index), "TWINE_REPOSITORY_URL": f"{front.url}/legacy/"}
        assert "is not trusted" in user.run(*PPMCTL, "publish", made, expect=1, **environ).output
        user.run(*PPMCTL, "publish", made, TWINE_CERT=str(ca), **environ)
    assert index.filenames("certified") == {made.name}


@pytest.fixture
def environ(user: Machine, index: Server) -> dict[str, str]:
    return {**user.environ, **token(user, index)}


def test_a_terminal_is_asked_before_the_first_upload(environ: dict[str, str], index: Server, tmp_path: Path) -> None:
    made = wheel(tmp_path, "asked")
    command = [*PPMCTL, "publish", str(made)]
    for answer, code in ((b"n\r", 1), (b"\r", 1), (None, 130)):
        with on_a_terminal(command, environ) as (process, terminal):
            printed = read_until(terminal, b"[y/N]: ")
            shown = re.sub(rb"\x1b\[[\d;]*m", b"", printed)
            row = re.escape(made.name.encode()) + rb" +new +\d+ B *\r\n"
            assert re.search(rb"FILE +STATE +SIZE *\r\n" + row, shown)
            if answer is None:
                printed += interrupt(terminal)
            else:
                os.write(terminal, answer)
                printed += read_until(terminal, b"")
            assert process.wait(timeout=60) == code, printed
        assert index.get("/simple/asked/").status_code == 404
    with on_a_terminal(command, {**environ, "NO_COLOR": "1"}) as (process, terminal):
        printed = read_until(terminal, b"[y/N]: ")
        os.write(terminal, b"y\r")
        printed += read_until(terminal, b"")
        assert process.wait(timeout=60) == 0, printed
    assert made.name.encode() + b" \xe2\x94\x81" in printed, "there is no progress bar"
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m", printed), "NO_COLOR, and there are colours"
    assert index.filenames("asked") == {made.name}
    with on_a_terminal(command, environ) as (process, terminal):
        printed = read_until(terminal, b"")
        assert process.wait(timeout=60) == 0, printed
    assert b"[y/N]" not in printed, "nothing is new"


def test_yes_skips_the_question_on_a_terminal(environ: dict[str, str], index: Server, tmp_path: Path) -> None:
    made = wheel(tmp_path, "unasked")
    with on_a_terminal([*PPMCTL, "publish", "--yes", str(made)], environ) as (process, terminal):
        output = read_until(terminal, b"")
        assert process.wait(timeout=60) == 0, output
    assert b"[y/N]" not in output
    assert index.filenames("unasked") == {made.name}


def test_a_log_has_a_line_for_each_event(environ: dict[str, str], tmp_path: Path) -> None:
    paths = [str(wheel(tmp_path, "logged", version)) for version in ("1.0", "1.1")]
    done = ppmctl("publish", *paths, env={**environ, "TERM": "xterm-256color"})
    assert not {"\r", "\x1b"} & set(done.stdout + done.stderr)
    told = [re.sub(r"[\d.]+ k?B", "N B", line) for line in done.stderr.splitlines()]
    assert told[1:] == [
        "Uploading 2 files, N B",
        "Uploading logged-1.0-py3-none-any.whl, N B",
        "Uploading logged-1.1-py3-none-any.whl, N B",
    ]


def test_json_is_one_document_with_any_result(environ: dict[str, str], index: Server, tmp_path: Path) -> None:
    def publish(*arguments: str | Path, expect: int = 0, **more: str) -> dict[str, object]:
        done = ppmctl("publish", "--json", *map(str, arguments), expect=expect, env={**environ, **more})
        document: dict[str, object] = json.loads(done.stdout)
        return document

    made = wheel(tmp_path, "spoken")
    size = made.stat().st_size
    common = {"index": index.url, "username": index.user, "version": "1.0", "tag": None, "commit": None}
    plan = [{"filename": made.name, "state": "new", "size": size}]
    dry = publish("--dry-run", made)
    assert {name: dry[name] for name in common} == common
    assert dry["plan"] == plan
    assert "error" not in dry
    assert set(publish(made)) == {*common, "plan", "files"}
    clash = wheels.write(tmp_path / "other", wheels.wheel("spoken", "1.0", summary="other", **README))
    failed = publish(clash, expect=1)
    assert failed["plan"] == [{**plan[0], "state": "conflict", "size": clash.stat().st_size}]
    assert failed["files"] == []
    error = failed["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "hint", "exit_code"}
    assert publish("missing", expect=2)["plan"] == []
    assert publish(made, expect=2, PPMCTL_INDEX="nowhere")["index"] is None
