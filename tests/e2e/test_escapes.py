"""What strangers write is shown, but no terminal obeys it: answers of servers, names of files, names of users."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import wheels
from support.clients import Machine, machine
from support.faulty import Response, index
from support.servers import JSON, ppmctl, run_ppmctl

EVIL = "x\x1b]0;title\x07\x1b[2Jy\x9b31m\u202egnp.exe\u2066\x00z"
FORGED = f"{EVIL}\nppmctl: done"


@pytest.fixture
def desk(tmp_path: Path) -> Machine:
    made = machine(tmp_path / "desk")
    return Machine(home=made.home, environ={**made.environ, "PPMCTL_USERNAME": "me", "PPMCTL_TOKEN": "ppm_mine"})


def answer(values: object, kind: str = "application/json", status: int = 200) -> Response:
    return Response(status=status, headers={"Content-Type": kind}, body=json.dumps(values).encode())


def page(project: str, **more: object) -> Response:
    return answer({"meta": {"api-version": "1.4"}, "name": project, "files": [], **more}, JSON)


def file(filename: str, **more: object) -> dict[str, object]:
    return {"filename": filename, "url": f"/f/{filename}", "hashes": {}, **more}


WHOAMI = {"name": EVIL, "role": EVIL, "projects": [EVIL], "expires": EVIL}
ENVIRONMENT = {"name": "web", "owner": EVIL, "shared": True, "revision": 1, "by": EVIL, "at": EVIL, "change": FORGED}
LOG = {**ENVIRONMENT, "latest": 1, "revisions": [{**ENVIRONMENT, "yanked": FORGED}]}
LISTING = {"environments": [ENVIRONMENT], "after": None}
REFUSED = Response(status=418, headers={"Content-Type": "text/plain"}, body=FORGED.encode())
RELEASE = file("far-1.0-py3-none-any.whl", yanked=FORGED, **{"core-metadata": True})
ANSWERS: dict[str, tuple[tuple[str, ...], dict[str, Response]]] = {
    "whoami": (("whoami",), {"/api/whoami": answer(WHOAMI)}),
    "env list": (
        ("env", "list"),
        {"/env/?limit=1000&after=": answer({"environments": [ENVIRONMENT], "after": None})},
    ),
    "env log": (("env", "log", "web"), {"/env/web/": answer(LOG)}),
    "env show": (("env", "show", "web"), {"/simple/ppm-env-web/": REFUSED}),
    "package list": (("package", "list"), {"/simple/": answer({"meta": {}, "projects": [{"name": EVIL}]}, JSON)}),
    "package show": (
        ("package", "show", "far"),
        {
            "/simple/far/": page("far", files=[RELEASE], **{"project-status": {"status": EVIL, "reason": FORGED}}),
            "/f/far-1.0-py3-none-any.whl.metadata": Response(
                body=wheels.metadata("far", "1.0", summary=EVIL, author=EVIL, project_url=f"{EVIL}, {EVIL}")
            ),
        },
    ),
    "package search": (
        ("package", "search", "far"),
        {"/api/packages?q=far": answer({"projects": [{"name": "far", "version": EVIL, "summary": FORGED}]})},
    ),
    "package download": (
        ("package", "download", "far", "1.0"),
        {
            "/simple/far/": page("far", files=[RELEASE]),
            "/f/far-1.0-py3-none-any.whl": Response(
                status=404, headers={"Content-Type": "text/plain"}, body=FORGED.encode()
            ),
        },
    ),
    "package yank": (("package", "yank", "far", "1.0"), {}),
    "a refusal": (("whoami",), {"/api/whoami": REFUSED, "/simple/": REFUSED}),
    "a redirect": (
        ("whoami",),
        {
            "/api/whoami": Response(status=302, headers={"Location": "http://127.0.0.1:1/\x1b[2J"}),
            "/simple/": REFUSED,
        },
    ),
}


def is_harmless(text: str) -> bool:
    return all(letter.isprintable() or letter in "\n\t" for letter in text)


@pytest.mark.parametrize("name", ANSWERS)
def test_no_terminal_obeys_the_answer_of_a_server(name: str, desk: Machine) -> None:
    words, answers = ANSWERS[name]
    with index(answers) as port:
        place = ("--index", f"http://127.0.0.1:{port}")
        done = desk_runs(desk, *words, *place)
        printed = done[0] + done[1]
        assert is_harmless(printed), repr(printed)
        assert "\nppmctl: done" not in printed, "an answer makes up no line"
        assert is_harmless(desk_runs(desk, *words, *place, "--json")[0])


def test_json_has_the_answer_of_a_server_as_it_is(desk: Machine) -> None:
    with index(ANSWERS["whoami"][1]) as port:
        out, _err = desk_runs(desk, "whoami", "--index", f"http://127.0.0.1:{port}", "--json")
    assert json.loads(out).items() >= WHOAMI.items()


def desk_runs(desk: Machine, *words: str) -> tuple[str, str]:
    """Run ppmctl, whatever it exits with, and return what it printed."""
    done = run_ppmctl(words, env=desk.environ, cwd=desk.home)
    assert done.returncode in (0, 1, 4), done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_no_terminal_obeys_the_name_of_a_file(tmp_path: Path) -> None:
    old = tmp_path / "old"
    wheels.write(old, wheels.wheel("good", "1.0"))
    name = os.fsencode(FORGED.replace("\x00", "").replace("/", "")) + b"\xff-1.0-py3-none-any.whl"
    (old / os.fsdecode(name)).write_bytes(b"no wheel")
    root = tmp_path / "root"
    done = ppmctl("index", "adopt", str(old), "--root", str(root), expect=1)
    assert done.stdout.count("\n") == 1
    assert is_harmless(done.stdout + done.stderr)
    (root / "packages" / os.fsdecode(name)).write_bytes(b"")
    done = ppmctl("index", "check", "--root", str(root), expect=1)
    assert "gnp.exe" in done.stdout
    assert is_harmless(done.stdout + done.stderr)


def test_no_terminal_obeys_the_audit_log(tmp_path: Path) -> None:
    root = tmp_path / "root"
    ppmctl("init", "--root", str(root))
    line = {"time": "2026-11-21T09:30:00Z", "action": EVIL, "by": EVIL, "from": EVIL, "what": FORGED, "result": EVIL}
    (root / "audit.jsonl").write_text(f"{json.dumps(line)}\n")
    done = ppmctl("audit", "--root", str(root))
    assert is_harmless(done.stdout + done.stderr)
