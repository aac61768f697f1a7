"""The publisher as users run it: `docker compose run --rm publisher`, with an index by compose.

Most projects here build themselves (PEP 517, backend-path), so that a build downloads nothing and can report its
environment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import checkout as copies
from support import wheels
from support.composed import INSIDE, Composed
from support.evidence import until
from support.secured import configure, files_in_use
from support.servers import JSON

from testbed import place
from testbed.bed import Bed
from testbed.container import Done, lease_labels

HELLO = place.CHECKOUT / "examples" / "hello"
README = {"description_content_type": "text/markdown"}
OTHER = 4711  # a uid that has no name in the image

# An in-tree build backend: a test's `extra()` runs in the build, and its result is a file of the sdist.
BACKEND = """
import gzip, io, os, tarfile, zipfile

NAME, VERSION = "{name}", "{version}"
META = f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n"
META += "Description-Content-Type: text/markdown\\n\\nx\\n"
TOP = f"{{NAME}}-{{VERSION}}"

def extra():
{extra}

def build_sdist(folder, config_settings=None):
    names = {{"PKG-INFO": META.encode(), "extra": str(extra()).encode()}}
    for name in ("pyproject.toml", "backend.py"):
        names[name] = open(name, "rb").read()
    path = os.path.join(folder, f"{{TOP}}.tar.gz")
    with gzip.GzipFile(path, "wb", mtime=0) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in names.items():
            member = tarfile.TarInfo(f"{{TOP}}/{{name}}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return f"{{TOP}}.tar.gz"

def build_wheel(folder, config_settings=None, metadata_directory=None):
    path = f"{{TOP}}-py3-none-any.whl"
    info = f"{{TOP}}.dist-info"
    members = {{f"{{NAME}}.py": "x = 1\\n", f"{{info}}/METADATA": META,
               f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}}
    record = "".join(f"{{name}},,\\n" for name in members) + f"{{info}}/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, path), "w") as archive:
        for name, content in [*members.items(), (f"{{info}}/RECORD", record)]:
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), content)
    return path
"""

FAST = '#include <Python.h>\nstatic struct PyModuleDef m = {PyModuleDef_HEAD_INIT, "ppm_fast", 0, 0, 0};\n'
FAST += "PyMODINIT_FUNC PyInit_ppm_fast(void) { return PyModule_Create(&m); }\n"


def project(folder: Path, name: str, version: str = "1.0", *, extra: str = 'return ""', requires: str = "") -> Path:
    """Make a project that builds itself, readable for all users like a checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(
        f'[build-system]\nrequires = [{requires}]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
    )
    code = "\n".join(f"    {line}" for line in extra.splitlines())
    (folder / "backend.py").write_text(BACKEND.format(name=name, version=version, extra=code))
    make_readable(folder)
    return folder


def make_readable(folder: Path) -> None:
    """Make a folder readable for all users, because pytest's folders are private."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """The publisher service of an index; its input files are in `folder`."""

    index: Composed
    folder: Path

    def credential(self, name: str = "credential", *, content: str | None = None, mode: int = 0o644) -> str:
        """Write a file with the index's credential or with `content`, and return its path."""
        path = self.folder / name
        path.write_text(":".join(self.index.auth) + "\n" if content is None else content)
        path.chmod(mode)
        return str(path)

    def run(
        self,
        source: Path | str,
        *arguments: str,
        expect: int = 0,
        options: tuple[str, ...] = (),
        credential: str | None = None,
        **environment: str,
    ) -> Done:
        """Run `docker compose run --rm publisher`, which has to exit with `expect`; `credential=""` mounts none."""
        given = self.credential() if credential is None else credential
        filled = {"PPM_PROJECT": str(source), "PPM_CREDENTIAL_FILE": given, **environment}
        compose = self.index.compose.but(**{name: value for name, value in filled.items() if value})
        done = compose.run("publisher", *arguments, options=options, check=False)
        assert done.code == expect, f"exited {done.code}:\n{done.out}\n{done.err}"
        assert self.index.secret not in done.out + done.err
        return done

    def listed(self, name: str) -> dict[str, str]:
        """Return the files of a project in the index, with their sha256."""
        answer = self.index.get(f"/simple/{name}/", headers={"Accept": JSON})
        return (
            {file["filename"]: file["hashes"]["sha256"] for file in answer.json()["files"]}
            if answer.status_code == 200
            else {}
        )


