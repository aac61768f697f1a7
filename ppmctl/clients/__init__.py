"""Configuration for the programs that use an index. Each module is pure: an index → the text to paste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from ppmctl.address import Address

Form = Literal["single", "extra"]


@dataclass(frozen=True, kw_only=True)
class IndexTarget:
    """An index as a client is to know it: under `name`, as its `single` index or an `extra` one beside another.

    `username` is whose configuration it is, where that is known; `in_keyring` if the system's keyring is where that
    user's secret is to be found. There is no secret in here, so none can get into a configuration.
    """

    name: str
    address: Address
    form: Form = "single"
    username: str | None = None
    in_keyring: bool = False

    @property
    def simple(self) -> str:
        """The URL for who reads, with the name in it where that is what a keyring is asked for."""
        if not self.in_keyring or self.username is None:
            return self.address.simple
        scheme, _, rest = self.address.simple.partition("://")
        return f"{scheme}://{quote(self.username, safe='')}@{rest}"
