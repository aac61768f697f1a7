"""What all pages of an index use."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ppmctl.access.credential_files import Credentials
from ppmctl.index.environment_list import Listing
from ppmctl.index.search_index import SearchIndex
from ppmctl.index.store import Store
from ppmctl.server.environment_changes import EnvironmentChanges
from ppmctl.server.public_names import PublicNames
from ppmctl.server.settings import ServerSettings
from ppmctl.web.description import Descriptions
from ppmctl.web.login_limit import Attempts, Registrations
from ppmctl.web.numbers import Numbers
from ppmctl.web.release_metadata import ReleaseMetadata
from ppmctl.web.sessions import Sessions


@dataclass(frozen=True, kw_only=True)
class Services:
    """The settings of the server, its projects, its credentials, and the browsers that are logged in.

    `environments` has `mine(owner)` and `using(project)` for other pages too, `search` the lists of projects.
    """

    settings: ServerSettings
    store: Store
    credentials: Credentials
    sessions: Sessions
    environments: Listing
    search: SearchIndex
    metadata: ReleaseMetadata
    descriptions: Descriptions = field(default_factory=Descriptions)
    attempts: Attempts = field(default_factory=Attempts)
    registrations: Registrations = field(default_factory=Registrations)

    @cached_property
    def public_names(self) -> PublicNames:
        return PublicNames.of(self.settings)

    @cached_property
    def environment_changes(self) -> EnvironmentChanges:
        """Return what changes environments, with the rules of the HTTP API."""
        return EnvironmentChanges(self.store, self.public_names)

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.store)
