"""The command line: help for everything, errors with a cause and a next step, exit codes."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import click
import pytest
from support.commandline import commands

from ppmctl.cli import examples
from ppmctl.cli.commands import cli, run
from ppmctl.index.layout import Volume
from ppmctl.server.setting_table import SETTINGS

pytestmark = pytest.mark.usefixtures("few_parts")
ALL = dict(commands(cli))
# the commands without --json, each with the reason
WITHOUT_JSON = {
    "completion": "it prints a script for a shell",
    "serve": "it runs until a signal, and logs",
    "webhook send": "it runs until a signal, and logs",
}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in {"help", "version"}:
            assert parameter.help, f"{' '.join(path)} {parameter.opts}"


def test_every_command_has_examples_and_no_other_has() -> None:
    assert {" ".join(path) for path in ALL} == examples.EXAMPLES.keys()


@pytest.mark.parametrize(
    ("path", "line"), [(path, line) for path, lines in examples.EXAMPLES.items() for line in lines]
)
def test_an_example_is_printed_whole_and_can_be_typed(
    path: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The arguments are parsed as they stand; the command is not run."""
    monkeypatch.chdir(tmp_path)
    assert run([*path.split(), "--help"]) == 0
    assert f"  {line}\n" in capsys.readouterr().out
    program, *typed = shlex.split(line)
    assert program == "ppmctl"
    words = next(words for words in sorted(ALL, key=len, reverse=True) if tuple(typed[: len(words)]) == words)
    assert " ".join(words).startswith(path)
    # click stores a command's help option at its first use, so it needs the parent's names of it
    parent = click.Context(cli, info_name="ppmctl", **cli.context_settings)
    ALL[words].make_context(words[-1] if words else "ppmctl", typed[len(words) :], parent=parent)


def test_help_of_a_group_has_whole_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    for path, command in ALL.items():
        if isinstance(command, click.Group):
            assert run([*path, "--help"]) == 0
            assert "..." not in capsys.readouterr().out.replace("[ARGS]...", ""), path
    assert run(["user", "--help"]) == 0
    assert "which is not stored and is shown only once." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        (["publsh"], "Did you mean `ppmctl publish`?"),
        (["user", "ad"], "Did you mean `ppmctl user add`?"),
        (["pub"], "Did you mean `ppmctl publish`?"),
        (["yank"], "Did you mean `ppmctl package yank`"),
        (["instal"], "Did you mean `ppmctl env install`"),
        (["serve", "--rot", "x"], "'--root'"),
        (["user", "list", "--jsn"], "'--json'"),
        (["qqq"], "There is no command 'qqq'.\n"),
    ],
)
def test_a_mistyped_command_or_option_suggests_another(
    typed: list[str], suggested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed) == 2
    assert suggested in capsys.readouterr().err


