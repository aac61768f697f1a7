"""Tests of `ppmctl env` with a running authenticated index: lists that several users change at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support import evidence, wheels
from support.clients import Machine, machine, run
from support.envs import env, listing, log, shown, user
from support.evidence import until
from support.recorder import Act, Trouble, recording
from support.servers import PPMCTL, Server, ppmctl
from support.terminals import on_a_terminal, read_until

# 25 changes by one process, each as the command line makes it; it prints a line for each that is done
CHANGES = """
import sys
import time
from ppmctl.cli import commands
name, *packages = sys.argv[1:]
for package in packages:
    code = commands.run(["env", "add", name, package, "--no-check"])
    if code:
        sys.exit(code)
    print("done", package, flush=True)
"""


@pytest.fixture(scope="module")
def ann(index: Server, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return user(index, "ann", tmp_path_factory.mktemp("ann"))


@pytest.fixture(scope="module")
def bob(index: Server, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return user(index, "bob", tmp_path_factory.mktemp("bob"))


# one user


def test_a_list_is_created_changed_and_read(ann: Machine) -> None:
    """A typical session; each change is a revision, and a command that changes nothing makes none."""
    assert env(ann, "create", "Web_App", "flask passlib flask-login", "--no-check").strip() == "web-app@1"
    assert env(ann, "add", "web-app", "Flask>=3", "gunicorn", "--no-check").strip() == "web-app@2"
    assert env(ann, "add", "web-app", "gunicorn", "--no-check").strip() == "web-app@2"
    assert env(ann, "remove", "web-app", "passlib").strip() == "web-app@3"
    printed = env(ann, "show", "web-app")
    assert "Packages: 'Flask>=3' flask-login gunicorn\n" in printed
    assert "pip install ppm-env-web-app==3" in printed
    assert "Owner:    ann\n" in printed
    assert shown(ann, "web-app")["owner"] == "ann"
    assert listing(ann, "web-app@1") == ["flask", "flask-login", "passlib"]
    assert env(ann, "diff", "web-app@1", "web-app") == "~ flask → Flask>=3\n+ gunicorn\n- passlib\n"
    assert env(ann, "show", "web-app", "--format", "requirements").splitlines()[1:] == [
        *("Flask>=3", "flask-login", "gunicorn"),
    ]
    assert [(line["revision"], line["change"]) for line in log(ann, "web-app")] == [
        (1, "create with flask, passlib, flask-login"),
        (2, "add Flask>=3, gunicorn"),
        (3, "remove passlib"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expect", "message"),
    [
        (["create", "../x"], 2, "can't be the name"),
        (["create", ""], 2, "can't be the name"),
        (["create", "a" * 61], 2, "can't be the name"),
        (["create", "a" * 300], 2, "can't be the name"),
        (["create", "good", "numpy=>1"], 2, "    numpy=>1\n         ^"),
        (["create", "good", "x @ https://me:secret@host/x.whl"], 2, "credential"),
        (["add", "good", "numpy @ file:///croot/numpy/work"], 2, "the name alone is enough"),
        (["add", "good", "-r", "x"], 2, "No such option"),
        (["add", "good@2", "x"], 2, "can't be changed"),
        (["add", "good", "git+https://host/x"], 2, "NAME @ URL"),
        (["add", "ppm-env-good", "x"], 2, "name is good"),
        (["show", "good@0"], 2, "whole number"),
        (["show", "good"], 1, "ppmctl env create good"),
        (["log", "good"], 1, "no environment good"),
    ],
)
def test_invalid_arguments_are_refused(ann: Machine, arguments: list[str], expect: int, message: str) -> None:
    answer = env(ann, *arguments, expect=expect)
    assert message in answer
    assert "secret" not in answer


def test_unknown_names_are_reported_with_suggestions(ann: Machine, index: Server) -> None:
    """A name that the index does not have is reported with similar ones, and no revision is made."""
    assert index.upload(wheels.wheel("sea-maps", "1.0")).status_code == 200
    refused = ("create", "charts", "sea-map")
    assert "no project sea-map" in env(ann, *refused, expect=1)
    until(lambda: "Is it sea-map: sea-maps?" in env(ann, *refused, expect=1), "the list has followed", seconds=10)
    assert env(ann, "show", "charts", expect=1)
    assert env(ann, "create", "charts", "Sea.Maps>=1").strip() == "charts@1"
    assert "is there" in env(ann, "create", "charts", "sea-maps", expect=2).replace(
        "There is an environment", "is there"
    )
    assert "Is it sea-maps?" in env(ann, "remove", "charts", "sea-map", expect=1)


def test_an_unreachable_upstream_is_reported(serve: Callable[..., Server], tmp_path: Path) -> None:
    """The index that ours redirects to does not answer: this is reported, and is not an error."""
    server = serve("--upstream-url", "http://upstream.invalid/simple/")
    dan = user(server, "dan", tmp_path / "dan")
    answer = ppmctl("env", "create", "far", "numpy", env=dan.environ)
    assert answer.stdout == "far@1\n"
    assert "Not checked: numpy. " in answer.stderr
    assert "upstream.invalid" in answer.stderr


# several users at once


def changing(who: Machine, name: str, packages: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHANGES, name, *packages],
        env={**who.environ, "PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(output: str) -> list[str]:
    return [line.split()[1] for line in output.splitlines() if line.startswith("done ")]


def test_parallel_changes_are_not_lost_when_a_process_is_killed(ann: Machine, bob: Machine) -> None:
    """8 processes of two users add 25 packages each, and one is killed at some moment.

    No change of the others fails or is lost, changes that the killed one printed as done exist, and no revision
    number is missing.
    """
    chance = random.Random(evidence.seed())
    env(ann, "create", "many", "--shared")
    wanted = [[f"p{worker}-{number}" for number in range(25)] for worker in range(8)]
    workers = [changing((ann, bob)[number % 2], "many", packages) for number, packages in enumerate(wanted)]
    victim = chance.randrange(len(workers))
    out = workers[victim].stdout
    assert out is not None
    # a change is a revision and its "done"
    printed = "".join(out.readline() for _ in range(2 * chance.randrange(25)))
    with contextlib.suppress(subprocess.TimeoutExpired):  # at any moment of the next one
        workers[victim].wait(timeout=chance.uniform(0, 0.5))
    workers[victim].send_signal(signal.SIGKILL)
    of_victim = set(done(printed + workers[victim].communicate(timeout=60)[0]))
    for number, worker in enumerate(workers):
        if number != victim:
            answered, errors = worker.communicate(timeout=300)
            assert (worker.returncode, done(answered)) == (0, wanted[number]), errors[-500:]
    present = set(listing(ann, "many"))
    others = {package for number, packages in enumerate(wanted) if number != victim for package in packages}
    assert others | of_victim <= present
    assert len(present - others - of_victim) <= 1, "at most the change that was under way"
    lines = log(ann, "many")
    assert [line["revision"] for line in lines] == list(range(1, len(present) + 2))
    assert sorted(line["change"] for line in lines[1:]) == sorted(f"add {package}" for package in present)


@contextlib.contextmanager
def overtaken(
    who: Machine, index: Server, faster: Machine, *change: str, then: Sequence[tuple[str, Trouble]] = ()
) -> Iterator[Machine]:
    """Yield `who` with a proxy: right before the first upload reaches the index, `faster` makes `change`.

    The requests after it have the troubles `then`.
    """
    act = Act(act=lambda: env(faster, *change), is_passed_on=True)
    with recording(index.port, troubles=[("POST", act), *then]) as front:
        yield Machine(home=who.home, environ={**who.environ, "PPMCTL_INDEX": front.url})
    assert next(exchange.status for exchange in front.exchanges if exchange.method == "POST") == 409


def test_two_changes_at_once_are_merged(ann: Machine, bob: Machine, index: Server) -> None:
    """Additions, changes and removals stay, and so do the other user's changes to other packages."""
    env(ann, "create", "merged", "one two three", "--shared", "--no-check")
    with overtaken(ann, index, bob, "add", "merged", "four", "two>=2", "--no-check") as slower:
        answer = ppmctl("env", "remove", "merged", "three", env=slower.environ)
    assert answer.stdout == "merged@3\n"
    assert "their changes are included" in answer.stderr
    assert listing(ann, "merged") == ["four", "one", "two>=2"]


