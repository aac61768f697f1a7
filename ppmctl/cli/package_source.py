"""Which packages are meant: those of a volume (`--root`), or those of an index over HTTP (`--index`)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ppmctl import output
from ppmctl.cli.options import volume_option
from ppmctl.cli.target import credential_option, index_option, on_option
from ppmctl.cli.volume import find_volume, open_store, there
from ppmctl.client import credential, index_url
from ppmctl.client.http import Transport
from ppmctl.client.index_url import Address
from ppmctl.errors import UsageError

if TYPE_CHECKING:
    from ppmctl.client.package_admin import RemotePackages
    from ppmctl.client.query import Query
    from ppmctl.index.store import Store

_root_option = volume_option("The folder of the index's volume, if that is here.")


def index_options(command: Any) -> Any:
    """Give a command the options that say which index is meant, and with which credential."""
    return index_option(credential_option(command))


def place_options(command: Any) -> Any:
    """The same, and `--root` and `--on`, for what can be done beside a volume too."""
    return _root_option(on_option(index_options(command)))


def volume_meant(root: Path | None, index: str | None) -> Path | None:
    """The volume that is meant, or None where it is an index over HTTP.

    What was typed wins over what the environment says, and of that PPM_ROOT: where it is set, the volume is here.
    """
    typed = click.get_current_context().get_parameter_source("root") is ParameterSource.COMMANDLINE
    if typed and index is not None:
        raise UsageError("--root and --index are two places.", hint="Give one of them.")
    return None if index is not None else root


@contextmanager
def connected(index: str | None, credential_file: Path | None) -> Iterator[tuple[Address, Transport]]:
    """The index and the credential for it, found as `ppmctl publish` finds them."""
    target = index_url.resolve(index, environ=os.environ, home=Path.home())
    found = credential.find(target, file=credential_file, environ=os.environ, home=Path.home())
    if found is not None and target.is_overheard:
        output.say("Warning: this is plain HTTP; whoever listens on the way can read the credential.")
    with Transport(found, target.base) as transport:
        yield target, transport


@dataclass(frozen=True, kw_only=True)
class Place:
    """The volume at `root`, or else the index that `index` and `credential_file` say."""

    root: Path | None
    index: str | None
    credential_file: Path | None

    @contextmanager
    def query(self) -> Iterator[Query]:
        """What answers questions about the projects that are here."""
        from ppmctl.client.query import Query, SimpleApi

        if self.root is not None:
            from ppmctl.index.store import Store
            from ppmctl.server.catalog import Catalogue

            yield Query(Catalogue(Store(find_volume(there(self.root)))))
            return
        with connected(self.index, self.credential_file) as (address, transport):
            yield Query(SimpleApi(address, transport))

    @contextmanager
    def packages(self) -> Iterator[Store | RemotePackages]:
        """What changes the packages that are here."""
        if self.root is not None:
            yield open_store(there(self.root))
            return
        from ppmctl.client.package_admin import RemotePackages

        with connected(self.index, self.credential_file) as (address, transport):
            yield RemotePackages(address, transport)


def pass_place(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of `place_options`, as one argument: the Place that they mean."""

    @functools.wraps(command)
    def with_place(root: Path | None, index: str | None, credential_file: Path | None, **others: Any) -> int:
        place = Place(root=volume_meant(root, index), index=index, credential_file=credential_file)
        return command(place=place, **others)

    decorated: Callable[..., int] = place_options(with_place)
    return decorated
