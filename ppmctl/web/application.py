"""The whole index as one application: the API and files for programs, and the pages for people."""

from __future__ import annotations

from ppmctl.access.credential_files import Credentials
from ppmctl.index.store import Store
from ppmctl.server.app import Index
from ppmctl.server.settings import ServerSettings
from ppmctl.web.site import Site


def application(settings: ServerSettings, store: Store) -> Index:
    """Return the WSGI application of an index."""
    credentials = Credentials(settings.volume)
    return Index(settings, store, credentials, Site(settings, store, credentials))
