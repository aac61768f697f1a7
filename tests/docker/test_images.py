"""Each image by itself: its content and size, the user in it, and the folders that it accepts as a volume."""

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
from testbed.engine import Missing
from testbed.place import of_this_cache

NAMES = ("ppm-nginx", "ppm-pypiserver", "ppm-publisher", "ppm-certbot", "ppm-sockets", "ppm-backup", "ppm-s3")
OWNER = (os.geteuid(), os.getegid()) if os.geteuid() else composed.OWNER  # the owner of the tests' folders
OTHER = (OWNER[0] + 1, OWNER[1] + 1)
HARDENED = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
_SECRET = re.compile(rb"ppm_[A-Za-z0-9_-]{43}\b")
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/]{60}")
_DEBIAN = ("usr/lib/", "usr/share/")  # Debian's packages have private keys for their own tests
_PLANTED = "planted: no image has this"
_numbers = itertools.count(1)


def image_attributes(bed: Bed, tag: str) -> dict[str, Any]:
    attributes: dict[str, Any] = bed.engine.api.images.get(tag).attrs
    return attributes


# what is in an image


@pytest.mark.parametrize("name", NAMES)
def test_image_labels_and_user(bed: Bed, images: str, name: str) -> None:
    """The labels have this release's version, and the user is not root.

    The image of the service `sockets` is the same in each release, so that an upgrade does not replace it.
    """
    config = image_attributes(bed, f"{name}:{images}")["Config"]
    version = None if name == "ppm-sockets" else ppmctl.__version__
    assert config["Labels"].get("org.opencontainers.image.version") == version
    assert config["Labels"]["org.opencontainers.image.title"].startswith("ppm")
    assert config["User"].partition(":")[0] not in ("", "0", "root")


def test_the_images_are_small(bed: Bed, images: str, figures: list[str]) -> None:
    """Their size without the base image has a limit, which a compiler (150 MB) or pip's cache would exceed.

    The application has obstore, the client of buckets (14 MB). The publisher has pip and git with Perl in addition to
    the application, backups have pip, restic and ssh; certbot has Python.
    """
    base = image_attributes(bed, "debian:13-slim")["Size"]
    above = {name: (image_attributes(bed, f"{name}:{images}")["Size"] - base) / 1e6 for name in NAMES}
    figures.append(f"Images, above their base: {', '.join(f'{name} {size:.0f} MB' for name, size in above.items())}")
    assert above["ppm-nginx"] < 40
    assert above["ppm-pypiserver"] < 125
    assert above["ppm-publisher"] < 225
    assert above["ppm-certbot"] < 75
    assert above["ppm-sockets"] < 30
    assert above["ppm-backup"] < 175


def test_the_application_image_has_no_installer(bed: Bed, images: str) -> None:
    """Its environment has only the packages of its lock, and no pip; apt's lists and caches are removed."""
    box = start(bed, f"ppm-pypiserver:{images}", command=["sleep", "600"], init=True)
    try:
        assert "No module named pip" in box.run("python -m pip", user="", check=False).err
        assert box.run("command -v pip pip3 easy_install apt-add-repository", user="", check=False).out == ""
        assert box.run("find /var/lib/apt/lists /var/cache -type f", check=False).out == ""
        locked = re.findall(
            r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", (copies.ROOT / "locks" / "server.txt").read_text(), re.MULTILINE
        )
        listed = box.run(
            "python -c 'from importlib.metadata import distributions as d\n"
            "for one in d(): print(one.name, one.version)'",
            user="",
        )
        installed = {(canonicalize_name(name), version) for name, version in map(str.split, listed.out.splitlines())}
        installed -= {("ppmctl", ppmctl.__version__)}
        assert len(installed) > 20
        assert installed <= set(locked)
    finally:
        box.remove()


@pytest.mark.parametrize("name", NAMES)
def test_no_layer_has_a_secret(bed: Bed, images: str, name: str) -> None:
    """No layer and no history has a credential or a private key, even if a later layer hides it."""
    leaks, number = [], 0
    for path, content in files_of_layers(bed, f"{name}:{images}"):
        number += 1
        patterns = (_SECRET,) if path.startswith(_DEBIAN) else (_SECRET, _KEY)
        leaks += [f"{path}: {secret[:12]!r}…" for pattern in patterns for secret in pattern.findall(content)]
    assert leaks == []
    assert number > 1000, "the layers were read"
    assert not _SECRET.search(json.dumps(image_attributes(bed, f"{name}:{images}")).encode())


