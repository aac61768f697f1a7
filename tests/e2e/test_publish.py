"""Tests of `ppmctl publish` and `client-config` with real servers, and real clients for the printed settings."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from passlib.hash import sha512_crypt
from support import evidence, servers, wheels
from support.clients import BIN, Installer, Machine, flit_project, machine, offline_builds
from support.recorder import Act, Trouble, recording
from support.servers import PPMCTL, Server, ppmctl

README = {"description_content_type": "text/markdown"}


@pytest.fixture
def user(tmp_path: Path, index: Server) -> Machine:
    """Return a publisher's machine, with only PPMCTL_INDEX and a netrc file."""
    computer = machine(tmp_path / "home", index)
    return Machine(home=computer.home, environ={**computer.environ, "PPMCTL_INDEX": index.url})


def publish(user: Machine, *arguments: str | Path, expect: int | None = 0, **environ: str) -> str:
    return user.run(*PPMCTL, "publish", *arguments, expect=expect, **environ).output


def sdist(name: str, version: str) -> tuple[str, bytes]:
    """Return an sdist that twine accepts, with files besides its metadata."""
    top = f"{name}-{version}"
    return f"{top}.tar.gz", wheels.tar_of(
        {f"{top}/PKG-INFO": wheels.metadata(name, version, **README), f"{top}/{name}.py": b""}
    )


def test_a_source_tree_is_built_and_published_and_again_unchanged(
    user: Machine, index: Server, tmp_path: Path
) -> None:
    project = flit_project(tmp_path / "tree", "treehouse", "1.0")
    output = publish(user, project, **offline_builds())
    files = {file["filename"]: file["hashes"]["sha256"] for file in index.page("treehouse")["files"]}
    assert set(files) == {"treehouse-1.0-py2.py3-none-any.whl", "treehouse-1.0.tar.gz"}
    assert re.findall(r"^published +(\S+) +(\w+)$", output, re.MULTILINE) == list(files.items())
    # no file of the build stays, neither in the project nor next to it
    assert not (project / "dist").exists()
    again = user.run(*PPMCTL, "publish", cwd=project, **offline_builds()).output
    assert re.findall(r"^same +(\S+) +(\w+)$", again, re.MULTILINE) == list(files.items())