@pytest.fixture
def publisher(composed: Composed, tmp_path: Path) -> Publisher:
    return Publisher(index=composed, folder=tmp_path)


def folder_with_wheel(folder: Path, name: str, **options: Any) -> tuple[Path, str]:
    """Make a folder with a wheel, for tests of what comes after the build; return the folder and the wheel's name."""
    made = wheels.write(folder, wheels.wheel(name, "1.0", **README, **options))
    make_readable(folder)
    return folder, made.name


def states(done: Done) -> list[str]:
    return [line.split()[0] for line in done.out.splitlines()]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in folder.rglob("*")
    }


def test_a_project_is_built_checked_and_published(publisher: Publisher) -> None:
    before = snapshot(HELLO)
    assert publisher.listed("ppm-hello") == {}
    done = publisher.run(HELLO)
    assert states(done) == ["published", "published"]
    assert {name: digest for _, name, digest in map(str.split, done.out.splitlines())} == publisher.listed(
        "ppm-hello"
    )
    assert "plain HTTP" not in done.err, "that network is nobody else's"
    assert snapshot(HELLO) == before


def test_a_release_is_refused_where_the_project_is_only_read(publisher: Publisher, tmp_path: Path) -> None:
    made = project(tmp_path / "raised", "raised")
    done = publisher.run(made, "--bump", "minor", "--tag", expect=2)
    assert "/project is not writable here, and a release changes and commits files in it" in done.err
    assert "raise the version and commit there" in done.err
    assert publisher.listed("raised") == {}
    rehearsed = publisher.run(made, "--bump", "minor", "--dry-run", expect=1)
    assert '+version = "1.1"' in rehearsed.err
    assert "1.1 is to be released" in rehearsed.err, "its backend has a version of its own"


def test_two_clones_of_a_commit_give_the_same_files(publisher: Publisher, tmp_path: Path) -> None:
    """Files get the time of the clone, and builds write times into archives."""
    origin = tmp_path / "origin"
    shutil.copytree(HELLO, origin)
    toml = origin / "pyproject.toml"
    toml.write_text(toml.read_text().replace("ppm-hello", "ppm-cloned", 1))
    module = origin / "src" / "ppm_hello"
    module.rename(module.with_name("ppm_cloned"))
    git(origin, "init", "--quiet")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "--message=x")
    for number, state in enumerate(["published", "same"]):
        clone = tmp_path / f"clone{number}" / "cloned"
        git(tmp_path, "clone", "--quiet", str(origin), str(clone))
        for path in clone.rglob("*"):
            if ".git" not in path.parts:
                os.utime(path, (1.5e9 + number * 1000, 1.5e9 + number * 1000))
        make_readable(clone)
        assert states(publisher.run(clone)) == [state, state]


def git(folder: Path, *arguments: str) -> None:
    identity = [part for what in ("name", "email") for part in ("-c", f"user.{what}=x@example.test")]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, timeout=60)


# compilers and build requirements