def test_a_change_is_not_lost_if_the_page_is_older_than_the_index(ann: Machine, bob: Machine, index: Server) -> None:
    """As another node's may be: the refused number is not listed, as if its revision had been removed."""
    old: list[tuple[str, Trouble]] = [("GET", "old")]
    env(ann, "create", "stale", "one", "--shared", "--no-check")
    with overtaken(ann, index, bob, "add", "stale", "two", "--no-check", then=old) as slower:
        answer = ppmctl("env", "add", "stale", "three", "--no-check", env=slower.environ)
    assert answer.stdout == "stale@3\n"
    assert listing(ann, "stale") == ["one", "three", "two"]
    with overtaken(ann, index, ann, "create", "stale-too", "one", "--no-check", then=old) as slower:
        answer = ppmctl("env", "create", "stale-too", "two", "--no-check", env=slower.environ, expect=2)
    assert "There is an environment stale-too already" in answer.stderr
    assert listing(ann, "stale-too") == ["one"]


def test_numbers_of_removed_revisions_are_passed_over(ann: Machine, index: Server) -> None:
    name, root = "thinned", str(index.root)
    env(ann, "create", name, "one", "--no-check")
    for number in (2, 3, 4):
        env(ann, "add", name, f"p{number}", "--no-check")
    for number in (3, 4):
        ppmctl("package", "remove", f"ppm-env-{name}", str(number), "--yes", "--root", root)
    assert env(ann, "add", name, "five", "--no-check").strip() == f"{name}@5"
    assert listing(ann, name) == ["five", "one", "p2"]
    env(ann, "delete", name, "--yes")
    ppmctl("package", "remove", f"ppm-env-{name}", "5", "--yes", "--root", root)
    assert env(ann, "create", name, "new", "--no-check").strip() == f"{name}@6"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["add", "NAME", "pandas>=2", "--no-check"], ["add", "NAME", "pandas<2", "--no-check"]),
        (["add", "NAME", "pandas>=2", "--no-check"], ["remove", "NAME", "pandas"]),
        (["remove", "NAME", "pandas"], ["add", "NAME", "pandas>=2", "--no-check"]),
        (["add", "NAME", "new>=2", "--no-check"], ["add", "NAME", "new<2", "--no-check"]),
    ],
    ids=["changed otherwise", "changed and removed", "removed and changed", "added otherwise"],
)
def test_a_conflict_fails_without_a_terminal(
    ann: Machine, bob: Machine, index: Server, ours: list[str], theirs: list[str], request: pytest.FixtureRequest
) -> None:
    """Without a terminal there is no question: the command fails, names both sides, and changes nothing."""
    name = f"conflict-{request.node.callspec.id.replace(' ', '-')}"
    env(ann, "create", name, "pandas", "--shared", "--no-check")
    ours, theirs = ([name if word == "NAME" else word for word in words] for words in (ours, theirs))
    with overtaken(ann, index, bob, *theirs) as slower:
        answer = ppmctl("env", *ours, env=slower.environ, expect=1)
    assert answer.stdout == ""
    package = ours[2].partition(">")[0]
    assert f"{package}: it was {'pandas' if package == 'pandas' else 'not there'}; yours is " in answer.stderr
    assert [line["revision"] for line in log(ann, name)] == [1, 2]


