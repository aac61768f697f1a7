"""A container of the testbed: commands in it, files into and out of it, its address."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from testbed.engine import Engine, Missing
from testbed.errors import BedError
from testbed.place import of_this_cache

LEASE, CACHE = "ppm-testbed.lease", "ppm-testbed.cache"
# Labels of images. Containers inherit the labels of their image, also those that a user starts from one that the
# testbed built; so an image has other labels than a container, and these alone never get a container removed.
BUILT, SNAPSHOT = "ppm-testbed.built-by", "ppm-testbed.snapshot"
RUN_SECONDS = 600
HOST = "host"  # the engine's name for the network of the machine that it runs on


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command in a container printed, and its exit code (124: it took too long)."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Container:
    """A running container; `network` is the one it was started on."""

    engine: Engine
    id: str
    name: str
    network: str

    @property
    def address(self) -> str:
        """Return its IPv4 address, which a restart can change."""
        networks = self._attributes()["NetworkSettings"]["Networks"]
        return str(networks.get(self.network, {}).get("IPAddress", ""))

    @property
    def labels(self) -> dict[str, str]:
        return dict(self._attributes()["Config"]["Labels"])

    def port(self, inside: int) -> int:
        """Return the port of this machine's loopback that leads to the container's TCP port `inside`."""
        published = self._attributes()["NetworkSettings"]["Ports"].get(f"{inside}/tcp")
        if not published:
            raise BedError(f"{self.name} publishes no port {inside}")
        return int(published[0]["HostPort"])

    def run(
        self,
        command: str,
        *,
        user: str = "root",
        env: dict[str, str] | None = None,
        folder: str | None = None,
        check: bool = True,
        timeout: int = RUN_SECONDS,
    ) -> Done:
        """Run a shell command. Raise BedError with its whole output if it fails, unless `check` is false."""
        code, (out, err) = self._container().exec_run(
            ["timeout", "--kill-after=10", str(timeout), "sh", "-c", command],
            user=user,
            environment=env or {},
            workdir=folder,
            demux=True,
        )
        done = Done(code=code, out=(out or b"").decode(errors="replace"), err=(err or b"").decode(errors="replace"))
        if check and code:
            raise BedError(f"`{command}` in {self.name} exited {code}", hint=f"{done.out}\n{done.err}".strip())
        return done

    def follow(self, command: str, *, out: IO[bytes], err: IO[bytes]) -> int:
        """Run a shell command as root, write its output as it comes, and return its exit code."""
        api = self.engine.api.api
        exec_id = api.exec_create(self.id, ["sh", "-c", command])["Id"]
        for stdout, stderr in api.exec_start(exec_id, stream=True, demux=True):
            for chunk, stream in ((stdout, out), (stderr, err)):
                if chunk:
                    stream.write(chunk)
                    stream.flush()
        return int(api.exec_inspect(exec_id)["ExitCode"])

    def put(self, path: str, content: bytes, *, mode: int = 0o644, owner: int = 0) -> None:
        """Write a file into an existing folder, but not below a tmpfs: the engine can't reach that."""
        target = PurePosixPath(path)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(target.name)
            member.size, member.mode, member.uid, member.gid = len(content), mode, owner, owner
            tar.addfile(member, io.BytesIO(content))
        self._container().put_archive(str(target.parent), archive.getvalue())

    def get(self, path: str) -> bytes:
        """Return the content of a file. Raise FileNotFoundError if it does not exist."""
        try:
            stream, _ = self._container().get_archive(path)
        except Missing as exc:
            raise FileNotFoundError(f"{self.name}:{path}") from exc
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            file = tar.extractfile(tar.next() or tarfile.TarInfo())
            if file is None:
                raise FileNotFoundError(f"{self.name}:{path} is not a regular file")
            return file.read()

    def restart(self, *, seconds: int = 30) -> None:
        """Shut it down with its stop signal, by force after `seconds`, and start it again."""
        self._container().restart(timeout=seconds)

    def snapshot(self) -> str:
        """Make an image of its disk, without what is on a tmpfs, and return its id. It is removed with the lease."""
        box = self._container()
        return str(box.commit(changes=[f"LABEL {SNAPSHOT}={box.labels[LEASE]}"]).id)

    def disconnect(self) -> None:
        """Disconnect it from its network."""
        self.engine.api.networks.get(self.network).disconnect(self.id)

    def connect(self, *aliases: str) -> None:
        """Connect it to its network again."""
        self.engine.api.networks.get(self.network).connect(self.id, aliases=list(aliases))

    def is_running(self) -> bool:
        return bool(self._attributes()["State"]["Running"])

    def logs(self) -> str:
        return str(self._container().logs().decode(errors="replace"))

    def remove(self) -> None:
        """Remove it and its anonymous volumes, even while it runs."""
        try:
            self._container().remove(force=True, v=True)
        except Missing:
            return

    def _container(self) -> Any:
        return self.engine.api.containers.get(self.id)

    def _attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = self._container().attrs
        return attributes


def lease_labels(lease: str) -> dict[str, str]:
    """Return the labels of what is removed when `lease` has ended."""
    return {LEASE: lease, CACHE: of_this_cache()}


def image_labels() -> dict[str, str]:
    """Return the labels of images that are built: their tags that are names of leases are removed with these."""
    return {BUILT: of_this_cache()}


def is_named_by(name: str, lease: str) -> bool:
    """Return whether a container, network or volume has a name that the testbed gives under `lease`."""
    return name == lease or name.startswith((f"{lease}-", f"{lease}_"))


def start(
    engine: Engine,
    image: str,
    *,
    name: str,
    network: str,
    lease: str,
    aliases: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    **options: Any,
) -> Container:
    """Start a container on a network, where other containers find it by its aliases; `options` are the SDK's.

    On the network `HOST` it has this machine's own addresses, the loopback too, and has no name for other containers.
    """
    endpoint = {} if network == HOST else {network: engine.api.api.create_endpoint_config(aliases=[name, *aliases])}
    created = engine.api.containers.create(
        image,
        name=f"{lease}-{name}",
        hostname=aliases[0] if aliases else name,
        labels={**lease_labels(lease), **(labels or {})},
        detach=True,
        network=network,
        networking_config=endpoint or None,
        **options,
    )
    created.start()
    return Container(engine=engine, id=created.id, name=name, network=network)
