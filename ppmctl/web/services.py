"""What all pages of an index use."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ppmctl.access.credential_files import Credentials
from ppmctl.index.store import Store
from ppmctl.server.public_names import PublicNames
from ppmctl.server.settings import ServerSettings
from ppmctl.web.login_limit import Attempts
from ppmctl.web.numbers import Numbers
from ppmctl.web.sessions import Sessions


@dataclass(frozen=True, kw_only=True)
class Services:
    """The settings of the server, its projects, its credentials, and the browsers that are logged in."""

    settings: ServerSettings
    store: Store
    credentials: Credentials
    sessions: Sessions
    attempts: Attempts = field(default_factory=Attempts)

    @cached_property
    def public_names(self) -> PublicNames:
        return PublicNames.of(self.settings)

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.store)
