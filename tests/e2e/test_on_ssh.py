"""Tests of `--on ssh://…`: a command on a remote machine over a real sshd, its streams, files and leftovers."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support import sshd, wheels
from support.servers import PPMCTL, free_port, ppmctl
from support.sshd import Host
from support.terminals import interrupt, on_a_terminal, read_until
from support.volumes import reachable

from ppmctl import __version__
from ppmctl.index.layout import Volume

SECRET = re.compile(r"ppm_[\w-]{40,}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z")
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3\d|9\d|1)(?:;\d+)*m")
# replaces ppmctl on the host in tests of how a command arrives, not of what it does
STAND_IN = f"""#!{sys.executable}
import json, os, sys
from ppmctl import output
output.rename(json.loads(os.environ.get("PPMCTL_NAMES", "{{}}")))
if sys.argv[1:] == ["--version"]:
    print("ppmctl, version {__version__}")
    sys.exit()
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Yield a host with ppmctl, where PPM_ROOT is set; its temporary files are in `folder`/tmp."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "tmp").mkdir()
    with sshd.running(folder, environ={"TMPDIR": str(folder / "tmp")}) as made:
        yield made


@pytest.fixture
def standing_in(tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    """Make a host whose ppmctl runs a Python text after `import os, sys`."""
    with contextlib.ExitStack() as stack:

        def make(script: str) -> Host:
            programs, folder = tmp_path / "bin", tmp_path / "host"
            programs.mkdir()
            program = programs / "ppmctl"
            program.write_text(STAND_IN + script)
            program.chmod(0o755)
            (folder / "tmp").mkdir(parents=True)
            path = f"{programs}:/usr/bin:/bin"
            return stack.enter_context(sshd.running(folder, path=path, environ={"TMPDIR": str(folder / "tmp")}))

        yield make


def on(
    host: Host, *arguments: str, given: str | bytes = b"", expect: int = 0, target: str = "", **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `ppmctl` on the host, from the client; fail with its output unless it exits with `expect`."""
    command = [*PPMCTL, *arguments, "--on", target or host.target]
    given = given.encode() if isinstance(given, str) else given
    done = subprocess.run(command, input=given, capture_output=True, env=host.environ(**environ), timeout=120)
    output = f"{done.stdout.decode(errors='replace')}\n{done.stderr.decode(errors='replace')}\n{host.log[-2000:]}"
    assert done.returncode == expect, f"{shlex.join(command)} exited {done.returncode}:\n{output}"
    return done


def carried(host: Host, script: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run a Python text with `run(*arguments)`, which is `command.run` on the host; `read` and `write` mark files."""
    head = (
        "import os, sys\nfrom ppmctl import output\nfrom ppmctl.errors import PpmError\n"
        "from ppmctl.remote import command\nfrom ppmctl.remote.command import NamedFile\n"
        "def read(path): return NamedFile(name=path, written=False)\n"
        "def write(path): return NamedFile(name=path, written=True, before='--output=')\n"
        "def run(*arguments): sys.exit(cli_run(arguments))\n"
        "def cli_run(arguments):\n"
        f"    try: return command.run({host.target!r}, arguments, environ=os.environ, write=output.raw)\n"
        "    except PpmError as exc: output.error(exc); return exc.exit_code\n"
    )
    command = [sys.executable, "-c", head + script]
    options = {"capture_output": True, "input": b"", "timeout": 120} | options
    done: subprocess.CompletedProcess[bytes] = subprocess.run(command, env=host.environ(), **options)
    return done


# the same as locally


def test_a_command_behaves_as_on_the_server_host(host: Host, tmp_path: Path) -> None:
    """Output on both streams, exit code and the volume afterwards are equal to those on the server host."""
    packages = tmp_path / "old"
    packages.mkdir()
    name, content = wheels.wheel("x", "1.0")
    (packages / name).write_bytes(content)
    local_root, remote_root = tmp_path / "here", tmp_path / "there"
    for arguments, given, code in (
        (["user", "add", "bob", "--role", "publisher"], "", 1),
        (["init"], "", 0),
        (["user", "add", "bob", "--role", "publisher"], "", 0),
        (["user", "add", "bob", "--role", "reader"], "", 1),
        (["user", "add", "eve", "--role", "king"], "", 2),
        (["user", "first", "--host", "a.example", "--host", "b.example", "--json"], "", 0),
        (["index", "adopt", str(packages)], "", 0),
        (["package", "yank", "x", "1.0", "--reason", "don't 'use' $it; \"no\" *"], "", 0),
        (["package", "status", "x", "archived", "--reason", "--äöü"], "", 0),
        (["package", "remove", "x", "1.0"], "y\n", 1),
        (["package", "remove", "x", "1.0"], "x\n", 0),
        (["package", "remove", "x", "1.0"], "", 2),
    ):
        beside = ppmctl(*arguments, "--root", str(local_root), input=given, expect=code)
        remote = on(host, *arguments, "--root", str(remote_root), given=given, expect=code)
        for ours, theirs in ((beside.stdout, remote.stdout), (beside.stderr, remote.stderr)):
            printed = [TIME.sub("TIME", SECRET.sub("SECRET", text)) for text in (ours, theirs.decode())]
            assert printed[1] == printed[0].replace(str(local_root), str(remote_root)), arguments
    state = json.loads((remote_root / "packages" / "x" / ".status").read_text())
    assert state == json.loads((local_root / "packages" / "x" / ".status").read_text())


def test_the_hosts_ppm_root_is_the_default_volume(host: Host, tmp_path: Path) -> None:
    for options in ((), ("--root", str(tmp_path / "other"))):
        on(host, "init", *options)
    on(host, "user", "add", "ann", "--role", "reader", PPM_ROOT=str(tmp_path / "mine"))
    assert "ann:" in (host.root / "credentials" / "htpasswd").read_text()
    assert not (tmp_path / "mine").exists()
    on(host, "user", "add", "ben", "--role", "reader", "--root", str(tmp_path / "other"))
    assert "ben:" in (tmp_path / "other" / "credentials" / "htpasswd").read_text()


def test_help_is_printed_without_a_connection() -> None:
    done = subprocess.run(
        [*PPMCTL, "user", "list", "--on", "ssh://nowhere.invalid", "--help"], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert b"--on TARGET" in done.stdout


def test_the_hosts_audit_has_the_local_user_and_machine(standing_in: Callable[[str], Host]) -> None:
    host = standing_in("print(os.environ['PPMCTL_ORIGIN'], 'PPM_ROOT' in os.environ)\n")
    output = carried(host, "run('user', 'list')").stdout.decode()
    assert re.fullmatch(r"[\w.-]+@[\w.-]+ True\n", output)


def test_stdin_and_output_are_transferred_as_bytes(standing_in: Callable[[str], Host]) -> None:
    """Megabytes on stdin come back on both streams, complete and separate; arguments are unchanged."""
    host = standing_in(
        "given = sys.stdin.buffer.read()\n"
        "sys.stdout.buffer.write(given)\n"
        "sys.stderr.buffer.write(given[::-1])\n"
        "sys.stdout.buffer.write(os.fsencode('|'.join(sys.argv[1:])))\n"
        "sys.exit(77)\n"
    )
    given = os.urandom(3 << 20)
    words = ["", " ", "a b", "'", '"', "$HOME", "`id`", "*", "\\", "new\nline", "ü", "--", "-x", "~", "!!", "#"]
    done = carried(host, f"run(*{words!r})", input=given)
    assert done.returncode == 77
    assert done.stderr == given[::-1]
    assert done.stdout == given + "|".join(words).encode()


def test_a_command_may_ignore_its_stdin(standing_in: Callable[[str], Host]) -> None:
    """A command that reads nothing ends, however much input is waiting."""
    host = standing_in("print('done')\n")
    done = carried(host, "run('x')", input=os.urandom(8 << 20))
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_closed_stdin_and_closed_stdout(standing_in: Callable[[str], Host]) -> None:
    host = standing_in("for _ in range(100_000): print('line ' * 20)\n")
    command = (
        f"import os; os.close(0); os.execv({sys.executable!r}, {[*PPMCTL, 'user', 'list', '--on', host.target]!r})"
    )
    line = shlex.join([sys.executable, "-c", command])
    done = subprocess.run(
        ["sh", "-c", f"{line} | head -n 1"], env=host.environ(), capture_output=True, timeout=120, text=True
    )
    assert done.stdout == "line " * 20 + "\n"
    assert done.stderr == ""


def test_output_of_the_login_shell_is_left_out(standing_in: Callable[[str], Host]) -> None:
    """Guards against a .bashrc with an echo, which would break scripts that read the output."""
    host = standing_in("print('out')\n")
    shell = subprocess.run(["getent", "passwd", str(os.getuid())], capture_output=True, text=True, timeout=60).stdout
    if not shell.strip().endswith("bash"):
        pytest.fail(f"this user's shell has no start-up file that ssh's commands read: {shell}")
    home = host.folder / "noisy"
    home.mkdir()
    (home / ".bashrc").write_text("echo welcome; echo to this host >&2\n")
    config = host.folder / "sshd_config"
    config.write_text(config.read_text().replace('SetEnv "', f'SetEnv "HOME={home}" "'))
    os.kill(host.pid, signal.SIGHUP)
    sshd.wait(host)
    done = carried(host, "run('x')")
    assert done.stdout == b"out\n"
    assert b"to this host" in done.stderr


def test_a_killed_remote_command_is_an_error(standing_in: Callable[[str], Host]) -> None:
    host = standing_in("os.kill(os.getpid(), 9)\n")
    done = on(host, "user", "list", expect=1)
    assert b"index.test broke off, or a signal ended the command;" in done.stderr


# terminals and signals


def test_a_remote_command_asks_on_a_terminal(host: Host, tmp_path: Path) -> None:
    Volume(root=tmp_path / "root").prepare()
    command = [*PPMCTL, "package", "remove", "x", "1.0", "--root", str(tmp_path / "root"), "--on", host.target]
    with on_a_terminal(command, host.environ()) as (process, terminal):
        printed = read_until(terminal, b"to confirm: ")
        os.write(terminal, b"y\x7fother\r")  # with a backspace
        printed += read_until(terminal, b"")
        assert process.wait(timeout=60) == 1
    assert b"other" in printed
    assert printed.endswith(b"ppmctl: That is another name; nothing was removed.\r\n")


def test_ctrl_c_at_a_question(host: Host, tmp_path: Path) -> None:
    Volume(root=tmp_path / "root").prepare()
    command = [*PPMCTL, "package", "remove", "x", "1.0", "--root", str(tmp_path / "root"), "--on", host.target]
    with on_a_terminal(command, host.environ()) as (process, terminal):
        read_until(terminal, b"to confirm: ")
        assert interrupt(terminal).endswith(b"Interrupted.\r\n")
        assert process.wait(timeout=60) == 130


def test_the_remote_terminal_has_the_local_type_and_size(standing_in: Callable[[str], Host]) -> None:
    host = standing_in("print(sys.stdin.isatty(), os.environ['TERM'], os.get_terminal_size(), flush=True); input()\n")
    with on_a_terminal([*PPMCTL, "user", "list", "--on", host.target], host.environ()) as (process, terminal):
        printed = read_until(terminal, b"\n")
        assert printed.split(b"\r")[0] == b"True xterm-256color os.terminal_size(columns=111, lines=50)"
        os.write(terminal, b"\r")
        assert process.wait(timeout=60) == 0


def test_a_remote_command_has_colours_as_locally(host: Host, tmp_path: Path) -> None:
    """Coloured on a terminal, and without colours with NO_COLOR."""
    Volume(root=tmp_path / "root").prepare()
    command = [*PPMCTL, "index", "check", "--root", str(tmp_path / "root"), "--on", host.target]
    for wanted, more in ((True, {}), (False, {"NO_COLOR": "1"})):
        with on_a_terminal(command, host.environ(**more)) as (process, terminal):
            output = read_until(terminal, b"")
            process.wait(timeout=60)
        assert b"Projects" in output
        assert bool(COLOUR.search(output)) == wanted, output
    assert (
        b"Projects"
        not in on(host, "index", "check", "--root", str(tmp_path / "root"), expect=1).stderr.split(b",")[0]
    )


@pytest.mark.parametrize("way", ["signal", "key"])
def test_ctrl_c_ends_the_remote_command(way: str, host: Host, tmp_path: Path) -> None:
    """A server ends cleanly, its exit code is returned, and no process is left."""
    port = free_port()
    root = tmp_path / "root"
    command = [*PPMCTL, "serve", "--root", str(root), "--port", str(port), "--on", host.target]
    with contextlib.ExitStack() as stack:
        if way == "key":
            process, terminal = stack.enter_context(on_a_terminal(command, host.environ()))
        else:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=host.environ())
            stack.callback(process.kill)
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(requests.ConnectionError):
                assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10).text.strip() == "ok"
                break
            assert process.poll() is None
            assert time.monotonic() < until, host.log
            time.sleep(0.05)
        if way == "key":
            os.write(terminal, b"\x03")
        else:
            process.send_signal(signal.SIGINT)
        if way == "key":
            read_until(terminal, b"")
        else:
            process.communicate(timeout=60)
        assert process.wait(timeout=60) == 0
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10)


