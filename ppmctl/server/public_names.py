"""Decide who may upload the first file of a name that many projects of the public index use.

From then on, everyone who installs that name through this index gets this project instead of the public one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

from ppmctl.access.rights import Access
from ppmctl.distributions.environment_revision import environment_of
from ppmctl.errors import Refused
from ppmctl.index.store import Store
from ppmctl.server.settings import ServerSettings


@cache
def most_used() -> frozenset[str]:
    """Return the normalised names of the most used projects of the public index, from `public_names.txt`."""
    text = resources.files(__package__).joinpath("public_names.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


@dataclass(frozen=True, kw_only=True)
class PublicNames:
    """The setting `public_names` of a server, and its `private_names`, which are never asked about."""

    setting: str = "admin"
    private_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: ServerSettings) -> PublicNames:
        return cls(setting=settings.public_names, private_names=settings.private_names)

    def require(self, store: Store, project: str, by: Access) -> None:
        """Raise Refused (403) where a credential may not upload the first file of `project`."""
        if self.setting == "allow" or (self.setting == "admin" and by.may("manage", project)):
            return
        if store.has_project(project) or environment_of(project) is not None or project not in most_used():
            return
        store.pull(project)
        if store.has_project(project):  # another node has it
            return
        if any(fnmatchcase(project, glob) for glob in self.private_names) or store.claim_of(project) is not None:
            return
        claim = f"`ppmctl package claim {project}`"
        ways = f"only an admin may upload the first, or let others with {claim}"
        if self.setting == "deny":
            ways = f"nobody may upload the first until an admin allows it with {claim}"
        message = f"{project} is one of the most used public names, and has no file here: {ways}"
        raise Refused(403, f"{message}; names in private_names are free (setting public_names: {self.setting})")
