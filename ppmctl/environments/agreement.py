"""Does a virtual environment hold what a list says, and what that needs in turn? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ppmctl.dists import normalise
from ppmctl.environments.lock import Lock
from ppmctl.environments.venv import Content, Installed

# what makes an environment rather than being in it
TOOLS = frozenset({"pip", "setuptools", "wheel", "uv"})


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """What is not as it is to be: `wanted` is a requirement, `found` a version; `why` names what needs it, or ""."""

    state: Literal["missing", "differs", "extra"]
    name: str
    wanted: str
    found: str = ""
    why: str = ""


def compare(requirements: Iterable[str], content: Content, *, lock: Lock | None, exact: bool) -> list[Disagreement]:
    """What is missing or differs; with `exact` what is there besides, too. With `lock` its versions alone will do."""
    walk = _Walk(content)
    walk.require([(Requirement(text), "") for text in requirements])
    found = walk.found
    if lock is not None:
        found = _held_against(lock, content)
    if exact:
        needed = walk.needed if lock is None else {pin.name for pin in lock.pins}
        found = [*found, *extras(content, needed)]
    return sorted(found, key=lambda item: item.name)


def needed(requirements: Iterable[str], content: Content) -> set[str]:
    """The names of what is on a list, and of what that needs in turn, as far as it is installed."""
    walk = _Walk(content)
    walk.require([(Requirement(text), "") for text in requirements])
    return walk.needed


def extras(content: Content, needed: Iterable[str]) -> list[Disagreement]:
    """What is installed and not `needed`."""
    left = sorted(set(content.installed) - set(needed) - TOOLS)
    return [Disagreement(state="extra", name=name, wanted="", found=content.installed[name].version) for name in left]


class _Walk:
    """From requirement to requirement, as far as what is installed says."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._seen: set[tuple[str, str]] = set()
        self.found: list[Disagreement] = []
        self.needed: set[str] = set()

    def require(self, wanted: list[tuple[Requirement, str]]) -> None:
        waiting = [(requirement, why, "") for requirement, why in wanted]
        while waiting:
            requirement, why, extra = waiting.pop()
            if requirement.marker and not requirement.marker.evaluate({**self._content.environment, "extra": extra}):
                continue
            waiting += self._one(requirement, why)

    def _one(self, requirement: Requirement, why: str) -> list[tuple[Requirement, str, str]]:
        name = normalise(requirement.name)
        self.needed.add(name)
        there = self._content.installed.get(name)
        problem = _problem(requirement, there, why)
        if problem is not None and problem not in self.found:
            self.found.append(problem)
        if there is None:
            return []
        following = []
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) not in self._seen:
                self._seen.add((name, extra))
                following += [(other, name, extra) for other in _parsed(there.requires)]
        return following


def _problem(requirement: Requirement, there: Installed | None, why: str) -> Disagreement | None:
    name, wanted = normalise(requirement.name), str(requirement)
    if there is None:
        return Disagreement(state="missing", name=name, wanted=wanted, why=why)
    if requirement.url is not None:
        differs = bool(there.url) and _place(there.url) != _place(requirement.url)
        differs = differs or not there.url
    else:
        differs = not _holds(requirement, there.version)
    if differs:
        return Disagreement(state="differs", name=name, wanted=wanted, found=there.url or there.version, why=why)
    return None


def _held_against(lock: Lock, content: Content) -> list[Disagreement]:
    found = []
    for pin in lock.pins:
        requirement = Requirement(pin.text)
        if requirement.marker and not requirement.marker.evaluate({**content.environment, "extra": ""}):
            continue
        problem = _problem(requirement, content.installed.get(pin.name), "")
        if problem is not None:
            found.append(problem)
    return found


def _parsed(texts: Iterable[str]) -> list[Requirement]:
    found = []
    for text in texts:
        try:
            found.append(Requirement(text))
        except InvalidRequirement:
            continue  # of metadata from before PEP 508; installers pass it over too
    return found


def _holds(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return not requirement.specifier


def _place(url: str) -> str:
    """A URL without what does not say where something is; of a checkout, without which commit."""
    place = url.partition("#")[0]
    scheme, _, rest = place.partition("://")
    return rest.rpartition("@")[0] if "+" in scheme and "@" in rest.partition("/")[2] else rest
