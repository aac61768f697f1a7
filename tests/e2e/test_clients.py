"""Real clients as a conformance suite: they publish and install real distributions."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from support import clients, servers, wheels
from support.clients import BIN, Installer, Machine, Real, flit_project, publish, publish_with_flit
from support.recorder import recording
from support.servers import Server, ppmctl

from ppmctl.index.layout import Volume
from ppmctl.index.store import Store

UPLOAD_PATHS = ("/", "/legacy/", "/upload")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def project_of(path: Path) -> str:
    return path.name.partition("-")[0].lower().replace("_", "-")


def assert_published(server: Server, path: Path) -> None:
    """Assert that the page lists the file with its digest, and that the download equals the published file."""
    (entry,) = [file for file in server.page(project_of(path))["files"] if file["filename"] == path.name]
    assert entry["hashes"] == {"sha256": sha256(path.read_bytes())}
    assert entry["size"] == path.stat().st_size
    assert server.get(f"/packages/{project_of(path)}/{path.name}").content == path.read_bytes()


def put(server: Server, *made: tuple[str, bytes]) -> None:
    """Publish files; a test does it once for each installer."""
    for one in made:
        assert server.upload(one).status_code == 200


# publishing


@pytest.mark.parametrize("client", ["twine", "uv", "hatch", "curl"])
def test_a_client_publishes_real_distributions(
    client: str, serve: Callable[..., Server], new_machine: Callable[..., Machine], real: Real
) -> None:
    """Common clients publish wheels, platform wheels, sdists and odd names at each upload URL."""
    server = serve("--upstream", "none")
    machine = new_machine(server)
    for number, path in enumerate(UPLOAD_PATHS):
        publish(client, machine, server, server.url + path, *real.all[number :: len(UPLOAD_PATHS)])
    for file in real.all:
        assert_published(server, file)


@pytest.mark.parametrize("path", UPLOAD_PATHS)
def test_flit_publishes_a_source_tree(
    path: str, index: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """flit builds and uploads, with its own kind of form."""
    name = f"made-by-flit-{UPLOAD_PATHS.index(path)}"
    project = flit_project(tmp_path / "source", name, "1.0")
    publish_with_flit(new_machine(), index, index.url + path, project)
    built_files = list((project / "dist").iterdir())
    assert sorted(built.suffix for built in built_files) == [".gz", ".whl"]
    assert index.filenames(name) == {built.name for built in built_files}
    for built in built_files:
        assert index.get(f"/packages/{name}/{built.name}").content == built.read_bytes()


@pytest.mark.parametrize("client", ["uv", "twine", "hatch"])
def test_a_token_alone_publishes_and_installs(
    client: str, index: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """Clients and CI actions send the user name `__token__` with it. Audit and page name the token's own name."""
    name = f"alone-{client}"
    made = ppmctl("token", "create", f"ci+{client}", "--role", "publisher", "--root", str(index.root)).stdout
    alone = replace(index, user="__token__", secret=made.strip().rpartition(":")[2])
    path = wheels.write(tmp_path, wheels.wheel(name, "1.0"))
    machine = new_machine()
    if client == "uv":
        command = (BIN / "uv", "publish", "--trusted-publishing", "never", "--publish-url", f"{index.url}/legacy/")
        machine.run(*command, path, UV_PUBLISH_TOKEN=alone.secret)
    else:
        publish(client, machine, alone, f"{index.url}/legacy/", path)
    assert_published(index, path)
    audit = json.loads((index.root / "audit.jsonl").read_text().splitlines()[-1])
    assert (audit["by"], audit["what"]) == (f"ci+{client}", path.name)
    simple = index.simple.replace("://", f"://__token__:{alone.secret}@")
    machine.run(BIN / "pip", "download", "--no-deps", "--index-url", simple, "--dest", tmp_path / "pip", name)
    machine.run(*(BIN / "uv", "pip", "install", "--target", tmp_path / "uv", "--index-url", simple, name))
    assert (tmp_path / "pip" / path.name).read_bytes() == path.read_bytes()
    assert requests.get(index.simple, auth=("__token__", alone.secret[:-1]), timeout=60).status_code == 401