def files_of_layers(bed: Bed, tag: str) -> Iterator[tuple[str, bytes]]:
    """Yield every file of every layer of an image, and its descriptions, with their content."""
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


def test_secrets_are_excluded_from_the_build_context(bed: Bed, tmp_path: Path) -> None:
    """Settings, .env files and credentials of running indexes in a checkout are not sent to the builder."""
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


def test_built_images_are_removed_with_their_lease(bed: Bed, tmp_path: Path) -> None:
    """Images with tags of the lease's name are removed; one with a user's tag stays.

    An image whose tag moved to the next build is removed at once.
    """
    file, own = tmp_path / "compose.json", f"own-{os.getpid()}"
    build = {"context": str(tmp_path), "dockerfile_inline": "FROM debian:13-slim\nLABEL probe=${PROBE}\n"}
    file.write_text(json.dumps({"services": {"probe": {"image": "ppm-probe:${PPM_TAG}", "build": build}}}))
    here = stay(f"built-{os.getpid()}")
    made, of = Compose(engine=bed.engine, project=here.lease.name, files=(file,)), here.lease.name

    def images_of_lease() -> dict[str, tuple[str, ...]]:
        labelled = bed.engine.api.api.images(filters={"label": [f"{container.BUILT}={of_this_cache()}", "probe"]})
        assert not any(container.lease_labels(of).keys() & image["Labels"].keys() for image in labelled)
        return {image["Labels"]["probe"]: tuple(sorted(image["RepoTags"] or ())) for image in labelled}

    try:
        for probe, tag in (("1", of), ("2", f"{of}-next"), ("3", of), ("4", own)):
            deployment.build(made.but(PPM_TAG=tag, PROBE=probe), of=of)
        named = {"2": (f"ppm-probe:{of}-next",), "3": (f"ppm-probe:{of}",), "4": (f"ppm-probe:{own}",)}
        assert images_of_lease() == named
        bed.engine.api.containers.create(f"ppm-probe:{own}", ["true"], name=own)
        here.close()
        assert images_of_lease() == {"4": (f"ppm-probe:{own}",)}
        assert bed.engine.api.containers.get(own), "a user's container of an image that was built here"
    finally:
        here.close()
        with contextlib.suppress(Missing):
            bed.engine.api.containers.get(own).remove(force=True)
        bed.engine.api.images.remove(f"ppm-probe:{own}", force=True)


def test_a_container_that_inherited_labels_of_a_lease_is_not_removed(bed: Bed, images: str) -> None:
    """As from images that `make images` built in earlier versions: they had the labels of their lease."""
    here = stay(f"foreign-{os.getpid()}")
    base = bed.engine.api.containers.create(f"ppm-nginx:{images}", ["true"], name=f"{here.lease.name}-base")
    labels = [f"LABEL {name}={value}" for name, value in container.lease_labels(here.lease.name).items()]
    tag = f"users-own-{os.getpid()}"
    base.commit(tag, "1", changes=labels)
    base.remove()
    users = bed.engine.api.containers.create(f"{tag}:1", ["sleep", "600"], name=tag)
    ours = bed.engine.api.containers.create(f"{tag}:1", ["sleep", "600"], name=f"{here.lease.name}-ours")
    try:
        users.start()
        assert users.labels[container.LEASE] == here.lease.name
        here.close()
        users.reload()
        assert users.status == "running"
        with pytest.raises(Missing):
            ours.reload()
    finally:
        users.remove(force=True)
        bed.engine.api.images.remove(f"{tag}:1", force=True)


# the user in a container


