"""Configuration for the programs that use an index. Each module is pure: an index → the text to paste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ppmctl.address import Address

Form = Literal["single", "extra"]


@dataclass(frozen=True, kw_only=True)
class IndexTarget:
    """An index as a client is to know it: under `name`, as its `single` index or an `extra` one beside another.

    `username` is whose configuration it is, where that is known. There is no secret in here, so none can get
    into a configuration.
    """

    name: str
    address: Address
    form: Form = "single"
    username: str | None = None