def test_a_lost_answer_makes_no_second_revision(ann: Machine, index: Server) -> None:
    """The index takes a revision, and the connection breaks before it answers."""
    env(ann, "create", "lost-answer")
    with recording(index.port, troubles=[("POST", "lost")]) as front:
        printed = env(ann, "add", "lost-answer", "one", "--no-check", PPMCTL_INDEX=front.url)
    assert printed == "lost-answer@2\n"
    assert [exchange.status for exchange in front.exchanges if exchange.method == "POST"] == [200, 200]
    assert [line["change"] for line in log(ann, "lost-answer")] == ["create", "add one"]


def test_a_conflict_is_a_question_on_a_terminal(ann: Machine, bob: Machine, index: Server) -> None:
    env(ann, "create", "asked", "pandas", "--shared", "--no-check")
    command = [*PPMCTL, "env", "add", "asked", "pandas>=2", "--no-check"]
    with (
        overtaken(ann, index, bob, "add", "asked", "pandas<2", "--no-check") as slower,
        on_a_terminal(command, dict(slower.environ)) as (process, terminal),
    ):
        printed = read_until(terminal, b"[y/N]: ")
        assert b"yours is pandas>=2; theirs is pandas<2" in printed
        os.write(terminal, b"y\n")
        read_until(terminal, b"")
        assert process.wait(timeout=30) == 0
    assert listing(ann, "asked") == ["pandas>=2"]