def test_uv_publishes_again_with_check_url(
    index: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """`uv publish --check-url` skips files that the index has with the same content, and names files that differ."""
    wheel = wheels.write(tmp_path / "a", wheels.wheel("checked", "1.0"))
    again = wheels.write(tmp_path / "b", wheels.wheel("checked", "1.0", files={"checked.py": b"other\n"}))
    machine = new_machine(index)
    command = (BIN / "uv", "publish", "--trusted-publishing", "never", "--check-url", index.simple)
    environ = {"UV_PUBLISH_URL": index.url + "/", "UV_PUBLISH_USERNAME": index.user}
    environ["UV_PUBLISH_PASSWORD"] = index.secret
    machine.run(*command, wheel, **environ)
    assert "already exists" in machine.run(*command, wheel, **environ).output
    assert machine.run(*command, again, expect=None, **environ).code != 0


# installing


@pytest.fixture(scope="module")
def filled(index: Server, real: Real, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return the shared index with the real distributions."""
    publish("twine", clients.machine(tmp_path_factory.mktemp("twine")), index, index.url + "/", *real.all)
    return index


def test_real_distributions_are_installed_and_imported(
    filled: Server, new_installer: Callable[..., Installer], real: Real
) -> None:
    """Pure and compiled wheels, names with dots, and a dependency, from one index URL."""
    installer = new_installer(filled)
    installer.install("six", "zope.interface", "Ruamel_Yaml", "importlib-metadata", index=filled.simple)
    for path in (real.pure, real.compiled, real.dotted_pure, real.dependent, real.dependency):
        assert installer.version(project_of(path)) == path.name.split("-")[1]
    installer.machine.run(installer.python, "-c", "import six, zope.interface, ruamel.yaml, importlib_metadata")


@pytest.fixture(scope="module")
def redirecting(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield an index with an sdist; it redirects to the public index that this machine's pip uses."""
    configured = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, timeout=60
    )
    options = ("--upstream-url", configured.stdout.strip()) if configured.returncode == 0 else ()
    server = servers.start(tmp_path_factory.mktemp("redirecting") / "root", options=options)
    assert server.upload((real.sdist_only.name, real.sdist_only.read_bytes())).status_code == 200
    assert server.get("/simple/setuptools/").status_code == 302
    yield server
    server.kill()


def test_an_sdist_is_built_with_redirects_to_the_public_index(
    redirecting: Server, new_installer: Callable[..., Installer]
) -> None:
    """One index URL is enough: the build requirements of an sdist come through the redirect."""
    installer = new_installer(redirecting)
    installer.install("docopt", index=redirecting.simple)
    assert installer.version("docopt") == "0.6.2"


def test_without_a_credential_nothing_is_installed(filled: Server, new_installer: Callable[..., Installer]) -> None:
    """Reads need a credential by default: an anonymous client gets 401, which each client reports in its way."""
    installer = new_installer()
    with recording(filled.port) as recorder:
        assert installer.install("six", index=f"{recorder.url}/simple/", expect=None).code != 0
    assert {(exchange.path, exchange.status) for exchange in recorder.exchanges} == {("/simple/six/", 401)}
    assert installer.version("six") is None


def test_a_credential_in_the_url_is_enough(
    filled: Server, new_installer: Callable[..., Installer], real: Real
) -> None:
    """Issued secrets need no quoting in a URL: the client sends the credential for pages and files."""
    installer = new_installer()
    with recording(filled.port) as recorder:
        url = recorder.url.replace("://", f"://{filled.user}:{filled.secret}@")
        installer.install("six", index=f"{url}/simple/")
    assert installer.version("six") == real.pure.name.split("-")[1]
    answered = {exchange.path: exchange for exchange in recorder.exchanges if exchange.status == 200}
    assert {"/simple/six/", f"/packages/six/{real.pure.name}"} <= set(answered)
    expected = b64encode(":".join(filled.auth).encode()).decode()
    assert {exchange.headers["Authorization"] for exchange in answered.values()} == {f"Basic {expected}"}


def test_requires_python_is_honoured(index: Server, new_installer: Callable[..., Installer]) -> None:
    """A release for a future Python is skipped, and the older one installed (PEP 345, PEP 503)."""
    put(
        index,
        wheels.wheel("pythonic", "1.0", requires_python=">=3.9, <4"),
        wheels.wheel("pythonic", "2.0", requires_python=">=3.99"),
    )
    installer = new_installer(index)
    with recording(index.port) as recorder:
        installer.install("pythonic", index=f"{recorder.url}/simple/")
    assert installer.version("pythonic") == "1.0"
    assert [path for path in recorder.paths() if "pythonic-2.0" in path] == [], "the page says it, not the wheel"


def test_a_yanked_release_is_skipped_unless_pinned(index: Server, new_installer: Callable[..., Installer]) -> None:
    """PEP 592: resolvers skip it, a pin still installs it and prints the reason, and unyank reverts it."""
    installer = new_installer(index)
    name = f"yanky-{installer.name.replace(' ', '-')}"
    put(index, wheels.wheel(name, "1.0"), wheels.wheel(name, "2.0"))
    ppmctl("package", "yank", name, "2.0", "--reason", "it <eats> data", "--root", str(index.root))
    installer.install(name, index=index.simple)
    assert installer.version(name) == "1.0"
    printed = installer.install(f"{name}==2.0", index=index.simple).output
    assert installer.version(name) == "2.0"
    assert "it <eats> data" in printed
    ppmctl("package", "unyank", name, "2.0", "--root", str(index.root))
    fresh = new_installer(index)
    fresh.install(name, index=index.simple)
    assert fresh.version(name) == "2.0"


def test_odd_versions_and_names_install(index: Server, new_installer: Callable[..., Installer]) -> None:
    """Local and epoch versions have characters that are quoted in URLs; names vary in case, dots and underscores."""
    put(
        index,
        wheels.wheel("Odd.Name_here", "1.0+cpu.1"),
        wheels.wheel("epochal", "2024.1"),
        wheels.wheel("epochal", "1!2.0"),
        wheels.sdist("epochal", "1!1.0"),
        wheels.wheel("tagged", "1.0", tag="py3-none-manylinux_2_5_x86_64.manylinux1_x86_64"),
        wheels.wheel("tagged", "1.0", tag="py3-none-manylinux_2_17_aarch64"),
        wheels.wheel("tagged", "1.0", tag="py3-none-macosx_11_0_arm64"),
        wheels.wheel("tagged", "1.0", tag="py3-none-win_amd64"),
    )
    installer = new_installer(index)
    installer.install("odd-name.HERE==1.0+cpu.1", "epochal", "tagged", index=index.simple)
    assert installer.version("odd-name-here") == "1.0+cpu.1"
    assert installer.version("epochal") == "1!2.0"
    assert installer.version("tagged") == "1.0"


# how installers use the data of pages


def test_pip_downloads_the_release_of_a_given_time(
    index: Server, installer_of: Callable[..., Installer], tmp_path: Path
) -> None:
    """`--uploaded-prior-to` needs the time of upload on the page (PEP 700); pypiserver has none."""
    instants = uploaded_apart(index, "timely-pip", step=timedelta(microseconds=1))
    pip = installer_of("pip", index)
    for name, before, expected in instants:
        folder = tmp_path / name
        pip.run("download", "--index-url", index.simple, "--uploaded-prior-to", before, "-d", folder, "timely-pip")
        assert [path.name for path in folder.iterdir()] == [f"timely_pip-{expected}-py3-none-any.whl"]


def test_uv_excludes_newer_releases(index: Server, installer_of: Callable[..., Installer]) -> None:
    """`--exclude-newer` just before and after the time of an upload. uv counts in milliseconds."""
    for _name, before, expected in uploaded_apart(index, "timely-uv", step=timedelta(milliseconds=2)):
        uv = installer_of("uv", index)
        uv.install("timely-uv", "--exclude-newer", before, index=index.simple)
        assert uv.version("timely-uv") == expected


def uploaded_apart(index: Server, name: str, *, step: timedelta) -> list[tuple[str, str, str]]:
    """Upload two releases; return (name, time, newest release before it), for the second's time and a step later."""
    put(index, wheels.wheel(name, "1.0"))
    put(index, wheels.wheel(name, "2.0"))
    times = {file["filename"].split("-")[1]: file["upload-time"] for file in index.page(name)["files"]}
    second = datetime.fromisoformat(times["2.0"])
    assert datetime.fromisoformat(times["1.0"]) < second <= datetime.now(UTC)
    return [("at", second.isoformat(), "1.0"), ("after", (second + step).isoformat(), "2.0")]


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_a_resolution_reads_metadata_and_no_wheel(
    name: str, index: Server, installer_of: Callable[..., Installer], tmp_path: Path
) -> None:
    """PEP 658: of the candidates that a resolution rejects, no wheel is downloaded, not even a part."""
    project, needed = f"heavy-{name}", f"needed-{name}"
    put(index, wheels.wheel(needed, "1.0"))
    for minor in range(5):
        meta = wheels.metadata(project, f"1.{minor}", requires_dist=f"{needed}=={'1.0' if minor == 0 else '9'}")
        put(index, wheels.wheel(project, f"1.{minor}", meta=meta))
    with recording(index.port) as recorder:
        installer = installer_of(name, index)
        installer.install(project, index=f"{recorder.url}/simple/")
    assert installer.version(project) == "1.0"
    asked = {path.rpartition("/")[2] for path in recorder.paths() if path.startswith("/packages/")}
    stem = project.replace("-", "_")
    expected = {f"{stem}-1.{minor}-py3-none-any.whl.metadata" for minor in range(5)}
    expected |= {f"{stem}-1.0-py3-none-any.whl", f"{needed.replace('-', '_')}-1.0-py3-none-any.whl"}
    assert asked - {f"{needed.replace('-', '_')}-1.0-py3-none-any.whl.metadata"} == expected
    assert recorder.paths(status=206) == []


def test_two_changes_of_equal_length_within_a_second_are_both_seen(
    index: Server, new_installer: Callable[..., Installer]
) -> None:
    """A page's ETag is made from its size and whole seconds; a client with a cache must still see every change."""
    installer = new_installer(index)
    name = f"swift-{installer.name.replace(' ', '-')}"
    put(index, wheels.wheel(name, "1.0"), wheels.wheel(name, "1.1"))
    store = Store(Volume(root=index.root))
    page = index.root / "index" / "simple" / name / "index.json"
    sizes = []

    def swap(yanked: str, wanted: str) -> None:
        store.unyank(name, wanted)
        store.yank(name, yanked)
        sizes.append(page.stat().st_size)
        printed = installer.install("--dry-run", name, index=index.simple).output
        assert f"{name}-{wanted}" in printed or f"{name}=={wanted}" in printed, printed
        assert f"{name}=={yanked}" not in printed

    swap("1.0", "1.1")
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)  # so that a new second begins
    swap("1.1", "1.0")
    swap("1.0", "1.1")
    swap("1.1", "1.0")
    assert len(set(sizes)) == 1, "the test is about pages of one length"


