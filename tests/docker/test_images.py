"""The images by themselves: what is in them and what is not, who runs in them, and whose folders they take."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from packaging.utils import canonicalize_name
from support import checkout as copies
from support import composed, wheels
from support.composed import Composed
from support.evidence import until

import ppmctl
from ppmctl import files
from ppmctl.server.unix_http import Connection
from testbed import container, deployment
from testbed.bed import Bed, stay
from testbed.compose import Compose
from testbed.container import Container

NAMES = ("ppm-nginx", "ppm-pypiserver", "ppm-publisher", "ppm-certbot")
OWNER = (os.geteuid(), os.getegid()) if os.geteuid() else composed.OWNER  # whom a folder of a test belongs to
OTHER = (OWNER[0] + 1, OWNER[1] + 1)
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
_SECRET = re.compile(rb"ppm_[A-Za-z0-9_-]{43}\b")
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/]{60}")
_DEBIAN = ("usr/lib/", "usr/share/")  # whose packages have keys for their own tests
_PLANTED = "planted: no image has this"
_numbers = itertools.count(1)


def attributes(bed: Bed, tag: str) -> dict[str, Any]:
    found: dict[str, Any] = bed.engine.api.images.get(tag).attrs
    return found


# what is in an image


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_is(bed: Bed, images: str, name: str) -> None:
    """The release that it is of, and a user who is not root."""
    said = attributes(bed, f"{name}:{images}")["Config"]
    assert said["Labels"]["org.opencontainers.image.version"] == ppmctl.__version__
    assert said["Labels"]["org.opencontainers.image.title"].startswith("ppm")
    assert said["User"].partition(":")[0] not in ("", "0", "root")


def test_the_images_are_small(bed: Bed, images: str, figures: list[str]) -> None:
    """Above their base, which is everybody's: a compiler (150 MB) or pip's cache would be seen here.

    The publisher has, beside the application, pip and git with its Perl; certbot has Python.
    """
    base = attributes(bed, "debian:13-slim")["Size"]
    above = {name: (attributes(bed, f"{name}:{images}")["Size"] - base) / 1e6 for name in NAMES}
    figures.append(f"Images, above their base: {', '.join(f'{name} {size:.0f} MB' for name, size in above.items())}")
    assert above["ppm-nginx"] < 40
    assert above["ppm-pypiserver"] < 100
    assert above["ppm-publisher"] < 225
    assert above["ppm-certbot"] < 75


def test_the_application_has_nothing_to_install_more_with(bed: Bed, images: str) -> None:
    """Its environment is what its lock says, without pip; apt's lists and caches stay behind."""
    box = start(bed, f"ppm-pypiserver:{images}", command=["sleep", "600"], init=True)
    try:
        assert "No module named pip" in box.run("python -m pip", user="", check=False).err
        assert box.run("command -v pip pip3 easy_install apt-add-repository", user="", check=False).out == ""
        assert box.run("find /var/lib/apt/lists /var/cache -type f", check=False).out == ""
        locked = re.findall(
            r"^([a-z0-9.-]+)==(\S+)", (copies.ROOT / "locks" / "server.txt").read_text(), re.MULTILINE
        )
        there = box.run(
            "python -c 'from importlib.metadata import distributions as d\n"
            "for one in d(): print(one.name, one.version)'",
            user="",
        )
        found = {(canonicalize_name(name), version) for name, version in map(str.split, there.out.splitlines())}
        found -= {("ppmctl", ppmctl.__version__)}
        assert len(found) > 20
        assert found <= set(locked)
    finally:
        box.remove()


@pytest.mark.parametrize("name", NAMES)
def test_no_layer_has_a_secret(bed: Bed, images: str, name: str) -> None:
    """Neither a credential nor a private key: in no layer, also where a later one hides it, nor in the history."""
    found, number = [], 0
    for number, (path, content) in enumerate(layers(bed, f"{name}:{images}"), start=1):  # noqa: B007
        patterns = (_SECRET,) if path.startswith(_DEBIAN) else (_SECRET, _KEY)
        found += [f"{path}: {secret[:12]!r}…" for pattern in patterns for secret in pattern.findall(content)]
    assert found == []
    assert number > 1000, "the layers were read"
    assert not _SECRET.search(json.dumps(attributes(bed, f"{name}:{images}")).encode())


