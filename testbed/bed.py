"""A testbed: an engine, a network, a throwaway key, and the containers on them, which go with it.

Who needs no more than an engine has a `Stay` on it.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from testbed import acme, clients, hosts, images, lease
from testbed import engine as engines
from testbed.acme import Acme
from testbed.clients import Client
from testbed.container import CACHE, LEASE, Container, lease_labels
from testbed.engine import Engine, Missing, Refusal
from testbed.hosts import Host, Wanted
from testbed.lease import Lease
from testbed.place import need, of_this_cache

_NO_TAG = "<none>:<none>"


@dataclass(frozen=True, kw_only=True)
class Stay:
    """What one user of an engine has there: everything carries the lease's name."""

    engine: Engine
    lease: Lease

    def containers(self) -> list[Container]:
        """What there is of it, made by this process or by an earlier one; it is on the network of its lease."""
        label = {"label": f"{LEASE}={self.lease.name}"}
        found = self.engine.api.containers.list(all=True, filters=label, ignore_removed=True)
        prefix = f"{self.lease.name}-"
        return [
            Container(engine=self.engine, id=box.id, name=box.name.removeprefix(prefix), network=self.lease.name)
            for box in found
        ]

    def let_go(self) -> None:
        """This process is done with it: what is kept stays, anything else goes."""
        if self.lease.keeper is None:
            self.close()
        else:
            self.lease.let_go()
            self.engine.api.close()

    def close(self) -> None:
        """Remove all that is on it; the engine too if the testbed started it and nobody else uses it."""
        with lease.turn():
            self.lease.end()
            living = lease.live()
            sweep(self.engine, living)
            if self.engine.url in living.values():
                self.engine.api.close()
            else:
                engines.stop(self.engine)


@dataclass(frozen=True, kw_only=True)
class Bed(Stay):
    """A network with containers on it, by the name of the lease."""

    folder: Path

    @property
    def network(self) -> str:
        return self.lease.name

    @property
    def key(self) -> Path:
        return self.folder / "key"

    def image(self, name: str, release: int) -> str:
        with lease.turn():
            return images.image(self.engine, name, release)

    def host(self, wanted: Wanted, *, snapshot: str = "") -> Host:
        """Make a host, bare or with the disk of a snapshot of another, and wait until it is up."""
        image = snapshot or self.image("host", wanted.release)
        return hosts.start(self.engine, image, wanted, network=self.network, lease=self.lease.name, key=self.key)

    def acme(self, *, names_lead_to: str = "", valid_seconds: int | None = None) -> Acme:
        """Start the ACME server of this bed."""
        return acme.start(
            self.engine,
            self.image("acme", 13),
            network=self.network,
            lease=self.lease.name,
            names_lead_to=names_lead_to,
            valid_seconds=valid_seconds,
        )

    def client(self, name: str = "client", release: int = 12, *, network: str = "") -> Client:
        """Start a machine with pip, uv and twine, on the bed's network or on another."""
        image = self.image("client", release)
        network = network or self.network
        return clients.start(self.engine, image, name=name, network=network, lease=self.lease.name)

    def hosts(self) -> list[Host]:
        """The hosts on it, by name."""
        found = (hosts.found(box, self.key) for box in self.containers())
        return sorted(filter(None, found), key=lambda host: host.name)


def stay(name: str, *, keeper: Path | None = None) -> Stay:
    """Come to the engine by the name `name`, for as long as the folder `keeper` is there, or else this process.

    What others left whose processes are gone is removed first.
    """
    with lease.turn():
        return _come(name, keeper)


def _come(name: str, keeper: Path | None) -> Stay:
    taken = Lease(name=f"{images.PREFIX}-{name}", keeper=keeper)
    engine = engines.find(lease.live().get(taken.name, ""))
    taken.take(engine.url)
    sweep(engine, lease.live())
    return Stay(engine=engine, lease=taken)


def open_bed(name: str, folder: Path, *, keep: bool = False) -> Bed:
    """Open the testbed `name`, its key and inventories in `folder`.

    It is there until it is closed; without `keep` also no longer than this process. What others left whose
    processes are gone is removed first.
    """
    need("ssh")
    folder.mkdir(parents=True, exist_ok=True)
    with lease.turn():
        here = _come(name, folder if keep else None)
        _make_network(here.engine, here.lease.name)
    made = Bed(engine=here.engine, lease=here.lease, folder=folder.resolve())
    if not made.key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", made.lease.name, "-f", str(made.key)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    return made


def _make_network(engine: Engine, name: str) -> None:
    try:
        engine.api.networks.get(name)
    except Missing:
        engine.api.networks.create(name, driver="bridge", labels=lease_labels(name), check_duplicate=True)


def sweep(engine: Engine, living: Collection[str]) -> None:
    """Remove the containers, networks, volumes and images of leases that have ended."""
    # the steps of an image that another process builds get their labels one by one: both have to be there
    ours = {"label": [f"{CACHE}={of_this_cache()}", LEASE]}
    for box in engine.api.containers.list(all=True, filters=ours, ignore_removed=True):
        if box.labels[LEASE] not in living:
            with contextlib.suppress(Refusal):  # it goes already
                box.remove(force=True, v=True)
    for network in engine.api.networks.list(filters=ours):
        if network.attrs["Labels"][LEASE] not in living:
            with contextlib.suppress(Refusal):  # something is still plugged in
                network.remove()
    for volume in engine.api.volumes.list(filters=ours):
        if volume.attrs["Labels"][LEASE] not in living:
            with contextlib.suppress(Refusal):  # it is mounted in what goes already
                volume.remove()
    _sweep_images(engine, living, ours)


def _sweep_images(engine: Engine, living: Collection[str], ours: dict[str, list[str]]) -> None:
    """Remove the tags of leases that have ended, and what such leases built that has no tag any more."""
    for image in engine.api.api.images(filters=ours):
        tags = [tag for tag in image["RepoTags"] or () if tag != _NO_TAG]
        gone = [tag for tag in tags if _is_left(tag.rpartition(":")[2], living)]
        if not tags and image["Labels"][LEASE] not in living:
            gone = [image["Id"]]
        for name in gone:
            with contextlib.suppress(Refusal):  # a container is of it, or it goes already
                engine.api.images.remove(name)


def _is_left(tag: str, living: Collection[str]) -> bool:
    """Whether a tag is the name of a lease, or begins with one and a dash, and the lease has ended."""
    return tag.startswith(f"{images.PREFIX}-") and not any(f"{tag}-".startswith(f"{name}-") for name in living)