def test_an_old_setuptools_project_is_published_and_compared_with_what_git_tracks(
    user: Machine, index: Server, tmp_path: Path
) -> None:
    """It has only a setup.py and an odd name; one of its modules is not packaged, and a file ignored by git is.

    Also when a copy is built.
    """
    project = tmp_path / "old"
    for name in ("shop/__init__.py", "shop/till/__init__.py", "shop/prices.txt", "README.md"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("")
    (project / ".gitignore").write_text("*.txt\n")
    (project / "setup.py").write_text(
        "from setuptools import setup\n"
        "setup(name='Zope.Old_Style', version='1.0+local.1', packages=['shop'], package_data={'shop': ['*.txt']})\n"
    )
    for command in (("init", "--quiet"), ("add", ".")):
        subprocess.run(["git", *command], cwd=project, check=True, timeout=60)
    printed = publish(user, "--clean", project, **offline_builds())
    top = "zope_old_style-1.0+local.1"
    assert index.filenames("zope-old-style") == {f"{top}-py3-none-any.whl", f"{top}.tar.gz"}
    assert f"{top}-py3-none-any.whl: it has files in it that git does not track: shop/prices.txt.\n" in printed
    assert f"{top}.tar.gz: it has files in it that git does not track: {top}/shop/prices.txt.\n" in printed
    assert f"{top}-py3-none-any.whl: it lacks modules that git tracks: shop/till/__init__.py.\n" in printed
    assert printed.count("`long_description` missing") == 1


def test_built_files_are_published_unchanged(user: Machine, index: Server, tmp_path: Path) -> None:
    project = flit_project(tmp_path / "ready", "ready", "1.1")
    module = (project / "ready.py").read_bytes()
    made = [
        wheels.write(project / "dist", wheels.wheel("ready", version, files={"ready.py": module}, **README))
        for version in ("1.0", "1.1")
    ]
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True, timeout=60)
    printed = publish(user, "--skip-build", project, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert f"Taken from {project}/dist: {made[1].name}\n" in printed
    assert f"call: git config --global --add safe.directory {project}\n" in printed
    assert "Building" not in printed
    assert index.filenames("ready") == {made[1].name}


def test_files_of_old_tools_are_published_as_the_index_accepts_them(
    user: Machine, index: Server, tmp_path: Path
) -> None:
    """As `dist/*` names them: with signatures, attestations and a folder. The same warning comes once."""
    folded = "Description: Title\n        =====\n        \n        Some *text*.\n"
    old = (
        b"Metadata-Version: 1.1\nName: antique\nVersion: 1.0\nLicense-File: x\nProvides-Extra: y\n" + folded.encode()
    )
    withdrawn = wheels.wheel("antique", "1.1", meta=b"Metadata-Version: 2.0\nName: antique\nVersion: 1.1\n")
    bare = wheels.sdist("antique", "1.2", meta=b"Metadata-Version: 1.0\nName: antique\nVersion: 1.2\nOdd: 1\n")
    made = [wheels.write(tmp_path, one) for one in (wheels.sdist("antique", "1.0", meta=old), withdrawn, bare)]
    for path in made:
        path.with_name(f"{path.name}.asc").touch()
        path.with_name(f"{path.name}.publish.attestation").touch()
    (tmp_path / "older").mkdir()
    printed = publish(user, *(path for path in sorted(tmp_path.iterdir()) if path.name != "home"))
    assert index.filenames("antique") == {path.name for path in made}
    assert f"{made[1].name}, {made[2].name}: no description" in printed
    assert printed.count("`long_description` missing") == 1
    assert "can't be rendered" not in printed
    assert (
        f"{made[0].name}: invalid metadata: provides-extra introduced in metadata version 2.1, not 1.1.\n" in printed
    )
    assert f"Skipped, as no wheel or sdist: {made[0].name}.asc" in printed


def test_allow_packed_publishes_a_file_that_is_refused_by_default(
    user: Machine, index: Server, tmp_path: Path
) -> None:
    made = wheels.write(tmp_path, wheels.wheel("keyed", "1.0", files={"keyed/.env": b"A=1"}, **README))
    publish(user, made, expect=1)
    publish(user, made, "--allow-packed", "keyed/.env")
    assert index.filenames("keyed") == {made.name}


def test_a_dry_run_prints_the_plan_and_sends_nothing(user: Machine, index: Server, tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("rehearsal", "1.0", **README))
    done = ppmctl("publish", "--dry-run", "--json", str(path), env=user.environ)
    (file,) = json.loads(done.stdout)["files"]
    assert (file["filename"], file["state"], file["url"]) == (path.name, "new", None)
    assert index.get("/simple/rehearsal/").status_code == 404


def test_a_conflict_stops_publish_before_the_first_upload(user: Machine, index: Server, tmp_path: Path) -> None:
    old = wheels.write(tmp_path / "old", wheels.wheel("feud", "1.0", **README))
    publish(user, old)
    new = wheels.write(tmp_path / "new", wheels.wheel("feud", "1.0", summary="changed", **README))
    other = wheels.write(tmp_path / "new", wheels.wheel("feud", "1.0", tag="py2-none-any", **README))
    output = publish(user, other, new, expect=1)
    assert f"{new.name}: here sha256" in output
    assert index.filenames("feud") == {old.name}
    assert "conflict " in publish(user, "--dry-run", other, new, expect=1)
    failed = ppmctl("publish", "--json", str(new), env=user.environ, expect=1)
    printed = json.loads(failed.stdout)
    assert f"{new.name}: here sha256" in printed["error"]["message"]
    assert [step["state"] for step in printed["plan"]] == ["conflict"]


def test_an_interrupted_publish_is_resumed(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Client and server are killed in the middle of it."""
    server = serve()
    user = machine(tmp_path / "home", server)
    made = [wheels.wheel("relay", f"1.{n}", files={"relay.py": os.urandom(2 << 20)}, **README) for n in range(8)]
    paths = [str(wheels.write(tmp_path / "dist", one)) for one in made]
    command = [*PPMCTL, "publish", "--index", server.url, *paths]
    with subprocess.Popen(command, env=user.environ, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("published  relay-1.0-")
        server.kill()
        running.kill()
        out, _ = running.communicate(timeout=120)
    first = 1 + out.count("\n")
    assert 1 <= first < 8
    server.start_again()
    done = ppmctl("publish", "--index", server.url, *paths, env=user.environ)
    states = [line.split()[0] for line in done.stdout.splitlines()]
    # one more may have arrived than was acknowledged
    assert states[:first] == ["same"] * first
    assert states[first + 1 :] == ["published"] * (7 - first)
    assert len(server.filenames("relay")) == 8


def test_an_upload_is_retried_until_the_index_has_the_file(user: Machine, index: Server, tmp_path: Path) -> None:
    """The index is busy, a connection breaks, and an answer is lost after the upload: the retry succeeds.

    Each happens to another file, since the pauses between retries of one file grow.
    """
    files = [wheels.write(tmp_path, wheels.wheel("patient", version, **README)) for version in ("1.0", "1.1", "1.2")]
    answered: tuple[str, Trouble] = ("POST", "none")
    troubles: list[tuple[str, Trouble]] = [("GET", "503"), ("POST", "503"), answered, ("POST", "cut"), answered]
    with recording(index.port, troubles=[*troubles, ("POST", "lost")]) as front:
        printed = publish(user, *files, PPMCTL_INDEX=front.url)
    assert re.findall(r"^published +(\S+) ", printed, re.MULTILINE) == [file.name for file in files]
    assert printed.count("Trying again in 1 s") == 4
    assert [exchange.status for exchange in front.exchanges if exchange.method == "POST"] == [200, 200, 200, 200]
    assert index.filenames("patient") == {file.name for file in files}


def test_a_release_is_published_while_the_index_is_killed_repeatedly(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    """The index is killed during three uploads, and starts again while the client already retries."""
    server = serve("--upstream", "none")
    files = [wheels.write(tmp_path, wheels.wheel("steadfast", f"1.{number}", **README)) for number in range(4)]
    chance = random.Random(evidence.seed())
    restarts: list[threading.Thread] = []

    def restart() -> None:
        time.sleep(chance.uniform(0, 0.05))  # until some moment of the upload, which takes about as long
        server.kill()
        server.start_again()

    def crash() -> None:
        for under_way in restarts:
            under_way.join()
        restarts.append(threading.Thread(target=restart))
        restarts[-1].start()

    troubles = [("POST", Act(act=crash, is_passed_on=True))] * 3
    try:
        with recording(server.port, troubles=troubles) as front:
            printed = publish(machine(tmp_path / "home", server), *files, PPMCTL_INDEX=front.url)
    finally:
        for under_way in restarts:
            under_way.join()  # otherwise its server outlives a failed test
    assert len(restarts) == 3
    assert len(re.findall(r"^published ", printed, re.MULTILINE)) == len(files)
    assert "Trying again" in printed, "the index was never down when it mattered"
    assert server.filenames("steadfast") == {file.name for file in files}
    assert server.stop() == 0
    ppmctl("index", "check", "--root", str(server.root))


def test_eight_parallel_publishes_of_the_same_files_succeed(user: Machine, index: Server, tmp_path: Path) -> None:
    made = [wheels.wheel("crowd", "1.0", files={"crowd.py": os.urandom(4 << 20)}, **README), sdist("crowd", "1.0")]
    paths = [str(wheels.write(tmp_path / "dist", one)) for one in made]
    with ThreadPoolExecutor(8) as pool:
        outs = list(pool.map(lambda _: ppmctl("publish", *paths, env=user.environ).stdout, range(8)))
    assert index.filenames("crowd") == {made[0][0], made[1][0]}
    assert sum(out.count("published") for out in outs) >= 2


def test_publish_without_permission_exits_with_4(user: Machine, index: Server, tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("forbidden", "1.0", **README))
    (user.home / ".netrc").unlink()
    printed = publish(user, path, expect=4)
    assert "PPMCTL_TOKEN" in printed
    secret = ppmctl("user", "add", "onlooker", "--role", "reader", "--root", str(index.root)).stdout.strip()
    printed = publish(user, path, expect=4, PPMCTL_USERNAME="onlooker", PPMCTL_TOKEN=secret)
    assert "'onlooker' (from PPMCTL_USERNAME and PPMCTL_TOKEN)" in printed
    assert secret not in printed
    printed = publish(user, path, expect=4, PPMCTL_USERNAME="nobody", PPMCTL_TOKEN="wr0ng-secret")
    assert "does not accept" in printed
    assert "wr0ng-secret" not in printed
    assert index.get("/simple/forbidden/").status_code == 404


def test_the_indexs_reason_of_a_refusal_is_printed(user: Machine, index: Server, tmp_path: Path) -> None:
    path = wheels.write(tmp_path, wheels.wheel("closed", "1.0", **README))
    publish(user, path)
    ppmctl("package", "status", "closed", "archived", "--root", str(index.root))
    newer = wheels.write(tmp_path, wheels.wheel("closed", "1.1", **README))
    printed = publish(user, newer, expect=None)
    assert "archived" in printed
    assert index.filenames("closed") == {path.name}


def test_a_redirected_name_is_published_as_new(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Files of another index with that name, same or not, neither skip nor refuse an upload."""
    public = serve(root=tmp_path / "public")
    made = wheels.wheel("lookalike", "1.0", **README)
    assert public.upload(made).status_code == 200
    private = serve("--upstream", "redirect", "--upstream-url", public.simple, root=tmp_path / "private")
    assert private.get("/simple/lookalike/").status_code == 302
    user = machine(tmp_path / "home", private)
    done = ppmctl("publish", "--index", private.url, str(wheels.write(tmp_path, made)), env=dict(user.environ))
    assert done.stdout.startswith("published  lookalike-1.0")
    assert private.filenames("lookalike") == {made[0]}


def test_publish_to_a_bare_pypiserver_with_a_pypirc(tmp_path: Path) -> None:
    user = machine(tmp_path / "home")
    with bare_pypiserver(tmp_path) as url:
        (user.home / ".pypirc").write_text(
            f"[distutils]\nindex-servers = old\n[old]\nrepository = {url}\nusername = bob\npassword = bob's\n"
        )
        path = wheels.write(tmp_path / "dist", wheels.wheel("veteran", "1.0", **README))
        for index, state in (("old", "published"), (url, "same")):
            done = ppmctl("publish", "--index", index, str(path), env=dict(user.environ))
            assert done.stdout.startswith(f"{state} ")
    assert (tmp_path / "packages" / path.name).read_bytes() == path.read_bytes()


@contextmanager
def bare_pypiserver(folder: Path) -> Iterator[str]:
    (folder / "packages").mkdir()
    (folder / "htpasswd").write_text("bob:" + sha512_crypt.using(rounds=5000).hash("bob's") + "\n")
    port = servers.free_port()
    command = [BIN / "pypi-server", "run", "-i", "127.0.0.1", "-p", str(port), "-P", folder / "htpasswd"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *command,
                "--health-endpoint",
                "/healthz",
                "-a",
                "update,list,download",
                "--disable-fallback",
                folder / "packages",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        probe = Server(root=folder, port=port, process=process, log=folder / "log")
        servers.server_is_up(probe, wait=60)
        yield f"{probe.url}/"
    finally:
        process.terminate()
        process.wait(timeout=30)


def configured(user: Machine, *arguments: str) -> str:
    return ppmctl("client-config", *arguments, env=user.environ).stdout


@pytest.mark.parametrize("client", ["pip", "uv"])
def test_printed_settings_make_pip_and_uv_install_from_the_index(
    client: str, user: Machine, index: Server, newest_pip: Path, tmp_path: Path
) -> None:
    name = f"installed-by-{client}"
    publish(user, wheels.write(tmp_path, wheels.wheel(name, "1.0", **README)))
    (user.home / "credential").write_text(f"{index.user}:{index.secret}\n")
    (user.home / ".netrc").write_text(configured(user, "netrc", "--credential-file", str(user.home / "credential")))
    folder = user.home / ".config" / client
    folder.mkdir(parents=True)
    (folder / {"pip": "pip.conf", "uv": "uv.toml"}[client]).write_text(configured(user, client, "--form", "single"))
    unset = {"PIP_CONFIG_FILE", "UV_NO_CONFIG"}
    environ = {key: value for key, value in user.environ.items() if key not in unset}
    installer = Installer(
        name=client,
        machine=Machine(home=user.home, environ=environ),
        library=newest_pip if client == "pip" else None,
    )
    installer.run("install", name)
    assert installer.version(name) == "1.0"


def test_printed_settings_make_twine_upload_to_the_index(user: Machine, index: Server, tmp_path: Path) -> None:
    (user.home / "credential").write_text(f"{index.user}:{index.secret}\n")
    (user.home / ".pypirc").write_text(configured(user, "twine", "--credential-file", str(user.home / "credential")))
    path = wheels.write(tmp_path, wheels.wheel("by-twine", "1.0", **README))
    user.run(
        *(sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar"),
        *("--repository", "internal", path),
        TWINE_PASSWORD=index.secret,
    )
    assert index.filenames("by-twine") == {path.name}
