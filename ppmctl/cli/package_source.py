"""The source of the packages that a command is about: a volume (`--root`), or an index over HTTP (`--index`)."""

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
from ppmctl.cli.options import Answer, answers, exclusive, volume_option
from ppmctl.cli.target import credential_option, index_option, on_option
from ppmctl.cli.volume import find_volume, open_store
from ppmctl.client import credential, index_url
from ppmctl.client.http import Transport
from ppmctl.client.index_url import Address

if TYPE_CHECKING:
    from ppmctl.client.package_admin import RemotePackages
    from ppmctl.client.query import Query
    from ppmctl.index.store import Store

_root_option = volume_option("The folder of the index's volume, if this machine has it.")


def index_options(command: Any) -> Any:
    """Give a command `--index` and `--credential-file`."""
    return index_option(credential_option(command))


def place_options(command: Any) -> Any:
    """Give a command `--root`, `--on`, `--index` and `--credential-file`."""
    return _root_option(on_option(index_options(command)))


def choose_volume(root: Path | None, index: str | None) -> Path | None:
    """Return the volume to use, or None for an index over HTTP.

    An option wins over the environment, and in the environment PPM_ROOT wins: where it is set, the volume is here.
    """
    is_typed = click.get_current_context().get_parameter_source("root") is ParameterSource.COMMANDLINE
    if is_typed and index is not None:
        raise exclusive("--root", "--index")
    return None if index is not None else root


@contextmanager
def connected(index: str | None, credential_file: Path | None) -> Iterator[tuple[Address, Transport]]:
    """Yield the index and a transport with the credential for it, both found as `ppmctl publish` finds them."""
    target = index_url.resolve(index, environ=os.environ, home=Path.home())
    sent = credential.find(target, file=credential_file, environ=os.environ, home=Path.home())
    if sent is not None and target.is_overheard:
        output.say("Warning: this is plain HTTP; others on the network can read the credential.")
    with Transport(sent, target.base) as transport:
        yield target, transport


@dataclass(frozen=True, kw_only=True)
class Place:
    """The volume at `root`, or the index that `index` and `credential_file` name."""

    root: Path | None
    index: str | None
    credential_file: Path | None

    @property
    def was_typed(self) -> bool:
        """Return whether the current command was given one of these options, and not only variables."""
        source = click.get_current_context().get_parameter_source
        return any(source(name) is ParameterSource.COMMANDLINE for name in ("root", "index", "credential_file"))

    @contextmanager
    def query(self) -> Iterator[Query]:
        """Yield the query of this place's projects."""
        from ppmctl.client.query import Query, SimpleApi

        if self.root is not None:
            from ppmctl.index.store import Store
            from ppmctl.server.catalog import Catalogue

            yield Query(Catalogue(Store(find_volume(self.root))))
            return
        with connected(self.index, self.credential_file) as (address, transport):
            yield Query(SimpleApi(address, transport))

    @contextmanager
    def packages(self) -> Iterator[Store | RemotePackages]:
        """Yield what changes this place's packages."""
        if self.root is not None:
            yield open_store(self.root)
            return
        from ppmctl.client.package_admin import RemotePackages

        with connected(self.index, self.credential_file) as (address, transport):
            yield RemotePackages(address, transport)


def place_command(command: Callable[..., Answer]) -> Any:
    """Give a command `--json` and the options of `place_options` as one argument, the Place; print its answer."""

    @functools.wraps(command)
    def with_place(root: Path | None, index: str | None, credential_file: Path | None, **others: Any) -> Answer:
        place = Place(root=choose_volume(root, index), index=index, credential_file=credential_file)
        return command(place=place, **others)

    return place_options(answers(with_place))