def test_the_log_has_the_actual_change_not_the_requested_one(ann: Machine, bob: Machine, index: Server) -> None:
    """Of two packages one is left to the other user: the log and the output name it as left."""
    env(ann, "create", "given-up", "pandas", "--shared", "--no-check")
    command = [*PPMCTL, "env", "add", "given-up", "pandas>=2", "flask", "--no-check"]
    with (
        overtaken(ann, index, bob, "add", "given-up", "pandas<2", "--no-check") as slower,
        on_a_terminal(command, dict(slower.environ)) as (process, terminal),
    ):
        read_until(terminal, b"[y/N]: ")
        os.write(terminal, b"n\n")
        assert b"pandas: the other change stays." in read_until(terminal, b"")
        assert process.wait(timeout=30) == 0
    assert listing(ann, "given-up") == ["flask", "pandas<2"]
    assert log(ann, "given-up")[-1]["change"] == "add pandas>=2, flask (without pandas)"


# the life of an environment


def test_rollback_copy_delete_and_create_again(ann: Machine) -> None:
    """A rollback is a new revision; a deleted environment is not listed or installed, and keeps its numbers."""
    env(ann, "create", "life", "one", "--no-check")
    env(ann, "add", "life", "two", "--no-check")
    assert env(ann, "rollback", "life", "1").strip() == "life@3"
    assert listing(ann, "life") == ["one"]
    assert env(ann, "rollback", "life", "1").strip() == "life@3", "it is just that"
    assert "no revision 9" in env(ann, "rollback", "life", "9", expect=1)
    assert env(ann, "copy", "life@2", "afterlife").strip() == "afterlife@1"
    assert listing(ann, "afterlife") == ["one", "two"]
    assert "Without a terminal, use --yes" in env(ann, "delete", "life", expect=2)
    assert env(ann, "delete", "life", "--yes").strip() == "deleted  life"
    assert "it was deleted" in env(ann, "show", "life", expect=1)
    assert "it was deleted" in env(ann, "add", "life", "x", "--no-check", expect=1)
    assert "deleted already" in env(ann, "delete", "life", "--yes", expect=1)
    assert "life" not in names(ann)
    assert "afterlife" in names(ann)
    assert listing(ann, "life@2") == ["one", "two"], "a revision stays for who pins it"
    assert env(ann, "create", "life", "three", "--no-check").strip() == "life@4"
    assert listing(ann, "life") == ["three"]
    assert [(line["revision"], line["by"], line["deleted"]) for line in log(ann, "life")] == [
        *((1, "ann", True), (2, "ann", True), (3, "ann", True), (4, "ann", False)),
    ]
    assert env(ann, "log", "life").count("This environment was deleted (ann, ") == 3
    assert "life" in names(ann)


def names(who: Machine, *options: str) -> list[str]:
    return [entry["name"] for entry in json.loads(env(who, "list", "--json", *options))]


def test_a_user_deletes_all_own_environments(index: Server, tmp_path: Path, ann: Machine) -> None:
    """They are listed and confirmed; those of other users stay."""
    eve = user(index, "eve", tmp_path / "eve")
    for name in ("eve-one", "eve-two"):
        env(eve, "create", name)
    env(ann, "create", "not-eves", "--shared")
    env(eve, "add", "not-eves", "x", "--no-check")
    assert names(eve, "--mine") == ["eve-one", "eve-two"]
    with on_a_terminal([*PPMCTL, "env", "delete", "--mine"], dict(eve.environ)) as (process, terminal):
        printed = read_until(terminal, b"[y/N]: ")
        assert b"To be deleted: eve-one, eve-two" in printed
        os.write(terminal, b"y\n")
        read_until(terminal, b"")
        assert process.wait(timeout=60) == 0
    assert names(eve, "--mine") == []
    assert "not-eves" in names(eve)
    assert env(eve, "delete", "--mine", "--yes") == ""
    env(eve, "create", "eve-three")
    deleted = json.loads(env(eve, "delete", "--mine", "--yes", "--json"))
    assert deleted == [{"name": "eve-three", "revisions": 1}]


def test_only_the_owner_changes_an_unshared_environment(
    index: Server, ann: Machine, bob: Machine, tmp_path: Path
) -> None:
    """Exit code 4 and the index's reason; a reader can change nothing, an admin everything."""
    env(ann, "create", "anns", "one", "--no-check")
    for change in (["add", "anns", "x", "--no-check"], ["remove", "anns", "one"], ["delete", "anns", "--yes"]):
        assert "belongs to ann" in env(bob, *change, expect=4)
    reader = user(index, "reader", tmp_path / "reader", "reader")
    assert "not allow" in env(reader, "add", "anns", "x", "--no-check", expect=4)
    assert "not allow" in env(reader, "create", "readers", expect=4)
    assert listing(reader, "anns") == ["one"]
    assert env(bob, "copy", "anns", "bobs").strip() == "bobs@1", "what may be read may be gone on with"
    admin = machine(tmp_path / "admin", index)
    env(admin, "add", "anns", "two", "--no-check", PPMCTL_INDEX=index.url)
    lines = [(line["by"], line["change"]) for line in log(ann, "anns")]
    assert lines == [("ann", "create with one"), ("admin", "add two")]
    assert listing(ann, "anns") == ["one", "two"]