def test_the_third_ctrl_c_leaves_a_command_that_ignores_it(standing_in: Callable[[str], Host]) -> None:
    """The local command ends; the remote one may still run."""
    host = standing_in(
        "import signal, time\n"
        "heard = 0\n"
        "def count(*_):\n    global heard\n    heard += 1\n    print(heard, flush=True)\n"
        "signal.signal(signal.SIGINT, count)\nprint(0, flush=True)\n"
        "while sys.stdin.read(1): pass\n"
        "end = time.monotonic() + 20\n"  # it does not notice that the client has left
        "while heard < 3 and time.monotonic() < end: time.sleep(0.01)\n"
    )
    command = [*PPMCTL, "user", "list", "--on", host.target]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=host.environ()
    ) as process:
        assert process.stdout is not None
        for number in range(3):
            assert process.stdout.readline() == f"{number}\n".encode()
            process.send_signal(signal.SIGINT)
        _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == b"\nppmctl: Interrupted.\n"


# files


def test_file_arguments_are_local_files(standing_in: Callable[[str], Host], tmp_path: Path) -> None:
    """Input files are sent, and output files are written locally, only for the owner; no file stays on the host."""
    host = standing_in(
        "from pathlib import Path\n"
        "given, made = sys.argv[1], sys.argv[2].removeprefix('--output=')\n"
        "print(given); print('writing', made, file=sys.stderr)\n"
        "assert Path(given).stat().st_mode & 0o777 == 0o600\n"
        "assert not Path(made).exists()\n"
        "Path(made).write_bytes(Path(given).read_bytes()[::-1])\n"
    )
    given, made = tmp_path / "given it.txt", tmp_path / "made"
    given.write_bytes(os.urandom(1 << 20))
    script = f"run(read({str(given)!r}), write('made'))"
    done = carried(host, script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == f"{given}\n"
    assert done.stderr.decode() == "writing made\n"
    assert made.read_bytes() == given.read_bytes()[::-1]
    assert made.stat().st_mode & 0o777 == 0o600
    assert list((host.folder / "tmp").iterdir()) == []
    again = carried(host, script, cwd=tmp_path)
    assert again.returncode == 2
    assert again.stdout == b""
    assert b"made already exists; it is not replaced. Nothing was done." in again.stderr


def test_tokens_and_users_with_files(host: Host, tmp_path: Path) -> None:
    """As an administrator: root on a volume of another user, other users on their own."""
    root = tmp_path / "root"
    root.mkdir()
    if os.geteuid() == 0:
        reachable(tmp_path)
        os.chown(root, pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid)
    root_option = ["--root", str(root)]
    on(host, "init", *root_option)
    token = tmp_path / "a token"
    made = on(host, "token", "create", "ops+ci", "--role", "publisher", "--output", str(token), *root_option)
    assert made.stdout == b""
    assert f"The secret is in {token}, as user:secret." in made.stderr.decode()
    assert re.fullmatch(r"ops\+ci:ppm_[\w-]{40,}\n", token.read_text())
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.stat().st_uid == os.geteuid()
    bob = tmp_path / "bob"
    added = on(host, "user", "add", "bob", "--role", "reader", "--json", "--output", str(bob), *root_option)
    document = json.loads(added.stdout)
    assert document["output"] == str(bob)
    assert "secret" not in document
    again = on(host, "token", "create", "ops+x", "--role", "reader", "--output", str(token), *root_option, expect=2)
    assert f"{token} already exists; it is not replaced. Nothing was done." in again.stderr.decode()
    refused = tmp_path / "refused"
    on(host, "token", "create", "ops+ci", "--role", "publisher", "--output", str(refused), *root_option, expect=1)
    assert not refused.exists()
    given = tmp_path / "htpasswd"
    given.write_text("carl:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\nbroken\n")
    given.chmod(0o600)
    imported = on(host, "user", "import", str(given), *root_option, expect=1)
    assert "carl" in imported.stdout.decode()
    assert str(host.folder / "tmp") not in (imported.stdout + imported.stderr + made.stderr).decode()
    names = [entry["name"] for entry in json.loads(on(host, "user", "list", "--json", *root_option).stdout)]
    assert {"ops+ci", "bob", "carl"} <= set(names)
    assert "ops+x" not in names
    assert list((host.folder / "tmp").iterdir()) == []
    lines = [json.loads(line) for line in (root / "audit.jsonl").read_text().splitlines()]
    assert {line["from"] for line in lines} == {f"{getpass.getuser()}@{socket.gethostname()}"}


@pytest.mark.parametrize("fault", ["unreadable", "unwritable", "command"])
def test_a_failed_command_leaves_no_files(fault: str, standing_in: Callable[[str], Host], tmp_path: Path) -> None:
    host = standing_in(
        "open(sys.argv[2].partition('=')[2], 'w').write('half'); open(os.environ['PPM_ROOT'], 'w'); sys.exit(1)\n"
    )
    given, made = tmp_path / "given", tmp_path / "made"
    given.write_bytes(b"x")
    if fault == "unreadable":
        given.unlink()
    elif fault == "unwritable":
        made = tmp_path / "no" / "made"
    script = f"run(read({str(given)!r}), write({str(made)!r}))"
    done = carried(host, script)
    assert done.returncode == (2 if fault == "unwritable" else 1)
    assert not made.exists()
    assert host.root.exists() == (fault == "command")
    assert list((host.folder / "tmp").iterdir()) == []


# secrets


def test_no_secret_is_in_an_argument_or_a_log(tmp_path: Path) -> None:
    """Checks the arguments of every program on the host while secrets are created and transferred."""
    folder = tmp_path / "host"
    trace = tmp_path / "trace"
    tracer = ("strace", "-f", "-qq", "-s", "100000", "-e", "trace=execve", "-o", str(trace))
    with sshd.running(folder, before=tracer) as host:
        on(host, "init")
        made = on(host, "user", "add", "bob", "--role", "reader")
        secret = made.stdout.decode().strip()
        on(host, "user", "first")
        given = tmp_path / "given"
        given.write_text("a secret in a file")
        carried(host, f"run('user', 'remove', read({str(given)!r}))", input=b"a secret on stdin")
        log = host.log
    assert SECRET.fullmatch(secret)
    traced = trace.read_text()
    assert "--role=reader" in traced
    first = (host.root / "first-credential").read_text().strip().partition(":")[2]
    for text in (traced, log):
        assert secret not in text
        assert first not in text
        assert "a secret" not in text


# errors


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("ssh://nowhere.invalid", "ppmctl can't be run on nowhere.invalid: ssh: Could not resolve hostname"),
        (
            "ssh://127.0.0.1:1",
            "ppmctl can't be run on 127.0.0.1: ssh: connect to host 127.0.0.1 port 1: Connection refused",
        ),
        ("telnet://x", "--on can't be 'telnet://x'"),
        ("ssh://me:secret@x", "--on can't be 'ssh://me:***@x'.\n        It takes no password"),
        ("docker://a/b", "--on can't be 'docker://a/b'"),
    ],
)
def test_an_invalid_or_unknown_host(target: str, message: str, host: Host) -> None:
    done = on(host, "user", "list", target=target, expect=1 if "://nowhere" in target or ":1" in target else 2)
    assert done.stdout == b""
    assert done.stderr.decode().startswith(f"ppmctl: {message}")
    assert "Traceback" not in done.stderr.decode()
    assert "secret" not in done.stderr.decode()