def layers(bed: Bed, tag: str) -> Iterator[tuple[str, bytes]]:
    """Every file of every layer of an image, and what describes it."""
    with tempfile.TemporaryFile() as saved:
        for chunk in bed.engine.api.images.get(tag).save():
            saved.write(chunk)
        saved.seek(0)
        with tarfile.open(fileobj=saved) as image:
            for entry in image:
                file = image.extractfile(entry) if entry.isfile() else None
                if file is None:
                    continue
                if not entry.name.endswith(".tar"):
                    yield entry.name, file.read()
                    continue
                with tarfile.open(fileobj=file) as layer:
                    for member in layer:
                        if member.isfile() and (inside := layer.extractfile(member)):
                            yield member.name, inside.read()


def test_what_is_nobody_s_business_is_not_even_sent_to_be_built(bed: Bed, tmp_path: Path) -> None:
    """What is no part of an image may be a secret: settings, .env, credentials of indexes that run here."""
    checkout = copies.copy(tmp_path / "checkout")
    planted = {
        *("docker/.env", "docker/settings.yml", "docker/local/pypiserver/ppm.env"),
        *("docker/first-credential", "docker/netrc", "docker/nginx/privkey.pem", "docker/data/first-credential"),
        *(".ppm/first-credential", ".host/credential", ".compose/credential", ".git/config", ".env", ".netrc"),
        *("inventory/mine/group_vars/ppm/vault.yml", "ppmctl/__pycache__/x.pyc", "ppmctl/.env"),
    }
    for name in planted:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(_PLANTED)
    tag, file = f"{bed.lease.name}-context", tmp_path / "compose.json"
    build = {"context": str(checkout), "dockerfile_inline": "FROM debian:13-slim\nCOPY . /context\n"}
    file.write_text(json.dumps({"services": {"context": {"image": tag, "build": build}}}))
    Compose(engine=bed.engine, project=tag, files=(file,)).build()
    try:
        box = start(bed, tag, command=["sleep", "600"], init=True)
        sent = box.run("find /context -type f").out.splitlines()
        leaked = box.run(f"grep -rl '{_PLANTED}' /context", check=False).out
        box.remove()
    finally:
        bed.engine.api.images.remove(tag, force=True)
    assert {"/context/ppmctl/server/gunicorn.py", "/context/docker/nginx/Dockerfile"} <= set(sent)
    assert leaked == ""


def test_what_is_built_goes_with_its_lease(bed: Bed, tmp_path: Path) -> None:
    """Tags of the lease's name, and what has lost its tag; a tag of the user's own stays."""
    file, own = tmp_path / "compose.json", f"own-{os.getpid()}"
    build = {"context": str(tmp_path), "dockerfile_inline": "FROM debian:13-slim\nLABEL probe=${PROBE}\n"}
    file.write_text(json.dumps({"services": {"probe": {"image": "ppm-probe:${PPM_TAG}", "build": build}}}))
    here = stay(f"built-{os.getpid()}")
    made, of = Compose(engine=bed.engine, project=here.lease.name, files=(file,)), here.lease.name

    def there() -> dict[str, tuple[str, ...]]:
        found = bed.engine.api.api.images(filters={"label": f"{container.LEASE}={of}"})
        return {image["Labels"]["probe"]: tuple(sorted(image["RepoTags"] or ())) for image in found}

    try:
        for probe, tag in (("1", of), ("2", f"{of}-next"), ("3", of), ("4", own)):
            deployment.build(made.but(PPM_TAG=tag, PROBE=probe), of=of)
        named = {"2": (f"ppm-probe:{of}-next",), "3": (f"ppm-probe:{of}",), "4": (f"ppm-probe:{own}",)}
        assert {probe: tags for probe, tags in there().items() if probe != "1"} == named
        assert sorted(there()) == ["1", "2", "3", "4"]
        here.close()
        assert there() == {"4": (f"ppm-probe:{own}",)}
    finally:
        here.close()
        bed.engine.api.images.remove(f"ppm-probe:{own}", force=True)


# who runs in a container


def test_no_process_is_root_or_could_become_it(composed: Composed) -> None:
    for box in (composed.application, composed.web):
        said = box.run("cat /proc/[0-9]*/status", user="").out
        assert set(re.findall(r"^Uid:\t(.*)$", said, re.MULTILINE)) == {"\t".join(["10001"] * 4)}, box.name
        assert set(re.findall(r"^Gid:\t(.*)$", said, re.MULTILINE)) == {"\t".join(["10001"] * 4)}, box.name
        assert set(re.findall(r"^Cap(?:Prm|Eff|Bnd|Amb):\t(.*)$", said, re.MULTILINE)) == {"0" * 16}, box.name
        assert set(re.findall(r"^NoNewPrivs:\t(.*)$", said, re.MULTILINE)) == {"1"}, box.name


