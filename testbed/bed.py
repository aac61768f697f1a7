"""Open and close a testbed: an engine, a network, a throwaway SSH key, and the containers on the network.

A `Stay` is enough for code that needs an engine and no network.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed import acme, clients, hosts, images, lease
from testbed import engine as engines
from testbed.acme import Acme
from testbed.clients import Client
from testbed.container import BUILT, CACHE, LEASE, SNAPSHOT, Container, is_named_by, lease_labels
from testbed.engine import Engine, Missing, Refusal
from testbed.hosts import Host, Wanted
from testbed.lease import Lease
from testbed.place import need, of_this_cache

_NO_TAG = "<none>:<none>"


@dataclass(frozen=True, kw_only=True)
class Stay:
    """The use of an engine under a lease: everything that is made carries the lease's name."""

    engine: Engine
    lease: Lease

    def containers(self) -> list[Container]:
        """Return the containers of the lease, also those that an earlier process made."""
        label = {"label": f"{LEASE}={self.lease.name}"}
        boxes = self.engine.api.containers.list(all=True, filters=label, ignore_removed=True)
        prefix = f"{self.lease.name}-"
        return [
            Container(engine=self.engine, id=box.id, name=box.name.removeprefix(prefix), network=self.lease.name)
            for box in boxes
        ]

    def let_go(self) -> None:
        """End this process's use. Without a keeper everything is removed."""
        if self.lease.keeper is None:
            self.close()
        else:
            self.lease.let_go()
            self.engine.api.close()

    def close(self) -> None:
        """Remove everything of the lease; stop the engine if the testbed started it and no other lease uses it."""
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
    """A network, called by the lease, with containers on it; `folder` has the key and the inventories."""

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
        """Make a host, bare or with the disk of another host's snapshot, and wait until it is up."""
        image = snapshot or self.image("host", wanted.release)
        return hosts.start(self.engine, image, wanted, network=self.network, lease=self.lease.name, key=self.key)

    def acme(self, *, names_lead_to: str = "", valid_seconds: int | None = None) -> Acme:
        """Start the ACME server of this testbed; see `acme.start`."""
        return acme.start(
            self.engine,
            self.image("acme", 13),
            network=self.network,
            lease=self.lease.name,
            names_lead_to=names_lead_to,
            valid_seconds=valid_seconds,
        )

    def client(self, name: str = "client", release: int = 12, *, network: str = "") -> Client:
        """Start a machine with pip, uv and twine, on the testbed's network or on another."""
        image = self.image("client", release)
        network = network or self.network
        return clients.start(self.engine, image, name=name, network=network, lease=self.lease.name)

    def hosts(self) -> list[Host]:
        """Return its hosts, sorted by name."""
        made = (hosts.host_of(box, self.key) for box in self.containers())
        return sorted(filter(None, made), key=lambda host: host.name)


def stay(name: str, *, keeper: Path | None = None) -> Stay:
    """Use an engine under a lease `name`, which ends with the folder `keeper`, or else with this process.

    What ended leases left behind is removed first.
    """
    with lease.turn():
        return _take_lease(name, keeper)


def _take_lease(name: str, keeper: Path | None) -> Stay:
    new_lease = Lease(name=f"{images.PREFIX}-{name}", keeper=keeper)
    engine = engines.find(lease.live().get(new_lease.name, ""))
    new_lease.take(engine.url)
    sweep(engine, lease.live())
    return Stay(engine=engine, lease=new_lease)


def open_bed(name: str, folder: Path, *, keep: bool = False) -> Bed:
    """Open the testbed `name`, its key and inventories in `folder`.

    It lasts until it is closed, and without `keep` no longer than this process. What ended leases left behind is
    removed first.
    """
    need("ssh")
    folder.mkdir(parents=True, exist_ok=True)
    with lease.turn():
        stay_here = _take_lease(name, folder if keep else None)
        _make_network(stay_here.engine, stay_here.lease.name)
    opened = Bed(engine=stay_here.engine, lease=stay_here.lease, folder=folder.resolve())
    if not opened.key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", opened.lease.name, "-f", str(opened.key)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    return opened


def _make_network(engine: Engine, name: str) -> None:
    try:
        engine.api.networks.get(name)
    except Missing:
        engine.api.networks.create(name, driver="bridge", labels=lease_labels(name), check_duplicate=True)


def sweep(engine: Engine, living: Collection[str]) -> None:
    """Remove the containers, networks, volumes and images of leases that have ended.

    Only what the testbed itself named and labelled: a user's container inherits the labels of its image, but not a
    name.
    """
    ours = {"label": [f"{CACHE}={of_this_cache()}", LEASE]}
    for box in engine.api.containers.list(all=True, filters=ours, ignore_removed=True):
        if _is_left(box.name, box.labels, living):
            with contextlib.suppress(Refusal):  # it is being removed already
                box.remove(force=True, v=True)
    for network in engine.api.networks.list(filters=ours):
        if _is_left(network.name, network.attrs["Labels"], living):
            with contextlib.suppress(Refusal):  # a container is still connected
                network.remove()
    for volume in engine.api.volumes.list(filters=ours):
        if _is_left(volume.name, volume.attrs["Labels"], living):
            with contextlib.suppress(Refusal):  # a container that is being removed still mounts it
                volume.remove()
    _sweep_images(engine, living)


def _is_left(name: str, labels: Mapping[str, str], living: Collection[str]) -> bool:
    """Return whether the testbed made what has this name and these labels, under a lease that has ended."""
    lease = labels[LEASE]
    return lease.startswith(f"{images.PREFIX}-") and lease not in living and is_named_by(name, lease)


def _sweep_images(engine: Engine, living: Collection[str]) -> None:
    """Remove the tags that are names of ended leases from images that were built here, and their snapshots."""
    gone = []
    for image in engine.api.api.images(filters={"label": [f"{BUILT}={of_this_cache()}"]}):
        tags = [tag for tag in image["RepoTags"] or () if tag != _NO_TAG]
        gone += [tag for tag in tags if _is_of_ended_lease(tag.rpartition(":")[2], living)]
    for image in engine.api.api.images(filters={"label": [f"{CACHE}={of_this_cache()}", SNAPSHOT]}):
        if image["Labels"][SNAPSHOT] not in living:
            gone.append(image["Id"])
    for name in gone:
        with contextlib.suppress(Refusal):  # a container uses it, or it is being removed already
            engine.api.images.remove(name)


def _is_of_ended_lease(tag: str, living: Collection[str]) -> bool:
    """Return whether a tag is the name of a lease, alone or before a dash, and the lease has ended."""
    return tag.startswith(f"{images.PREFIX}-") and not any(f"{tag}-".startswith(f"{name}-") for name in living)