def test_no_process_is_root_or_could_become_it(composed: Composed) -> None:
    for box in composed.compose.containers().values():
        status = box.run("cat /proc/[0-9]*/status", user="").out
        assert set(re.findall(r"^Uid:\t(.*)$", status, re.MULTILINE)) == {"\t".join(["10001"] * 4)}, box.name
        assert set(re.findall(r"^Gid:\t(.*)$", status, re.MULTILINE)) == {"\t".join(["10001"] * 4)}, box.name
        assert set(re.findall(r"^Cap(?:Prm|Eff|Bnd|Amb):\t(.*)$", status, re.MULTILINE)) == {"0" * 16}, box.name
        assert set(re.findall(r"^NoNewPrivs:\t(.*)$", status, re.MULTILINE)) == {"1"}, box.name


def test_nothing_outside_of_the_volume_and_temporary_file_systems_can_be_written(composed: Composed) -> None:
    """The container's user and root try to write to every folder."""
    each = 'for d; do { true > "$d/.probe"; } 2>/dev/null && echo "$d" && rm "$d/.probe"; done'
    for box in composed.compose.containers().values():
        attributes = box.engine.api.containers.get(box.id).attrs
        expected = {mount["Destination"] for mount in attributes["Mounts"] if mount["RW"]} | set(
            attributes["HostConfig"].get("Tmpfs", ())
        )
        for user, in_memory in (("", set()), ("root", {"/dev"})):
            output = box.run(f"find / -xdev -type d -exec sh -c '{each}' sh {{}} +", user=user, check=False).out
            assert set(output.splitlines()) <= expected | in_memory, box.name
        folder = "/srv/ppm" if "/srv/ppm" in expected else "/run/ppm"
        assert box.run(f"touch {folder}/.probe && rm {folder}/.probe && echo done", user="").out == "done\n"


def test_docker_inspect_shows_no_secret(composed: Composed) -> None:
    for box in composed.compose.containers().values():
        attributes = json.dumps(box.engine.api.containers.get(box.id).attrs)
        assert not _SECRET.search(attributes.encode())
        assert composed.secret not in attributes
    assert composed.secret not in composed.compose.logs()


# volumes that the application accepts


@dataclass(kw_only=True)
class Served:
    """The application without nginx in a container, on a folder of this machine, which also has the `socket`."""

    box: Container
    root: Path
    socket: Path
    secret: str = ""

    def come_up(self) -> None:
        """Wait until it is healthy, and add an admin if it has none."""
        until(self.is_healthy, "health")
        if not self.secret:
            self.secret = self.box.run("ppmctl user add admin --role admin", user="").out.strip()

    def is_healthy(self) -> bool:
        assert self.box.is_running(), self.box.logs()
        return self.socket.exists() and self.box.run("ppmctl health", user="", check=False).code == 0

    def request(self, method: str, path: str, parts: tuple[bytes, ...] = (), **headers: str) -> tuple[int, bytes]:
        """Send a request as the admin, and return the answer's status and body."""
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
    """Return an upload's body and its Content-Type."""
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
    """Make a folder with a short path, for sockets; `root` in it is a volume that OWNER owns."""
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

    Without `volume` nothing is mounted there; `mounts` maps files of this machine to paths in the container.
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
    """Wait until a container exits with 1, and return the one line that it printed."""
    until(lambda: not box.is_running(), "its end")
    assert box.engine.api.containers.get(box.id).attrs["State"]["ExitCode"] == 1
    (line,) = box.logs().splitlines()
    return line


def owners_and_modes(root: Path) -> dict[Path, tuple[int, int, int]]:
    """Return owner, group and mode of all files in `root`; skip those that a server removes at the same time."""
    modes = {}
    for path in [root, *root.rglob("*")]:
        with contextlib.suppress(FileNotFoundError):
            entry = path.stat()
            modes[path] = (entry.st_uid, entry.st_gid, entry.st_mode)
    return modes


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_folder_of_another_owner_is_refused_in_one_line(
    serve: Callable[..., Served], folder: Path, mode: int
) -> None:
    """The message has both uids and the command; no owner is changed (pypiserver #256, #306, #309, #357)."""
    (folder / "root").chmod(mode)
    before = owners_and_modes(folder / "root")
    line = refusal(serve(user=OTHER).box)
    assert f"belongs to uid {OWNER[0]}, gid {OWNER[1]}; this process is uid {OTHER[0]}, gid {OTHER[1]}" in line
    assert f"sudo chown -R {OTHER[0]}:{OTHER[1]} " in line
    assert f"PPM_UID={OWNER[0]} and PPM_GID={OWNER[1]} in docker/.env" in line
    assert owners_and_modes(folder / "root") == before


