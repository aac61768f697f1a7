"""Tests of a publish that is interrupted at any stage, by kill -9 or Ctrl-C, and then repeated."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from support import crashing, warm, wheels
from support.clients import Machine, machine
from support.evidence import until
from support.recorder import Act, Trouble, recording
from support.servers import Server

README = {"description_content_type": "text/markdown"}
SIGNALS = [signal.SIGKILL, signal.SIGINT]

# A build backend without dependencies that writes the build's time into its files, as setuptools does in sdists.
BACKEND = """
import gzip, io, os, pathlib, tarfile, time, zipfile

NAME, WAIT = "{name}", pathlib.Path(r"{wait}")
META = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: 1.0\\nDescription-Content-Type: text/markdown\\n\\nx\\n"

def build_sdist(folder, config_settings=None):
    if WAIT.exists():
        WAIT.with_name("reached").touch()
        while WAIT.exists():
            time.sleep(0.01)
    with tarfile.open(os.path.join(folder, f"{{NAME}}-1.0.tar.gz"), "w:gz") as tar:
        own = {{name: open(name).read() for name in ("pyproject.toml", "backend.py")}}
        for name, content in {{"PKG-INFO": META, **own}}.items():
            member = tarfile.TarInfo(f"{{NAME}}-1.0/{{name}}")
            member.size, member.mtime = len(content), time.time()
            tar.addfile(member, io.BytesIO(content.encode()))
    return f"{{NAME}}-1.0.tar.gz"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = f"{{NAME}}-1.0.dist-info"
    members = {{f"{{NAME}}.py": "x = 1\\n", f"{{info}}/METADATA": META,
               f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}}
    members[f"{{info}}/RECORD"] = "".join(f"{{name}},,\\n" for name in members) + f"{{info}}/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, f"{{NAME}}-1.0-py3-none-any.whl"), "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, time.gmtime()[:6]), content)
    return f"{{NAME}}-1.0-py3-none-any.whl"
"""


@pytest.fixture
def user(tmp_path: Path, index: Server) -> Machine:
    """Return a publisher's machine, with its own folder for temporary files."""
    computer = machine(tmp_path / "home", index)
    (tmp_path / "tmp").mkdir()
    return Machine(home=computer.home, environ={**computer.environ, "TMPDIR": str(tmp_path / "tmp")})


def project(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
    )
    (folder / "backend.py").write_text(BACKEND.format(name=name, wait=folder / "wait"))
    return folder


def dist(folder: Path, name: str) -> list[str]:
    """Write a wheel and an sdist, which are sent in this order."""
    top = f"{name}-1.0"
    packed = {f"{top}/PKG-INFO": wheels.metadata(name, "1.0", **README), f"{top}/{name}.py": b""}
    made = wheels.wheel(name, "1.0", **README), (f"{top}.tar.gz", wheels.tar_of(packed))
    return [str(wheels.write(folder / "dist", one)) for one in made]


class Running:
    """A `ppmctl publish` in its own process group, as a shell starts it; signals go to the group."""

    def __init__(self, user: Machine, *arguments: str, index: str, **environ: str) -> None:
        self._printed = user.home / "printed"
        with self._printed.open("wb") as printed:
            self.process = warm.start(
                ["publish", "--index", index, *arguments],
                environ={**user.environ, **environ},
                stdout=printed,
                stderr=printed,
                folder=user.home,
            )

    def end(self, by: signal.Signals) -> None:
        os.killpg(self.process.pid, by)

    def ended(self, by: signal.Signals) -> None:
        """Assert that it ended by this signal: a kill prints nothing, and Ctrl-C is not reported as a failure."""
        code = self.process.wait(timeout=60)
        printed = self._printed.read_text()
        assert code == (-signal.SIGKILL if by is signal.SIGKILL else 130), printed
        assert "Traceback" not in printed
        last = printed.rstrip().splitlines()[-1:]
        assert by is signal.SIGKILL or last[0].startswith(("ppmctl: Interrupted.", "The built files"))


def publish(user: Machine, index: Server, *arguments: str, expect: int = 0) -> str:
    """Publish without interruption; return the output."""
    command = ("publish", "--index", index.url, *arguments)
    done = warm.run(*command, expect=expect, environ=user.environ, folder=user.home)
    return done.stdout + done.stderr