def test_nothing_outside_of_the_volume_and_temporary_file_systems_can_be_written(composed: Composed) -> None:
    """Every folder is tried, by the container's user and by root."""
    each = 'for d; do { true > "$d/.probe"; } 2>/dev/null && echo "$d" && rm "$d/.probe"; done'
    for box in (composed.application, composed.web):
        there = box.engine.api.containers.get(box.id).attrs
        meant = {mount["Destination"] for mount in there["Mounts"] if mount["RW"]} | set(there["HostConfig"]["Tmpfs"])
        for user, in_memory in (("", set()), ("root", {"/dev"})):
            said = box.run(f"find / -xdev -type d -exec sh -c '{each}' sh {{}} +", user=user, check=False).out
            assert set(said.splitlines()) <= meant | in_memory, box.name
        assert box.run("touch /srv/ppm/.probe && rm /srv/ppm/.probe && echo done", user="").out == "done\n"


def test_no_container_shows_a_secret_to_who_inspects_it(composed: Composed) -> None:
    for box in (composed.application, composed.web):
        said = json.dumps(box.engine.api.containers.get(box.id).attrs)
        assert not _SECRET.search(said.encode())
        assert composed.secret not in said
    assert composed.secret not in composed.compose.logs()


# whose folders a container takes


@dataclass(kw_only=True)
class Served:
    """The application alone in a container, on a folder of this machine; `socket` is there too."""

    box: Container
    root: Path
    socket: Path
    secret: str = ""

    def come_up(self) -> None:
        """Wait until it is healthy, and see that it has an admin."""
        until(self.is_healthy, "health")
        if not self.secret:
            self.secret = self.box.run("ppmctl user add admin --role admin", user="").out.strip()

    def is_healthy(self) -> bool:
        assert self.box.is_running(), self.box.logs()
        return self.socket.exists() and self.box.run("ppmctl health", user="", check=False).code == 0

    def request(self, method: str, path: str, parts: tuple[bytes, ...] = (), **headers: str) -> tuple[int, bytes]:
        """Ask as the admin; the answer's status and body."""
        connection = self.begin(method, path, parts, **headers)
        for part in parts:
            connection.send(part)
        return self.end(connection)

    def begin(self, method: str, path: str, parts: tuple[bytes, ...] = (), **headers: str) -> Connection:
        signed = base64.b64encode(f"admin:{self.secret}".encode()).decode()
        connection = Connection(str(self.socket), timeout=60)
        connection.putrequest(method, path)
        for name, value in {"Authorization": f"Basic {signed}", **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        if parts:
            connection.putheader("Content-Length", str(sum(map(len, parts))))
        connection.endheaders()
        return connection

    def end(self, connection: Connection) -> tuple[int, bytes]:
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content


def form(made: tuple[str, bytes]) -> tuple[bytes, str]:
    """An upload's body and its Content-Type."""
    request = requests.Request(
        "POST", "http://x/", data={":action": "file_upload"}, files={"content": made}
    ).prepare()
    assert isinstance(request.body, bytes)
    return request.body, str(request.headers["Content-Type"])


def start(bed: Bed, tag: str, **options: Any) -> Container:
    name = f"image{next(_numbers)}"
    return container.start(bed.engine, tag, name=name, network=bed.network, lease=bed.lease.name, **options)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a short path, since a socket's address has 107 bytes; `root` in it is a volume of OWNER's."""
    made = Path(tempfile.mkdtemp(prefix="ppm-"))
    made.chmod(0o755)
    (made / "run").mkdir()
    (made / "run").chmod(0o1777)
    (made / "root").mkdir()
    if os.geteuid() == 0:
        os.chown(made / "root", *OWNER)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def alone(bed: Bed, images: str, folder: Path) -> Iterator[Callable[..., Container]]:
    """Start an image by itself on folder/root: `alone("ppm-nginx", user=(1234, 1234), volume="ro")`.

    Without `volume` nothing is mounted there; `mounts` are files of this machine, and where they are seen.
    """
    made: list[Container] = []

    def go(
        name: str,
        *,
        user: tuple[int, int] = OWNER,
        volume: str = "rw",
        mounts: Mapping[Path, str] | None = None,
        **options: Any,
    ) -> Container:
        volumes = {str(path): {"bind": seen, "mode": "ro"} for path, seen in (mounts or {}).items()}
        volumes[str(folder / "run")] = {"bind": "/run/ppm", "mode": "rw"}
        if volume:
            volumes[str(folder / "root")] = {"bind": "/srv/ppm", "mode": volume}
        asked = {**HARDENED, "user": f"{user[0]}:{user[1]}", "volumes": volumes, **options}
        box = start(bed, f"{name}:{images}", **asked)
        made.append(box)
        return box

    yield go
    for box in made:
        box.remove()


@pytest.fixture
def serve(alone: Callable[..., Container], folder: Path) -> Callable[..., Served]:
    """Start the application: `serve(user=(1234, 1234), volume="ro")`."""

    def go(**options: Any) -> Served:
        box = alone("ppm-pypiserver", **{"tmpfs": {"/tmp": ""}, **options})
        return Served(box=box, root=folder / "root", socket=folder / "run" / "ppm.sock")

    return go


@pytest.fixture
def web(alone: Callable[..., Container]) -> Callable[..., Container]:
    """Start nginx: `web(user=(1234, 1234), volume="ro")`."""

    def go(**options: Any) -> Container:
        return alone("ppm-nginx", **{"tmpfs": {"/run/nginx": ""}, **options})

    return go


def refusal(box: Container) -> str:
    """What a container says that ends by itself, with 1: one line."""
    until(lambda: not box.is_running(), "its end")
    assert box.engine.api.containers.get(box.id).attrs["State"]["ExitCode"] == 1
    (line,) = box.logs().splitlines()
    return line


def state(root: Path) -> dict[Path, tuple[int, int, int]]:
    """Return owner, group and mode of all that is in `root`, but for what a server takes away meanwhile."""
    found = {}
    for path in [root, *root.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            entry = path.stat()
            found[path] = (entry.st_uid, entry.st_gid, entry.st_mode)
    return found


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_folder_of_somebody_else_s_is_refused_in_one_line(
    serve: Callable[..., Served], folder: Path, mode: int
) -> None:
    """pypiserver #256, #306, #309, #357: which uid is needed and how, and no owner is changed."""
    (folder / "root").chmod(mode)
    before = state(folder / "root")
    line = refusal(serve(user=OTHER).box)
    assert f"belongs to uid {OWNER[0]}, gid {OWNER[1]}; this process is uid {OTHER[0]}, gid {OTHER[1]}" in line
    assert f"sudo chown -R {OTHER[0]}:{OTHER[1]} " in line
    assert f"PPM_UID={OWNER[0]} and PPM_GID={OWNER[1]} in docker/.env" in line
    assert state(folder / "root") == before


def test_a_folder_with_an_old_packages_folder_of_somebody_else_s(serve: Callable[..., Served], folder: Path) -> None:
    """The folder itself may be written: nothing is made in it all the same, and the old files stay as they are."""
    (folder / "root" / "packages").mkdir()
    (folder / "root" / "packages" / "old-1.0.tar.gz").write_text("old")
    (folder / "root").chmod(0o777)
    before = state(folder / "root")
    line = refusal(serve(user=OTHER).box)
    assert f"/srv/ppm/packages belongs to uid {(folder / 'root' / 'packages').stat().st_uid}" in line
    assert state(folder / "root") == before


def test_a_read_only_mount_is_refused_in_one_line(serve: Callable[..., Served]) -> None:
    assert "/srv/ppm is mounted read-only. It must be writable" in refusal(serve(volume="ro").box)


def test_without_a_temporary_folder_it_says_so(serve: Callable[..., Served]) -> None:
    assert "--tmpfs /tmp" in refusal(serve(tmpfs={}).box)


@pytest.mark.parametrize("home", ["/nowhere", "", None])
def test_any_user_will_do_on_a_folder_of_its_own(
    serve: Callable[..., Served], folder: Path, home: str | None
) -> None:
    """A uid without a name in the image, and no home: --user, and rootless Docker."""
    user = (1234, 1234) if os.geteuid() == 0 else OWNER
    if os.geteuid() == 0:
        os.chown(folder / "root", *user)
    command = ["env", "-u", "HOME", "ppmctl", "serve"] if home is None else ["ppmctl", "serve"]
    served = serve(user=user, command=command, environment={"HOME": home or ""})
    served.come_up()
    body, kind = form(wheels.wheel("x", "1.0"))
    assert served.request("POST", "/", (body,), Content_Type=kind)[0] == 200
    assert served.request("GET", "/packages/x/x-1.0-py3-none-any.whl") == (200, wheels.wheel("x", "1.0")[1])
    assert {owner[:2] for owner in state(folder / "root").values()} == {user}


def test_a_folder_in_which_nginx_was_first_is_taken(serve: Callable[..., Served], folder: Path) -> None:
    """It makes its own folder there; and the list of users is there before the first user is."""
    bodies = folder / "root" / "bodies"
    bodies.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(bodies, *OWNER)
    served = serve()
    until(served.is_healthy, "health")
    listed = folder / "root" / "credentials" / "htpasswd"
    assert (listed.read_bytes(), listed.stat().st_mode & 0o777) == (b"", 0o640)
    assert served.box.run("ppmctl user first", user="").out.strip() == "/srv/ppm/first-credential"
    assert listed.read_text().startswith("admin:")


# what nginx does not start with


@pytest.mark.parametrize("name", ["", "/bodies"])
def test_nginx_refuses_a_folder_of_somebody_else_s(web: Callable[..., Container], folder: Path, name: str) -> None:
    """Whose it is, and both ways out; no owner is changed."""
    if name:
        (folder / "root").chmod(0o777)
        (folder / "root" / name[1:]).mkdir()
        os.chown(folder / "root" / name[1:], *OWNER)
    before = state(folder / "root")
    line = refusal(web(user=OTHER))
    assert line.startswith(f"ppm-nginx: /srv/ppm{name} can't be written by uid {OTHER[0]}, gid {OTHER[1]}; ")
    assert f"its owner is uid {OWNER[0]}, gid {OWNER[1]}: set PPM_UID and PPM_GID in docker/.env to its owner" in line
    assert f"or change it: sudo chown -R {OTHER[0]}:{OTHER[1]} " in line
    assert state(folder / "root") == before


def test_nginx_advises_nobody_to_serve_as_root(web: Callable[..., Container]) -> None:
    """As the engine makes it where PPM_DATA is a folder that is not there."""
    line = refusal(web(volume="", tmpfs={"/run/nginx": "", "/srv/ppm": "uid=0,gid=0,mode=755"}))
    assert (
        f"by uid {OWNER[0]}, gid {OWNER[1]}; its owner is uid 0, gid 0: change it: sudo chown -R {OWNER[0]}:" in line
    )
    assert "PPM_UID" not in line


def test_nginx_refuses_a_volume_that_is_read_only_or_missing(web: Callable[..., Container]) -> None:
    readable = "ppm-nginx: /srv/ppm is read-only: mount the index's volume there, writable."
    assert refusal(web(volume="ro")) == readable
    assert refusal(web(volume="", user=composed.OWNER)) == readable


def test_nginx_without_a_folder_for_what_is_temporary_says_so(web: Callable[..., Container]) -> None:
    assert "/run/nginx can't be written: mount a tmpfs there (--tmpfs /run/nginx)" in refusal(web(tmpfs={}))


def test_nginx_refuses_a_configuration_that_is_wrong(web: Callable[..., Container], folder: Path) -> None:
    wrong, seen = folder / "http.conf", "/etc/nginx/ppm/http.conf"
    wrong.write_text("# mine\nnonsense on;\n")
    said = f'the configuration can\'t be used: unknown directive "nonsense" in {seen}:2'
    assert refusal(web(mounts={wrong: seen})) == f"ppm-nginx: {said}"


# how a container ends


def test_a_stop_lets_an_upload_end(serve: Callable[..., Served]) -> None:
    """docker stop: what is under way is answered, and is there afterwards; the exit code is 0."""
    served = serve()
    served.come_up()
    body, kind = form(wheels.wheel("slow", "1.0", files={"slow/data": os.urandom(4 << 20)}))
    half = len(body) // 2
    parts = (body[:half], body[half:])
    connection = served.begin("POST", "/", parts, Content_Type=kind)
    connection.send(parts[0])
    until(lambda: list((served.root / "incoming").glob("*/*")), "the upload")
    engine = served.box.engine.api.containers.get(served.box.id)
    stopping = threading.Thread(target=lambda: engine.stop(timeout=60))
    stopping.start()
    until(lambda: not is_listening(served.socket), "the end of new requests")
    connection.send(parts[1])
    assert served.end(connection)[0] == 200
    stopping.join()
    engine.reload()
    assert engine.attrs["State"]["ExitCode"] == 0
    assert (served.root / "packages" / "slow" / "slow-1.0-py3-none-any.whl").exists()
    assert not served.socket.exists()


def is_listening(path: Path) -> bool:
    connection = Connection(str(path), timeout=5)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def test_a_stop_before_it_is_up_is_heard(serve: Callable[..., Served], folder: Path) -> None:
    """To the first process of a container no signal means anything by default: it would be killed in the end.

    Here it waits for a lock.
    """
    served = serve()
    served.come_up()
    engine = served.box.engine.api.containers.get(served.box.id)
    engine.stop(timeout=60)
    with files.lock(folder / "root" / "locks" / "probe"):
        engine.start()
        until(lambda: "ppmctl" in served.box.run("cat /proc/1/cmdline", user="", check=False).out, "its start")
        until(lambda: handles_sigterm(served.box), "its ears")
        engine.stop(timeout=60)
    engine.reload()
    assert engine.attrs["State"]["ExitCode"] == 128 + signal.SIGTERM


def handles_sigterm(box: Container) -> bool:
    caught = re.search(r"^SigCgt:\t(\w+)$", box.run("cat /proc/1/status", user="", check=False).out, re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_killed_container_starts_again_over_its_own_socket(serve: Callable[..., Served]) -> None:
    served = serve()
    served.come_up()
    engine = served.box.engine.api.containers.get(served.box.id)
    engine.kill()
    until(lambda: not served.box.is_running(), "its end")
    assert served.socket.is_socket()
    engine.start()
    served.come_up()
    assert served.socket.stat().st_mode & 0o777 == 0o660


def test_the_health_check_is_the_image_s_own(serve: Callable[..., Served]) -> None:
    """It goes from healthy to unhealthy with what users need: here the list of projects is gone."""
    check = {"test": ["CMD", "ppmctl", "health"], "interval": 10**9, "timeout": 15 * 10**9, "retries": 1}
    served = serve(healthcheck=check)
    engine = served.box.engine.api.containers.get(served.box.id)

    def is_said(wanted: str) -> bool:
        engine.reload()
        return bool(engine.attrs["State"]["Health"]["Status"] == wanted)

    until(lambda: is_said("healthy"), "healthy")
    (served.root / "index" / "simple" / "index.json").unlink()
    until(lambda: is_said("unhealthy"), "unhealthy")
    assert "index.json" in engine.attrs["State"]["Health"]["Log"][-1]["Output"]


@pytest.fixture
def served(folder: Path) -> Path:
    """The volume with what nginx serves of an index that has no project and no user."""
    for name in ("index/simple/index.json", "credentials/nginx/00"):
        path = folder / "root" / name
        path.parent.mkdir(parents=True)
        path.touch()
    return folder / "root"


def test_nginx_is_healthy_as_long_as_users_are_served(
    bed: Bed, images: str, web: Callable[..., Container], served: Path
) -> None:
    """Its check says in a line what users lack, and is well again as soon as they have it."""
    assert attributes(bed, f"ppm-nginx:{images}")["Config"]["Healthcheck"]["Test"] == ["CMD", "health"]
    box = web()

    def health() -> tuple[int, str]:
        assert box.is_running(), box.logs()
        done = box.run("health", user="", check=False)
        return done.code, done.out

    well = (0, "a page is served, and the volume can be written\n")
    until(lambda: health() == well, "health")
    for name, said in (
        ("index/simple/index.json", "the list of projects can't be served: status 503\n"),
        ("credentials/nginx/00", "there are no credentials\n"),
    ):
        (served / name).rename(served / "away")
        assert health() == (1, said)
        (served / "away").rename(served / name)
        assert health() == well
    for path, said in (
        (served / "bodies", "/srv/ppm/bodies can't be written\n"),
        (served, "/srv/ppm can't be written\n"),
    ):
        mode = path.stat().st_mode
        path.chmod(0o555)
        assert health() == (1, said)
        path.chmod(mode)
        assert health() == well


def test_nginx_that_does_not_answer_is_not_healthy(web: Callable[..., Container]) -> None:
    box = web(command=["health"])
    until(lambda: not box.is_running(), "its end")
    assert box.engine.api.containers.get(box.id).attrs["State"]["ExitCode"] == 1
    assert "Connection refused" in box.logs()