def test_an_old_packages_folder_of_another_owner_is_refused(serve: Callable[..., Served], folder: Path) -> None:
    """The folder itself is writable, but nothing is created in it, and the old files stay unchanged."""
    (folder / "root" / "packages").mkdir()
    (folder / "root" / "packages" / "old-1.0.tar.gz").write_text("old")
    (folder / "root").chmod(0o777)
    before = owners_and_modes(folder / "root")
    line = refusal(serve(user=OTHER).box)
    assert f"/srv/ppm/packages belongs to uid {(folder / 'root' / 'packages').stat().st_uid}" in line
    assert owners_and_modes(folder / "root") == before


def test_a_read_only_mount_is_refused_in_one_line(serve: Callable[..., Served]) -> None:
    assert "/srv/ppm is mounted read-only. It must be writable" in refusal(serve(volume="ro").box)


def test_a_missing_temporary_folder_is_reported(serve: Callable[..., Served]) -> None:
    assert "--tmpfs /tmp" in refusal(serve(tmpfs={}).box)


@pytest.mark.parametrize("home", ["/nowhere", "", None])
def test_any_user_can_serve_a_folder_that_it_owns(
    serve: Callable[..., Served], folder: Path, home: str | None
) -> None:
    """It needs neither a name in the image nor a home, for `--user` and for rootless Docker."""
    user = (1234, 1234) if os.geteuid() == 0 else OWNER
    if os.geteuid() == 0:
        os.chown(folder / "root", *user)
    command = ["env", "-u", "HOME", "ppmctl", "serve"] if home is None else ["ppmctl", "serve"]
    served = serve(user=user, command=command, environment={"HOME": home or ""})
    served.come_up()
    body, kind = form(wheels.wheel("x", "1.0"))
    assert served.request("POST", "/", (body,), Content_Type=kind)[0] == 200
    assert served.request("GET", "/packages/x/x-1.0-py3-none-any.whl") == (200, wheels.wheel("x", "1.0")[1])
    assert {owner[:2] for owner in owners_and_modes(folder / "root").values()} == {user}


def test_a_folder_that_nginx_used_first_is_accepted(serve: Callable[..., Served], folder: Path) -> None:
    """nginx creates its own folder there; the list of users exists before the first user."""
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


# volumes and settings that nginx refuses


@pytest.mark.parametrize("name", ["", "/bodies"])
def test_nginx_refuses_a_folder_of_another_owner(web: Callable[..., Container], folder: Path, name: str) -> None:
    """The message has its owner and both remedies; no owner is changed."""
    if name:
        (folder / "root").chmod(0o777)
        (folder / "root" / name[1:]).mkdir()
        os.chown(folder / "root" / name[1:], *OWNER)
    before = owners_and_modes(folder / "root")
    line = refusal(web(user=OTHER))
    assert line.startswith(f"ppm-nginx: /srv/ppm{name} can't be written by uid {OTHER[0]}, gid {OTHER[1]}; ")
    assert f"its owner is uid {OWNER[0]}, gid {OWNER[1]}: set PPM_UID and PPM_GID in docker/.env to its owner" in line
    assert f"or change it: sudo chown -R {OTHER[0]}:{OTHER[1]} " in line
    assert owners_and_modes(folder / "root") == before


def test_nginx_never_advises_to_serve_as_root(web: Callable[..., Container]) -> None:
    """The folder belongs to root, as if the engine created a missing PPM_DATA."""
    line = refusal(web(volume="", tmpfs={"/run/nginx": "", "/srv/ppm": "uid=0,gid=0,mode=755"}))
    assert (
        f"by uid {OWNER[0]}, gid {OWNER[1]}; its owner is uid 0, gid 0: change it: sudo chown -R {OWNER[0]}:" in line
    )
    assert "PPM_UID" not in line


