"""What `ppmctl doctor` visits, and what it finds there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ppmctl.address import Address
from ppmctl.credential import Credential
from ppmctl.errors import PpmError
from ppmctl.simple import ACCEPT
from ppmctl.transport import Answer, Transport

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `found` is a sentence without its full stop; `mend` is what to type or do, or "".

    "warn" works, and will cost somebody something; "fail" does not work; "skip" could not be looked at. Neither text
    ever has a secret in it.
    """

    check: str
    state: State
    found: str
    mend: str = ""


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One index, as it is seen from here by one user.

    `meant_by` is where it stands that this index is meant. `credential` is the one that ppmctl shows, None if there
    is none, or none that can be read: then `unreadable` says why. `transport` makes connections, which show the
    credential that they are made with to the server of a URL alone, or none.
    """

    address: Address
    meant_by: str
    credential: Credential | None
    environ: Mapping[str, str]
    home: Path
    cwd: Path
    unreadable: PpmError | None = None
    transport: Callable[[Credential | None, str], Transport] = Transport
    remembered: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def connect(self) -> Transport:
        """A connection that shows the credential, if there is one."""
        return self.transport(self.credential, self.address.base)

    def connect_as_nobody(self) -> Transport:
        """A connection that shows none."""
        return self.transport(None, self.address.base)

    @cached_property
    def listed(self) -> Answer:
        """What is answered to the credential, if there is one, that asks for the list of projects; asked once."""
        if self.credential is None:
            return self.listed_to_nobody
        with self.connect() as transport:
            return transport.request("GET", self.address.simple, headers={"Accept": ACCEPT})

    @cached_property
    def listed_to_nobody(self) -> Answer:
        """What is answered to nobody who asks for the same."""
        with self.connect_as_nobody() as transport:
            return transport.request("GET", self.address.simple, headers={"Accept": ACCEPT})