def test_a_host_with_an_unknown_key(tmp_path: Path) -> None:
    """An unknown key is never accepted: an impostor would get files and answers."""
    with sshd.running(tmp_path / "host") as host:
        host.known_hosts.unlink()
        done = on(host, "user", "list", expect=1)
        assert "No ED25519 host key is known for [127.0.0.1]" in done.stderr.decode()
        assert "`ssh index.test` shows the key" in done.stderr.decode()
        assert not host.known_hosts.exists()
        host.trust(sshd.keygen(tmp_path / "other").with_suffix(".pub"))
        done = on(host, "user", "list", expect=1)
        assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr.decode()
        assert "find out why first" in done.stderr.decode()
        assert "Accepted" not in host.log


def test_a_host_that_refuses_the_users_key(tmp_path: Path) -> None:
    with sshd.running(tmp_path / "host") as host:
        host.write_config(IdentityFile=str(sshd.keygen(tmp_path / "stranger")))
        done = on(host, "user", "list", expect=1)
        assert done.stderr.decode() == (
            "ppmctl: ppmctl can't be run on index.test:"
            f" {getpass.getuser()}@127.0.0.1: Permission denied (publickey).\n"
            "        `ssh index.test ppmctl --version` has to work without a password."
            " ssh-copy-id index.test installs a key, ssh-add unlocks one with a passphrase.\n"
        )
        host.write_config(IdentityFile=str(sshd.keygen(tmp_path / "locked", passphrase="what nobody guesses")))
        assert "ssh-add" in on(host, "user", "list", expect=1).stderr.decode()