@pytest.fixture(scope="module")
def with_compiler(bed: Bed, composed: Composed, images: str) -> Iterator[Composed]:
    """Build the publisher's image with the command of its message, and return the same deployment with that image."""
    made = composed.compose.but(PPM_TAG=f"{images}-gcc")
    made.call("build", "--build-arg", "EXTRA_PACKAGES=gcc python3-dev", "publisher", timeout=1800)
    yield Composed(compose=made, port=composed.port, user=composed.user, secret=composed.secret)
    bed.engine.api.images.remove(f"ppm-publisher:{images}-gcc", force=True)


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    made = tmp_path / "fast"
    (made / "src").mkdir(parents=True)
    (made / "src" / "fast.c").write_text(FAST)
    (made / "README.md").write_text("x\n")
    (made / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "ppm-fast"\nversion = "1.0"\nreadme = "README.md"\n'
        '[tool.setuptools]\next-modules = [{name = "ppm_fast", sources = ["src/fast.c"]}]\n'
    )
    make_readable(made)
    return made


def test_a_missing_compiler_is_named_with_the_command_to_add_it(publisher: Publisher, compiled: Path) -> None:
    done = publisher.run(compiled, expect=1)
    assert "/project can't be built without a C compiler" in done.err
    assert "docker compose build --build-arg EXTRA_PACKAGES='gcc python3-dev' publisher" in done.err
    assert publisher.listed("ppm-fast") == {}


def test_the_build_succeeds_with_the_packages_of_the_message(
    with_compiler: Composed, compiled: Path, tmp_path: Path
) -> None:
    publisher = Publisher(index=with_compiler, folder=tmp_path)
    publisher.run(compiled)
    wheel, sdist = sorted(publisher.listed("ppm-fast"))
    assert "-linux_" in wheel or "-manylinux" in wheel
    assert sdist == "ppm_fast-1.0.tar.gz"
    assert not list(compiled.rglob("*.egg-info"))


def test_a_missing_build_requirement_is_named(publisher: Publisher, tmp_path: Path) -> None:
    made = project(tmp_path / "needy", "needy", requires='"ppm-no-such-backend>=7"')
    done = publisher.run(made, expect=1, PIP_INDEX_URL="http://gone:8080/simple/")
    assert "without its build requirement ppm-no-such-backend>=7" in done.err
    assert "PIP_INDEX_URL" in done.err


def test_build_requirements_can_come_from_the_index_itself(publisher: Publisher, tmp_path: Path) -> None:
    """pip gets the credential from a netrc file; one in the URL is refused, because `docker inspect` shows it."""
    files = {"ppm_backend.py": b"greeting = 'from the index'\n"}
    publisher.run(*folder_with_wheel(tmp_path / "helper", "ppm-backend", files=files))
    made = project(
        tmp_path / "user", "user", extra="import ppm_backend\nreturn ppm_backend.greeting", requires='"ppm-backend"'
    )
    index = f"{INSIDE}/simple/"
    user, secret = publisher.index.auth
    netrc = publisher.credential("netrc", content=f"machine nginx login {user} password {secret}\n")
    done = publisher.run(made, PIP_INDEX_URL=index, PPM_NETRC=netrc, credential="")
    assert f"as {user} (from /scratch/home/.netrc, machine nginx)" in done.err
    assert len(publisher.listed("user")) == 2
    leaky = publisher.index.compose.but(PPM_PROJECT=str(made), PIP_INDEX_URL="http://ops:s3cret@nginx:8080/simple/")
    refused = leaky.run("publisher", check=False)
    assert refused.code == 2
    assert "PPM_NETRC" in refused.err
    assert "s3cret" not in refused.out + refused.err


# credentials


def test_no_credential_is_exit_4(publisher: Publisher, tmp_path: Path) -> None:
    done = publisher.run(*folder_with_wheel(tmp_path / "p", "unsigned"), expect=4, credential="")
    assert "asks for a credential, and none was found" in done.err
    assert "No credential is mounted." in done.err


def test_an_unreadable_credential_file_names_its_owner_who_can_publish(publisher: Publisher, tmp_path: Path) -> None:
    """Mode 0600 is the usual case, and the image's own uid does not exist on the machine."""
    secret = publisher.credential("mine", mode=0o600)
    os.chown(secret, OTHER, OTHER)
    made = folder_with_wheel(tmp_path / "own", "owned")
    done = publisher.run(*made, expect=4, credential=secret)
    assert "The credential file /run/secrets/credential can't be read: Permission denied" in done.err
    assert f"--user {OTHER}:{OTHER}" in done.err
    assert states(publisher.run(*made, credential=secret, options=("--user", f"{OTHER}:{OTHER}"))) == ["published"]