def test_two_thousand_requirements(ann: Machine, tmp_path: Path) -> None:
    texts = [f"package-{number:04}>={number}" for number in range(2000)]
    (tmp_path / "requirements.txt").write_text("\n".join(texts))
    assert env(ann, "import", tmp_path / "requirements.txt", "--name", "large", "--no-check").strip() == "large@1"
    env(ann, "add", "large", "another", "--no-check")
    assert listing(ann, "large") == ["another", *texts]


def test_a_command_does_not_wait_for_what_is_no_file(ann: Machine, tmp_path: Path) -> None:
    """A FIFO has no end until somebody writes into it, and /dev/zero has none at all."""
    os.mkfifo(tmp_path / "requirements.txt")
    (tmp_path / "environment.yml").symlink_to("/dev/zero")
    (tmp_path / "more.txt").write_text("-r requirements.txt\n")
    for name in ("requirements.txt", "environment.yml", "more.txt"):
        printed = env(ann, "import", tmp_path / name, "--name", "none", "--no-check", expect=2)
        assert "can't be read: it is not a regular file." in printed
    for name in ("requirements.txt", "environment.yml"):
        printed = env(ann, "list", "--credential-file", tmp_path / name, expect=4)
        assert "can't be read: it is not a regular file." in printed


def test_what_an_import_can_not_store_is_listed_and_agreed_to(ann: Machine, index: Server, tmp_path: Path) -> None:
    """All lines in one run. Without a terminal nothing is stored without --partial; on one it is a question."""
    assert index.upload(wheels.wheel("kept", "1.0")).status_code == 200
    path = tmp_path / "requirements.txt"
    path.write_text(
        "-e .\nkept @ file:///croot/kept/work\n./here\nkept-too @ https://host/x.whl\nnever-made>=1\n"
        "-e git+https://host/x.git@v1#egg=digits\n"
    )
    command = ("env", "import", str(path), "--name", "agreed")
    refused = ppmctl(*command, env=ann.environ, expect=2).stderr
    for line, reason in (("1: -e .", "local"), ("3: ./here", "local"), ("5: never-made>=1", "has no project")):
        assert f"{path}:{line}: " in refused
        assert reason in refused
    assert f"{path}:2: kept @ file:///croot/kept/work: the path is only on one machine" in refused
    assert "Nothing was stored. --partial" in refused
    for typed, code in ((b"n\n", 1), (b"y\n", 0)):
        with on_a_terminal([*PPMCTL, *command], dict(ann.environ)) as (process, terminal):
            assert b"never-made" in read_until(terminal, b"[y/N]: ")
            os.write(terminal, typed)
            assert (b"Nothing was stored" in read_until(terminal, b"")) == bool(code)
            assert process.wait(timeout=30) == code
        assert (code == 0) == ("agreed" in env(ann, "list"))
    kept = ["digits @ git+https://host/x.git@v1", "kept", "kept-too @ https://host/x.whl"]
    assert listing(ann, "agreed") == kept
    values = json.loads(env(ann, *command[1:], "--partial", "--replace", "--json"))
    assert [each["where"].rpartition(":")[2] for each in values["left_out"]] == ["1", "3", "5"]


def test_an_import_reads_stdin_and_urls(ann: Machine, index: Server, tmp_path: Path) -> None:
    """The index itself gets the credential; a file at a URL includes others, but no file of this machine."""
    env(ann, "create", "source", "one", "two>=2", "--no-check")
    url = f"{index.url}/env/source/requirements.txt"
    assert env(ann, "import", url, "--name", "by-url", "--no-check").strip() == "by-url@1"
    assert listing(ann, "by-url") == ["one", "two>=2"]
    assert (
        run(ann, "env", "import", "-", "--name", "piped", "--no-check", typed=f"three\n-r {url}\n").strip()
        == "piped@1"
    )
    assert listing(ann, "piped") == ["one", "three", "two>=2"]
    conda = "name: from-stdin\ndependencies: [pytorch=2.1]\n"
    run(ann, "env", "import", "-", "--format", "yaml", "--no-check", typed=conda)
    assert listing(ann, "from-stdin") == ["torch==2.1.*"]
    assert "404" in env(ann, "import", f"{index.url}/env/nowhere/requirements.txt", "--name", "none", expect=1)
    secret = f"http://ann:hunter2@127.0.0.1:{index.port}/requirements.txt"
    printed = env(ann, "import", secret, "--name", "none", expect=2)
    assert "has a credential in it" in printed
    assert "hunter2" not in printed


