"""`--on`: its targets, the commands that have it, and the arguments that the target gets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from support.commandline import commands

from ppmctl.cli.commands import cli
from ppmctl.cli.commands import run as run_ppmctl
from ppmctl.cli.target import file_use, on_option
from ppmctl.errors import PpmError, UsageError
from ppmctl.remote import command as remote
from ppmctl.remote.command import NamedFile
from ppmctl.remote.target import DockerTarget, SshTarget, parse

# Values that a shell, or the parser of options, could misread.
NASTY = ("--on", "--", "-x", "", " ", "a b", "'", '"', "$HOME", "*", "\n", "ü", "=", "--root=x")
# How the command uses each path; folders are on the target.
USES = {
    "root": None,
    "folder": None,
    "logs": None,
    "scratch": None,
    "output": "written",
    "output_file": "written",
    "file": "read",
    "password_file": "read",
    "credential_file": "read",
}


ALL = {path: command for path, command in commands(cli) if not isinstance(command, click.Group)}


def named(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


CARRIED = {path: command for path, command in ALL.items() if "--on" in named(command)}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[str | NamedFile, ...]]]:
    """Return a list of what would run on the target; nothing runs."""
    seen: list[tuple[str, tuple[str | NamedFile, ...]]] = []

    def run(target: str, arguments: Sequence[str | NamedFile], **_options: object) -> int:
        seen.append((target, tuple(arguments)))
        return 7

    monkeypatch.setattr(remote, "run", run)
    return seen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssh://index.example", SshTarget(host="index.example")),
        ("ssh://index.example/", SshTarget(host="index.example")),
        ("ssh://root@index.example:2222", SshTarget(host="index.example", user="root", port=2222)),
        ("ssh+sudo://ann@Index", SshTarget(host="Index", user="ann", sudo=True)),
        ("ssh://[::1]:22", SshTarget(host="::1", port=22)),
        ("ssh://192.0.2.7", SshTarget(host="192.0.2.7")),
        ("docker://ppm-pypiserver-1", DockerTarget(given="ppm-pypiserver-1")),
    ],
)
def test_valid_targets(text: str, expected: object) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "index.example", "ssh:index", "http://x", "SSH://x", "ssh://", "ssh://@x", "ssh://a@b@c"),
        *("ssh://x:0", "ssh://x:65536", "ssh://x:port", "ssh://x/path", "ssh://x y", "ssh://x;id", "ssh://::1"),
        *("ssh://-oProxyCommand=id", "ssh://-l@x", "docker://", "docker://a/b", "docker://-x", "docker://x y"),
    ],
)
def test_invalid_targets_are_refused(text: str) -> None:
    """Some of them `ssh` would read as options, and hints have an ssh command to type."""
    with pytest.raises(UsageError):
        parse(text)


@pytest.mark.parametrize("text", ["ssh://ann:hunter2@x", "http://ann:hunter2@x", "ssh://ann:hunter2@x y"])
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert "hunter2" not in refused.value.message + refused.value.hint
    assert "takes no password" in refused.value.hint


def test_every_command_with_root_has_on() -> None:
    assert len(CARRIED) >= 12
    assert {path for path, command in ALL.items() if "--root" in named(command)} == set(CARRIED)


def values(parameter: click.Parameter, value: str) -> list[str]:
    """Return the arguments that set a parameter."""
    if isinstance(parameter, click.Argument):
        return [value] if parameter.nargs == 1 else [value, "second"]
    name = parameter.opts[0]
    assert isinstance(parameter, click.Option)
    if parameter.is_flag or parameter.count:
        return [name]
    assert parameter.nargs == 1, f"{name}: an option with several values is not tested"
    return [f"{name}={value}"] * (2 if parameter.multiple else 1)


@pytest.mark.parametrize("path", CARRIED, ids=" ".join)
def test_the_target_parses_the_arguments_as_typed(
    path: tuple[str, ...], ran: list[tuple[str, tuple[str | NamedFile, ...]]]
) -> None:
    """With every parameter of every command with --on at once."""
    command = CARRIED[path]
    given = [part for part in command.params if part.name != "on" and "--help" not in part.opts]
    for value in NASTY:
        typed = [text for part in given if isinstance(part, click.Option) for text in values(part, value)]
        typed += ["--", *(text for part in given if isinstance(part, click.Argument) for text in values(part, value))]
        ran.clear()
        assert run_ppmctl([*path, "--on", "ssh://x", *typed]) == 7, value
        ((target, arguments),) = ran
        assert target == "ssh://x"
        assert arguments[: len(path)] == path
        texts = [part if isinstance(part, str) else f"{part.before}{part.name}" for part in arguments[len(path) :]]
        assert parsed(command, texts) == parsed(command, typed), value


def parsed(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    options, rest, _ = command.make_parser(click.Context(command)).parse_args(list(arguments))
    assert rest == []
    return options


def test_on_may_be_anywhere_in_the_command(ran: list[tuple[str, tuple[str | NamedFile, ...]]]) -> None:
    for arguments in (
        ["-v", "package", "yank", "x", "1.0", "--on=ssh://h", "--reason", "--on"],
        ["--verbose", "package", "yank", "--reason", "--on", "--on", "ssh://h", "x", "1.0"],
    ):
        assert run_ppmctl(arguments) == 7
    assert set(ran) == {("ssh://h", ("--verbose", "package", "yank", "--reason=--on", "--", "x", "1.0"))}


def test_the_root_is_that_of_the_target(
    ran: list[tuple[str, tuple[str | NamedFile, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PPM_ROOT", "/here")
    assert run_ppmctl(["package", "status", "--on", "docker://x"]) == 7
    assert run_ppmctl(["package", "status", "--on", "docker://x", "--root", "there"]) == 7
    assert ran == [("docker://x", ("package", "status")), ("docker://x", ("package", "status", "--root=there"))]


def test_an_unknown_option_is_refused_on_this_machine(
    ran: list[tuple[str, tuple[str | NamedFile, ...]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_ppmctl(["package", "status", "--on", "docker://x", "--nonsense"]) == 2
    assert "--nonsense" in capsys.readouterr().err
    assert ran == []


@pytest.mark.parametrize("path", CARRIED, ids=" ".join)
def test_every_path_has_a_known_side(path: tuple[str, ...]) -> None:
    """Add each new option for a file to USES: read from this machine, or written to it."""
    for parameter in CARRIED[path].params:
        if isinstance(parameter.type, click.Path | click.File):
            assert parameter.name in USES, (
                f"{' '.join(path)} {parameter.opts}: a file of this machine, or a folder of the target?"
            )
            assert file_use(parameter) == USES[parameter.name]


@pytest.mark.parametrize(
    ("parameter", "use"),
    [
        (click.Option(["--output"], type=click.Path(path_type=Path, dir_okay=False)), "written"),
        (click.Option(["--to"], type=click.Path(dir_okay=False, writable=True)), "written"),
        (click.Option(["--to"], type=click.File("wb")), "written"),
        (click.Option(["--to"], type=click.File("x")), "written"),
        (click.Argument(["given"], type=click.Path(dir_okay=False)), "read"),
        (click.Argument(["given"], type=click.File()), "read"),
        (click.Argument(["given"], type=click.File("rb")), "read"),
        (click.Argument(["given"], type=click.Path()), None),
        (click.Argument(["given"]), None),
    ],
)
def test_the_type_of_a_parameter_decides_how_its_file_is_used(parameter: click.Parameter, use: str | None) -> None:
    assert file_use(parameter) == use


def test_files_in_arguments_are_passed_as_files(
    ran: list[tuple[str, tuple[str | NamedFile, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    @on_option
    @click.option("--output", type=click.Path(dir_okay=False))
    @click.argument("files", nargs=-1, type=click.File())
    def make(output: str, files: tuple[Any, ...]) -> None:
        """Do nothing."""

    assert make.main(["a", "-", "b", "--output", "o", "--on", "ssh://h"], standalone_mode=False) == 7
    written = NamedFile(name="o", written=True, before="--output=")
    read = [NamedFile(name=name, written=False) for name in ("a", "b")]
    assert ran == [("ssh://h", (written, "--", read[0], "-", read[1]))]


def test_the_target_is_not_contacted_if_a_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a host was asked")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    existing = tmp_path / "existing"
    existing.touch()
    for file, message in (
        (NamedFile(name=str(tmp_path / "no"), written=False), "can't be read"),
        (NamedFile(name=str(existing), written=True), "already exists"),
        (NamedFile(name=str(tmp_path / "no" / "no"), written=True), "can't be written"),
    ):
        with pytest.raises(PpmError, match=message):
            remote.run("ssh://x", ["user", file], environ={}, write=lambda _piece: None)
    assert list(tmp_path.iterdir()) == [existing]


def test_help_does_not_import_the_remote_package() -> None:
    """The imports that only --on needs must not slow down `ppmctl --help` and other commands."""
    probe = (
        "import sys; from ppmctl.cli import commands;"
        "commands.run(['--help']); commands.run(['index', 'check', '--help']);"
        "slow = {'ppmctl.remote.command', 'ppmctl.remote.target'};"
        "sys.exit(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"