def resume(user: Machine, index: Server, name: str, *arguments: str) -> list[str]:
    """Publish again; assert that the index has the printed files; return the states of wheel and sdist."""
    printed = publish(user, index, *arguments)
    files = re.findall(r"^(\w+) +(\S+) +([0-9a-f]{64})$", printed, re.MULTILINE)
    listed = {file["filename"]: file["hashes"]["sha256"] for file in index.page(name.replace("_", "-"))["files"]}
    assert {filename: sha256 for _, filename, sha256 in files} == listed
    assert len(listed) == 2
    return [state for state, _, _ in files]


@pytest.mark.parametrize("by", SIGNALS)
def test_publish_interrupted_during_the_build(
    by: signal.Signals, user: Machine, index: Server, tmp_path: Path
) -> None:
    name = f"built-{by.name}".lower().replace("-", "_")
    here = project(tmp_path / "project", name)
    (here / "wait").touch()
    running = Running(user, str(here), index=index.url)
    until((here / "reached").exists, "the build runs")
    running.end(by)
    (here / "wait").unlink()
    running.ended(by)
    assert by is signal.SIGKILL or not list((tmp_path / "tmp").glob("ppmctl-*"))
    assert index.get(f"/simple/built-{by.name.lower()}/").status_code == 404
    assert resume(user, index, name, str(here)) == ["published", "published"]


@pytest.mark.parametrize("by", SIGNALS)
def test_publish_interrupted_during_the_check(
    by: signal.Signals, user: Machine, index: Server, tmp_path: Path
) -> None:
    name = f"checked_{by.name}".lower()
    files = dist(tmp_path, name)
    plan = crashing.Plan(tmp_path / "plan")
    plan.arm("open", r"\.whl$", by=by)
    Running(user, *files, index=index.url, **plan.environ).ended(by)
    assert plan.disarm().startswith("open")
    assert resume(user, index, name, *files) == ["published", "published"]


# where it is interrupted: the requests that it sends before, and what the next run has to do
STAGES: dict[str, tuple[list[tuple[str, str]], bool, list[str]]] = {
    "while comparing": ([("GET", "act")], False, ["published", "published"]),
    "while the wheel is sent": ([("POST", "act")], False, ["published", "published"]),
    "when the wheel has arrived": ([("POST", "act")], True, ["same", "published"]),
    "before the wheel is seen": ([("POST", "none"), ("GET", "act")], False, ["same", "published"]),
    "while the sdist is sent": ([("POST", "none"), ("POST", "act")], False, ["same", "published"]),
    "when the sdist has arrived": ([("POST", "none"), ("POST", "act")], True, ["same", "same"]),
}


@pytest.mark.parametrize("by", SIGNALS)
@pytest.mark.parametrize("stage", STAGES)
def test_publish_interrupted_between_its_requests(
    stage: str, by: signal.Signals, user: Machine, index: Server, tmp_path: Path
) -> None:
    requests, after, states = STAGES[stage]
    name = f"{stage}-{by.name}".lower().replace(" ", "-").replace("-", "_")
    files = dist(tmp_path, name)
    running: list[Running] = []
    act = Act(act=lambda: running[0].end(by), after=after)
    troubles: list[tuple[str, Trouble]] = [(method, act if what == "act" else "none") for method, what in requests]
    with recording(index.port, troubles=troubles) as front:
        running.append(Running(user, *files, index=front.url))
        running[0].ended(by)
    assert resume(user, index, name, *files) == states


def test_a_second_build_with_other_times_counts_as_the_same(user: Machine, index: Server, tmp_path: Path) -> None:
    """A CI job is killed between two uploads, and restarts: its second build has other bytes."""
    here = project(tmp_path / "project", "again")
    running: list[Running] = []
    troubles: list[tuple[str, Trouble]] = [
        ("POST", "none"),
        ("POST", Act(act=lambda: running[0].end(signal.SIGKILL))),
    ]
    with recording(index.port, troubles=troubles) as front:
        running.append(Running(user, str(here), index=front.url))
        running[0].ended(signal.SIGKILL)
    assert resume(user, index, "again", str(here)) == ["same", "published"]
    backend = (here / "backend.py").read_text()
    (here / "backend.py").write_text(backend.replace("x = 1", "x = 2"))
    printed = publish(user, index, str(here), expect=1)
    assert "again-1.0-py3-none-any.whl: here sha256" in printed
