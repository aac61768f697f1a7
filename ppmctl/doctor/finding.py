"""What `ppmctl doctor` visits, and what it finds there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ppmctl.client.credential import Credential
from ppmctl.client.http import Answer, Transport
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import ACCEPT
from ppmctl.doctor.expected import Expected
from ppmctl.errors import PpmError

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

    `credential` is the one that ppmctl shows, None if there is none, or none that can be read: then `unreadable` says
    why. `transport` makes connections, which show the credential that they are made with to one server alone, or
    none. `expected` is what the index is meant to be, None if that is not known.
    """

    address: Address
    credential: Credential | None
    environ: Mapping[str, str]
    home: Path
    cwd: Path
    unreadable: PpmError | None = None
    transport: Callable[[Credential | None, str], Transport] = Transport
    expected: Expected | None = None
    remembered: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def promised(self) -> Expected:
        """Return what the index is meant to be, for checks that are made only if that is known."""
        if self.expected is None:
            raise ValueError("it is not known what the index is meant to be")
        return self.expected

    def request(self, method: str, url: str, shown: Credential | None, **options: Any) -> Answer:
        """Return what is answered to that credential, or to nobody; `url` may be a path of the index.

        Another server than the index's is shown no credential.
        """
        with self.transport(shown, self.address.base) as transport:
            return transport.request(method, f"{self.address.base}{url}" if url[:1] == "/" else url, **options)

    def get(self, url: str, shown: Credential | None, **headers: str) -> Answer:
        """Return what a GET is answered."""
        return self.request("GET", url, shown, headers=headers)

    def ask(self, method: str, url: str, **headers: str) -> Answer:
        """Return what a client is answered that shows its credential to the index's own server alone."""
        return self.request(method, url, self.credential, headers={"Accept": ACCEPT, **headers})

    def connect(self) -> Transport:
        """A connection that shows the credential, if there is one."""
        return self.transport(self.credential, self.address.base)

    def connect_as_nobody(self) -> Transport:
        """A connection that shows none."""
        return self.transport(None, self.address.base)

    @cached_property
    def listed(self) -> Answer:
        """What is answered to the credential, if there is one, that asks for the list of projects; asked once."""
        return self.listed_to_nobody if self.credential is None else self.ask("GET", self.address.simple)

    @cached_property
    def listed_to_nobody(self) -> Answer:
        """What is answered to nobody who asks for the same."""
        return self.get(self.address.simple, None, Accept=ACCEPT)