def completed(who: Machine, *words: str, **environ: str) -> list[str]:
    """Return what bash completes the last of the words to."""
    asked = {"_PPMCTL_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = ppmctl(env={**who.environ, **asked, **environ})
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def completes(expected: list[str], who: Machine, *words: str, **environ: str) -> None:
    """Wait until bash completes the last of the words so: on a busy machine the time for it may be over."""
    until = time.monotonic() + 60
    while (found := completed(who, *words, **environ)) != expected:
        assert time.monotonic() < until, f"{words} are completed to {found}"


def test_a_shell_completes_environments_projects_and_users(ann: Machine, bob: Machine, index: Server) -> None:
    """Environments and projects are asked of the index, users read from the volume; a failure completes nothing."""
    assert index.upload(wheels.wheel("told-project", "1.0")).status_code == 200
    env(ann, "create", "told-a", "told-project")
    env(ann, "create", "told-b")
    completes(["told-a", "told-b"], ann, "ppmctl", "env", "show", "told-")
    completes(["told-a", "told-b"], ann, "ppmctl", "env", "diff", "told-a", "told-")
    completes(["told-project"], ann, "ppmctl", "env", "add", "told-a", "told-")
    completes(["told-project"], ann, "ppmctl", "package", "show", "told-")
    root = str(index.root)
    completes(["told-project"], ann, "ppmctl", "package", "show", "--root", root, "told-")
    completes(["admin", "ann"], ann, "ppmctl", "user", "show", "--root", root, "a")
    completes(["bob"], ann, "ppmctl", "user", "remove", "b", PPM_ROOT=root)
    assert completed(ann, "ppmctl", "user", "show", "a") == []
    assert completed(ann, "ppmctl", "user", "show", "--root", f"{root}/nothing", "a") == []
    assert completed(ann, "ppmctl", "env", "show", "told-", PPMCTL_USERNAME="ann", PPMCTL_TOKEN="wrong") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert completed(ann, "ppmctl", "env", "show", "told-", PPMCTL_INDEX=url) == []


def test_an_import_has_the_packages_of_the_file(ann: Machine, index: Server, tmp_path: Path) -> None:
    """A conda environment: packages of the index are imported, conda-only ones named; again only with --replace."""
    assert index.upload(wheels.wheel("imported", "1.0")).status_code == 200
    (tmp_path / "environment.yml").write_text(
        "name: from-conda\n"
        "dependencies: [python=3.12, imported=1.0, unheard-of, {pip: ['imported-too @ https://host/x.whl']}]\n"
    )
    path = tmp_path / "environment.yml"
    refused = ppmctl("env", "import", str(path), env=ann.environ, expect=2).stderr
    assert f"{path}:2: unheard-of: the index has no project unheard-of" in refused
    assert "no environment from-conda" in env(ann, "show", "from-conda", expect=1)
    answer = ppmctl("env", "import", str(path), "--partial", env=ann.environ)
    assert answer.stdout == "from-conda@1\n"
    assert "python=3.12 was left out" in answer.stderr
    assert "unheard-of: the index has no project unheard-of" in answer.stderr
    assert listing(ann, "from-conda") == ["imported==1.0.*", "imported-too @ https://host/x.whl"]
    (tmp_path / "requirements.txt").write_text("imported>=1\n")
    again = ["import", tmp_path / "requirements.txt", "--name", "from-conda"]
    assert "already" in env(ann, *again, expect=2)
    assert env(ann, *again, "--replace").strip() == "from-conda@2"
    assert listing(ann, "from-conda") == ["imported>=1"]
    env(ann, "export", "from-conda", "--output", tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text().splitlines()[1:] == ["imported>=1"]
    exported = json.loads(env(ann, "export", "from-conda@1", "--output", tmp_path / "constraints.txt", "--json"))
    assert (exported["revision"], exported["format"]) == (1, "constraints")
    assert "not replaced" in env(ann, "export", "from-conda", "--output", tmp_path / "out.txt", expect=1)
