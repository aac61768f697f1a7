"""What all pages of an index use."""

from __future__ import annotations

from dataclasses import dataclass, field

from ppmctl.access.credential_files import Credentials
from ppmctl.index.environment_list import Listing
from ppmctl.index.store import Store
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