def test_uv_locks_a_project_against_an_explicit_index(
    index: Server, new_machine: Callable[..., Machine], tmp_path: Path
) -> None:
    """The safe form of a private index in a uv project: the lock has hashes, sizes, times, and no secret."""
    put(index, wheels.wheel("locked-dep", "1.0"), wheels.sdist("locked-dep", "1.0"))
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["locked-dep"]\n\n'
        f'[[tool.uv.index]]\nname = "team"\nurl = "{index.simple}"\nexplicit = true\n\n'
        '[tool.uv.sources]\nlocked-dep = { index = "team" }\n'
    )
    credential = {"UV_INDEX_TEAM_USERNAME": index.user, "UV_INDEX_TEAM_PASSWORD": index.secret}
    machine = new_machine()
    environ = {name: value for name, value in machine.environ.items() if name != "UV_NO_CONFIG"}
    machine = Machine(home=machine.home, environ=environ)
    machine.run(BIN / "uv", "lock", cwd=project, **credential)
    locked = (project / "uv.lock").read_text()
    for file in index.page("locked-dep")["files"]:
        assert f'hash = "sha256:{file["hashes"]["sha256"]}", size = {file["size"]}, upload-time =' in locked
    assert index.secret not in locked
    assert index.user + ":" not in locked
    machine.run(BIN / "uv", "sync", "--locked", "--python", sys.executable, cwd=project, **credential)
    assert list(project.glob(".venv/lib/*/site-packages/locked_dep-1.0.dist-info"))


def test_hashes_in_a_requirements_file_are_checked(index: Server, new_installer: Callable[..., Installer]) -> None:
    """`--require-hashes` with the digests of the page installs; with another digest it does not."""
    put(index, wheels.wheel("hashed", "1.0"))
    digest = index.page("hashed")["files"][0]["hashes"]["sha256"]
    installer = new_installer(index)
    requirements = installer.machine.home / "requirements.txt"
    requirements.write_text(f"hashed==1.0 --hash=sha256:{'0' * 64}\n")
    assert installer.install("--require-hashes", "-r", requirements, index=index.simple, expect=None).code != 0
    requirements.write_text(f"hashed==1.0 --hash=sha256:{digest}\n")
    installer.install("--require-hashes", "-r", requirements, index=index.simple)
    assert installer.version("hashed") == "1.0"
