"""Tests of the command line: completion in each shell, and commands that show the settings in use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import warm
from support.servers import PPMCTL, clean_environment, ppmctl
from support.terminals import on_a_terminal, read_until

SECRET = "ppm_0123456789abcdef"
PYPIRC = f"""[distutils]
index-servers = internal
[internal]
repository = https://index.test/legacy/
username = ann
password = {SECRET}
"""
# what the user types, and one of the words that the shell then offers or completes
TYPED = {"ppmctl publi": "publish", "ppmctl package unya": "unyank", "ppmctl publish --dry": "--dry-run"}


def complete_in_bash(typed: str, environ: dict[str, str]) -> str:
    words = typed.split()
    script = (
        'eval "$(ppmctl completion bash 2>/dev/null)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' _ppmctl_completion ppmctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", script, "bash", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout


def complete_in_fish(typed: str, environ: dict[str, str]) -> str:
    script = "ppmctl completion fish 2>/dev/null | source; complete --do-complete $argv[1]"
    command = ["fish", "--no-config", "-c", script, typed]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True).stdout


def complete_in_zsh(typed: str, environ: dict[str, str]) -> str:
    """Complete on a terminal, as zsh does not complete without one."""
    with on_a_terminal(["zsh", "-f", "-i"], environ | {"PS1": "> "}) as (_process, terminal):
        ready = b"autoload -Uz compinit && compinit -u -D; eval \"$(ppmctl completion zsh)\"; print rea''dy\n"
        os.write(terminal, ready)
        read_until(terminal, b"ready")
        os.write(terminal, typed.encode() + b"\t")
        output = read_until(terminal, TYPED[typed].encode())
    return output.decode()


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str, typed: str, tmp_path: Path) -> None:
    """With the printed script, in the real shell."""
    assert shutil.which(shell)
    complete = {"bash": complete_in_bash, "zsh": complete_in_zsh, "fish": complete_in_fish}[shell]
    assert TYPED[typed] in complete(typed, clean_environment(tmp_path))


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("bash", ".local/share/bash-completion/completions/ppmctl"),
        ("fish", ".config/fish/completions/ppmctl.fish"),
    ],
)
def test_the_printed_installation_command_installs_the_completion(shell: str, file: str, tmp_path: Path) -> None:
    """As printed, for a new user without the folder."""
    environ = clean_environment(tmp_path)
    done = ppmctl("completion", shell, env=environ)
    typed = done.stderr.removeprefix("To enable it permanently: ").strip()
    subprocess.run([shell, "-c", typed], env=environ, capture_output=True, timeout=60, check=True)
    assert (tmp_path / file).read_text() == done.stdout


def test_client_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    """The order of sources is tested in the unit tests of user_config; here the command, without a secret."""
    home = tmp_path / "home"
    environ = clean_environment(home)
    (home / ".pypirc").write_text(PYPIRC)
    (tmp_path / "pyproject.toml").write_text('[tool.ppmctl]\nindex = "internal"\n')

    def shown(*options: str, **more: str) -> dict[str, tuple[str | None, str]]:
        done = ppmctl("config", "show", "--json", *options, env=environ | more, cwd=tmp_path)
        assert SECRET not in done.stdout + done.stderr
        return {row["name"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}

    section = f"{home}/.pypirc, section [internal]"
    settings = shown()
    assert settings["index"] == ("https://index.test", f"[tool.ppmctl] of {tmp_path}/pyproject.toml")
    assert settings["uploads"] == ("https://index.test/legacy/", section)
    assert settings["credential"] == ("ann", section)
    named = shown("--index", "http://127.0.0.1:9/", PPMCTL_USERNAME="bob", PPMCTL_TOKEN=SECRET)
    assert named["index"] == ("http://127.0.0.1:9", "--index")
    assert named["credential"] == ("bob", "PPMCTL_USERNAME and PPMCTL_TOKEN")
    by_proxy = shown(HTTPS_PROXY=f"http://ann:{SECRET}@proxy.test:3128", REQUESTS_CA_BUNDLE="/ca.pem", NO_PROXY="")
    assert by_proxy["proxy"] == ("http://proxy.test:3128", "HTTPS_PROXY or ALL_PROXY")
    assert by_proxy["certificates"] == ("/ca.pem", "REQUESTS_CA_BUNDLE")
    table = ppmctl("config", "show", env=environ, cwd=tmp_path)
    assert table.stdout.startswith("setting ")
    assert table.stderr == ""


def test_server_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    ppmctl("init", "--root", root)
    settings = tmp_path / "root" / "ppm.yml"
    settings.write_text("port: 9000\nprivate_names: [acme-*]\n")
    environ = clean_environment(tmp_path, PPM_ROOT=root, PPM_THREADS="4")
    rows = json.loads(ppmctl("config", "show", "--json", env=environ).stdout)
    values = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert values["port"] == (9000, f"port in {settings}")
    assert values["threads"] == (4, "PPM_THREADS")
    assert values["private_names"] == (["acme-*"], f"private_names in {settings}")
    assert values["upstream"] == ("redirect", "its default")
    assert values["upstream_url"] == (None, "its default")


@pytest.mark.parametrize("no_color", ["", "1"], ids=["colour", "no colour"])
def test_a_result_and_an_error_on_a_terminal(no_color: str, tmp_path: Path) -> None:
    """A terminal shows colours and local times; in a pipe the same result is plain, with times in UTC."""
    environ = clean_environment(tmp_path, TZ="EAST-9", NO_COLOR=no_color)
    where = ("--root", str(tmp_path / "root"))
    ppmctl("init", *where)
    ppmctl("user", "add", "ann", "--role", "reader", *where, env=environ)
    created = json.loads(ppmctl("user", "list", "--json", *where, env=environ).stdout)[0]["created"]
    piped = ppmctl("user", "list", *where, env=environ).stdout
    assert created in piped
    assert "\x1b" not in piped
    with on_a_terminal([*PPMCTL, "user", "list", *where], environ) as (process, terminal):
        shown = read_until(terminal, b"").decode()
        assert process.wait(timeout=30) == 0
    local = datetime.fromisoformat(created) + timedelta(hours=9)
    assert f"{local:%Y-%m-%d %H:%M}" in shown
    assert created not in shown
    assert ("\x1b[32mactive" in shown) is not bool(no_color)
    with on_a_terminal([*PPMCTL, "user", "show", "bob", *where], environ) as (process, terminal):
        assert "ppmctl: There is no credential 'bob'.\r\n" in read_until(terminal, b"").decode()
        assert process.wait(timeout=30) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "show", "--index", "http://127.0.0.1:9/"),
        ("config", "show"),
        ("login", "http://127.0.0.1:9", "--netrc"),
        ("publish", "--no-such-option"),
        ("index", "check", "--root", "root", "--json"),
        ("user", "list", "--root", "root", "--on", "ssh://127.0.0.1:9"),
    ],
    ids=" ".join,
)
def test_ppmctl_in_a_fork_behaves_like_the_program(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Most tests skip the interpreter's start (`support.warm`); the behaviour must be the same."""
    environ = clean_environment(tmp_path / "home", HTTPS_PROXY="http://proxy.test:3128")
    ppmctl("init", "--root", str(tmp_path / "root"))
    given = "me:secret\n"
    program = subprocess.run(
        [*PPMCTL, *arguments], env=environ, cwd=tmp_path, input=given, capture_output=True, text=True, timeout=60
    )
    options: dict[str, Any] = {"expect": None, "environ": environ, "folder": tmp_path, "given": given}
    fork = warm.run(*arguments, **options)
    assert (fork.returncode, fork.stdout, fork.stderr) == (program.returncode, program.stdout, program.stderr)
    merged = warm.run(*arguments, merged=True, **options)
    assert sorted(merged.stdout.splitlines()) == sorted((program.stdout + program.stderr).splitlines())