def test_every_command_that_prints_a_result_has_json() -> None:
    without = {
        " ".join(path)
        for path, command in ALL.items()
        if not isinstance(command, click.Group)
        and "--json" not in [name for each in command.params for name in each.opts]
    }
    assert without == WITHOUT_JSON.keys()


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_is_printed_for_every_command(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    assert "Usage: ppmctl" in capsys.readouterr().out


def test_help_loads_nothing_slow() -> None:
    """People wait for `ppmctl --help`."""
    probe = (
        "import sys; from ppmctl.cli import commands; commands.run(['--help']);"
        "slow = {'pypiserver', 'gunicorn', 'passlib', 'twine', 'build', 'requests', 'rich', 'yaml', 'werkzeug'};"
        "sys.exit(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"


def test_a_publish_of_files_loads_nothing_of_builds_and_releases() -> None:
    """Nor what only pages in HTML and revisions of environments need, here or in the process that inspects a file."""
    probe = (
        "import sys, ppmctl.cli.publish, ppmctl.distributions.inspector;"
        "names = ('build_hints', 'changelog', 'git', 'project_version', 'public_names', 'release_flow');"
        "slow = {'html.parser', 'ppmctl.distributions.lock', *map('ppmctl.publishing.'.__add__, names)};"
        "sys.exit(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"


WITHOUT_A_SERVER = """
import json, sys
for name in ("bcrypt", "gunicorn", "passlib", "pypiserver", "werkzeug"):
    sys.modules[name] = None
from ppmctl.cli import commands
from ppmctl.remote import command
command.run = lambda target, arguments, **_: print(*arguments) or 7
json.dump([commands.run(typed) for typed in json.loads(sys.argv[1])], open(sys.argv[2], "w"))
"""


def test_on_needs_no_server_packages(tmp_path: Path) -> None:
    """Without the extra `server`, --on works, and other commands report what they lack."""
    Volume(root=tmp_path).prepare()

    def run_all(*typed: str) -> tuple[list[int], str]:
        codes = tmp_path / "codes"
        lines = json.dumps([line.split() for line in typed])
        command = [sys.executable, "-c", WITHOUT_A_SERVER, lines, str(codes)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(codes.read_text()), done.stderr

    lines = ("user list", "token list", "user invite ann", "index check", "serve")
    assert run_all(*(f"{line} --on ssh://x" for line in lines)) == ([7] * 5, "")
    codes, errors = run_all(*(f"{line} --root {tmp_path}" for line in ("user add ann --role reader", "serve")))
    assert codes == [1, 1]
    assert errors.count("what a server needs") == 2
    assert errors.count(f"{sys.executable} -m pip install --editable") == 2
    assert errors.count("[server]") == 2


def test_serve_has_an_option_for_each_setting() -> None:
    options = {option for parameter in ALL["serve",].params for option in parameter.opts}
    # the commands for the volume need `storage` too, so it is in ppm.yml or in the environment
    assert {setting.option for setting in SETTINGS} - options == {"--storage"}


def test_ppm_root_names_the_volume_for_all_commands(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host sets PPM_ROOT for the service, and for people."""
    options = [parameter for command in ALL.values() for parameter in command.params if "--root" in parameter.opts]
    assert len(options) >= 12
    assert {parameter.envvar for parameter in options} == {"PPM_ROOT"}
    monkeypatch.setenv("PPM_ROOT", str(volume.root))
    assert run(["user", "add", "eve", "--role", "reader"]) == 0
    assert run(["user", "list"]) == 0
    assert "eve" in capsys.readouterr().out
    assert volume.htpasswd.exists()


def test_user_first_creates_an_admin_if_there_is_none(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    """An Ansible role runs it each time, and reads in `made` whether it changed something; no secret is shown."""
    root = volume.root
    first = ["user", "first", "--root", str(root), "--host", "index.example", "--host", "index", "--json"]
    path = root / "first-credential"
    assert run(first) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"made": True, "path": str(path)}
    user, _, secret = path.read_text().strip().partition(":")
    assert secret not in captured.out + captured.err
    for file in (path, root / "netrc"):
        assert file.stat().st_mode & 0o777 == 0o600
    hosts = ("index.example", "index")
    assert (root / "netrc").read_text() == "".join(f"machine {h} login {user} password {secret}\n" for h in hosts)
    before = [file.read_bytes() for file in (path, root / "netrc", root / "credentials" / "htpasswd")]
    assert run(first) == 0
    assert json.loads(capsys.readouterr().out) == {"made": False, "path": str(path)}
    assert [file.read_bytes() for file in (path, root / "netrc", root / "credentials" / "htpasswd")] == before
    path.unlink()  # deleted, as the documentation recommends
    assert run(first) == 0
    assert json.loads(capsys.readouterr().out) == {"made": False, "path": None}
    assert not path.exists()
    actions = [json.loads(line)["action"] for line in (root / "audit.jsonl").read_text().splitlines()]
    assert actions == ["user add"]


def test_an_error_has_a_cause_and_a_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    Volume(root=root).prepare()
    assert run(["user", "remove", "who", "--root", str(root)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "ppmctl: There is no credential 'who'.\n        ppmctl user list\n"


# the commands that create a volume, or need none, each with the reason
CREATING = {
    "backup list": "it reads a repository, also before a restore to a new folder",
    "backup restore": "it moves an index into a new volume",
    "backup verify": "it reads a repository",
    "init": "it is for that",
    "serve": "the first command of a newcomer",
    "index adopt": "it moves an old index into a new volume",
}


def on_a_volume(path: tuple[str, ...]) -> list[str]:
    """Return a valid line for a command that has --root, without that option."""
    line, given = list(path), {"role": "reader", "reason": "x"}
    for parameter in ALL[path].params:
        value = given.get(parameter.name or "", "ann+x" if "token" in path else "x")
        if isinstance(parameter, click.Argument) and parameter.required:
            choices = getattr(parameter.type, "choices", [value])
            line.append(str(choices[0]))
        elif isinstance(parameter, click.Option) and parameter.required and parameter.name != "root":
            line += [parameter.opts[0], value]
    return line


@pytest.mark.parametrize(
    "path",
    [path for path, command in ALL.items() if any("--root" in parameter.opts for parameter in command.params)],
    ids=" ".join,
)
def test_only_a_command_that_creates_a_volume_takes_a_folder_without_one(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guards against a mistyped --root: it made an empty new index, with the user who was meant for another."""
    root = tmp_path / "typo here"
    monkeypatch.chdir(tmp_path)
    for name in ("PPM_ROOT", "PPMCTL_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "x").write_text("")
    if " ".join(path) in CREATING:
        return
    more = ["--to", "memory://x"] if path == ("storage", "copy") else []
    command = [*on_a_volume(path), *more, *([] if path[-1] != "change" else ["--email", "x@example.com"])]
    for is_there in (False, True):
        assert run([*command, "--root", str(root)]) != 0
        captured = capsys.readouterr()
        assert f"There is no volume at {root}" in captured.out + captured.err
        assert f"ppmctl init --root '{root}'" in captured.out + captured.err
        assert list(root.iterdir() if is_there else tmp_path.iterdir()) == ([] if is_there else [tmp_path / "x"])
        root.mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], 2),
        (["user", "add", "x", "--role", "king", "--root", "r"], 2),
        (["user", "list"], 2),
        (["serve", "--root", "r", "--port", "http"], 2),
        (["index", "adopt", "not-there", "--root", "r"], 1),
        (["package", "yank", "x", "1.0", "--root", "r"], 1),
        (["package", "status", "../x", "--root", "r"], 1),
    ],
)
def test_exit_codes(
    arguments: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PPM_ROOT", raising=False)
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err


def test_an_unexpected_exception_is_reported_as_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_options: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(cli, "main", fail)
    assert run(["serve"]) == 3
    captured = capsys.readouterr()
    assert "a bug in ppm: ZeroDivisionError" in captured.err
    assert "Traceback" not in captured.err
    assert run(["-v", "serve"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_a_file_of_another_user_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For root there is none, so it is raised here."""

    def refuse(**_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(cli, "main", refuse)
    assert run(["serve"]) == 1
    assert f"{tmp_path} can't be used: Permission denied." in capsys.readouterr().err


def test_an_interruption_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(**_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupt)
    assert run(["serve"]) == 130
    assert capsys.readouterr().err == "ppmctl: Interrupted.\n"


def test_user_add_prints_only_the_secret_on_stdout(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts rely on it."""
    root = ["--root", str(volume.root)]
    assert run(["user", "add", "alice", "--role", "publisher", *root]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("ppm_")
    assert captured.out.count("\n") == 1
    assert captured.out.strip() not in captured.err
    assert run(["user", "list", "--json", *root]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(entry["name"], entry["role"]) for entry in listed] == [("alice", "publisher")]
    assert run(["user", "remove", "alice", *root]) == 0
    assert run(["user", "list", *root]) == 0
    assert "alice" not in capsys.readouterr().out
    audit = [json.loads(line) for line in volume.audit.read_text().splitlines()]
    assert [entry["action"] for entry in audit] == ["user add", "user remove"]


def test_changes_of_users_are_reported(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    """Each change prints a line, or JSON, and every list has the state."""
    root = ["--root", str(volume.root)]

    def printed(*arguments: str, expect: int = 0) -> str:
        assert run([*arguments, *root]) == expect
        captured = capsys.readouterr()
        assert captured.out == ""
        return captured.err

    def values(*arguments: str) -> Any:
        assert run([*arguments, "--json", *root]) == 0
        return json.loads(capsys.readouterr().out)

    for name in ("ann+laptop", "ann+old"):
        assert run(["token", "create", name, "--role", "reader", *root]) == 0
    assert run(["user", "invite", "ann", *root]) == 0
    capsys.readouterr()
    assert values("token", "revoke", "ann+old") == {"revoked": ["ann+old"]}
    assert printed("user", "disable", "ann") == "ann is disabled.\nann+laptop is disabled.\n"
    assert printed("user", "disable", "ann") == "ann is disabled.\n"
    assert values("user", "disable", "ann") == {"disabled": ["ann"]}
    for listed in (values("user", "list"), values("token", "list"), values("user", "show", "ann")["tokens"]):
        assert {entry["state"] for entry in listed} == {"disabled"}
    assert values("user", "show", "ann")["invite"]["open"] is False
    assert run(["user", "show", "ann", *root]) == 0
    assert "an invite that does not work while ann is disabled" in capsys.readouterr().err
    assert printed("user", "enable", "ann") == "ann is a reader.\nann+laptop is enabled.\n"
    assert values("user", "show", "ann")["invite"]["open"] is True
    assert values("user", "change", "ann", "--role", "publisher")["role"] == "publisher"
    assert values("user", "enable", "ann", "--expires", "1d")["state"] == "no secret"
    assert printed("user", "enable", "ann").startswith("ann is a publisher until 20")
    assert values("user", "remove", "ann") == {"removed": ["ann", "ann+laptop"]}
    assert run(["user", "invite", "bea", "--role", "reader", *root]) == 0
    capsys.readouterr()
    printed("user", "disable", "bea")
    assert "It has no secret: ppmctl user rotate bea" in printed("user", "enable", "bea")


def test_what_users_read_is_printed(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader "of" projects reads no others. One of an older release, whose projects limit no reads, is reported."""
    root = ["--root", str(volume.root)]

    def printed(*arguments: str, expect: int = 0) -> str:
        assert run([*arguments, *root]) == expect
        return "".join(capsys.readouterr())

    def values(*arguments: str) -> Any:
        return json.loads(printed(*arguments, "--json"))

    assert "bob is a reader of acme-*. This is" in printed(
        "user", "add", "bob", "--role", "reader", "--project", "Acme_*"
    )
    ann = ("ann", "--role", "publisher", "--project", "acme-x", "--read-project", "acme-*")
    assert "ann is a publisher of acme-x, and reads only acme-*. This is" in printed("user", "add", *ann)
    assert "ann+ci is a reader of acme-*. This is" in printed("token", "create", "ann+ci", "--role", "reader")
    assert [(each["name"], each["projects"], each["reads"]) for each in values("user", "list")] == [
        ("ann", ["acme-x"], ["acme-*"]),
        ("ann+ci", [], ["acme-*"]),
        ("bob", [], ["acme-*"]),
    ]
    assert re.search(r"ann +publisher +acme-x +acme-\* ", printed("user", "list"))
    assert printed("user", "change", "ann", "--read-all-projects") == "ann is a publisher of acme-x.\n"
    assert printed("user", "change", "bob", "--all-projects") == "bob is a reader.\n"
    assert "can't be used together" in printed(
        "user", "change", "bob", "--read-project", "x", "--read-all-projects", expect=2
    )
    volume.access.write_text("old: {role: reader, projects: [acme-*]}\n")
    warning = "do not limit what they read: old. To limit it:  ppmctl user change old --project GLOB"
    assert warning in printed("user", "list")
    assert warning in printed("user", "show", "old")
    assert printed("user", "change", "old", "--role", "reader") == "old is a reader.\n"
    assert printed("user", "change", "old", "--project", "acme-*") == "old is a reader of acme-*.\n"
    assert warning not in printed("user", "list")


def test_an_expired_user_is_invited_with_more_time(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(volume.root)]
    assert run(["user", "invite", "ann", "--role", "reader", "--expires", "1h", *root]) == 0
    volume.access.write_text(re.sub(r"20[0-9T:.-]+Z", "2020-01-01T00:00:00Z", volume.access.read_text()))
    capsys.readouterr()
    assert run(["user", "invite", "ann", *root]) == 1
    command = "ppmctl user enable ann --expires DURATION"
    assert command in capsys.readouterr().err
    assert run([*command.replace("DURATION", "1d").split()[1:], *root]) == 0
    assert run(["user", "invite", "ann", *root]) == 0


def test_shutting_out_the_last_admin_warns(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(volume.root)]
    for name, role in (("one", "admin"), ("two", "admin"), ("ann", "reader")):
        assert run(["user", "add", name, "--role", role, *root]) == 0
    for command in (["disable", "one"], ["remove", "ann"], ["disable", "one"]):
        assert run(["user", *command, *root]) == 0
    assert "no active admin" not in capsys.readouterr().err
    for command in (["disable", "two"], ["change", "two", "--role", "reader"], ["remove", "two"]):
        assert run(["user", *command, *root]) == 0
        assert "There is no active admin any more: ppmctl user add NAME --role admin" in capsys.readouterr().err
        if command[0] == "disable":
            assert run(["user", "enable", "two", *root]) == 0
        elif command[0] == "change":
            assert run(["user", "change", "two", "--role", "admin", *root]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["token", "revoke", "nobody"], 1, "There is no credential 'nobody'"),
        (["token", "revoke", "ann"], 2, "'ann' is a user, not a token"),
        (["token", "list", "nobody"], 1, "There is no credential 'nobody'"),
        (["user", "invite", "nobody", "--withdraw"], 1, "There is no credential 'nobody'"),
        (["user", "invite", "ann", "--withdraw"], 1, "There is no open invite of 'ann'"),
        (["user", "add", "ann", "--role", "admin"], 1, "ppmctl user change ann  changes its rights"),
        (["user", "add", "ann", "--role", "admin"], 1, "ppmctl user rotate ann  its secret"),
        (["user", "change", "ann"], 2, "Nothing to change"),
        (["user", "change", "ann", "--project", "x", "--all-projects"], 2, "Give one of them"),
    ],
)
def test_usage_errors_of_users_and_tokens(
    arguments: list[str], code: int, message: str, volume: Volume, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(volume.root)]
    assert run(["user", "add", "ann", "--role", "publisher", *root]) == 0
    before = volume.audit.read_bytes()
    capsys.readouterr()
    assert run([*arguments, *root]) == code
    printed = capsys.readouterr().err
    assert message in printed
    if "add" in arguments:  # the audit log has this refusal
        assert "user remove" not in printed, "an error must not advise to delete a user that somebody needs"
    else:
        assert volume.audit.read_bytes() == before, "nothing was done"


def test_an_invite_code_is_written_to_a_private_file(
    volume: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is created first, with mode 0600, replaces no other file, and is removed if there is no invite."""
    root, file = ["--root", str(volume.root)], tmp_path / "ann.invite"
    assert run(["user", "invite", "ann", "--output", str(file), *root]) == 2, "no role"
    assert not file.exists()
    assert run(["user", "invite", "ann", "--role", "reader", "--output", str(file), *root]) == 0
    code = file.read_text()
    assert code.startswith("ppm_join_")
    assert code.count("\n") == 1
    assert file.stat().st_mode & 0o777 == 0o600
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(file) in captured.err
    assert run(["user", "invite", "ann", "--output", str(file), *root]) == 2
    assert "already exists" in capsys.readouterr().err
    assert file.read_text() == code
    assert run(["user", "invite", "ann", "--json", "--output", str(tmp_path / "2"), *root]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == str(tmp_path / "2")


@pytest.mark.parametrize("file", ["-", ""])
def test_output_without_a_file_name_is_refused(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Volume(root=tmp_path / "root").prepare()
    monkeypatch.chdir(tmp_path)
    for command in (["user", "add"], ["user", "invite"], ["token", "create"]):
        name = "ann+x" if "token" in command else "ann"
        assert run([*command, name, "--role", "reader", "--root", "root", "--output", file]) == 2
        assert "names no file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert run(["user", "list", "--json", "--root", "root"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_an_empty_root_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes from an unset shell variable; `--root .` is the current folder."""
    Volume(root=tmp_path).prepare()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "packages" / "one").mkdir()
    for command in (["user", "list"], ["index", "rebuild"], ["package", "list"], ["index", "check"]):
        assert run([*command, "--root", ""]) == 2
        assert "the name of the folder is empty" in capsys.readouterr().err
        assert run([*command, "--root", "."]) == 0
    assert "1 project, 0 differences." in capsys.readouterr().err


def test_user_import_reads_stdin(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(volume.root)]
    for options, result in ((["--dry-run"], "would be a reader"), ([], "a reader now")):
        line = b"carol:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=\n"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))
        assert run(["user", "import", "-", *options, *root]) == 0
        assert result in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"carol:\xff")))
    assert run(["user", "import", "-", *root]) == 1
    assert capsys.readouterr().err == "ppmctl: The htpasswd file is not UTF-8.\n"
    assert run(["user", "import", str(volume.root / "none"), *root]) == 1
    assert "none can't be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["init"], 0, {"root": "ROOT", "settings": "ROOT/ppm.yml", "made": True}),
        (
            ["index", "rebuild"],
            0,
            {"projects": 0, "written": 0, "recorded": [], "problems": [], "cleaned": [], "uploaded": []},
        ),
        (["index", "adopt", "old"], 1, {"taken": [], "same": [], "left": [{"path": "old/x.whl", "reason": ANY}]}),
        (["user", "invite", "ann", "--withdraw"], 0, {"withdrawn": "ann"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_json_results(
    arguments: list[str],
    code: int,
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x.whl").write_bytes(b"")
    root = str(tmp_path / "root")
    if "adopt" not in arguments and "init" not in arguments:
        Volume(root=Path(root)).prepare()
    if "--withdraw" in arguments:
        assert run(["user", "invite", "ann", "--role", "reader", "--root", root]) == 0
        capsys.readouterr()
    assert run([*arguments, "--json", "--root", root]) == code
    assert json.loads(capsys.readouterr().out.replace(root, "ROOT")) == expected


def test_a_result_is_recorded_if_it_changed(volume: Volume, capsys: pytest.CaptureFixture[str]) -> None:
    """So a success that followed no failure is none of an operation that was not due."""
    record = ["operation", "record", "certificate", "--if-changed", "--root", str(volume.root)]
    printed = []
    for options in ([], ["--failed", "one"], ["--failed", "two"], [], []):
        assert run([*record, *options]) == 0
        printed.append(capsys.readouterr().out.partition(":")[0])
    assert printed == ["Not recorded", "Recorded", "Not recorded", "Recorded", "Not recorded"]
    lines = [json.loads(line)["result"] for line in volume.audit.read_text().splitlines()]
    assert lines == ["one", "done"]


def test_init_writes_settings_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert run(["init", "--root", str(root)]) == 0
    settings = root / "ppm.yml"
    assert "#port: 8080" in settings.read_text()
    settings.write_text("port: 9000\n")
    assert run(["init", "--root", str(root)]) == 0
    assert settings.read_text() == "port: 9000\n"


def test_removing_asks_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(click, "prompt", lambda *_arguments, **_options: "other")
    (tmp_path / "root" / "packages").mkdir(parents=True)
    assert run(["package", "remove", "x", "1.0", "--root", str(tmp_path / "root")]) == 1
    assert "nothing was removed" in capsys.readouterr().err
