"""What all pages of an index use."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ppmctl.access.credential_files import Credentials
from ppmctl.index.environment_list import Listing
from ppmctl.index.store import Store
from ppmctl.server.environment_changes import EnvironmentChanges
from ppmctl.server.public_names import PublicNames
from ppmctl.server.settings import ServerSettings
from ppmctl.web.login_limit import Attempts, Registrations
from ppmctl.web.sessions import Sessions


@dataclass(frozen=True, kw_only=True)
class Services:
    """The settings of the server, its projects, its credentials, and the browsers that are logged in.

    `environments` has `mine(owner)` and `using(project)` for other pages too.
    """

    settings: ServerSettings
    store: Store
    credentials: Credentials
    sessions: Sessions
    environments: Listing
    attempts: Attempts = field(default_factory=Attempts)
    registrations: Registrations = field(default_factory=Registrations)

    @cached_property
    def environment_changes(self) -> EnvironmentChanges:
        """Return what changes environments, with the rules of the HTTP API."""
        settings = self.settings
        names = PublicNames(setting=settings.public_names, private_names=settings.private_names)
        return EnvironmentChanges(self.store, names)