def test_a_missing_mount_source_is_named(publisher: Publisher, tmp_path: Path) -> None:
    for done in (
        publisher.run(HELLO, expect=1, credential=str(tmp_path / "no-credential")),
        publisher.run(tmp_path / "no-project", expect=1),
    ):
        assert str(tmp_path / "no-") in done.err
        assert "not exist" in done.err
    assert not (tmp_path / "no-project").exists(), "the engine made what was not there"


def test_a_pypirc_of_several_sections(publisher: Publisher, tmp_path: Path) -> None:
    """The section of this index is found by its URL and by its name."""
    user, secret = publisher.index.auth
    text = "[distutils]\nindex-servers =\n    here\n    elsewhere\n"
    text += "[elsewhere]\nrepository = https://elsewhere.test/legacy/\nusername = x\npassword = s3cret-of-elsewhere\n"
    text += f"[here]\nrepository = {INSIDE}/legacy/\nusername = {user}\npassword = {secret}\n"
    pypirc = publisher.credential("pypirc", content=text)
    made = folder_with_wheel(tmp_path / "p", "sectioned")
    by_url = publisher.run(*made, credential="", PPM_PYPIRC=pypirc)
    assert "section [here]" in by_url.err
    by_name = publisher.run(*made, credential="", PPM_PYPIRC=pypirc, PPMCTL_INDEX="here")
    assert states(by_name) == ["same"]
    assert not any("s3cret" in done.out + done.err for done in (by_url, by_name))