def test_a_host_without_ppmctl(tmp_path: Path) -> None:
    with sshd.running(tmp_path / "host", path="/usr/bin:/bin") as host:
        done = on(host, "user", "list", expect=1)
    assert done.stderr.decode() == (
        "ppmctl: ppmctl can't be run on index.test: not on the PATH\n"
        "        `ssh index.test ppmctl --version` has to work without a password.\n"
    )


def test_a_host_with_another_version(standing_in: Callable[[str], Host]) -> None:
    host = standing_in("open(os.environ['PPM_ROOT'], 'w')\n")
    program = Path(host.path.partition(":")[0]) / "ppmctl"
    program.write_text(program.read_text().replace(__version__, "99.1"))
    done = on(host, "user", "list", expect=1)
    assert f"index.test has ppmctl 99.1, and this is {__version__}" in done.stderr.decode()
    assert not host.root.exists()


def test_a_broken_connection_is_an_error(standing_in: Callable[[str], Host]) -> None:
    """The error says that the outcome is unknown; the command fails, and does not hang."""
    host = standing_in("print('begun', flush=True); sys.stdin.read()\n")
    command = [*PPMCTL, "user", "list", "--on", host.target]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=host.environ()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        host.kill()
        process.wait(timeout=60)
        assert process.stderr is not None
        printed = process.stderr.read().decode()
    assert process.returncode == 1
    assert "ppmctl: The connection to index.test broke off" in printed
    assert "it may be done, or still running" in printed


def test_without_ssh_or_docker_the_error_names_the_program(host: Host, tmp_path: Path) -> None:
    for name, target in (("ssh", host.target), ("docker", "docker://x")):
        command = [sys.executable, "-m", "ppmctl", "user", "list", "--on", target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": str(tmp_path)})
        assert done.returncode == 1
        assert done.stderr == f"ppmctl: --on {target} needs the program {name}, which is not installed.\n"
