"""What the command line is to whoever types: completed by each shell, and open about what it goes by."""

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
# what the user types, and one of the words that the shell then offers or puts there
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
    """zsh completes for who sits at a terminal alone."""
    with on_a_terminal(["zsh", "-f", "-i"], environ | {"PS1": "> "}) as (_process, terminal):
        ready = b"autoload -Uz compinit && compinit -u -D; eval \"$(ppmctl completion zsh)\"; print rea''dy\n"
        os.write(terminal, ready)
        read_until(terminal, b"ready")
        os.write(terminal, typed.encode() + b"\t")
        said = read_until(terminal, TYPED[typed].encode())
    return said.decode()


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str, typed: str, tmp_path: Path) -> None:
    """With the script that is printed, in the shell itself."""
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
def test_what_is_said_to_be_for_good_puts_it_where_the_shell_looks(shell: str, file: str, tmp_path: Path) -> None:
    """As it is typed, on a new account without any such folder."""
    environ = clean_environment(tmp_path)
    done = ppmctl("completion", shell, env=environ)
    typed = done.stderr.removeprefix("To enable it permanently: ").strip()
    subprocess.run([shell, "-c", typed], env=environ, capture_output=True, timeout=60, check=True)
    assert (tmp_path / file).read_text() == done.stdout


def test_what_is_in_force_is_shown_with_who_says_it(tmp_path: Path) -> None:
    """The order of the places is that of test_preferences; here the command as it is typed, without a secret."""
    home = tmp_path / "home"
    environ = clean_environment(home)
    (home / ".pypirc").write_text(PYPIRC)
    (tmp_path / "pyproject.toml").write_text('[tool.ppmctl]\nindex = "internal"\n')

    def shown(*options: str, **more: str) -> dict[str, tuple[str | None, str]]:
        done = ppmctl("config", "show", "--json", *options, env=environ | more, cwd=tmp_path)
        assert SECRET not in done.stdout + done.stderr
        return {row["name"]: (row["value"], row["origin"]) for row in json.loads(done.stdout)}

    section = f"{home}/.pypirc, section [internal]"
    found = shown()
    assert found["index"] == ("https://index.test", f"[tool.ppmctl] of {tmp_path}/pyproject.toml")
    assert found["uploads"] == ("https://index.test/legacy/", section)
    assert found["credential"] == ("ann", section)
    named = shown("--index", "http://127.0.0.1:9/", PPMCTL_USERNAME="bob", PPMCTL_TOKEN=SECRET)
    assert named["index"] == ("http://127.0.0.1:9", "--index")
    assert named["credential"] == ("bob", "PPMCTL_USERNAME and PPMCTL_TOKEN")
    by_proxy = shown(HTTPS_PROXY=f"http://ann:{SECRET}@proxy.test:3128", REQUESTS_CA_BUNDLE="/ca.pem", NO_PROXY="")
    assert by_proxy["proxy"] == ("http://proxy.test:3128", "HTTPS_PROXY or ALL_PROXY")
    assert by_proxy["certificates"] == ("/ca.pem", "REQUESTS_CA_BUNDLE")
    table = ppmctl("config", "show", env=environ, cwd=tmp_path)
    assert table.stdout.startswith("setting ")
    assert table.stderr == ""


def test_the_settings_of_a_server_are_shown_with_who_says_them(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    ppmctl("init", "--root", root)
    settings = tmp_path / "root" / "ppm.yml"
    settings.write_text("port: 9000\nprivate_names: [acme-*]\n")
    environ = clean_environment(tmp_path, PPM_ROOT=root, PPM_THREADS="4")
    rows = json.loads(ppmctl("config", "show", "--json", env=environ).stdout)
    found = {row["name"]: (row["value"], row["origin"]) for row in rows}
    assert found["port"] == (9000, f"port in {settings}")
    assert found["threads"] == (4, "PPM_THREADS")
    assert found["private_names"] == (["acme-*"], f"private_names in {settings}")
    assert found["upstream"] == ("redirect", "its default")
    assert found["upstream_url"] == (None, "its default")


@pytest.mark.parametrize("no_color", ["", "1"], ids=["colour", "no colour"])
def test_a_result_and_an_error_on_a_terminal(no_color: str, tmp_path: Path) -> None:
    """Coloured states and local times for a person; in a pipe the same result is plain, and its times are UTC."""
    environ = clean_environment(tmp_path, TZ="EAST-9", NO_COLOR=no_color)
    where = ("--root", str(tmp_path / "root"))
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
def test_ppmctl_in_a_fork_does_what_the_program_does(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Most tests leave out the start of the interpreter (`support.warm`); the rest has to be the same."""
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