def test_docker_inspect_and_logs_show_no_secret(publisher: Publisher, tmp_path: Path) -> None:
    """The container is confined too: no capabilities, read-only, and not root."""
    folder, filename = folder_with_wheel(tmp_path / "p", "inspected")
    compose = publisher.index.compose.but(PPM_PROJECT=str(folder), PPM_CREDENTIAL_FILE=publisher.credential())
    compose.call("run", "--name", f"{compose.project}-inspected", "-T", "publisher", filename)
    box = compose.engine.api.containers.get(f"{compose.project}-inspected")
    try:
        visible = json.dumps(box.attrs) + json.dumps(box.image.attrs) + json.dumps(box.image.history())
        assert publisher.index.secret not in visible + box.logs().decode()
        host = box.attrs["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert box.attrs["Config"]["User"] == "10001:10001"
        assert box.image.attrs["Config"]["User"] == "10001:10001"
        assert {mount["Destination"] for mount in box.attrs["Mounts"] if mount["RW"]} == {"/scratch", "/builds"}
    finally:
        box.remove(v=True)


# arguments and projects


def test_without_a_project_the_message_names_ppm_project(publisher: Publisher) -> None:
    done = publisher.run("", expect=2)
    assert "PPM_PROJECT=/path/of/the/project docker compose run --rm publisher" in done.err


def test_a_folder_without_a_project_is_exit_2(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    done = publisher.run(tmp_path / "empty", expect=2)
    assert "neither a pyproject.toml nor a setup.py" in done.err
    assert "PPM_PROJECT" not in done.err


def test_an_unreadable_project_names_its_owner(publisher: Publisher, tmp_path: Path) -> None:
    closed = project(tmp_path / "closed", "closed")
    os.chown(closed, OTHER, OTHER)
    closed.chmod(0o700)
    done = publisher.run(closed, expect=2)
    assert "/project can't be read: Permission denied" in done.err
    assert f"--user {OTHER}:{OTHER}" in done.err
    closed.chmod(0o755)
    (closed / "hidden").write_text("x")
    (closed / "hidden").chmod(0o600)
    done = publisher.run(closed, expect=1)
    assert "/project/hidden" in done.err


def test_the_build_can_run_programs_and_writes_only_to_its_folders(publisher: Publisher, tmp_path: Path) -> None:
    """Many builds run their own programs, which is impossible on a tmpfs of the engine."""
    extra = """import subprocess, tempfile
script = os.path.join(tempfile.mkdtemp(), "script")
open(script, "w").write("#!/bin/sh\\necho runs\\n")
os.chmod(script, 0o755)
assert subprocess.check_output([script]) == b"runs\\n"
assert os.getuid() != 0
for place in ("/project", "/opt/ppm", "/usr/local", "/etc", "/"):
    try:
        open(os.path.join(place, "written"), "w")
    except OSError:
        continue
    raise AssertionError(place)
assert not [name for name in os.environ if "CREDENTIAL" in name or "TOKEN" in name], os.environ
open("written-beside-it", "w").close()
return "\""""
    made = project(tmp_path / "p", "confined", extra=extra)
    before = snapshot(made)
    publisher.run(made)
    publisher.run(made, options=("--user", f"{OTHER}:{OTHER}"))
    assert snapshot(made) == before


def test_leftovers_of_earlier_builds_are_not_included(publisher: Publisher, tmp_path: Path) -> None:
    made = project(tmp_path / "p", "tidy", extra="return sorted(n for n in os.listdir() if n != '__pycache__')")
    (made / "build").mkdir()
    (made / "tidy.egg-info").mkdir()
    done = publisher.run(made, "--json")
    (sdist,) = [file for file in json.loads(done.out)["files"] if file["filename"].endswith(".tar.gz")]
    got = publisher.index.get(sdist["url"].partition(INSIDE)[2])
    (tmp_path / "sdist.tar.gz").write_bytes(got.content)
    extra = subprocess.run(
        ["tar", "-xzOf", str(tmp_path / "sdist.tar.gz"), "tidy-1.0/extra"], check=True, capture_output=True, text=True
    )
    assert extra.stdout == "['backend.py', 'pyproject.toml']"


RETURN_GIT_VERSION = """import subprocess
said = subprocess.run(["git", "describe", "--tags", "--dirty"], capture_output=True, text=True)
assert said.returncode == 0, said.stderr
assert said.stdout == "v1.0\\n", said.stdout
return said.stdout"""


def test_a_worktree_needs_its_repository_mounted(publisher: Publisher, tmp_path: Path) -> None:
    """It can also belong to another user, which git refuses by default; nothing is written there."""
    main = project(tmp_path / "main", "grown", extra=RETURN_GIT_VERSION)
    git(main, "init", "--quiet")
    git(main, "add", ".")
    git(main, "commit", "--quiet", "--message=x")
    git(main, "tag", "v1.0")
    git(main, "worktree", "add", "--quiet", "--detach", str(tmp_path / "side"))
    for folder in (main, tmp_path / "side"):
        make_readable(folder)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, OTHER, OTHER, follow_symlinks=False)
    tmp_path.chmod(0o755)
    alone = publisher.run(tmp_path / "side", expect=1)
    mount = f"{main}/.git:{main}/.git:ro"
    assert f"-v {mount}" in alone.err
    before = snapshot(main)
    assert states(publisher.run(tmp_path / "side", options=("-v", mount))) == ["published"] * 2
    assert snapshot(main) == before


def test_a_folder_of_a_repository_is_built_with_the_repository(publisher: Publisher, tmp_path: Path) -> None:
    top = tmp_path / "top"
    project(top / "parts" / "one", "parted", extra=RETURN_GIT_VERSION)
    git(top, "init", "--quiet")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "--message=x")
    git(top, "tag", "v1.0")
    make_readable(top)
    assert states(publisher.run(top, "parts/one")) == ["published"] * 2


# the index