def test_nginx_refuses_a_volume_that_is_read_only_or_missing(web: Callable[..., Container]) -> None:
    readable = "ppm-nginx: /srv/ppm is read-only: mount the index's volume there, writable."
    assert refusal(web(volume="ro")) == readable
    assert refusal(web(volume="", user=composed.OWNER)) == readable


def test_nginx_reports_a_missing_temporary_folder(web: Callable[..., Container]) -> None:
    assert "/run/nginx can't be written: mount a tmpfs there (--tmpfs /run/nginx)" in refusal(web(tmpfs={}))


def test_nginx_reports_an_invalid_configuration(web: Callable[..., Container], folder: Path) -> None:
    wrong, seen = folder / "http.conf", "/etc/nginx/ppm/http.conf"
    wrong.write_text("# mine\nnonsense on;\n")
    message = f'the configuration can\'t be used: unknown directive "nonsense" in {seen}:2'
    assert refusal(web(mounts={wrong: seen})) == f"ppm-nginx: {message}"


# stops, restarts and health


def test_a_stop_waits_for_a_running_upload(serve: Callable[..., Served]) -> None:
    """With `docker stop`, a running upload is completed and answered; the exit code is 0."""
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


def test_a_stop_during_the_start_is_obeyed(serve: Callable[..., Served], folder: Path) -> None:
    """The first process of a container ignores signals that it has no handler for, and would be killed later.

    In this test the start waits for a lock.
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


def test_the_health_check_of_the_image_becomes_unhealthy(serve: Callable[..., Served]) -> None:
    """It becomes unhealthy when users lack something: in this test the list of projects."""
    check = {"test": ["CMD", "ppmctl", "health"], "interval": 10**9, "timeout": 15 * 10**9, "retries": 1}
    served = serve(healthcheck=check)
    engine = served.box.engine.api.containers.get(served.box.id)

    def has_status(wanted: str) -> bool:
        engine.reload()
        return bool(engine.attrs["State"]["Health"]["Status"] == wanted)

    until(lambda: has_status("healthy"), "healthy")
    (served.root / "index" / "simple" / "index.json").unlink()
    until(lambda: has_status("unhealthy"), "unhealthy")
    assert "index.json" in engine.attrs["State"]["Health"]["Log"][-1]["Output"]


@pytest.fixture
def volume_for_nginx(folder: Path) -> Path:
    """Make the volume of an index without projects and users, as nginx needs it."""
    for name in ("index/simple/index.json", "credentials/nginx/00"):
        path = folder / "root" / name
        path.parent.mkdir(parents=True)
        path.touch()
    return folder / "root"


def test_nginx_is_healthy_as_long_as_users_are_served(
    bed: Bed, images: str, web: Callable[..., Container], volume_for_nginx: Path
) -> None:
    """Its check prints one line about what users lack, and succeeds again when that is back."""
    assert image_attributes(bed, f"ppm-nginx:{images}")["Config"]["Healthcheck"]["Test"] == ["CMD", "health"]
    box = web()

    def health() -> tuple[int, str]:
        assert box.is_running(), box.logs()
        done = box.run("health", user="", check=False)
        return done.code, done.out

    well = (0, "a page is served, and the volume can be written\n")
    until(lambda: health() == well, "health")
    for name, message in (
        ("index/simple/index.json", "the list of projects can't be served: status 503\n"),
        ("credentials/nginx/00", "there are no credentials\n"),
    ):
        (volume_for_nginx / name).rename(volume_for_nginx / "away")
        assert health() == (1, message)
        (volume_for_nginx / "away").rename(volume_for_nginx / name)
        assert health() == well
    for path, message in (
        (volume_for_nginx / "bodies", "/srv/ppm/bodies can't be written\n"),
        (volume_for_nginx, "/srv/ppm can't be written\n"),
    ):
        mode = path.stat().st_mode
        path.chmod(0o555)
        assert health() == (1, message)
        path.chmod(mode)
        assert health() == well


def test_nginx_that_does_not_answer_is_not_healthy(web: Callable[..., Container]) -> None:
    box = web(command=["health"])
    until(lambda: not box.is_running(), "its end")
    assert box.engine.api.containers.get(box.id).attrs["State"]["ExitCode"] == 1
    assert "Connection refused" in box.logs()
