"""Does a virtual environment hold what a list says, and what that needs in turn? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ppmctl.distributions.distribution import normalise
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
    """Return what is missing or differs, by name; with `exact` also what else is installed.

    With `lock` the versions in it are required, instead of those that the list allows.
    """
    problems, needed = _walk(requirements, content) if lock is None else _held_against(lock, content)
    if exact:
        problems += _extras(content, needed)
    return sorted(problems, key=lambda item: item.name)


def extras(requirements: Iterable[str], content: Content, *, lock: Lock | None) -> list[str]:
    """Return the names of what is installed and needed neither by the list nor, if it is given, by the lock."""
    needed = _walk(requirements, content)[1] if lock is None else _held_against(lock, content)[1]
    return [item.name for item in _extras(content, needed)]


def _extras(content: Content, needed: set[str]) -> list[Disagreement]:
    left = sorted(set(content.installed) - needed - TOOLS)
    return [Disagreement(state="extra", name=name, wanted="", found=content.installed[name].version) for name in left]


def _walk(requirements: Iterable[str], content: Content) -> tuple[list[Disagreement], set[str]]:
    """Return what disagrees, and the names of what is needed, from requirement to requirement as installed."""
    waiting = [(Requirement(text), "", "") for text in requirements]
    problems: list[Disagreement] = []
    needed: set[str] = set()
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, why, extra = waiting.pop()
        if not _applies(requirement, content, extra):
            continue
        name = normalise(requirement.name)
        needed.add(name)
        installed = content.installed.get(name)
        problem = _problem(requirement, installed, why)
        if problem is not None and problem not in problems:
            problems.append(problem)
        if installed is not None:
            asked = [key for of in ("", *sorted(requirement.extras)) if (key := (name, of)) not in seen]
            seen.update(asked)
            waiting += [(other, name, of) for _name, of in asked for other in _parsed(installed.requires)]
    return problems, needed


def _held_against(lock: Lock, content: Content) -> tuple[list[Disagreement], set[str]]:
    pinned = [requirement for pin in lock.pins if _applies(requirement := Requirement(pin.text), content)]
    problems = (_problem(one, content.installed.get(normalise(one.name)), "") for one in pinned)
    return [problem for problem in problems if problem is not None], {pin.name for pin in lock.pins}


def _applies(requirement: Requirement, content: Content, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**content.environment, "extra": extra})


def _problem(requirement: Requirement, there: Installed | None, why: str) -> Disagreement | None:
    name, wanted = normalise(requirement.name), str(requirement)
    if there is None:
        return Disagreement(state="missing", name=name, wanted=wanted, why=why)
    if _place(there.url) == _place(requirement.url) if requirement.url else _holds(requirement, there.version):
        return None
    return Disagreement(state="differs", name=name, wanted=wanted, found=there.url or there.version, why=why)


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