def test_an_index_that_is_down_is_exit_1(publisher: Publisher, tmp_path: Path) -> None:
    made = folder_with_wheel(tmp_path / "p", "waiting")
    publisher.index.compose.stop()
    try:
        done = publisher.run(*made, expect=1)
        assert "The host nginx has no address" in done.err
        assert "while it runs" in done.err
    finally:
        publisher.index.compose.up()
    loopback = publisher.run(*made, expect=1, PPMCTL_INDEX="http://localhost:8080/")
    assert "This is a container, and localhost is the container itself" in loopback.err


def test_files_of_a_failed_upload_are_kept_and_can_be_published(publisher: Publisher, tmp_path: Path) -> None:
    """A second build would have other content, and conflict with files in the index.

    Ctrl-C interrupts the minute of retries.
    """
    made = project(tmp_path / "p", "halved", extra="return os.urandom(9).hex()")
    compose = publisher.index.compose
    name, boxes = f"{compose.project}-halved", compose.engine.api.containers
    compose.stop("pypiserver")
    try:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(publisher.run, made, expect=130, options=("--name", name))
            until(lambda: any(b"Trying again" in box.logs() for box in boxes.list(filters={"name": name})), "a try")
            boxes.get(name).kill("SIGINT")
            done = running.result()
    finally:
        compose.start("pypiserver")
    message = next(line for line in done.err.splitlines() if "The built files are kept" in line)
    files = message.partition("ppmctl publish ")[2].split()
    assert len(files) == 2
    assert states(publisher.run("", *files)) == ["published"] * 2
    assert "conflict" in publisher.run(made, "--dry-run", expect=1).out


def test_a_private_ca_is_trusted_in_addition_to_the_public_ones(
    bed: Bed, images: str, publisher: Publisher, tmp_path: Path
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=secure"]
    command += ["-addext", "subjectAltName=DNS:secure", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    make_readable(tmp_path)
    serve = (
        "import http.server, os, ssl; os.mkdir('simple'); open('simple/index.html', 'w').write('<!DOCTYPE html>');"
        "server = http.server.HTTPServer(('', 8443), http.server.SimpleHTTPRequestHandler);"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain('/tls/ca.pem', '/tls/key.pem');"
        "server.socket = context.wrap_socket(server.socket, server_side=True); server.serve_forever()"
    )
    box = bed.engine.api.containers.run(
        f"ppm-publisher:{images}",
        ["-c", serve],
        entrypoint=["/opt/ppm/bin/python"],
        working_dir="/builds",
        volumes={str(tmp_path): {"bind": "/tls", "mode": "ro"}},
        name=f"{publisher.index.compose.project}-secure",
        labels=lease_labels(bed.lease.name),
        detach=True,
    )
    try:
        network = bed.engine.api.networks.get(publisher.index.compose.network)
        network.connect(box, aliases=["secure"])
        secure = {"PPMCTL_INDEX": "https://secure:8443/"}
        done = publisher.run(*folder_with_wheel(tmp_path / "p", "trusting"), "--dry-run", expect=1, **secure)
        assert "is not trusted: self-signed certificate" in done.err
        # pip fetches what this project is built with from the public index
        trusted = {**secure, "PPM_CA_FILE": str(certificate)}
        assert states(publisher.run(HELLO, "--dry-run", **trusted)) == ["new", "new"]
    finally:
        box.remove(force=True, v=True)


def test_an_index_with_a_name_is_found_by_it(new_compose: Callable[..., Composed], tmp_path: Path) -> None:
    """nginx answers only to this name."""
    settings = {"ppm_domain": "index.internal", "ppm_upstream": "none"}
    checkout = copies.copy(tmp_path / "ppm")
    configure(checkout, settings)
    index = new_compose(files=files_in_use(checkout))
    done = Publisher(index=index, folder=tmp_path).run(*folder_with_wheel(tmp_path / "p", "named"))
    assert states(done) == ["published"]
    assert "Publishing to http://index.internal:8080 as" in done.err
    assert "plain HTTP" not in done.err
