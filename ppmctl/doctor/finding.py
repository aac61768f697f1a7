"""What a check of `ppmctl doctor` is given, and what it reports."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ppmctl.client.credential import Credential
from ppmctl.client.http import READ_TIMEOUT, Answer, Transport
from ppmctl.client.index_url import Address
from ppmctl.client.simple_api import ACCEPT
from ppmctl.doctor.expected import Expected
from ppmctl.errors import PpmError

_PATIENCE = 15.0  # seconds without a byte after which pip gives up, too

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """What a check reports: `message` is a sentence without its full stop, `hint` is what to type or do, or "".

    "warn" works, with a cost or a risk; "fail" does not work; "skip" was not tried. The texts contain no secrets.
    """

    check: str
    state: State
    message: str
    hint: str = ""

    def document(self) -> dict[str, str]:
        """Return it as `--json` prints it."""
        return {"check": self.check, "state": self.state, "found": self.message, "repair": self.hint}


@dataclass(frozen=True, kw_only=True)
class Context:
    """The index that is checked, and the credential, environment and folders of the user.

    `credential` is the one that ppmctl sends; if it can't be read, it is None and `unreadable` is the error.
    `transport` makes connections, which send their credential to one server only. `expected` is the configuration
    that the index should have, None if it is not known. `deadline` is when all checks should have ended, by
    time.monotonic(). `shared` is what a check leaves for later ones.
    """

    address: Address
    credential: Credential | None
    environ: Mapping[str, str]
    home: Path
    cwd: Path
    unreadable: PpmError | None = None
    transport: Callable[[Credential | None, str], Transport] = Transport
    expected: Expected | None = None
    deadline: float = math.inf
    shared: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def promised(self) -> Expected:
        """Return `expected`, for checks that run only if it is known."""
        if self.expected is None:
            raise ValueError("the expected configuration of the index is not known")
        return self.expected

    def request(self, method: str, url: str, credential: Credential | None, **options: Any) -> Answer:
        """Send a request to `url`, or to a path of the index. Only the index's own server gets the credential."""
        patience = READ_TIMEOUT if self.deadline == math.inf else self.within(_PATIENCE)
        options = {"read_timeout": patience} | options
        with self.connect(credential) as transport:
            return transport.request(method, f"{self.address.base}{url}" if url[:1] == "/" else url, **options)

    def within(self, seconds: float) -> float:
        """Return `seconds`, or what is left of them before the deadline."""
        return min(seconds, max(self.deadline - time.monotonic(), 1.0))

    def get(self, url: str, credential: Credential | None, **headers: str) -> Answer:
        """Send a GET request with these headers."""
        return self.request("GET", url, credential, headers=headers)

    def ask(self, method: str, url: str, **headers: str) -> Answer:
        """Send a request as a client does, with the user's credential."""
        return self.request(method, url, self.credential, headers={"Accept": ACCEPT, **headers})

    def connect(self, credential: Credential | None) -> Transport:
        """Return a connection that sends this credential to the index."""
        return self.transport(credential, self.address.base)

    @cached_property
    def listed(self) -> Answer:
        """Return the answer to a request for the list of projects with the user's credential, if there is one."""
        return self.listed_anonymously if self.credential is None else self.ask("GET", self.address.simple)

    @cached_property
    def listed_anonymously(self) -> Answer:
        """Return the answer to the same request without a credential."""
        return self.get(self.address.simple, None, Accept=ACCEPT)
