"""`ppmctl env` with a running authenticated index: lists that several people change, lock and install at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.clients import Machine, machine, run
from support.servers import Server, ppmctl

# 25 changes by one process, each as the command line makes it; a line on stdout for each that is done
CHANGES = """
import sys
from ppmctl import cli
name, *packages = sys.argv[1:]
for package in packages:
    code = cli.run(["env", "add", name, package, "--no-check"])
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


def user(server: Server, name: str, home: Path, role: str = "publisher") -> Machine:
    """The machine of somebody with a credential of that role: PPMCTL_INDEX and a netrc."""
    secret = ppmctl("user", "add", name, "--role", role, "--root", str(server.root)).stdout.strip()
    there = machine(home)
    (there.home / ".netrc").write_text(f"machine 127.0.0.1 login {name} password {secret}\n")
    (there.home / ".netrc").chmod(0o600)
    return Machine(home=there.home, environ={**there.environ, "PPMCTL_INDEX": server.url})


def env(who: Machine, *arguments: str | Path, expect: int = 0, **options: Any) -> str:
    return run(who, "env", *arguments, expect=expect, **options)


def shown(who: Machine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(env(who, "show", name, "--json"))
    return found


def listing(who: Machine, name: str) -> list[str]:
    return list(shown(who, name)["requirements"])


def log(who: Machine, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(env(who, "log", name, "--json"))
    return found


# one person


def test_a_list_is_made_changed_and_read(ann: Machine) -> None:
    """The first seed's example, as it is typed there; each change is a revision, and what changes nothing is none."""
    assert env(ann, "create", "Web_App", "flask passlib flask-login", "--no-check").strip() == "web-app@1"
    assert env(ann, "add", "web-app", "Flask>=3", "gunicorn", "--no-check").strip() == "web-app@2"
    assert env(ann, "add", "web-app", "gunicorn", "--no-check").strip() == "web-app@2"
    assert env(ann, "remove", "web-app", "passlib").strip() == "web-app@3"
    said = env(ann, "show", "web-app")
    assert "Packages: 'Flask>=3' flask-login gunicorn\n" in said
    assert "pip install ppm-env-web-app==3" in said
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
    ("arguments", "expect", "said"),
    [
        (["create", "../x"], 2, "can't be the name"),
        (["create", ""], 2, "can't be the name"),
        (["create", "a" * 61], 2, "can't be the name"),
        (["create", "a" * 300], 2, "can't be the name"),
        (["create", "good", "numpy=>1"], 2, "    numpy=>1\n         ^"),
        (["create", "good", "x @ https://me:secret@host/x.whl"], 2, "credential"),
        (["add", "good", "-r", "x"], 2, "No such option"),
        (["add", "good@2", "x"], 2, "does not change"),
        (["show", "good@0"], 2, "whole number"),
        (["show", "good"], 1, "ppmctl env create good"),
        (["log", "good"], 1, "no environment good"),
    ],
)
def test_what_makes_no_sense_is_refused(ann: Machine, arguments: list[str], expect: int, said: str) -> None:
    answer = env(ann, *arguments, expect=expect)
    assert said in answer
    assert "secret" not in answer


def test_names_are_those_of_the_index(ann: Machine, index: Server) -> None:
    """A name that the index has not is named, with what was perhaps meant; and nothing is made."""
    from support import wheels

    assert index.upload(wheels.wheel("sea-maps", "1.0")).status_code == 200
    said = env(ann, "create", "charts", "sea-map", expect=1)
    assert "no project sea-map" in said
    assert "sea-maps?" in said
    assert env(ann, "show", "charts", expect=1)
    assert env(ann, "create", "charts", "Sea.Maps>=1").strip() == "charts@1"
    assert "is there" in env(ann, "create", "charts", "sea-maps", expect=2).replace(
        "There is an environment", "is there"
    )
    assert "Is it sea-maps?" in env(ann, "remove", "charts", "sea-map", expect=1)


# several people at once


def changing(who: Machine, name: str, packages: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHANGES, name, *packages],
        env={**who.environ, "PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(said: str) -> list[str]:
    return [line.split()[1] for line in said.splitlines() if line.startswith("done ")]


def test_many_at_once_lose_nothing(ann: Machine, bob: Machine) -> None:
    """8 processes of two people, 25 packages each: all 200 are there, no number is missing, no change failed."""
    env(ann, "create", "many", "--shared")
    wanted = [[f"p{worker}-{number}" for number in range(25)] for worker in range(8)]
    workers = [changing((ann, bob)[number % 2], "many", packages) for number, packages in enumerate(wanted)]
    said = [worker.communicate(timeout=300) for worker in workers]
    assert [(worker.returncode, errors[-500:]) for worker, (_out, errors) in zip(workers, said, strict=True)] == [
        (0, errors[-500:]) for _out, errors in said
    ]
    assert [done(out) for out, _errors in said] == wanted
    everything = sorted(package for packages in wanted for package in packages)
    assert listing(ann, "many") == everything
    lines = log(ann, "many")
    assert [line["revision"] for line in lines] == list(range(1, 202))
    assert sorted(line["change"] for line in lines[1:]) == sorted(f"add {package}" for package in everything)


def test_one_of_many_dies(ann: Machine, bob: Machine) -> None:
    """One of 4 is killed at some moment: what it had said is done is there, what others did is there, no gap."""
    seed = int(os.environ.get("PPM_TEST_SEED") or random.randrange(1 << 32))
    print(f"PPM_TEST_SEED={seed}")
    chance = random.Random(seed)
    env(ann, "create", "mortal", "--shared")
    wanted = [[f"q{worker}-{number}" for number in range(12)] for worker in range(4)]
    workers = [changing((ann, bob)[number % 2], "mortal", packages) for number, packages in enumerate(wanted)]
    victim = chance.randrange(len(workers))
    out = workers[victim].stdout
    assert out is not None
    said = ["".join(out.readline() for _ in range(2 * chance.randrange(6)))]  # a revision and its "done" are a change
    chance.random()
    workers[victim].send_signal(signal.SIGKILL)
    said[0] += workers[victim].communicate(timeout=60)[0]
    for number, worker in enumerate(workers):
        if number != victim:
            answered, errors = worker.communicate(timeout=300)
            assert (worker.returncode, done(answered)) == (0, wanted[number]), errors[-500:]
    present = set(listing(ann, "mortal"))
    others = {package for number, packages in enumerate(wanted) if number != victim for package in packages}
    assert others | set(done(said[0])) <= present
    # of the killed one's at most one more: the one under way
    assert len(present - others - set(done(said[0]))) <= 1
    lines = log(ann, "mortal")
    assert [line["revision"] for line in lines] == list(range(1, len(present) + 2))
    assert {line["change"] for line in lines[1:]} == {f"add {package}" for package in present}
